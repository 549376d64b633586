"""What follows from what was written: inheritance, listeners, directories."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest

from terraster.config.directories import runtime_dir, state_dir
from terraster.config.min_rate import MinRate
from terraster.config.resolve import resolve
from terraster.config.snapshot import (
    BACKUP,
    AccessLog,
    Breaker,
    ConnectionPool,
    HealthCheck,
    Limits,
    Outlier,
    Queue,
    Retry,
    Snapshot,
    Sticky,
    Timeouts,
)
from terraster.filters.headers import HeaderSettings
from terraster.plan import compile_plan
from terraster.state.leases import Leases, capacities
from terraster.state.table import Table
from terraster.state.view import SeatView
from tests.harness.configuration import Loader, load


def snapshot(directory: Path, text: str) -> Snapshot:
    file = directory / "t.yaml"
    file.write_text(dedent(text))
    return resolve(load(str(file)), 7, environ={"XDG_RUNTIME_DIR": "/r", "XDG_STATE_HOME": "/s"})


def test_a_minimal_configuration(tmp_path: Path) -> None:
    made = snapshot(tmp_path, "backends: [{url: 'http://h/base/'}]\n")
    (service,) = made.services
    (location,) = service.locations
    (backend,) = location.backends
    assert made.generation == 7
    assert (service.name, service.hosts, service.listeners) == ("default", ("*",), (":8080",))
    assert (location.id, location.path, location.policy, location.slot) == ("default/", "/", "round-robin", -1)
    assert (backend.id, backend.host, backend.port, backend.base_path) == ("default/ http://h/base", "h", 80, "/base")
    assert (backend.health, made.timeouts, made.limits) == (HealthCheck(), Timeouts(), Limits())
    assert made.workers >= 1


def test_health_checks_are_inherited_key_by_key(tmp_path: Path) -> None:
    made = snapshot(
        tmp_path,
        """
        health_check: {path: /top, interval: 11s, thresholds: {healthy: 5}}
        services:
          - name: a
            health_check: {timeout: 3s, status: [200, "300-302"]}
            locations:
              - path: /
                health_check: {type: tcp, thresholds: {unhealthy: 9}}
                backends:
                  - url: https://h1
                    sni: name
                    skip_tls_verify: true
                    health_check: {interval: 1s}
                  - url: https://h2
                    health_check: {type: none}
        """,
    )
    one, two = (backend.health for backend in made.services[0].locations[0].backends)
    assert one == HealthCheck(
        type="tcp",
        path="/top",
        interval=1,
        timeout=3,
        healthy=5,
        unhealthy=9,
        status=((200, 200), (300, 302)),
        sni="name",
        skip_tls_verify=True,
    )
    assert (two.type, two.interval, two.sni, two.skip_tls_verify) == ("none", 11, "", False)


@pytest.mark.parametrize(
    ("top", "service", "location", "own", "backend", "skips"),
    [
        (None, None, None, None, True, True),
        (None, None, None, None, False, False),
        (None, None, None, False, True, False),
        (None, None, False, None, True, False),
        (None, False, None, None, True, False),
        (False, None, None, None, True, False),
        (False, None, True, None, False, True),
        (False, True, None, False, True, False),
        (True, False, None, None, True, False),
        (True, None, None, None, False, True),
    ],
)
def test_probes_verify_as_the_nearest_level_says(
    tmp_path: Path, top: bool | None, service: bool | None, location: bool | None, own: bool | None, backend: bool, skips: bool
) -> None:
    def check(said: bool | None) -> str:
        return "health_check: {}" if said is None else f"health_check: {{skip_tls_verify: {said}}}"

    made = snapshot(
        tmp_path,
        f"""
        {check(top)}
        services:
          - name: a
            {check(service)}
            locations:
              - path: /
                {check(location)}
                backends:
                  - url: https://h
                    skip_tls_verify: {backend}
                    {check(own)}
        """,
    )
    (one,) = made.services[0].locations[0].backends
    assert (one.health.skip_tls_verify, one.skip_tls_verify) == (skips, backend)


def test_the_mask_of_a_service_comes_before_that_of_its_logger(tmp_path: Path) -> None:
    made = snapshot(
        tmp_path,
        """
        access_log: {mask: top}
        loggers:
          service_default: {sanitization: {mask: default, sensitiveFields: [pin]}}
          shop: {sanitization: {mask: shop}}
          plain: {}
        services:
          - {name: a, host: a, http_redirect: true}
          - {name: b, host: b, http_redirect: true, access_log: {mask: own}}
          - {name: c, host: c, http_redirect: true, log_name: shop}
          - {name: d, host: d, http_redirect: true, log_name: shop, access_log: {mask: own}}
          - {name: e, host: e, http_redirect: true, log_name: plain}
        """,
    )
    assert [service.access_log.mask for service in made.services] == ["default", "own", "shop", "own", "top"]
    assert [service.access_log.redact_query[-1] for service in made.services[:2]] == ["pin", "pin"]


def test_a_location_masks_what_its_logger_says_too(tmp_path: Path) -> None:
    made = snapshot(
        tmp_path,
        """
        loggers: {service_default: {sanitization: {mask: default, sensitiveFields: [pin]}}}
        services:
          - name: a
            access_log: {mask: service}
            locations:
              - {path: /a, redirect: "https://x/", access_log: {redact_query: [key]}}
              - {path: /b, redirect: "https://x/", access_log: {mask: own}}
              - {path: /c, redirect: "https://x/"}
        """,
    )
    logs = [
        location.access_log and (location.access_log.mask, location.access_log.redact_query)
        for location in made.services[0].locations
    ]
    usual = (*AccessLog().redact_query, "pin")
    assert logs == [("service", ("key", "pin")), ("own", usual), None]


def test_a_log_name_that_is_only_a_label_has_the_rules_of_all(tmp_path: Path) -> None:
    made = snapshot(
        tmp_path,
        """
        loggers: {service_default: {sanitization: {mask: "#", sensitiveFields: [pin]}}}
        services: [{name: a, http_redirect: true, log_name: api}]
        """,
    )
    assert (made.services[0].access_log.mask, made.services[0].access_log.redact_query[-1]) == ("#", "pin")


def test_timeouts_limits_and_the_like(tmp_path: Path) -> None:
    made = snapshot(
        tmp_path,
        """
        timeouts: {read: 1s, connect: 2s}
        limits: {body_size: 1M, header_count: 7}
        encoded_slashes: refuse
        underscores: pass
        strict_responses: true
        access_log: {path: off, format: common}
        drain_timeout: 5s
        services:
          - name: a
            timeouts: {read: 0}
            limits: {body_size: 2M}
            access_log: stdout
            http_redirect: true
            redirect_port: 8443
          - name: b
            host: b
            encoded_slashes: keep
            underscores: drop
            strict_responses: false
            ignore_client_abort: true
            headers: {request_headers: {X-A: 1}, remove_response_headers: [Server]}
            http_redirect: true
            locations:
              - {path: /x, http_redirect: false, redirect: "https://x/"}
              - {path: /a}
        """,
    )
    a, b = made.services
    assert (a.timeouts.read, a.timeouts.connect, b.timeouts.read) == (0, 2, 1)
    assert (a.limits.body_size, a.limits.header_count, b.limits.body_size) == (2 << 20, 7, 1 << 20)
    assert (a.access_log.path, a.access_log.format, b.access_log.path) == ("-", "common", "")
    assert (a.encoded_slashes, b.encoded_slashes, b.ignore_client_abort) == ("refuse", "keep", True)
    assert (a.underscores, b.underscores, a.strict_responses, b.strict_responses) == ("pass", "drop", True, False)
    assert (a.redirect_port, a.http_redirect, made.drain_timeout) == (8443, True, 5)
    rules = dict(b.filters)["headers"]
    assert isinstance(rules, HeaderSettings)
    assert rules.request_headers == {"X-A": "1"} and rules.remove_response_headers == ("Server",)
    assert (a.filters, made.filters) == ((), ()) and all(location.filters == b.filters for location in b.locations)
    assert [(location.path, location.http_redirect, location.redirect) for location in b.locations] == [
        ("/a", True, ""),
        ("/x", False, "https://x/"),
    ]


EVERYTHING = """
    hash_on: cookie:Sid
    hash_balance_factor: 1.5
    slow_start: 30s
    panic_threshold: 40%
    sticky: {name: at, ttl: 1h, secure: true, same_site: off, algorithm: least-connections}
    outlier: {failures: 7, ratio: 0.25, statuses: [500, 502-504]}
    retry: {attempts: 5, on: 503, hedge: "95%"}
    queue: {size: 7}
    connection_pool: {max_idle: 0, max_open: 9}
    circuit_breaker: {failure_threshold: 9, probes: 2}
    nameservers: ["10.0.0.2", "[::1]:5353"]
    timeouts: {total: 1m}
    services:
      - name: a
        host: a
        locations: [{path: /, backends: [{url: "http://h"}]}]
      - name: b
        host: b
        outlier: off
        retry: {on: off, attempts: 2}
        sticky: {domain: .Example.com}
        timeouts: {total: 0}
        middleware: [{circuit_breaker: {timeout: 5s, statuses: 503}}]
        locations:
          - {path: /, backends: [{url: "http://h"}]}
          - path: /x
            outlier: {failures: 1}
            retry: off
            queue: off
            slow_start: off
            hash_balance_factor: off
            connection_pool: {max_idle: 3}
            sticky: {ttl: 0}
            backends: [{url: "http://h", priority: 2}, {url: "http://i", backup: true}, {url: "srv+https://_x._tcp.h/b"}]
      - name: c
        host: c
        middleware: [{circuit_breaker: off}]
        locations: [{path: /, backends: [{url: "http://h"}]}]
"""


MIN_RATES = """\
    limits: {min_rate: {in: 1k}}
    services:
      - name: a
        host: a
        limits: {min_rate: {out: 2k}, body_size: 5}
        locations:
          - {path: /, backends: ["http://h"]}
          - {path: /x, limits: {min_rate: {in: 0, grace: 30s}}, backends: ["http://h"]}
      - name: b
        host: b
        locations: [{path: /, backends: ["http://h"]}]
"""


def test_a_least_rate_is_inherited_key_by_key(tmp_path: Path) -> None:
    a, b = snapshot(tmp_path, MIN_RATES).services
    assert (a.limits.min_rate, b.limits.min_rate) == (MinRate(1024, 2048), MinRate(1024))
    assert [location.min_rate for location in a.locations] == [None, MinRate(0, 2048, 30.0)]
    assert a.limits.body_size == 5


def test_what_locations_inherit(tmp_path: Path) -> None:
    made = snapshot(tmp_path, EVERYTHING)
    a, b, c = made.services
    (at_top,), (at_service, below), (off,) = a.locations, b.locations, c.locations
    assert (at_top.hash_on, at_top.hash_balance_factor, at_top.slow_start, at_top.panic_threshold) == ("cookie:Sid", 1.5, 30, 0.4)
    assert at_top.sticky == Sticky(name="at", ttl=3600, secure="always", same_site="", algorithm="least-connections")
    assert at_top.outlier == Outlier(failures=7, ratio=0.25, statuses=((500, 500), (502, 504)))
    assert at_top.breaker == Breaker(threshold=9, probes=2)
    assert at_top.retry == Retry(attempts=5, on=((503, 503),), hedge=95)
    assert (at_top.queue, at_top.pool) == (Queue(size=7), ConnectionPool(max_idle=0, max_open=9))
    assert (made.nameservers, a.timeouts.total, b.timeouts.total) == (("10.0.0.2", "[::1]:5353"), 60, 0)

    assert at_service.outlier is None
    assert at_service.breaker == Breaker(threshold=9, probes=2, timeout=5, statuses=((503, 503),))
    assert at_service.retry == Retry(attempts=2, hedge=95)
    assert at_service.sticky == replace(at_top.sticky, domain="example.com")
    assert (at_service.queue is at_top.queue, at_service.pool is at_top.pool) == (True, True)

    assert below.outlier == replace(at_top.outlier, failures=1)  # on again, with what the top said
    assert (below.retry.attempts, below.retry.on, below.queue.size, below.slow_start, below.hash_balance_factor) == (1, (), 0, 0, 0)
    assert (below.pool, below.sticky) == (ConnectionPool(max_idle=3, max_open=9), replace(at_service.sticky, ttl=0))
    assert below.breaker is at_service.breaker
    assert off.breaker is None
    one, two, three = below.backends
    assert (one.priority, two.priority, three.priority) == (2, BACKUP, 0)
    assert (three.id, three.url, three.scheme, three.host, three.port, three.base_path, three.srv) == (
        "b/x srv+https://_x._tcp.h/b",
        "srv+https://_x._tcp.h/b",
        "https",
        "_x._tcp.h",
        0,
        "/b",
        True,
    )
    assert not one.srv


def test_where_nothing_is_written_the_value_is_the_same_object(tmp_path: Path) -> None:
    text = "services:\n" + "".join(
        f"- {{name: s{number}, host: h{number}, locations: [{{path: /, backends: [{{url: 'http://h'}}]}}]}}\n"
        for number in range(2)
    )
    made = snapshot(tmp_path, text)
    one, two = (service.locations[0] for service in made.services)
    assert (one.outlier, one.retry, one.queue, one.pool, one.sticky) == (Outlier(), Retry(), Queue(), ConnectionPool(), Sticky())
    assert (one.hash_on, one.breaker, one.slow_start) == ("client-ip", None, 0)
    for key in ("outlier", "retry", "queue", "pool", "sticky"):
        assert getattr(one, key) is getattr(two, key)


def test_the_key_of_the_cookies(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sixteen or more!\n")
    (tmp_path / "t.yaml").write_text(
        "services:\n"
        "- {name: a, host: a, locations: [{path: /, backends: [{url: 'http://h'}]}]}\n"
        "- {name: b, host: b, sticky: {secret: 'file:key'}, locations: [{path: /, backends: [{url: 'http://h'}]}]}\n"
    )
    made = resolve(load(str(tmp_path / "t.yaml")), 1, environ={}, secret=b"own")
    a, b = (service.locations[0].sticky for service in made.services)
    assert (a.key, b.key) == (b"own", hashlib.sha256(b"sixteen or more!").digest())
    assert "own" not in repr(a)


LISTENING = [
    ("port: 80", "", [(":80", False)]),
    ("listen: '127.0.0.1:80'", "", [("127.0.0.1:80", False)]),
    ("port: 80\nlisten: ['127.0.0.1:81', 'unix:/x']", "", [("127.0.0.1:81", False), (":80", False), ("unix:/x", False)]),
    ("", "port: 81", [(":81", False)]),
    ("port: 80", "port: 81\n    listen: '[::1]:82'", [(":81", False), ("[::1]:82", False)]),
    ("http_port: 80\nhttps_port: 443", "", [(":80", False)]),
    ("http_port: 80\nhttps_port: 443", "tls: {}", [(":443", True)]),
    ("http_port: 80\nhttps_port: 443", "tls: {}\n    http_redirect: true", [(":443", True), (":80", False)]),
    ("tls: {}", "", [(":443", True)]),
    ("tls: {enabled: false}", "", [(":8080", False)]),
    ("tls: {}\nport: 8443", "port: 80", [(":80", False)]),
    ("tls: {}\nport: 8443", "port: 8443", [(":8443", True)]),
    ("tls: {}\nport: 8443", "tls: {enabled: false}", [(":8443", False)]),
    ("tls: {}", "port: 80\n    tls: {}", [(":80", True)]),
    ("", "tls: {enabled: false}", [(":8080", False)]),
]


@pytest.mark.parametrize(("top", "service", "expected"), LISTENING)
def test_where_a_service_listens(tmp_path: Path, top: str, service: str, expected: list[tuple[str, bool]]) -> None:
    locations = "    locations: [{path: /, backends: [{url: 'http://h'}]}]\n"
    made = snapshot(tmp_path, f"{top}\nservices:\n  - name: a\n    {service}\n{locations}")
    assert [(listener.address, listener.tls) for listener in made.listeners] == sorted(expected)
    assert sorted(made.services[0].listeners) == sorted(address for address, _ in expected)


@pytest.mark.parametrize(
    ("top", "admin", "metrics"),
    [
        ("", "127.0.0.1:8081", "127.0.0.1:9090"),
        ("admin_port: 4433", "127.0.0.1:4433", "127.0.0.1:9090"),
        ("admin_port: 1\napi: {port: 2, host: '::1'}", "[::1]:2", "127.0.0.1:9090"),
        ("api: {enabled: false}\nmetrics: {listen: off}", "", ""),
        ("api: {host: 0.0.0.0, insecure: true}\nmetrics: {listen: 9100}", "0.0.0.0:8081", ":9100"),
        ("api: {host: 10.0.0.1, tls: {}}", "10.0.0.1:8081", "127.0.0.1:9090"),
        ("api: {host: admin.example.com}", "127.0.0.1:8081", "127.0.0.1:9090"),
    ],
)
def test_management_and_metrics(tmp_path: Path, top: str, admin: str, metrics: str) -> None:
    made = snapshot(tmp_path, top + "\nbackends: [{url: 'http://h'}]\n")
    assert (made.admin_listen, made.metrics_listen, made.admin_tls is not None) == (admin, metrics, "tls" in top)


def test_directories() -> None:
    assert (runtime_dir({}, 0), state_dir({}, 0)) == ("/run/terraster", "/var/lib/terraster")
    assert (runtime_dir({}, 7), state_dir({"HOME": "/h"}, 7)) == ("/tmp/terraster-7", "/h/.local/state/terraster")
    environ = {"XDG_RUNTIME_DIR": "/r", "XDG_STATE_HOME": "/s"}
    assert (runtime_dir(environ, 7), state_dir(environ, 7)) == ("/r/terraster", "/s/terraster")
    assert state_dir({}, 7) == state_dir({"HOME": "/"}, 7) == state_dir({"HOME": "relative"}, 7) == "/tmp/terraster-7/state"
    assert (runtime_dir({"XDG_RUNTIME_DIR": "/"}, 7), state_dir({"HOME": "/h/"}, 7)) == (
        "/tmp/terraster-7",
        "/h/.local/state/terraster",
    )
    systemd = {"RUNTIME_DIRECTORY": "/run/terraster:/run/other", "STATE_DIRECTORY": "/var/lib/private/terraster", **environ}
    for uid in (0, 7):
        assert (runtime_dir(systemd, uid), state_dir(systemd, uid)) == ("/run/terraster", "/var/lib/private/terraster")


def test_header_rules_are_inherited_name_by_name(tmp_path: Path) -> None:
    made = snapshot(
        tmp_path,
        """
        headers: {response_headers: {X-A: top, X-B: top, X-C: top, X-D: top}, remove_request_headers: [Cookie]}
        services:
          - name: s
            middleware: [{headers: {response_headers: {x-b: service}, remove_response_headers: [X-C]}}]
            locations:
              - {path: /a, redirect: "https://x/", headers: {response_headers: {X-A: location, X-C: location}}}
              - {path: /b, redirect: "https://x/"}
          - {name: t, host: t, locations: [{path: /, redirect: "https://x/"}]}
        """,
    )
    s, t = made.services
    of_service = {"X-A": "top", "X-D": "top", "x-b": "service"}
    found = [dict(part.filters)["headers"] for part in (made, s, *s.locations, t, *t.locations)]
    assert [rules.response_headers for rules in found] == [  # type: ignore[attr-defined]
        {"X-A": "top", "X-B": "top", "X-C": "top", "X-D": "top"},
        of_service,
        {"X-D": "top", "x-b": "service", "X-A": "location", "X-C": "location"},
        of_service,
        *[{"X-A": "top", "X-B": "top", "X-C": "top", "X-D": "top"}] * 2,
    ]
    assert all(rules.remove_request_headers == ("Cookie",) for rules in found)  # type: ignore[attr-defined]
    assert t.locations[0].filters is t.filters is made.filters


def test_what_a_location_says_itself(tmp_path: Path) -> None:
    made = snapshot(
        tmp_path,
        """
        timeouts: {read: 1s}
        services:
          - name: s
            timeouts: {connect: 2s}
            limits: {body_size: 1M}
            access_log: {format: common, mask: x}
            locations:
              - {path: /a, redirect: "https://x/"}
              - path: /b
                redirect: "https://x/"
                timeouts: {response: 3s}
                limits: {body_size: 0}
                access_log: off
                ignore_client_abort: true
        """,
    )
    (service,) = made.services
    a, b = service.locations
    assert (a.timeouts, a.body_size, a.access_log, a.ignore_client_abort) == (None, None, None, None)
    assert b.timeouts == Timeouts(read=1.0, connect=2.0, response=3.0)
    assert (b.body_size, b.ignore_client_abort) == (0, True)
    assert b.access_log == replace(service.access_log, path="")
    table = Table(*capacities(1, 2, 1))
    compiled = compile_plan(Leases(table).assign(made), SeatView(table)).services["s"]
    plans = [
        (one.timeouts, one.body_size, one.access_log.path, one.ignore_client_abort) for one in (*compiled.locations, compiled.rules)
    ]
    inherited = (service.timeouts, 1 << 20, "-", False)
    assert plans == [inherited, (b.timeouts, 0, "", True), inherited]


def test_a_change_of_what_services_inherit_changes_them(tmp_path: Path) -> None:
    text = "headers: {response_headers: {X-A: '%d'}}\nservices:\n  - name: s\n    locations:\n"
    text += "      - path: /\n        backends:\n          - url: http://h\n"
    loader, before = Loader({}), None
    for number in (1, 2):
        (tmp_path / "t.yaml").write_text(text % number)
        settings = loader.load(str(tmp_path / "t.yaml"))
        made = resolve(settings, number, previous=before, environ={})
        if before is not None:
            assert settings.services[0] is before[0].services[0], "the loader took the service over"
        before = settings, made
        rules = dict(made.services[0].locations[0].filters)["headers"]
        assert rules.response_headers == {"X-A": str(number)}  # type: ignore[attr-defined]
