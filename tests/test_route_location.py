"""Paths towards a backend, and what it says of itself on the way back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.config.snapshot import Backend
from terraster.errors import BadRequest
from terraster.route.location import forward_path, https_target, map_back
from terraster.route.target import canonical


def backend(base_path: str = "", scheme: str = "http", host: str = "10.0.0.1", port: int = 8080) -> Backend:
    return Backend("id", "url", scheme, host, port, base_path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "prefix", "rewrite", "base_path", "sent"),
    [
        (b"/", b"/", b"", b"", b"/"),
        (b"/a/b", b"/a", b"", b"", b"/a/b"),
        (b"/", b"/", b"", b"/app", b"/app/"),
        (b"/a", b"/a", b"", b"/app", b"/app/a"),
        (b"/", b"/", b"/front/", b"", b"/front/"),
        (b"/x", b"/", b"/front/", b"", b"/front/x"),
        (b"/x", b"/", b"/front", b"", b"/front/x"),
        (b"/api", b"/api/", b"/v1/", b"", b"/v1"),
        (b"/api/", b"/api/", b"/v1/", b"", b"/v1/"),
        (b"/api/x/", b"/api", b"/v1", b"", b"/v1/x/"),
        (b"/api//x", b"/api", b"/v1", b"", b"/v1//x"),
        (b"/api", b"/api", b"/", b"", b"/"),
        (b"/api/", b"/api/", b"/", b"", b"/"),
        (b"/api/x", b"/api", b"/", b"", b"/x"),
        (b"/api", b"/api", b"/", b"/app", b"/app"),
        (b"/api/x", b"/api/", b"/v1/", b"/app", b"/app/v1/x"),
        (b"/api%2Fx", b"/", b"/v1", b"", b"/v1/api%2Fx"),
    ],
)
def test_forward_path(path: bytes, prefix: bytes, rewrite: bytes, base_path: bytes, sent: bytes) -> None:
    assert forward_path(path, prefix, rewrite, base_path) == sent


def test_a_path_that_stays_is_not_copied() -> None:
    path = b"/some/path"
    assert forward_path(path, b"/", b"", b"") is path


HTTPS = (b"https", b"www.test")


@pytest.mark.parametrize(
    ("value", "mapped"),
    [
        # location /api, rewrite /v1, backend http://10.0.0.1:8080/app
        (b"/app/v1/x?y#z", b"/api/x?y#z"),
        (b"/app/v1", b"/api"),
        (b"/app/v1/", b"/api/"),
        (b"/app/v1?x", b"/api?x"),
        (b"/app/v10", b"/app/v10"),
        (b"/elsewhere", b"/elsewhere"),
        (b"x", b"x"),
        (b"../x", b"../x"),
        (b"?x", b"?x"),
        (b"", b""),
        (b"http://10.0.0.1:8080/app/v1/x?y", b"https://www.test/api/x?y"),
        (b"HTTP://10.0.0.1:8080/app/v1/x", b"https://www.test/api/x"),
        (b"https://10.0.0.1:8080/app/v1/x", b"https://www.test/api/x"),
        (b"//10.0.0.1:8080/app/v1/x", b"https://www.test/api/x"),
        (b"http://10.0.0.1:8080/login", b"https://www.test/login"),
        (b"http://10.0.0.1:8080", b"https://www.test/"),
        (b"http://10.0.0.1:8080?x", b"https://www.test/?x"),
        (b"http://10.0.0.1/app/v1/x", b"http://10.0.0.1/app/v1/x"),
        (b"http://10.0.0.1:8081/app/v1/x", b"http://10.0.0.1:8081/app/v1/x"),
        (b"http://elsewhere.test/app/v1/x", b"http://elsewhere.test/app/v1/x"),
        (b"http://user@10.0.0.1:8080/app/v1/x", b"http://user@10.0.0.1:8080/app/v1/x"),
        (b"mailto:a@b.test", b"mailto:a@b.test"),
        (b"http://", b"http://"),
        # the Host it was sent
        (b"https://www.test/app/v1/x", b"https://www.test/api/x"),
        (b"http://www.test/app/v1/x", b"https://www.test/api/x"),
        (b"//www.test/app/v1/x", b"//www.test/api/x"),
        (b"http://www.test:8081/app/v1/x", b"http://www.test:8081/app/v1/x"),
        (b"https://www.test/elsewhere", b"https://www.test/elsewhere"),
    ],
)
def test_map_back(value: bytes, mapped: bytes) -> None:
    assert map_back(value, backend("/app"), *HTTPS, b"/api/", b"/v1") == mapped


@pytest.mark.parametrize(
    ("what", "value", "scheme", "host", "mapped"),
    [
        (backend(), b"http://10.0.0.1:8080/x", b"http", b"a.test:81", b"http://a.test:81/x"),
        (backend(), b"/x", b"http", b"a.test", b"/x"),
        (backend(port=80), b"http://10.0.0.1/x", b"http", b"[::1]:81", b"http://[::1]:81/x"),
        (backend(host="::1"), b"http://[0:0::1]:8080/x", b"http", b"a.test", b"http://a.test/x"),
        (backend(host="b.internal", port=80), b"http://B.internal./x", b"http", b"a.test", b"http://a.test/x"),
        (backend(scheme="https", port=443), b"https://10.0.0.1/x", b"http", b"a.test", b"http://a.test/x"),
        (backend(), b"https://a.test/x", b"http", b"a.test", b"https://a.test/x"),
        (backend(), b"http://a.test:81/x", b"https", b"a.test:81", b"https://a.test:81/x"),
        (backend(scheme="https"), b"http://a.test/x", b"https", b"a.test", b"http://a.test/x"),
        (backend("/app"), b"/x", b"http", b"a.test", b"/x"),
        (backend("/app"), b"/app/x", b"http", b"a.test", b"/x"),
        (backend("/app"), b"/app", b"http", b"a.test", b"/"),
        (backend("/app"), b"/app//b.test/x", b"http", b"a.test", b"http://a.test//b.test/x"),
    ],
)
def test_map_back_without_rewrite(what: Backend, value: bytes, scheme: bytes, host: bytes, mapped: bytes) -> None:
    assert map_back(value, what, scheme, host, b"/", b"") == mapped


PATHS = st.lists(st.sampled_from([b"a", b"b", b"v1", b"", b"%2F"]), max_size=4).map(
    lambda parts: canonical(b"/" + b"/".join(parts), False)[0]
)
PREFIXES = st.sampled_from([b"/", b"/a", b"/a/", b"/a/b"])
REWRITES = st.sampled_from([b"", b"/", b"/v1", b"/v1/", b"/a/a"])
BASES = st.sampled_from(["", "/app", "/a"])


@given(PREFIXES, PATHS, REWRITES, BASES)
def test_what_was_forwarded_comes_back(prefix: bytes, below: bytes, rewrite: bytes, base: str) -> None:
    path = prefix.rstrip(b"/") + below
    sent = forward_path(path, prefix, rewrite, base.encode())
    assert sent.startswith(b"/")
    added = (base.encode() + (rewrite or prefix).rstrip(b"/")).count(b"/") - prefix.rstrip(b"/").count(b"/")
    assert sent.count(b"/") == path.count(b"/") + added
    absolute = map_back(b"http://10.0.0.1:8080" + sent, backend(base), *HTTPS, prefix, rewrite)
    assert absolute == b"https://www.test" + path
    if not sent.startswith(b"//"):  # as a Location that would be another host
        assert map_back(sent, backend(base), *HTTPS, prefix, rewrite) == (absolute if path.startswith(b"//") else path)


@given(st.one_of(st.binary(max_size=30), st.text("/:htps.10a@[]?#", max_size=20).map(str.encode)), REWRITES)
def test_any_value_is_mapped_or_stays(value: bytes, rewrite: bytes) -> None:
    map_back(value, backend("/app"), *HTTPS, b"/api", rewrite)


@pytest.mark.parametrize(
    ("name", "port", "path", "query", "target"),
    [
        (b"a.test", 443, b"/", b"", b"https://a.test/"),
        (b"a.test", 8443, b"/x", b"y=z", b"https://a.test:8443/x?y=z"),
        (b"[::1]", 443, b"//x", b"", b"https://[::1]//x"),
    ],
)
def test_https_target(name: bytes, port: int, path: bytes, query: bytes, target: bytes) -> None:
    assert https_target(name, port, path, query) == target


def test_https_target_needs_a_host() -> None:
    with pytest.raises(BadRequest):
        https_target(b"", 443, b"/", b"")
