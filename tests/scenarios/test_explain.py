"""`--explain` says what traffic does: the same requests are explained, and sent to a running Terraster."""

from __future__ import annotations

import random
from typing import Any

import pytest

from terraster.config.loader import Loader
from terraster.config.resolve import resolve
from terraster.explain.course import courses, prepared
from terraster.explain.question import Question
from terraster.filters.registry import KINDS

from ..harness.backends import Backend, ok
from ..harness.client import exchange
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
)
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
)
MATCHES: tuple[dict[str, Any], ...] = (
    {"methods": ["POST", "HEAD"]},
    {"path": "exact"},
    {"headers": {"Accept": "true"}},
    {"query": {"q": "1"}},
    {"clients": ["10.0.0.0/8"]},
    {"path_regex": "/a.*"},
)
PLACES: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"rewrite": "/inner"},
    {"redirect": "https://else.test"},
    {"respond": {"status": 204}},
    {"headers": {"request_headers": {"X-Said": "${method} ${host}"}, "remove_request_headers": ["Accept"]}},
    {"lb_policy": "ip-hash"},
    {"split": {"by": "client-ip", "to": "arms"}},
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
            if "split" in place:
                place["split"] = {**place["split"], "to": [{"weight": 1, "backends": [{"url": url}]} for url in urls]}
            elif "respond" not in place and "redirect" not in place:
                place["backends"] = [{"url": url + chance.choice(("", "/base"))} for url in urls]
            place["middleware"] = filters(chance, 2)
            if chance.random() < 0.3:
                place["match"] = chance.choice(MATCHES)
            locations.append({"path": path, **place})
        services.append({"name": f"s{number}", "host": host, "middleware": filters(chance, 1), "locations": locations})
    return services


def question(chance: random.Random, port: int) -> Question:
    fields = chance.sample(FIELDS, chance.choice((0, 0, 0, 1, 2)))
    return Question(chance.choice(METHODS), "http", chance.choice(ASKED), port, chance.choice(TARGETS), tuple(fields), "127.0.0.1")


def lines(head: bytes) -> list[bytes]:
    """The lines of a head without the id, which traffic makes."""
    return [line for line in head.split(b"\r\n") if not line.startswith(b"X-Request-ID: ")]


@pytest.mark.parametrize("seed", range(20))
def test_the_answers_of_traffic(terraster, backend, seed: int) -> None:
    """50 requests to a configuration made by chance: status, place, the head that a backend gets, and which backends may get it."""
    chance = random.Random(seed)
    origins: list[Backend] = [backend(answer=ok()) for _ in range(2)]
    trusted = chance.choice(([], ["127.0.0.0/8"]))
    services = configuration(chance, [origin.url for origin in origins])
    shown = {"response_headers": {"X-Place": "${service}${location}"}}
    proxy: Terraster = terraster(*services, trusted_proxies=trusted, middleware=[{"headers": shown}], retry="off")
    plan = prepared(resolve(Loader({}, kinds=KINDS).load(str(proxy.config_file)), 1, secret=bytes(32)))
    for _ in range(50):
        asked = question(chance, proxy.port)
        (course,) = courses(plan, asked)
        before = [len(origin.requests) for origin in origins]
        answer = exchange(proxy.address, asked.head(), asked.method)
        got = [origin for origin, count in zip(origins, before, strict=True) if len(origin.requests) > count]
        told = (asked, course, answer)
        assert bool(got) == (not course.status), told
        if got:
            assert answer.status == 200, told
            assert lines(got[0].requests[-1].raw.split(b"\r\n\r\n")[0] + b"\r\n\r\n") == lines(course.head), told
            assert any(one.takes and one.url.startswith(got[0].url) for one in course.candidates), told
        else:
            assert answer.status == course.status, told
        if course.service:
            assert answer.get("x-place") == course.service + course.location, told
