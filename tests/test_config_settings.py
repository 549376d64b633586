"""Values as people write them, the schema, and the configuration that comes with Terraster."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.config import addresses, algorithms, hash_on, quantities
from terraster.config.checks import canonical
from terraster.config.resolve import resolve
from terraster.config.settings import BackendSettings, Model
from terraster.config.settings.base import keys_of, submodel
from terraster.errors import BadRequest
from terraster.route import target
from tests.harness.configuration import LANGUAGE, load

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("500ms", 0.5),
        ("1d", 86400),
        ("0", 0),
        ("90", 90),
        (90, 90),
        (0.5, 0.5),
        (" 1h 5s ", 3605),
    ],
)
def test_durations(written: object, seconds: float) -> None:
    assert quantities.duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "written", ["", "s", "1x", "-1s", "1 2", "1h-1m", -1, True, None, [1], "1e400", float("inf"), float("nan"), 10**30, "9" * 100]
)
def test_no_durations(written: object) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        quantities.duration(written)


@pytest.mark.parametrize(
    ("written", "octets"), [("64k", 65536), ("10M", 10485760), ("2GiB", 2 << 30), ("1.5k", 1536), (0, 0), ("10", 10), ("3KB", 3072)]
)
def test_sizes(written: object, octets: int) -> None:
    assert quantities.size(written) == octets


@pytest.mark.parametrize("written", ["", "k", "-1", "1.5", "1x", True, 1.5, None, -1, 1 << 61, "1" * 99])
def test_no_sizes(written: object) -> None:
    with pytest.raises(ValueError, match="must be a size"):
        quantities.size(written)


@pytest.mark.parametrize(
    ("written", "address"),
    [
        (8080, ":8080"),
        ("8080", ":8080"),
        (":8080", ":8080"),
        ("*:80", ":80"),
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("localhost:80", "127.0.0.1:80"),
        ("[::1]:80", "[::1]:80"),
        ("[0:0::1]:080", "[::1]:80"),
        ("unix:/run/x.sock", "unix:/run/x.sock"),
    ],
)
def test_listen_addresses(written: object, address: str) -> None:
    assert addresses.listen_address(written) == address
    assert addresses.listen_address(address) == address


@pytest.mark.parametrize(
    ("one", "other", "answer"),
    [
        (":80", "127.0.0.1:80", True),
        (":80", "[::1]:80", True),
        (":80", "127.0.0.1:81", False),
        ("0.0.0.0:80", "127.0.0.1:80", True),
        ("0.0.0.0:80", "[::1]:80", False),
        ("[::]:80", "[::1]:80", True),
        ("[::]:80", "127.0.0.1:80", False),
        ("127.0.0.1:80", "127.0.0.2:80", False),
        ("unix:/a", "unix:/b", False),
        (":80", ":80", False),
    ],
)
def test_overlaps(one: str, other: str, answer: bool) -> None:
    assert addresses.overlap(one, other) is answer
    assert addresses.overlap(other, one) is answer


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("http://h", ("http://h", "http", "h", 80, "")),
        ("HTTPS://Ex.Com/", ("https://ex.com", "https", "ex.com", 443, "")),
        ("http://10.0.0.1:8080/a/b/", ("http://10.0.0.1:8080/a/b", "http", "10.0.0.1", 8080, "/a/b")),
        ("http://[::1]:80", ("http://[::1]:80", "http", "::1", 80, "")),
        ("http://[0:0::1]", ("http://[::1]", "http", "::1", 80, "")),
        ("http://bücher.example", ("http://xn--bcher-kva.example", "http", "xn--bcher-kva.example", 80, "")),
    ],
)
def test_urls(written: str, parts: tuple[object, ...]) -> None:
    assert addresses.url(written) == (*parts, False, "")


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("srv+http://Shop.Internal", ("srv+http://shop.internal", "http", "shop.internal", 0, "", True)),
        ("SRV+https://_https._tcp.h/b/", ("srv+https://_https._tcp.h/b", "https", "_https._tcp.h", 0, "/b", True)),
    ],
)
def test_urls_of_srv_records(written: str, parts: tuple[object, ...]) -> None:
    assert addresses.url(written) == (*parts, "")


@pytest.mark.parametrize("written", ["srv+http://h:80", "srv+http://10.0.0.1", "srv+http://[::1]", "srv+ftp://h", "srv://h"])
def test_no_urls_of_srv_records(written: str) -> None:
    with pytest.raises(ValueError, match="name without a port|must start with"):
        addresses.url(written)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Shop.Example.com", "shop.example.com"),
        ("shop.example.com.", "shop.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("10.0.0.1", "10.0.0.1"),
        ("0:0::1", "::1"),
    ],
)
def test_server_names(written: str, name: str) -> None:
    assert addresses.server_name(written) == name == addresses.server_name(name)


@pytest.mark.parametrize(
    "written", [".example.com", "a..b", "*.example.com", "*", "[::1]", "a:443", "x" * 64, "a b", "a\0b", 5, " "]
)
def test_no_server_names(written: object) -> None:
    with pytest.raises(ValueError):
        addresses.server_name(written)
    with pytest.raises(ValueError):
        BackendSettings.model_validate({"url": "https://h", "sni": written})
    with pytest.raises(ValueError):
        BackendSettings.model_validate({"url": "https://h", "health_check": {"sni": written}})


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("10.0.0.2", "10.0.0.2"),
        ("10.0.0.2:5353", "10.0.0.2:5353"),
        ("10.0.0.2:53", "10.0.0.2"),
        ("::1", "::1"),
        ("[0::1]", "::1"),
        ("[::1]:5353", "[::1]:5353"),
    ],
)
def test_nameservers(written: str, address: str) -> None:
    assert addresses.nameserver(written) == address == addresses.nameserver(address)


@pytest.mark.parametrize(
    "written", ["", "ns.example.com", "10.0.0.2:", "10.0.0.2:0", "[::1", "[::1]53", "[10.0.0.2]:x", "1.2.3", 53, None]
)
def test_no_nameservers(written: object) -> None:
    with pytest.raises(ValueError, match="must be an address|has a port"):
        addresses.nameserver(written)


@pytest.mark.parametrize(
    ("written", "part"),
    [("50%", 0.5), ("0.5", 0.5), (0.5, 0.5), (1, 1), (0, 0), ("100%", 1), (" 12.5 % ", 0.125), (".2", 0.2), (1e-5, 1e-5)],
)
def test_shares(written: object, part: float) -> None:
    assert quantities.share(written) == part


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (50, "must be a share: write 50% or 0.5"),
        ("50", "must be a share: write 50% or 0.5"),
        (1.5, "must be a share: write 1.5% or 0.015"),
        ("101%", "must be a share from 0 to 100%"),
        (101, "must be a share from 0 to 100%"),
        (-0.1, "must be a share from 0 to 100%"),
        (float("nan"), "must be a share from 0 to 100%"),
        ("-1%", 'must be a share like "50%" or 0.5'),
        ("half", 'must be a share like "50%" or 0.5'),
        (True, 'must be a share like "50%" or 0.5'),
        (None, 'must be a share like "50%" or 0.5'),
    ],
)
def test_no_shares(written: object, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        quantities.share(written)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("client-ip", "client-ip"),
        ("Client_IP", "client-ip"),
        (" path ", "path"),
        ("header:X-Tenant", "header:x-tenant"),
        ("Header: X-Tenant", "header:x-tenant"),
        ("cookie:Sid", "cookie:Sid"),
        ("query:user[id]", "query:user[id]"),
    ],
)
def test_what_a_hash_goes_by(written: object, canonical: str) -> None:
    assert hash_on.selector(written) == canonical == hash_on.selector(canonical)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("clientip", "is not a valid selector: 'clientip'; did you mean `client-ip`?"),
        ("headers:X-A", "is not a valid selector: 'headers:X-A'; did you mean `header:NAME`?"),
        ("zzz", "is not a valid selector: 'zzz'; there are client-ip, path, header:NAME, cookie:NAME or query:NAME"),
        ("header", "must say which header: header:NAME"),
        ("cookie: ", "must say which cookie: cookie:NAME"),
        ("header:a b", "has an invalid header name: 'a b'"),
        ("cookie:a;b", "has an invalid cookie name: 'a;b'"),
        ("query:a=b", "has an invalid query key: 'a=b'"),
        ("query:ä", "has an invalid query key: 'ä'"),
        ("path:/x", "must not have a name after `path`, not 'path:/x'"),
        (5, "must be client-ip, path, header:NAME, cookie:NAME or query:NAME"),
    ],
)
def test_what_no_hash_goes_by(written: object, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        hash_on.selector(written)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "h",
        "//h",
        "http:/h",
        "http://",
        "http://:80",
        "http://u@h",
        "http://h?q",
        "http://h#f",
        "http://h:0",
        "http://h:x",
        "http://h:",
    ]
    + [
        "http://[::1",
        "http://[x]",
        "http://h/a b",
        "http://h/../x",
        "http://h/%zz",
        "ws://h",
        "http://a_b-.c",
        "http://h\nx",
        5,
        None,
    ],
)
def test_no_urls(written: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        addresses.url(written)


UNIX_URLS = [
    ("unix:/run/app.sock", "unix:/run/app.sock", "/run/app.sock", ""),
    ("unix:///run/app.sock", "unix:/run/app.sock", "/run/app.sock", ""),
    ("http+unix://%2Frun%2fapp.sock", "unix:/run/app.sock", "/run/app.sock", ""),
    ("HTTP+unix://%2Frun%2Fapp.sock/", "unix:/run/app.sock", "/run/app.sock", ""),
    ("http+unix://%2Frun%2fapp.sock/base/", "http+unix://%2Frun%2Fapp.sock/base", "/run/app.sock", "/base"),
    ("http+unix://%2Frun%2Fa%20b%3A1/x", "http+unix://%2Frun%2Fa%20b%3A1/x", "/run/a b:1", "/x"),
    ("unix:/run/app:1.sock", "unix:/run/app:1.sock", "/run/app:1.sock", ""),
    ("unix:/run/\u00e4", "http+unix://%2Frun%2F%C3%A4", "/run/\u00e4", ""),
    (f"unix:/{'x' * 106}", f"unix:/{'x' * 106}", f"/{'x' * 106}", ""),
]


@pytest.mark.parametrize(("written", "text", "socket", "base"), UNIX_URLS)
def test_urls_of_unix_sockets(written: str, text: str, socket: str, base: str) -> None:
    made = addresses.url(written)
    assert made == addresses.Url(text, "http", "localhost", 80, base, False, socket)
    assert not made.is_named and addresses.url(text) == made


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("http://unix:/run/app.sock", "must be written as unix:/run/app.sock, not 'http://unix:/run/app.sock'"),
        (
            "http://unix:/run/app.sock:/v1/",
            "must be written as http+unix://%2Frun%2Fapp.sock/v1, not 'http://unix:/run/app.sock:/v1/'",
        ),
        ("unix:/run/app.sock:/v1", "must be written as http+unix://%2Frun%2Fapp.sock/v1, not 'unix:/run/app.sock:/v1'"),
        ("unix:/run/app.sock:", "must be written as unix:/run/app.sock, not 'unix:/run/app.sock:'"),
        ("unix//run/app.sock", "must be written as unix:/run/app.sock, not 'unix//run/app.sock'"),
        ("unix@/run/app.sock", "must be written as unix:/run/app.sock, not 'unix@/run/app.sock'"),
        ("/run/app.sock", "must be written as unix:/run/app.sock, not '/run/app.sock'"),
        ("unix:app.sock", "must name a unix socket by an absolute path of at most 107 octets: unix:/path"),
        ("http://unix:app.sock:/v1", "must name a unix socket by an absolute path of at most 107 octets: unix:/path"),
        ("unix:@app", "must name a unix socket by its path, because abstract sockets are not supported"),
        (
            "http+unix:///run/app.sock",
            "must have the path of its socket percent-encoded: unix:/run/app.sock or http+unix://%2Fpath/base",
        ),
        ("http+unix://run%2Fapp.sock", "must name a unix socket by an absolute path of at most 107 octets: unix:/path"),
        ("http+unix://%2Fapp%00", "must name a unix socket by an absolute path of at most 107 octets: unix:/path"),
        (f"unix:/{'x' * 107}", "must name a unix socket by an absolute path of at most 107 octets: unix:/path"),
        ("http+unix://%2Fapp%ff", "has no usable path of a unix socket: '%2Fapp%ff'"),
        ("http+unix://%2Fapp%0a/x", "has no usable path of a unix socket: '/app\\n'"),
        ("unix:/run/", "has no usable path of a unix socket: '/run/'"),
        ("http+unix://%2Fapp?x", "must not contain a query or a fragment"),
        ("http+unix://%2Fapp/../x", "must not have . or .. in its path"),
        ("https+unix://%2Fapp", "must start with http+unix:// or unix:/, because TLS over a unix socket is not supported"),
        ("https://unix:/run/app.sock", "must start with http+unix:// or unix:/, because TLS over a unix socket is not supported"),
        ("unix:", "must be a URL like http://10.0.0.1:8080, not 'unix:'"),
    ],
)
def test_no_urls_of_unix_sockets(written: str, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        addresses.url(written)


@given(st.text(alphabet="unix:/@htp+%2Fabc.", max_size=30))
def test_urls_of_unix_sockets_take_anything(text: str) -> None:
    try:
        made = addresses.url(text)
    except ValueError:
        return
    assert addresses.url(made.text) == made


@given(st.text(max_size=30))
def test_addresses_take_anything(text: str) -> None:
    for take in (addresses.listen_address, addresses.url, addresses.host_name, addresses.network, addresses.nameserver):
        try:
            made = take(text)
        except ValueError:
            continue
        again = made.text if isinstance(made, addresses.Url) else made
        assert take(again) == made


@pytest.mark.parametrize("name", ["Example.COM.", "*.example.com", "*", "a_b", "[::1]"])
def test_host_names(name: str) -> None:
    assert addresses.host_name(name) == name.lower().removesuffix(".")


@pytest.mark.parametrize("name", ["", "a b", "a:80", "8", "8.", "\u00b2", "*.*", "*a", "a..b", "-a", "http://a", "[::", "*."])
def test_no_host_names(name: str) -> None:
    with pytest.raises(ValueError, match="must be|is not a valid host name"):
        addresses.host_name(name)


@pytest.mark.parametrize(
    ("written", "name"),
    [("round_robin", "round-robin"), ("Least-Connections", "least-connections"), ("least_response_time", "response-time")],
)
def test_algorithms(written: str, name: str) -> None:
    assert algorithms.algorithm(written) == name


SEGMENTS = st.lists(st.sampled_from(["a", ".", "..", "%41", "%2f", "%2E", "b;c", "", "%c3%a9", "[", "..."]), min_size=1, max_size=6)


@given(SEGMENTS)
def test_paths_in_the_file_become_what_requests_become(segments: list[str]) -> None:
    path = "/" + "/".join(segments)
    try:
        expected = target.canonical(path.encode(), False, False)[0].decode()
    except BadRequest:  # climbs above the root: no request can have it
        return
    assert canonical(path) == expected


def test_the_packaged_configuration_is_the_one_in_etc() -> None:
    etc, packaged = ROOT / "etc" / "terraster.yaml", ROOT / "terraster" / "config" / "default.yaml"
    assert etc.read_text() == packaged.read_text()
    snapshot = resolve(load(str(etc)), 1)
    assert [listener.address for listener in snapshot.listeners] == [":8080"]
    assert (snapshot.admin_listen, snapshot.metrics_listen) == ("127.0.0.1:8081", "127.0.0.1:9090")
    backends = snapshot.services[0].locations[0].backends
    assert [(backend.url, backend.health.path) for backend in backends] == [
        ("http://127.0.0.1:9001", "/health"),
        ("http://127.0.0.1:9002", "/health"),
    ]
    assert snapshot.warnings == ()


def _described(node: Any, where: str) -> list[str]:
    missing = []
    for name, part in node.get("properties", {}).items():
        if not part.get("description"):
            missing.append(f"{where}.{name}")
    return missing


def test_the_schema_describes_every_key() -> None:
    made = LANGUAGE.schema()
    assert made["$schema"].endswith("2020-12/schema")
    assert made["additionalProperties"] is False
    assert "terraster" not in made["properties"] and {"port", "services", "trusted_proxies"} <= made["properties"].keys()
    parts = {"": made, **made["$defs"]}
    assert [path for name, part in parts.items() for path in _described(part, name)] == []
    assert "round_robin" in made["properties"]["algorithm"]["anyOf"][0]["enum"]


def test_the_schema_offers_no_null_which_no_key_takes() -> None:
    def parts(node: Any) -> Iterator[dict[str, Any]]:
        if isinstance(node, dict):
            yield node
        for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            yield from parts(inner)

    made = LANGUAGE.schema()
    found = [part for part in parts(made) if part.get("type") == "null" or part.get("default", "") is None]
    assert found == [] and made["properties"]["hash_on"]["type"] == ["string", "number", "boolean"]
    assert made["properties"]["timeouts"]["$ref"] == "#/$defs/TimeoutSettings" and made["properties"]["timeouts"]["description"]


def test_the_schema_knows_the_words_for_mappings() -> None:
    made = LANGUAGE.schema()
    off, word = {"enum": [False, "off", "no", "false"]}, {"enum": [True, "on", "yes", "true", False, "off", "no", "false"]}
    for part in (made, made["$defs"]["ServiceSettings"], made["$defs"]["LocationSettings"]):
        kinds = [part["properties"][key]["anyOf"] for key in ("outlier", "retry", "queue")]
        assert [kind[1]["anyOf"][0] for kind in kinds] == [word, off, off]
        assert kinds[1][0] == {"$ref": "#/$defs/RetrySettings"}
    assert made["properties"]["circuit_breaker"]["anyOf"][1]["anyOf"][0] == word


def test_a_default_is_written_once() -> None:
    """A key that has a value of its own as its default has no words about it, and the schema tells it as it would be written."""

    def models(model: type[Model], seen: set[type[Model]]) -> Iterator[type[Model]]:
        if model not in seen:
            seen.add(model)
            yield model
            for field in keys_of(model).values():
                child, _ = submodel(field.annotation)
                if child is not None:
                    yield from models(child, seen)

    twice, plain = [], 0
    for model in models(LANGUAGE.settings, set()):
        for name, field in keys_of(model).items():
            value = field.default
            if isinstance(value, bool | int | float) and not field.is_required() and value >= 0:
                plain += 1
                twice += [f"{model.__name__}.{name}"] if "Default:" in (field.description or "") else []
    assert (twice, plain > 80) == ([], True)
    told = LANGUAGE.schema()["$defs"]
    for part, key, default in [
        ("TimeoutSettings", "tunnel", "1h"),
        ("RetrySettings", "budget", "20%"),
        ("RetrySettings", "body_size", "64k"),
    ]:
        assert told[part]["properties"][key]["description"].endswith(f" Default: {default}.")
