"""`--explain` says what traffic does: the same requests are explained, and sent to a running Terraster."""

from __future__ import annotations

import json
import random
import ssl
from itertools import product
from pathlib import Path
from typing import Any

import jwt
import pytest

from terraster.config.loader import Loader
from terraster.config.resolve import resolve
from terraster.explain.course import courses, prepared
from terraster.explain.document import document
from terraster.explain.question import Question, ask
from terraster.filters.registry import KINDS

from ..harness.authority import Authority
from ..harness.backends import Backend, ok
from ..harness.client import exchange
from ..harness.http2_client import Http2
from ..harness.issuer import SECRET
from ..harness.sizes import times
from ..harness.terraster_process import Terraster

HOSTS = ("a.test", "b.test", "*.a.test", "*.x.a.test", "~^shop[0-9]+[.]test$", "*")
ASKED = ("a.test", "A.TEST.", "b.test:8080", "c.a.test", "y.x.a.test", "shop7.test", "shop.test", "else.test", "bad host", "")
PATHS = ("/", "/api", "/api/v2", "/api/v2/deep", "/static/", "/apifoo", "/admin")
TARGETS = (
    "/",
    "/api",
    "/api/",
    "/api/v2/x?q=1",
    "//api//v2",
    "/apifoo/1",
    "/static",
    "/admin/..%2fapi",
    "/admin",
    "/%2e%2e/x",
    "/API",
    "/a b",
    "*",
    "http://b.test/api/v2",
    "/%zz",
    "/api/v2?arm=b&x=%00",
    "/static/%41;v=1//",
    "/api/./x/../../admin",
    "/item/17",
)
TOKEN = jwt.encode({"sub": "ann", "exp": 4_102_444_800}, SECRET, "HS256")
METHODS = ("GET", "GET", "GET", "POST", "HEAD", "OPTIONS", "TRACE", "DELETE")
FIELDS = (
    ("X-Forwarded-For", "10.1.2.3"),
    ("X-Forwarded-Proto", "https"),
    ("Authorization", "Basic dTpw"),
    ("Authorization", "Basic dTpx"),
    ("Origin", "https://a.test"),
    ("Access-Control-Request-Method", "PUT"),
    ("Max-Forwards", "0"),
    ("Accept", "text/html"),
    ("Connection", "x-gone"),
    ("X-Gone", "1"),
    ("X_Twin", "1"),
    ("Content-Length", "x"),
    ("Content-Length", "0"),
    ("Host", "a.test"),
    ("X-Forwarded-Host", "b.test"),
    ("Forwarded", "for=10.1.2.3;proto=https;host=c.a.test"),
    ("X-Request-ID", "abc"),
    ("Authorization", f"Bearer {TOKEN}"),
    ("Authorization", "Bearer x.y.z"),
    ("Cookie", "tester=1; arm=b"),
    ("X-Arm", "b"),
    ("TE", "trailers"),
    ("Via", "1.0 other"),
    ("Expect", "100-continue"),
    ("Upgrade", "websocket"),
    ("Accept-Encoding", "gzip, br"),
)
FILTERS: tuple[dict[str, Any], ...] = (
    {"ip_access": {"allow": ["127.0.0.0/8"]}},
    {"ip_access": {"deny": ["127.0.0.1", "10.1.0.0/16"]}},
    {"basic_auth": {"users": {"u": "{SHA}UWuXg/ylF+7L0dBk2i0WUxCxl1k="}}},  # "p"
    {"cors": {"allowed_origins": ["https://a.test"]}},
    {"maintenance": {"enabled": True, "bypass": ["127.0.0.0/8"]}},
    {"maintenance": {"enabled": True}},
    {"limit_connections": {"per_client": 1000}},
    {"rate_limit": {"requests_per_second": 10000, "burst": 1000}},
    {"jwt": {"key": SECRET, "claims_to_headers": {"sub": "X-Sub"}, "forward_credentials": False}},
    {"compression": {"types": ["text/*"]}},
    {"security": {"frame_options": "deny"}},
)
MATCHES: tuple[dict[str, Any], ...] = (
    {"methods": ["POST", "HEAD"]},
    {"path": "exact"},
    {"headers": {"Accept": "true"}},
    {"query": {"q": "1"}},
    {"clients": ["10.0.0.0/8"]},
    {"path_regex": "/a.*"},
    {"cookies": {"tester": "1"}},
    {"headers": {"Accept": "~text/.*"}, "methods": ["GET"]},
)
EXACT = "/item/17"
"""A path that is redirected to that of a location with backends."""

PLACES: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"rewrite": "/inner"},
    {"redirect": "https://else.test"},
    {"respond": {"status": 204}},
    {"headers": {"request_headers": {"X-Said": "${method} ${host}"}, "remove_request_headers": ["Accept"]}},
    {"lb_policy": "ip-hash"},
    {"split": {"by": "client-ip", "to": "arms"}},
    {"split": {"by": "header:X-Arm", "override": "query:arm", "to": "arms"}},
    {"split": {"by": "cookie", "to": "arms"}},
    {"rewrite": [{"match": "/item/([0-9]+)", "to": r"/i?id=\1"}, {"match": "/api/(.*)", "to": r"/v/\1/../x"}, {"prefix": "/in"}]},
    {"lb_policy": "consistent-hash", "hash_on": "header:X-Arm"},
    {"lb_policy": "sticky-session"},
    {"lb_policy": "least-connections"},
    {"redirect": EXACT},
    {"buffer": {"request": True, "response": True}},
)


def filters(chance: random.Random, most: int) -> list[dict[str, Any]]:
    """Some filters, no two of a kind."""
    chosen = {next(iter(one)): one for one in chance.sample(FILTERS, chance.choice((0, 0, most)))}
    return list(chosen.values())


def configuration(chance: random.Random, urls: list[str]) -> list[dict[str, Any]]:
    """Services with locations and filters, by chance."""
    services = []
    for number, host in enumerate(chance.sample(HOSTS, chance.randint(1, 4))):
        locations = []
        for path in chance.sample(PATHS * 2, chance.randint(1, 6)):
            if any(path.rstrip("/") == other["path"].rstrip("/") and "match" not in other for other in locations):
                continue
            place = dict(chance.choice(PLACES))
            if place.get("redirect") == EXACT and any(other.get("redirect") == EXACT for other in locations):
                place = {}
            if "split" in place:
                place["split"] = {
                    **place["split"],
                    "to": [{"name": name, "weight": 1, "backends": [{"url": url}]} for name, url in zip("ab", urls, strict=True)],
                }
            elif "respond" not in place and place.get("redirect", EXACT) == EXACT:
                place["backends"] = [{"url": url + chance.choice(("", "/base"))} for url in urls]
            place["middleware"] = filters(chance, 2)
            if chance.random() < 0.3:
                place["match"] = chance.choice(MATCHES)
            locations.append({"path": path, **place})
        keys = {"encoded_slashes": "refuse"} if chance.random() < 0.2 else {"merge_slashes": False} if chance.random() < 0.2 else {}
        services.append({"name": f"s{number}", "host": host, "middleware": filters(chance, 1), "locations": locations, **keys})
    return services


def question(chance: random.Random, port: int) -> Question:
    fields = chance.sample(FIELDS, chance.choice((0, 0, 0, 1, 2)))
    return Question(chance.choice(METHODS), "http", chance.choice(ASKED), port, chance.choice(TARGETS), tuple(fields), "127.0.0.1")


def lines(head: bytes) -> list[bytes]:
    """The lines of a head without the id, which traffic makes."""
    return [line for line in head.split(b"\r\n") if not line.startswith(b"X-Request-ID: ")]


def asked_online(proxy: Terraster, asked: Question) -> dict[str, Any] | None:
    """The course by what is running. None: the request cannot be written as a person writes one."""
    words = f"{asked.method} http://{asked.host}{asked.target}"
    headers = [f"{name}: {value}" for name, value in asked.fields]
    try:
        if ask(words, headers, asked.client)._replace(port=asked.port) != asked:
            return None
    except ValueError:
        return None
    body = json.dumps({"request": words, "headers": headers, "client": asked.client, "listener": str(asked.port)})
    (found,) = proxy.control("POST", "/explain", body=body.encode())["courses"]
    course: dict[str, Any] = found
    return course


def differences(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """How two documents of a course differ, but for what chance and turns decide, and for places and loads."""
    split = any(each["kind"] == "split" for each in one["decisions"])  # a client without a cookie has any arm

    def told(course: dict[str, Any]) -> dict[str, Any]:
        picked = [each["url"] for each in course["candidates"] if each["picked"]]
        return {
            **{key: course[key] for key in ("listener", "status", "reason", "service", "host", "location", "algorithm", "open")},
            "near": [near["text"] for near in course["near"]],
            "decisions": [
                (each["kind"], "" if each["kind"] in ("split", "path") else each["text"])
                for each in course["decisions"]
                if each["kind"] != "path"
            ],
            "candidates": []
            if split
            else [(each["url"], each["weight"], each["takes"], each["note"]) for each in course["candidates"]],
            "head": (picked, lines(course["head"].encode("latin-1"))),
        }

    first, second = told(one), told(other)
    if first["head"][0] != second["head"][0]:
        first["head"] = second["head"] = None
    return {key: (first[key], second[key]) for key in first if first[key] != second[key]}


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.night) for seed in range(6, 20))])
@times(50, 1000)
def test_the_answers_of_traffic(terraster, backend, seed: int, count: int) -> None:
    """Requests to a configuration made by chance: status, where a redirect leads, place, the head that a backend gets, and which backends may
    get it. Some of them are asked about online as well."""
    chance = random.Random(seed)
    origins: list[Backend] = [backend(answer=ok()) for _ in range(2)]
    trusted = chance.choice(([], ["127.0.0.0/8"]))
    services = configuration(chance, [origin.url for origin in origins])
    shown = {"response_headers": {"X-Place": "${service}${location}"}}
    proxy: Terraster = terraster(*services, trusted_proxies=trusted, middleware=[{"headers": shown}], retry="off")
    plan = prepared(resolve(Loader({}, kinds=KINDS).load(str(proxy.config_file)), 1, secret=bytes(32)))
    online = 0
    for number in range(count):
        asked = question(chance, proxy.port)
        (course,) = courses(plan, asked)
        if not number % 10 and online < count // 25:
            found = asked_online(proxy, asked)
            online += found is not None
            assert found is None or not differences(document(course, lambda *_: ""), found), (asked, course, found)
        before = [len(origin.requests) for origin in origins]
        answer = exchange(proxy.address, asked.head(), asked.method)
        got = [origin for origin, seen in zip(origins, before, strict=True) if len(origin.requests) > seen]
        told = (asked, course, answer)
        assert bool(got) == (not course.status), told
        if got:
            assert answer.status == 200, told
            head = got[0].requests[-1].raw.split(b"\r\n\r\n")[0] + b"\r\n\r\n"
            urls = [one.url for one in course.candidates if one.takes]
            if any(one.kind == "split" for one in course.decisions) and not any(url.startswith(got[0].url) for url in urls):
                assert "'by': 'cookie'" in str(services), told  # it has an arm by chance
            else:
                assert any(url.startswith(got[0].url) for url in urls), told
            picked = next(one.url for one in course.candidates if one.picked)
            if picked.removeprefix(got[0].url) in ("", "/base") or len({url.rpartition("/base")[1] for url in urls}) == 1:
                assert lines(head) == lines(course.head), told
        else:
            assert answer.status == course.status, told
            assert (answer.get("location") or "") in course.decisions[-1].text if course.decisions else True, told
        if course.service:
            assert answer.get("x-place") == course.service + course.location, told


@pytest.fixture
def secured(terraster, backend, tmp_path: Path) -> tuple[Terraster, Backend, ssl.SSLContext]:
    """Terraster with three services over TLS, their backend, and a client's context. One service requires certificates of clients."""
    authority = Authority()
    origin = backend(answer=ok())
    tls = {}
    for number, name in enumerate(("a.test", "*.b.test", "strict.test")):
        chain, key = authority.issue(name).write(tmp_path, f"site{number}")
        tls[name] = {"cert_file": str(chain), "key_file": str(key), "http2": True}
    (tmp_path / "ca.pem").write_bytes(authority.root)
    tls["strict.test"]["client_auth"] = {"mode": "require", "ca_file": str(tmp_path / "ca.pem")}
    facts = {
        "headers": {
            "request_headers": {"X-Tls": "${tls_version} ${sni} ${scheme}"},
            "response_headers": {"X-Place": "${service}${location}"},
        }
    }
    deny = [{"ip_access": {"deny": ["127.0.0.1"]}}]
    sites = [
        {
            "name": f"s{number}",
            "host": name,
            "tls": settings,
            "locations": [
                {"path": "/", "backends": [{"url": origin.url}]},
                {"path": "/post", "match": {"methods": ["POST"]}, "rewrite": "/in", "backends": [{"url": origin.url}]},
                {"path": "/denied", "middleware": deny, "backends": [{"url": origin.url}]},
                {"path": "/moved", "redirect": "https://else.test"},
            ],
        }
        for number, (name, settings) in enumerate(tls.items())
    ]
    proxy = terraster(*sites, middleware=[facts])
    context = ssl.create_default_context(cadata=authority.root.decode())
    context.check_hostname = False
    return proxy, origin, context


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
def test_the_answers_of_traffic_over_tls(secured, protocol: str) -> None:
    """Each host, path and method, over both versions of HTTP; and the handshakes that fail."""
    proxy, origin, context = secured
    context.set_alpn_protocols([protocol])
    plan = prepared(resolve(Loader({}, kinds=KINDS).load(str(proxy.config_file)), 1, secret=bytes(32)))
    failed = 0
    for host, path, method in product(
        ("a.test", "x.b.test", "b.test", "strict.test"),
        ("/", "/post/1", "/denied", "/moved/x?y=1", "/%zz"),
        ("GET", "POST", "OPTIONS"),
    ):
        asked = Question(method, "https", host, proxy.port, path, (("X-Said", "1"),), "127.0.0.1")
        (course,) = courses(plan, asked)
        told = (asked, course)
        if not course.status and not course.head:
            failed += 1
            with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)), proxy.connect() as refused:
                refused.secure(context, host).send(asked.head()).response(method)
            continue
        with proxy.connect() as connection:
            connection.secure(context, host)
            if protocol == "h2":
                client = Http2(connection)
                answer: Any = client.answer(client.open(path, method=method, host=host, scheme="https", fields=[("x-said", "1")]))
            else:
                answer = connection.send(asked.head()).response(method)
        assert answer.status == (course.status or 200), told
        assert answer.get("x-place") == course.service + course.location, told
        if course.status == 308:
            assert answer.get("location") in course.decisions[-1].text, told
        if not course.status:
            raw = origin.requests[-1].raw
            assert f"X-Tls: TLSv1.3 {host} https".encode() in raw.split(b"\r\n"), told
            if protocol == "http/1.1":
                assert lines(raw) == lines(course.head), told
            else:
                assert raw.split(b"\r\n")[0] == course.head.split(b"\r\n")[0], told
    assert failed == 30
