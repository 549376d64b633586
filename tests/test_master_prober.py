"""Health checks by a real master against real backends, and single probes as a table."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import gevent
import pytest

from terraster.config.snapshot import HealthCheck
from terraster.master.backends.probe import Aim, Result
from terraster.master.backends.prober import Prober, Target
from terraster.master.participant import Proposal
from terraster.policy.health import Verdict
from terraster.state.cells import BackendCells

from .harness.family import Family
from .harness.ports import free_port
from .harness.waiting import wait_until
from .harness.ward import Ward


class Backend(ThreadingHTTPServer):
    """A backend whose health can be set; it keeps the heads of the probes it saw."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.body = b"all is well"
        self.delay = 0.0
        self.early = False
        self.seen: list[tuple[str, str]] = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Backend

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers["Host"]))
        time.sleep(self.server.delay)
        if self.server.early:
            self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </s.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
        self.send_response(self.server.status)
        if self.server.status == 302:
            self.send_header("Location", "/login")
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend() as made:
        yield made
        made.shutdown()


def check(**settings: Any) -> dict[str, Any]:
    return {"type": "http", "path": "/health", "interval": 0.15, "timeout": 1.0, "healthy": 2, "unhealthy": 3, **settings}


def known(family: Family, url: str, service: str = "one") -> dict[str, Any]:
    found: dict[str, Any] = family.ask("status")["prober"][f"{service}/ {url}"]
    return found


def test_everything_is_known_before_the_first_accept(backend: Backend) -> None:
    backend.delay = 0.3
    dead = f"http://127.0.0.1:{free_port()}"
    with Family(workers=1, services={"one": [backend.url, dead]}, check=check(interval=60)) as family:
        assert known(family, backend.url) | {"since": 0, "seconds": 0} == {
            "up": True,
            "since": 0,
            "reason": "status 200",
            "seconds": 0,
            "probes": 1,
            "probe_failures": 0,
        }
        assert not known(family, dead)["up"]
        log = family.log()
        assert f"backend {dead} of one/ is down: connection refused (first probe)" in log
        assert log.index("is down") < log.index("worker")


def test_a_backend_that_never_answers_delays_the_start_no_longer_than_its_timeout(backend: Backend) -> None:
    backend.delay = 30
    started = time.monotonic()
    with Family(workers=1, services={"one": [backend.url]}, check=check(timeout=0.5)) as family:
        assert time.monotonic() - started < backend.delay / 2
        family.wait_until(lambda: known(family, backend.url)["reason"] == "no answer within 0.5 s")
        assert not known(family, backend.url)["up"]


def test_fall_and_rise_are_logged_with_their_reason(backend: Backend) -> None:
    with Family(workers=1, services={"one": [backend.url]}, check=check()) as family:
        assert known(family, backend.url)["up"]
        backend.status = 503
        family.until(rf"warning \[\d+\] backend {backend.url} of one/ is down: status 503 \(3 of 3 probes failed\)")
        down = known(family, backend.url)
        assert not down["up"] and down["probe_failures"] >= 3 and time.time() - down["since"] < 2
        backend.status = 200
        family.until(rf"info  \[\d+\] backend {backend.url} of one/ is up: status 200 \(2 of 2 probes passed\)")
        assert known(family, backend.url)["up"]
        assert family.log().count("is down") == family.log().count("is up") == 1


def test_fewer_failures_than_the_threshold_change_nothing(backend: Backend) -> None:
    with Family(workers=1, services={"one": [backend.url]}, check=check(unhealthy=1000)) as family:
        backend.status = 500
        family.wait_until(lambda: known(family, backend.url)["probe_failures"] >= 5)
        assert known(family, backend.url)["up"]


def test_services_that_share_a_backend_share_its_probe(backend: Backend) -> None:
    services = {f"s{number}": [backend.url] for number in range(50)}
    with Family(workers=1, services=services, check=check(interval=60, timeout=20)) as family:
        assert len(backend.seen) == 1
        assert all(state["up"] for state in family.ask("status")["prober"].values())


def test_only_the_master_probes_also_after_a_reload_and_a_kill(backend: Backend) -> None:
    with Family(workers=3, services={"one": [backend.url]}, check=check(interval=0.1)) as family:
        assert family.ask("reload")["ok"]
        victim = min(family.pids())
        os.kill(victim, signal.SIGKILL)
        family.wait_until(lambda: len(family.pids() - {victim}) == 3)
        before, started = len(backend.seen), time.monotonic()
        family.wait_until(lambda: len(backend.seen) >= before + 12)
        assert time.monotonic() - started > 12 * 0.1 * 0.9 * 0.75
        assert "Traceback" not in family.log()


def test_a_child_forked_during_a_probe_does_not_hold_its_connection() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Family(workers=1, services={"one": [url]}, check=check(timeout=1.5, interval=0.1)) as family:
            silent.settimeout(10)
            silent.accept()[0].close()  # the first round
            connection, _address = silent.accept()
            (victim,) = family.pids()
            os.kill(victim, signal.SIGKILL)
            family.wait_until(lambda: family.pids() - {victim}, 1.0)
            connection.settimeout(4)
            while connection.recv(65536):
                pass
            connection.close()


def test_over_a_reload_what_stays_keeps_its_state_and_what_is_new_is_probed_first(backend: Backend) -> None:
    with Backend() as second, Family(workers=1, services={"one": [backend.url]}, check=check(interval=0.5)) as family:
        before = known(family, backend.url)
        second.delay = 0.3
        family.write(services={"one": [backend.url, second.url]})
        outcome = family.ask("reload")
        assert outcome["ok"] and outcome["seconds"] >= 0.3
        assert known(family, second.url)["up"] and known(family, second.url)["probes"] == 1
        after = known(family, backend.url)
        assert after["since"] == before["since"] and after["probes"] >= before["probes"]
        family.write(services={"one": [second.url]})
        assert family.ask("reload")["ok"]
        count = len(backend.seen)
        family.wait_until(lambda: known(family, second.url)["probes"] >= 3)
        assert len(backend.seen) <= count + 1
        second.shutdown()


def test_a_new_backend_that_does_not_answer_does_not_hold_up_the_reload_for_long(backend: Backend) -> None:
    with Backend() as second, Family(workers=1, services={"one": [backend.url]}, check=check(timeout=0.5)) as family:
        second.delay = 20
        family.write(services={"one": [backend.url, second.url]})
        outcome = family.ask("reload")
        assert outcome["ok"] and 0.4 < outcome["seconds"] < 1.5
        assert not known(family, second.url)["up"]
        second.delay = 0
        family.until(f"backend {second.url} of one/ is up")
        second.shutdown()


def test_probes_go_on_while_a_reload_waits_for_the_children(backend: Backend) -> None:
    with Family(workers=1, services={"one": [backend.url]}, check=check(interval=0.1)) as family:
        family.write(apply_takes=1.0, drain=4)
        before = len(backend.seen)
        assert family.ask("reload")["seconds"] >= 1.0
        assert len(backend.seen) - before >= 5


def test_a_check_configured_anew_begins_with_what_is_known_and_its_thresholds_decide(backend: Backend) -> None:
    with Family(workers=1, services={"one": [backend.url]}, check=check(interval=60)) as family:
        before = known(family, backend.url)
        backend.status = 503
        family.write(check=check(interval=0.2, unhealthy=3))
        outcome = family.ask("reload")
        assert outcome["ok"] and outcome["seconds"] < 1.0
        after = known(family, backend.url)
        assert after["up"] and after["since"] == before["since"]
        family.until(r"is down: status 503 \(3 of 3 probes failed\)")
        assert known(family, backend.url)["probe_failures"] == 3
        family.write(check=check(interval=0.2, healthy=2, path="/other"))
        backend.status = 200
        assert family.ask("reload")["ok"]
        assert not known(family, backend.url)["up"]
        family.until(r"is up: status 200 \(2 of 2 probes passed\)")


def test_a_renamed_service_with_another_check_is_not_down_for_a_moment(backend: Backend) -> None:
    with Family(workers=1, services={"one": [backend.url]}, check=check(interval=60)) as family:
        backend.status = 503
        family.write(services={"two": [backend.url]}, check=check(interval=30))
        assert family.ask("reload")["ok"]
        assert known(family, backend.url, "two")["up"]


def test_every_change_that_a_reload_brings_is_logged(backend: Backend) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    with Family(workers=1, services={"one": [dead]}, check=check(interval=60)) as family:
        assert family.log().count(" is down: ") == 1
        family.write(check={"type": "none"})
        assert family.ask("reload")["ok"]
        assert f"info  [{family.pid}] backend {dead} of one/ is up: no checks (since the reload)" in family.log()
        family.write(check=check(interval=60), services={"one": [dead], "new": [dead]})
        assert family.ask("reload")["ok"]
        family.write(services={"one": [dead, backend.url]})
        assert family.ask("reload")["ok"]
        assert family.log().count(" is up: ") == 1


@pytest.mark.parametrize("host", ["h\u65e5", "a\nb", "\ud800"])
def test_a_check_that_cannot_be_made_fails_and_goes_on(backend: Backend, host: str) -> None:
    with Family(workers=1, services={"one": [backend.url]}, check=check(host=host, interval=0.05)) as family:
        family.wait_until(lambda: known(family, backend.url)["probe_failures"] >= 3)
        assert known(family, backend.url)["reason"].startswith("the probe cannot be made: ")
        assert not known(family, backend.url)["up"] and "Traceback" not in family.log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_the_first_round_can_be_ended(backend: Backend, number: signal.Signals) -> None:
    backend.delay = 30
    family = Family(workers=1, services={"one": [backend.url]}, check=check(timeout=20))
    family.start()
    try:
        family.wait_until(lambda: backend.seen)
        started = time.monotonic()
        family.process.send_signal(number)
        assert family.process.wait(5) == 0 and time.monotonic() - started < 2
        assert not os.path.exists(family.runtime) and "started in seat" not in family.log()
    finally:
        family.__exit__()


def test_the_first_round_ends_by_itself_long_before_the_longest_timeout(backend: Backend) -> None:
    backend.delay = 30
    started = time.monotonic()
    with Family(workers=1, services={"one": [backend.url]}, check=check(timeout=60)) as family:
        assert 4.5 < time.monotonic() - started < 30
        assert f"backend {backend.url} of one/ is down: no result yet (first probe)" in family.log()


def test_a_good_check_brings_an_ejected_backend_back(backend: Backend) -> None:
    with Backend() as other:
        settings = check(interval=0.3, unhealthy=1000)
        with Family(workers=1, services={"one": [backend.url, other.url]}, check=settings, outlier={"time": 60.0}) as family:
            backend.status = 500
            family.wait_until(lambda: known(family, backend.url)["probe_failures"] >= 1)
            family.get("/fail/0/3/connect")
            family.until(rf"backend {backend.url} of one/ is ejected for 60 s: 3 attempts in a row made no connection: refused")
            probes = known(family, backend.url)["probes"]
            family.wait_until(lambda: known(family, backend.url)["probes"] >= probes + 2)
            assert family.ask("status")["states"][f"one/ {backend.url}"]["state"] == "ejected"
            backend.status = 200
            family.until(rf"backend {backend.url} of one/ is up: status 200 \(a health check passed\)")
        other.shutdown()


BAD, GOOD = Result(False, "status 503", 0.01), Result(True, "status 200", 0.01)


@pytest.mark.parametrize(
    ("results", "verdict", "reason"),
    [
        ([], None, "no result yet"),
        ([GOOD], Verdict(True), "status 200"),
        ([BAD], Verdict(False), "status 503"),
        ([BAD, GOOD], Verdict(False, 1), "status 503; 1 of 3 probes passed since"),
        ([BAD, GOOD, GOOD], Verdict(False, 2), "status 503; 2 of 3 probes passed since"),
        ([GOOD] * 5, Verdict(False, 2), "2 of 3 probes passed"),  # the failure is forgotten
        ([BAD, GOOD], Verdict(False), "status 503"),  # of another check
        ([BAD, GOOD, GOOD, GOOD], Verdict(True), "status 200"),
    ],
)
def test_the_reason_of_one_that_is_down_is_never_that_it_is_well(
    results: list[Result], verdict: Verdict | None, reason: str
) -> None:
    target = Target(Aim("http", "10.0.0.1", 80, "10.0.0.1", "", True, HealthCheck(healthy=3)))
    for result in results:
        target.result = result
        target.recent.append((0.0, result))
    target.verdict = verdict
    assert target.reason == reason


def test_backends_that_share_a_probe_are_told_in_good_grammar() -> None:
    ward = Ward(1, 1, probe=False)
    (service,) = ward.snapshot.services
    place = service.locations[0]
    check = HealthCheck(type="tcp", timeout=1.0)
    port = free_port()
    same = tuple(replace(one, host="127.0.0.1", port=port, health=check) for one in place.backends)
    ward.snapshot = replace(ward.snapshot, services=(replace(service, locations=(replace(place, backends=same),)),))
    prober = Prober(ward.table, ward.log, ward.states, ward.agenda, lambda name, begun, ok: None)
    ward.agenda.clock = time.monotonic
    ward.agenda.start()
    try:
        prober.prepare(Proposal(ward.snapshot))
        prober.commit(Proposal(ward.snapshot))
    finally:
        ward.agenda.stop()
        prober.stop()
    (line,) = ward.log.take()
    assert line.startswith("warning backend http://b0 of shop/, backend http://b1 of shop/ are down: ")
    assert prober.trouble() == prober.detail() and prober.trouble().keys() == {one.id for one in same}


def test_the_last_probes_are_kept(backend: Backend) -> None:
    ward = Ward(1, probe=False)
    (service,) = ward.snapshot.services
    place = service.locations[0]
    one = replace(place.backends[0], host="127.0.0.1", port=backend.server_port, health=HealthCheck(interval=0.02, healthy=1))
    ward.snapshot = replace(ward.snapshot, services=(replace(service, locations=(replace(place, backends=(one,)),)),))
    passed: list[tuple[str, float]] = []
    prober = Prober(
        ward.table, ward.log, ward.states, ward.agenda, lambda name, begun, ok: passed.append((name, begun)) if ok else None
    )
    ward.agenda.clock = time.monotonic
    ward.agenda.start()
    try:
        backend.status = 500
        prober.prepare(Proposal(ward.snapshot))
        prober.commit(Proposal(ward.snapshot))
        assert [(probe["ok"], probe["reason"]) for probe in prober.recent(one.id)] == [(False, "status 500")]
        assert ward.letters() == "d" and passed == []
        backend.status = 200
        wait_until(lambda: len(passed) >= 6, pause=gevent.sleep)
        recent = prober.recent(one.id)
        assert [probe["ok"] for probe in recent] == [True] * 5
        assert recent[0]["when"] < recent[-1]["when"] <= time.time()
        assert passed[0][0] == one.id and passed[0][1] < time.monotonic()
        assert ward.letters() == "u" and ward.cell(0, BackendCells.PROBES) >= 6
        assert prober.recent("nobody") == []
    finally:
        ward.agenda.stop()
        prober.stop()


def test_without_checks_a_backend_is_up() -> None:
    with Family(workers=1, services={"one": ["http://127.0.0.1:1"]}, check={"type": "none"}) as family:
        assert known(family, "http://127.0.0.1:1")["up"]


# One probe.

_PROBE = """
import json, sys
from terraster.master import patching
patching.patch()
from terraster.config.snapshot import Backend, HealthCheck
from terraster.master.backends.probe import Aim, Probing
probing = Probing()
for settings in json.load(sys.stdin):
    check = HealthCheck(**{k: tuple(map(tuple, v)) if k == "status" else v for k, v in settings["check"].items()})
    scheme, host, port = settings.get("scheme", "http"), settings["host"], settings["port"]
    backend = Backend(id="x", url="", scheme=scheme, host=host, port=port, health=check)
    result = probing.probe(Aim.of(backend, settings.get("strict", False)))
    print(json.dumps([result.ok, result.reason, result.seconds]))
"""


def run_probes(program: str, cases: Sequence[dict[str, Any]]) -> list[str]:
    """The lines that it prints."""
    run = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    return run.stdout.splitlines()


def probe(*cases: dict[str, Any]) -> list[list[Any]]:
    return [json.loads(line) for line in run_probes(_PROBE, cases)]


PROBES = [
    # status, body, check, healthy?, reason
    (200, b"", {}, True, "status 200"),
    (404, b"", {}, False, "status 404"),
    (404, b"", {"status": [[200, 299], [404, 404]]}, True, "status 404"),
    (302, b"", {}, True, "status 302"),
    (302, b"", {"status": [[200, 299]]}, False, "status 302"),
    (200, b"x" * 70000 + b"fine", {"body": "fine"}, False, "status 200, but without the expected text"),
    (200, b"x" * 60000 + b"fine", {"body": "fine"}, True, "status 200"),
    (500, b"", {"type": "tcp"}, True, "it accepts connections"),
]


@pytest.mark.parametrize(("status", "body", "settings", "ok", "reason"), PROBES)
def test_what_counts_as_healthy(backend: Backend, status: int, body: bytes, settings: Any, ok: bool, reason: str) -> None:
    backend.status, backend.body = status, body
    (result,) = probe({"host": "127.0.0.1", "port": backend.server_port, "check": settings})
    assert result[:2] == [ok, reason]
    assert "/login" not in [path for path, _host in backend.seen]


def test_interim_answers_are_read_over(backend: Backend) -> None:
    backend.early = True
    (result,) = probe({"host": "127.0.0.1", "port": backend.server_port, "check": {}})
    assert result[:2] == [True, "status 200"]


def test_a_name_that_no_certificate_can_have_is_a_failure(backend: Backend) -> None:
    (result,) = probe({"host": "127.0.0.1", "port": backend.server_port, "scheme": "https", "check": {"sni": ".foo"}})
    assert not result[0] and "the probe cannot be made" in result[1]


def test_what_a_backend_says_is_cut_and_escaped() -> None:
    with socket.socket() as babbler:
        babbler.bind(("127.0.0.1", 0))
        babbler.listen()

        def babble() -> None:
            connection = babbler.accept()[0]
            connection.recv(4096)
            connection.sendall(b"\x1b[2Jhello\x07" + b"a" * 200 + b"\r\n\r\n")
            connection.close()

        threading.Thread(target=babble, daemon=True).start()
        (result,) = probe({"host": "127.0.0.1", "port": babbler.getsockname()[1], "check": {}})
    assert not result[0] and result[1].isprintable() and len(result[1]) == 80
    assert "hello\\x07aaa" in result[1]


@contextlib.contextmanager
def answering(*answers: bytes) -> Iterator[int]:
    """The port of a server that gives each connection the next of these answers, octet for octet, and closes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                connection = listener.accept()[0]
                with connection:
                    request = b""
                    while not request.endswith(b"\r\n\r\n"):
                        request += connection.recv(4096)
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
FORMS = {
    # octets, taken as traffic takes it, taken with strict_responses
    "a length": (OK + b"Content-Length: 4\r\n\r\nfine", True, True),
    "until it closes": (OK + b"\r\nall is fine", True, True),
    "chunks": (OK + CHUNKED + b"2\r\nfi\r\n2\r\nne\r\n0\r\n\r\n", True, True),
    "a forbidden trailer": (OK + CHUNKED + b"4\r\nfine\r\n0\r\nContent-Type: a/b\r\n\r\n", True, True),
    "a size and spaces": (OK + CHUNKED + b"4  \r\nfine\r\n0\r\n\r\n", True, False),
    "lines that end with LF": (b"HTTP/1.1 200 OK\nContent-Length: 4\n\nfine", True, False),
    "the same length twice": (OK + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nfine", True, False),
    "chunks in HTTP/1.0": (b"HTTP/1.0 200 OK\r\n" + CHUNKED + b"4\r\nfine\r\n0\r\n\r\n", True, False),
    "two lengths": (OK + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nfine", False, False),
    "a length and chunks": (OK + b"Content-Length: 4\r\n" + CHUNKED + b"4\r\nfine\r\n0\r\n\r\n", False, False),
    "a folded line": (OK + b"X-A: b\r\n c\r\nContent-Length: 4\r\n\r\nfine", False, False),
    "no size": (OK + CHUNKED + b"x\r\nfine\r\n0\r\n\r\n", False, False),
    "a head without end": (OK + b"Content-Le", False, False),
    "half a body": (OK + b"Content-Length: 40\r\n\r\nfi", False, False),
    "half a chunk": (OK + CHUNKED + b"9\r\nfi", False, False),
    "a text behind the body": (OK + b"Content-Length: 2\r\n\r\nfine", False, False),
    "a head of 64 KiB": (OK + b"X-A: " + b"a" * 65536 + b"\r\n\r\nfine", False, False),
    "no end of interim answers": (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 33 + OK + b"Content-Length: 4\r\n\r\nfine", False, False),
}


def test_a_probe_reads_what_traffic_reads() -> None:
    """One reader for both: a backend whose answers clients get is up, one whose answers they do not get is down."""
    octets = [form[0] for form in FORMS.values() for _ in range(2)]
    with answering(*octets) as port:
        cases = [{"host": "127.0.0.1", "port": port, "check": {"body": "fine"}, "strict": strict} for strict in (False, True)]
        results = probe(*(cases * len(FORMS)))
    found = [result[0] for result in results]
    assert dict(zip(FORMS, zip(found[::2], found[1::2], strict=True), strict=True)) == {
        name: form[1:] for name, form in FORMS.items()
    }


def test_probes_leave_no_descriptor_behind(backend: Backend) -> None:
    port = backend.server_port
    ways = [
        {"host": "127.0.0.1", "port": port, "check": {"timeout": 1.0}},
        {"host": "127.0.0.1", "port": port, "check": {"timeout": 1.0, "body": "not there"}},
        {"host": "127.0.0.1", "port": port, "check": {"timeout": 0.01}, "scheme": "https"},
        {"host": "127.0.0.1", "port": free_port(), "check": {"timeout": 1.0}},
    ]
    program = _PROBE + "import os; print(len(os.listdir('/proc/self/fd')))"
    few, many = (int(run_probes(program, ways * times)[-1]) for times in (1, 20))
    assert few == many


def test_a_probe_has_its_own_path_and_host(backend: Backend) -> None:
    port = backend.server_port
    probe(
        {"host": "127.0.0.1", "port": port, "check": {"path": "/up?deep=1"}},
        {"host": "127.0.0.1", "port": port, "check": {"host": "shop.example"}},
    )
    assert backend.seen == [("/up?deep=1", f"127.0.0.1:{port}"), ("/health", "shop.example")]


def test_failures_say_why(backend: Backend) -> None:
    with socket.socket() as babbler, socket.socket() as hanger:
        for one in (babbler, hanger):
            one.bind(("127.0.0.1", 0))
            one.listen()

        def babble() -> None:
            connection = babbler.accept()[0]
            connection.recv(4096)
            connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")
            connection.close()

        threading.Thread(target=babble, daemon=True).start()
        refused, babbled, hung, tls, unknown = probe(
            {"host": "127.0.0.1", "port": free_port(), "check": {}},
            {"host": "127.0.0.1", "port": babbler.getsockname()[1], "check": {}},
            {"host": "127.0.0.1", "port": hanger.getsockname()[1], "check": {"timeout": 0.3}},
            {"host": "127.0.0.1", "port": backend.server_port, "scheme": "https", "check": {"timeout": 1.0}},
            {"host": "no.such.name.invalid", "port": 80, "check": {"timeout": 1.0}},
        )
    assert refused[:2] == [False, "connection refused"]
    assert not babbled[0] and babbled[1].startswith("no proper HTTP answer")
    assert hung[:2] == [False, "no answer within 0.3 s"] and 0.25 < hung[2] < 0.6
    assert not tls[0]
    assert not unknown[0] and unknown[2] < 1.2
