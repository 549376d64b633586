"""Redirects: who is sent where, and what a service's configuration makes of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.config.match import Match
from terraster.config.snapshot import Backend, Location, Service
from terraster.errors import BadRequest, ConfigError
from terraster.exchange import Exchange
from terraster.filters.answer import Answer
from terraster.filters.redirect import ExactRedirect, HttpsRedirect, PrefixRedirect, elsewhere, redirects
from terraster.route.prefix import Prefixes


def exchange(path: bytes, query: bytes = b"", host: bytes = b"a.test", scheme: str = "http") -> Exchange:
    made = Exchange(0.0, 0.0, "1.2.3.4", "1.2.3.4", scheme)
    made.method, made.host, made.path, made.query = b"POST", host, path, query
    return made


def to(target: bytes | None) -> Answer | None:
    return None if target is None else Answer(308, ((b"Location", target),))


@pytest.mark.parametrize(
    ("port", "asked", "target"),
    [
        (443, exchange(b"/x", b"y=z"), b"https://a.test/x?y=z"),
        (443, exchange(b"/", host=b"A.test.:8080"), b"https://a.test/"),
        (8455, exchange(b"/", host=b"a.test:80"), b"https://a.test:8455/"),
        (443, exchange(b"/", host=b"[::1]:8080"), b"https://[::1]/"),
        (443, exchange(b"*"), b"https://a.test/"),
        (443, exchange(b"/x", scheme="https"), None),
    ],
)
def test_https(port: int, asked: Exchange, target: bytes | None) -> None:
    assert HttpsRedirect(port)(asked) == to(target)


def test_https_without_a_host() -> None:
    with pytest.raises(BadRequest):
        HttpsRedirect(443)(exchange(b"/", host=b""))


@pytest.mark.parametrize(
    ("asked", "target"),
    [
        (exchange(b"/"), b"/api/"),
        (exchange(b"/", b"x=y"), b"/api/?x=y"),
        (exchange(b"/x"), None),
        (exchange(b"//"), None),
        (exchange(b"/api/"), None),
    ],
)
def test_exact(asked: Exchange, target: bytes | None) -> None:
    assert ExactRedirect(b"/", b"/api/")(asked) == to(target)


def test_exact_to_itself() -> None:
    with pytest.raises(ValueError, match="itself"):
        ExactRedirect(b"/a", b"/a")


@pytest.mark.parametrize(
    ("prefix", "to_", "path", "query", "target"),
    [
        (b"/old", b"https://b.test/", b"/old", b"", b"https://b.test/"),
        (b"/old", b"https://b.test", b"/old/x", b"", b"https://b.test/x"),
        (b"/old/", b"https://b.test/new/", b"/old/x/", b"y=z", b"https://b.test/new/x/?y=z"),
        (b"/", b"https://b.test", b"/", b"", b"https://b.test/"),
        (b"/", b"https://b.test/new", b"/x", b"", b"https://b.test/new/x"),
        (b"/old", b"/new", b"/old", b"", b"/new"),
        (b"/old", b"/new/", b"/old", b"y", b"/new/?y"),
        (b"/old", b"/new", b"/old/x//y", b"", b"/new/x//y"),
        (b"/old", b"/", b"/old/x", b"", b"/x"),
        (b"/old", b"/", b"/old//evil.test/x", b"", b"/evil.test/x"),
        (b"/old", b"/", b"/old/", b"", b"/"),
        (b"/", b"https://b.test/?from=a", b"/x/y", b"z", b"https://b.test/?from=a"),
        (b"/", b"https://b.test/new", b"*", b"", b"https://b.test/new"),
    ],
)
def test_prefix(prefix: bytes, to_: bytes, path: bytes, query: bytes, target: bytes) -> None:
    assert PrefixRedirect(prefix, to_)(exchange(path, query)) == to(target)


@given(st.text("/abevil.test:@", max_size=12), st.sampled_from([b"/", b"/new", b"/new/"]))
def test_a_path_target_never_leaves_the_host(below: str, target: bytes) -> None:
    answer = PrefixRedirect(b"/old", target)(exchange(b"/old/" + below.encode()))
    assert answer is not None
    location = answer.headers[0][1]
    assert location.startswith(b"/") and not location.startswith(b"//")


# ---------------------------------------------------------------------------------------------------- what a configuration becomes

BACKEND = Backend("b", "http://b", "http", "b", 80)


def location(path: str, redirect: str = "", http: bool = False, served: bool = True) -> Location:
    return Location(path, path, redirect=redirect, http_redirect=http, backends=(BACKEND,) if served else ())


def ask(service: Service, path: bytes, scheme: str = "https") -> bytes | int | str:
    """Where a request is sent; or 404, or the path of the location that serves it."""
    found = Prefixes([(each.path.encode(), each) for each in service.locations]).find(path)
    try:
        for filter_ in redirects(service, found) if found else elsewhere(service):
            answer = filter_(exchange(path, b"q", scheme=scheme))
            if answer is not None:
                assert answer.status == 308
                return answer.headers[0][1]
    except BadRequest as error:
        return error.status
    return found.path if found else 404


def service(*locations: Location, http: bool = False, port: int = 443) -> Service:
    return Service("s", ("*",), (":80",), tuple(locations), http_redirect=http, redirect_port=port)


API = location("/api/", redirect="/")


def test_an_exact_redirect_is_in_each_location_that_may_get_its_source() -> None:
    readers = replace(location("/"), id="r", match=Match(methods=("GET",)))
    only = replace(location("/x"), id="x", match=Match(exact=True))
    every = service(API, readers, location("/"), only)
    assert [len(redirects(every, one)) for one in every.locations] == [0, 1, 1, 0]
    assert elsewhere(every) == ()
    some = service(API, readers)
    assert [len(redirects(some, one)) for one in some.locations] == [0, 1]
    assert len(elsewhere(some)) == 1, "requests that are not for readers"
    assert len(elsewhere(service(API, location("/"), only, http=True))) == 0


@pytest.mark.parametrize(
    ("what", "path", "scheme", "outcome"),
    [
        (service(API), b"/", "https", b"/api/?q"),
        (service(API), b"/x", "https", 404),
        (service(API), b"/api/x", "https", "/api/"),
        (service(API, location("/")), b"/", "https", b"/api/?q"),
        (service(API, location("/")), b"/x", "https", "/"),
        (service(API, location("/")), b"/api", "https", "/api/"),
        (service(location("/api", redirect="/docs/%7Eapi"), location("/docs")), b"/docs/~api", "https", b"/api?q"),
        (service(location("/api", redirect="/docs/api"), location("/docs")), b"/docs/api/x", "https", "/docs"),
        (service(location("/old", redirect="/new", served=False), location("/new")), b"/old/x", "https", b"/new/x?q"),
        (service(location("/old", redirect="https://b.test/")), b"/old/x", "https", b"https://b.test/x?q"),
        (service(location("/"), location("/a", http=True)), b"/a", "http", b"https://a.test/a?q"),
        (service(location("/"), location("/a", http=True)), b"/a", "https", "/a"),
        (service(location("/"), location("/a", http=True)), b"/b", "http", "/"),
        (service(http=True, port=8455), b"/x", "http", b"https://a.test:8455/x?q"),
        (service(http=True), b"/x", "https", 404),
        (service(location("/a", http=True), http=True), b"/b", "http", b"https://a.test/b?q"),
        (service(location("/api/", redirect="/", http=True), http=True), b"/", "http", b"https://a.test/?q"),
        (service(location("/api/", redirect="/", http=True), http=True), b"/", "https", b"/api/?q"),
        (service(location("/a")), b"/b", "http", 404),
    ],
)
def test_service(what: Service, path: bytes, scheme: str, outcome: bytes | int | str) -> None:
    assert ask(what, path, scheme) == outcome


def test_nothing_to_ask_where_nothing_redirects() -> None:
    plain = service(location("/"), location("/a"))
    assert redirects(plain, plain.locations[0]) == elsewhere(plain) == elsewhere(service(location("/a"))) == ()


@pytest.mark.parametrize("source", ["/../x", "/api", "/%61pi", "/x y"])
def test_a_source_that_cannot_be_one(source: str) -> None:
    broken = service(location("/api", redirect=source))
    with pytest.raises(ConfigError, match="redirect"):
        redirects(broken, broken.locations[0])
