"""The files of etc/examples: each is a configuration without a problem or a warning, and serves requests.

Those that name certificates are in test_examples_tls.py.
"""

from __future__ import annotations

import subprocess
import sys
from collections import ChainMap
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from terraster.wire.proxy_protocol import compose, parse

from ..harness.backends import Backend, Peer, Request, always, ok
from ..harness.configuration import Loader
from ..harness.terraster_process import ROOT, service
from ..harness.waiting import wait_until

FOLDER = ROOT / "etc" / "examples"
WITH_CERTIFICATES = {"client-auth", "tls-backends"}
WITH_USERS = {"basic-auth", "jwt", "forward-auth"}
"""Those that answer 401: test_examples_authentication.py."""
WITH_CALLS = {"grpc"}
"""Those whose backends speak gRPC: test_grpc.py."""
WITH_CONDITIONS = {"conditions"}
"""Those whose locations share paths: test_conditions.py."""
WITH_COPIES = {"mirror"}
"""Those that send requests to other servers, too: test_mirror.py."""
WITH_PLUGINS = {"plugins"}
"""Those whose keys depend on plugins: test_plugins.py."""
EXAMPLES = sorted(file for file in FOLDER.glob("*.yaml") if file.stem not in WITH_CERTIFICATES | WITH_PLUGINS)
_PLACES = (
    "port",
    "listen",
    "http_port",
    "https_port",
    "admin_port",
    "admin_api",
    "api",
    "metrics",
    "runtime_dir",
    "state_dir",
    "workers",
    "tls",
    "acme",
    "http_redirect",
)
"""Keys that say where, on the reader's host, and TLS that needs its name: here the test has its own address, in clear."""


def test_there_are_examples() -> None:
    assert {
        "access",
        "acme",
        "backend-names",
        "buffer",
        "canary",
        "circuit-breaker",
        "compression",
        "conditions",
        "cors",
        "error-pages",
        "fixed-answers",
        "grpc",
        "header-rules",
        "health-checks",
        "http2",
        "logging",
        "mirror",
        "overload",
        "rewrites",
        "security-headers",
        "rate-limits",
        "tracing",
        "send-proxy",
        "unix-socket",
        "websockets",
    } <= {file.stem for file in EXAMPLES}
    assert {file.name for file in FOLDER.iterdir() if file not in EXAMPLES} == {
        "pages",
        "plugin-code",
        *(f"{name}.yaml" for name in WITH_CERTIFICATES | WITH_PLUGINS),
    }


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_check_has_nothing_to_say(file: Path) -> None:
    assert Loader({}).load(str(file)).warnings == (), "and the schema accepts it"
    command = [sys.executable, "-m", "terraster.cli.main", "--check", "--config", str(file)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert (run.returncode, run.stderr) == (0, ""), run


def as_asked(check: dict[str, Any], request: Request) -> bytes:
    """The answer to a probe: a healthy one only if the probe is as the example has it."""
    wanted = (check.get("method", "GET"), check.get("path", "/health"), check.get("request_body", "").encode())
    said = [request.get(name) == value for name, value in check.get("headers", {}).items()]
    if (request.method, request.target, request.body) != wanted or not all(said):
        return ok(status=b"400 Not What The Example Says")
    return ok(check.get("body", "").encode())


def answering(name: str, send_proxy: bool, check: dict[str, Any]) -> Any:
    """A script of a backend that answers each request with its name, and probes as `as_asked`. send_proxy: its connections begin with a PROXY
    header."""

    def answer(request: Request) -> bytes:
        if "port" not in check and request.target == check.get("path", "/health"):
            return as_asked(check, request)
        return ok(name.encode())

    def script(peer: Peer) -> None:
        data = b""
        while send_proxy and not (data and parse(data)):
            more = peer.sock.recv(1)
            if not more:
                return
            data += more
        always(answer)(peer)

    return script


def places(services: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], Mapping[str, Any]]]:
    """Each location and each arm that has backends, with its service."""
    for one in services:
        for location in one["locations"]:
            if location.get("backends"):
                yield one, location
            for arm in location.get("split", {}).get("to", ()):
                yield one, ChainMap(arm, location)


def checks(*levels: Any) -> list[dict[str, Any]]:
    """The health checks that these levels write, the widest first."""
    return [level["health_check"] for level in levels if isinstance(level, Mapping) and isinstance(level.get("health_check"), dict)]


def together(levels: list[dict[str, Any]]) -> dict[str, Any]:
    """The check that applies: each key of a narrower level counts."""
    return {key: value for level in levels for key, value in level.items()}


@pytest.mark.parametrize(
    "file",
    [file for file in EXAMPLES if file.stem not in WITH_USERS | WITH_CALLS | WITH_CONDITIONS | WITH_COPIES],
    ids=lambda file: file.stem,
)
def test_it_serves(terraster, backend, sockets, tmp_path: Path, file: Path) -> None:
    """Every location of the example, with backends of the test in place of those of the reader."""
    config = {
        key: value
        for key, value in yaml.safe_load(file.read_text().replace(": pages/", f": {FOLDER}/pages/")).items()
        if key not in _PLACES
    }
    services = config.pop("services", None) or [service(*config.pop("backends"), host=config.pop("host", "*"))]
    if "tracing" in config:
        config["tracing"]["timeout"] = "1s"  # no receiver: the process that exports would go on trying for 10 s
    config.setdefault("health_check", {"type": "http"})  # the default of Terraster, not that of the tests
    expected: dict[tuple[str, str], set[bytes]] = {}
    ports: dict[int, Backend] = {}  # by the mapping that has `port`: who answers the probes there
    for one, location in places(services):
        for key in _PLACES:
            one.pop(key, None)
        hosts = one.get("host", "*")
        host = (hosts if isinstance(hosts, str) else hosts[0]).replace("*", "any.test" if hosts == "*" else "any")
        names = set()
        for number, written in enumerate(location["backends"]):
            keys = {"url": written} if isinstance(written, str) else written
            name = f"{one.get('name', host)}{location['path']}{number}"
            levels = checks(config, one, location, keys)
            check = together(levels)
            if "port" in check:
                place = next(level for level in reversed(levels) if "port" in level)
                if id(place) not in ports:
                    ports[id(place)] = backend(always(partial(as_asked, check)))
                    place["port"] = ports[id(place)].port
            path = f"{sockets}/{name.replace('/', '-')}" if "unix:" in keys["url"] else ""
            location["backends"][number] = {**keys, "url": backend(answering(name, "send_proxy" in keys, check), path=path).url}
            names.add(name.encode())
        expected.setdefault((host, location["path"]), set()).update(names)
    proxied = bool(config.get("proxy_protocol"))
    if proxied:
        config["trusted_proxies"] = [*config["trusted_proxies"], "127.0.0.1"]
    if "access_log" in config:
        written = config["access_log"]
        config["access_log"] = {**(written if isinstance(written, dict) else {}), "path": str(tmp_path / "access.log")}
    proxy = terraster(*services, **config)
    wait_until(
        lambda: all(
            backend["up"] for one in proxy.status()["services"] for location in one["locations"] for backend in location["backends"]
        ),
        "all backends up",
    )
    for (host, path), names in expected.items():
        for _ in range(3):
            with proxy.connect() as client:
                header = compose("v1", ("203.0.113.7", 4711), ("198.51.100.1", 80)) if proxied else b""
                answer = client.send(header + f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).response()
            assert answer.status == 200
            assert answer.body in names
    assert all(one.requests for one in ports.values()), "each port of a check was asked"
