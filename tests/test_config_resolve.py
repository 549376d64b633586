"""What follows from what was written: inheritance, listeners, directories."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from terraster.config.loader import load
from terraster.config.resolve import resolve, runtime_dir, state_dir
from terraster.config.snapshot import HealthCheck, Limits, Snapshot, Timeouts


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


def test_timeouts_limits_and_the_like(tmp_path: Path) -> None:
    made = snapshot(
        tmp_path,
        """
        timeouts: {read: 1s, connect: 2s}
        limits: {body_size: 1M, header_count: 7}
        encoded_slashes: refuse
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
    assert (a.redirect_port, a.http_redirect, made.drain_timeout) == (8443, True, 5)
    assert b.headers.set_request == (("X-A", "1"),) and b.headers.remove_response == ("Server",)
    assert [(location.path, location.http_redirect, location.redirect) for location in b.locations] == [
        ("/a", True, ""),
        ("/x", False, "https://x/"),
    ]


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
    assert (made.admin_listen, made.metrics_listen, made.admin_tls) == (admin, metrics, "tls" in top)


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
