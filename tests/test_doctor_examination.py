"""The checks of `terrasterctl doctor`: each finding is provoked, and a host in good order has none."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from terraster.config.snapshot import Backend, Limits, Listener, Location, Service, Snapshot, Tls
from terraster.doctor import certificates, clock, descriptors, memory, names, network, places, running
from terraster.doctor.examination import Look, examine, processes, uses
from terraster.doctor.finding import Finding, exit_code
from terraster.doctor.names import Asked
from terraster.doctor.places import READ, WRITE, Use, User
from terraster.doctor.proc import Proc

from .harness.authority import Authority

NOW = 1_800_000_000.0
DAY = 86400.0
ME = User(os.geteuid(), frozenset(os.getgroups()), "me")
OTHER = User(65534, frozenset((65534,)), "nobody")


def snapshot(**keys: Any) -> Snapshot:
    return Snapshot(1, (Listener("0.0.0.0:8080"),), (), **keys)


@pytest.fixture
def proc(tmp_path: Path) -> Stage:
    return Stage(tmp_path / "proc")


LIMITS = "Limit              Soft Limit      Hard Limit      Units\nMax open files     {}            4096            files\n"
MEMORY = "MemTotal:       8000000 kB\nMemAvailable:   {} kB\nCommitLimit:    {} kB\nCommitted_AS:   4000000 kB\n"
SOCKSTAT = "sockets: used 300\nTCP: inuse {} orphan 0 tw {} alloc 20 mem {}\nUDP: inuse 1 mem 0\n"


class Stage:
    """A /proc in good order, of which a test changes files."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.proc = Proc(str(root))
        for path, text in {
            "sys/net/core/somaxconn": "4096\n",
            "sys/net/ipv4/tcp_syncookies": "1\n",
            "sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
            "sys/net/ipv4/ip_local_reserved_ports": "\n",
            "sys/net/ipv4/tcp_mem": "100\t200\t300\n",
            "sys/net/netfilter/nf_conntrack_count": "10\n",
            "sys/net/netfilter/nf_conntrack_max": "1000\n",
            "sys/vm/overcommit_memory": "0\n",
            "net/sockstat": SOCKSTAT.format(5, 3, 2),
            "net/netstat": "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 0 0 0\nIpExt: InNoRoutes\nIpExt: 0\n",
            "net/tcp": "  sl  local_address rem_address   st tx_queue:rx_queue\n   0: 00000000:1F90 00000000:0000 0A 00000000:00000001 00:0\n",
            "meminfo": MEMORY.format(4_000_000, 9_000_000),
            "vmstat": "pgfault 17\noom_kill 0\n",
        }.items():
            self.write(path, text)
        self.process(7, 20)

    def write(self, path: str, text: str) -> None:
        file = self._root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def process(self, pid: int, count: int, limit: str = "100") -> None:
        self.write(f"{pid}/limits", LIMITS.format(limit))
        self.write(f"{pid}/status", f"Name:\tpython\nUid:\t0\t{os.geteuid()}\t0\t0\n")
        folder = self._root / str(pid) / "fd"
        folder.mkdir(exist_ok=True)
        for number in range(count):
            (folder / str(number)).touch()


def told(findings: Iterable[Finding]) -> list[tuple[str, str, str]]:
    """(check, severity, what) of findings, whose words are whole sentences."""
    found = list(findings)
    for one in found:
        for words in (one.what, one.reason, one.do):
            assert words and words == words.strip() and "None" not in words and len(words) < 400, one
        assert one.what.endswith(".") and one.reason.endswith(".")
    return [(one.check, one.severity, one.what) for one in found]


def look(proc: Stage, **keys: Any) -> Look:
    status = {"last_reload": None, "problems": [], "workers": []}
    given: dict[str, Any] = {
        "snapshot": snapshot(),
        "status": status,
        "pid": 7,
        "why": "",
        "user": ME,
        "soft": 100_000,
        "hard": 100_000,
    }
    return Look(**{"proc": proc.proc, **given, "before": {}, "now": NOW, **keys})


def test_a_host_in_good_order_has_no_findings(proc: Stage, tmp_path: Path) -> None:
    at = snapshot(state_dir=str(tmp_path), runtime_dir=str(tmp_path))
    assert told(examine(look(proc, snapshot=at, kernel=clock.Kernel(0, 1, 0.01), asked=[Asked("a.test", 0.1, "")]))) == []


def test_a_host_that_tells_nothing_has_no_findings(tmp_path: Path) -> None:
    bare = SimpleNamespace(proc=Proc(str(tmp_path / "nothing")))
    at = snapshot(state_dir=str(tmp_path), runtime_dir=str(tmp_path))
    assert told(examine(look(bare, snapshot=at))) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "text", "check", "severity", "word"),
    [
        ("sys/net/core/somaxconn", "128", "backlog", "warning", "128 connections wait"),
        ("sys/net/ipv4/tcp_syncookies", "0", "backlog", "warning", "SYN cookies are off"),
        ("net/tcp", "head\n 0: 00000000:1F90 0:0 0A 0:00000FFF 0", "backlog", "problem", "4095 connections to port 8080"),
        ("net/tcp6", "head\n 0: 00000000:1F90 0:0 0A 0:00000FFF 0", "backlog", "problem", "4095 connections to port 8080"),
        (
            "net/netstat",
            "TcpExt: ListenOverflows\nTcpExt: 9",
            "drops",
            "note",
            "queue of a listening socket was full: 9 since the start",
        ),
        (
            "net/netstat",
            "TcpExt: ListenOverflows ListenDrops\nTcpExt: 9 9",
            "drops",
            "note",
            "queue of a listening socket was full: 9",
        ),
        ("net/netstat", "TcpExt: ListenDrops\nTcpExt: 4", "drops", "note", "lack of memory or of a route: 4 since the start"),
        ("net/netstat", "TcpExt: SyncookiesSent\nTcpExt: 4", "drops", "note", "sent 4 SYN cookies"),
        ("net/netstat", "TcpExt: TCPBacklogDrop\nTcpExt: 1", "drops", "note", "too many of them waiting"),
        ("net/netstat", "TcpExt: TCPAbortOnMemory\nTcpExt: 1", "drops", "note", "no memory left"),
        ("sys/net/ipv4/ip_local_port_range", "60000 60999", "ports", "warning", "have 1000 ports"),
        ("sys/net/ipv4/ip_local_port_range", "8000 60999", "ports", "note", "listens on 8080"),
        ("net/sockstat", SOCKSTAT.format(20_000, 8000, 2), "ports", "warning", "28000 TCP connections"),
        ("net/sockstat", SOCKSTAT.format(5, 3, 250), "tcp-memory", "warning", "250 pages"),
        ("net/sockstat", SOCKSTAT.format(5, 3, 300), "tcp-memory", "problem", "300 pages"),
        ("sys/net/netfilter/nf_conntrack_count", "850", "conntrack", "warning", "850 connections of at most 1000"),
        ("sys/net/netfilter/nf_conntrack_count", "1000", "conntrack", "problem", "1000 connections of at most 1000"),
        ("sys/vm/overcommit_memory", "2", "memory", "note", "no more memory than it has"),
        ("meminfo", MEMORY.format(50_000, 9_000_000), "memory", "warning", "48 MiB of 7812 MiB"),
        ("vmstat", "oom_kill 2", "memory", "note", "killed 2 processes"),
    ],
)
def test_what_the_kernel_says(proc: Stage, path: str, text: str, check: str, severity: str, word: str, tmp_path: Path) -> None:
    proc.write(path, text)
    found = told(examine(look(proc, snapshot=snapshot(state_dir=str(tmp_path), runtime_dir=str(tmp_path)))))
    assert [one[:2] for one in found] == [(check, severity)] and word in found[0][2]


def test_memory_that_is_promised_away(proc: Stage) -> None:
    proc.write("sys/vm/overcommit_memory", "2")
    proc.write("meminfo", MEMORY.format(4_000_000, 4_000_100))
    assert [one[:2] for one in told(memory.check(proc.proc))] == [("memory", "warning")]


def test_ports_that_are_reserved_are_safe(proc: Stage) -> None:
    proc.write("sys/net/ipv4/ip_local_port_range", "8000 60999")
    proc.write("sys/net/ipv4/ip_local_reserved_ports", "80,8079-8081\n")
    assert told(network.ports(proc.proc, snapshot())) == []


def test_what_is_dropped_meanwhile_is_a_problem() -> None:
    ((check, severity, what),) = told(network.dropped({"ListenOverflows": 3}, {"ListenOverflows": 5}))
    assert (check, severity) == ("drops", "problem") and ": 2 while this command looked" in what
    ((check, severity, what),) = told(network.dropped({"SyncookiesSent": 3}, {"SyncookiesSent": 5}))
    assert (check, severity) == ("drops", "warning") and "2 while this command looked" in what


@pytest.mark.parametrize(("count", "severity"), [(79, None), (80, "warning"), (95, "problem")])
def test_descriptors_of_each_process(proc: Stage, count: int, severity: str | None) -> None:
    proc.process(11, count)
    workers = [{"pid": 11, "role": "proxy", "seat": 2}, {"pid": 12, "role": "admin", "seat": 1}]
    found = told(descriptors.used(processes(proc.proc, {"workers": workers}, 7)))
    assert [one[1] for one in found] == ([severity] if severity else [])
    if severity:
        assert found[0][2] == f"proxy worker 2 (pid 11) has {count} of 100 file descriptors open."


@pytest.mark.parametrize(
    ("limit", "connections", "word"),
    [
        (100_000, 0, ""),
        (1024, 0, "a worker takes 455 clients at most"),
        (1024, 5000, "5000 clients"),
        (4096, 1000, ""),
        (-1, 0, ""),
    ],
)
def test_the_limit_of_descriptors_and_the_configured_connections(limit: int, connections: int, word: str) -> None:
    found = told(descriptors.limits(snapshot(limits=Limits(connections=connections)), limit, limit))
    assert bool(found) == bool(word) and all(one[:2] == ("descriptors", "warning") and word in one[2] for one in found)


@pytest.mark.parametrize(
    ("now", "kernel", "jumped", "expected"),
    [
        (NOW, clock.Kernel(0, 1, 0.01), 0.1, []),
        (NOW, None, 0.0, []),
        (0.0, None, 0.0, ["problem"]),
        (NOW, None, -3.0, ["warning"]),
        (NOW, clock.Kernel(5, 0x40, 16.0), 0.0, ["warning"]),
        (NOW, clock.Kernel(0, 0x40, 0.1), 0.0, ["note"]),
    ],
)
def test_the_clock(now: float, kernel: clock.Kernel | None, jumped: float, expected: list[str]) -> None:
    assert [one[:2] for one in told(clock.check(now, kernel, jumped))] == [("clock", severity) for severity in expected]


def test_the_kernel_tells_of_its_clock() -> None:
    found = clock.kernel()
    assert found is None or (0 <= found.state <= 5 and found.error >= 0)


# Files.


def test_permissions(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    folder, key, log = tmp_path / "closed", tmp_path / "key.pem", tmp_path / "log"
    folder.mkdir(mode=0o700)
    (folder / "inner").touch()
    key.touch(mode=0o600)
    log.touch()
    log.chmod(0o644)
    way = [Use(str(one), "", 0) for one in tmp_path.parents]
    passes = not told(places.permissions(way, OTHER))  # the directories above are the test runner's
    wanted = [
        (Use(str(key), "a private key", READ), "may not read"),
        (Use(str(log), "a log", WRITE), "may not write to"),
        (Use(str(folder / "inner"), "a log", WRITE), f"may not pass {folder}"),
        (Use(str(tmp_path / "new"), "a log", WRITE, made=True), "cannot be made"),
        (Use(str(tmp_path / "gone"), "a certificate", READ), "it is not there"),
    ]
    for use, word in wanted:
        ((check, severity, what),) = told(places.permissions([use], OTHER))
        assert (check, severity) == ("permissions", "problem") and (not passes or word in what)
    good = [use for use, _ in wanted[:-1]]
    assert told(places.permissions(good, User(os.geteuid(), frozenset(), "me"))) == []
    assert told(places.permissions([Use(str(log), "a log", READ)], OTHER)) == [] or not passes


def test_a_key_that_every_user_may_read(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.touch()
    key.chmod(0o604)
    ((check, severity, what),) = told(places.keys([str(key), str(tmp_path / "gone")]))
    assert (check, severity) == ("permissions", "warning") and str(key) in what
    key.chmod(0o600)
    assert told(places.keys([str(key)])) == []


@pytest.mark.parametrize(
    ("free", "files", "expected"),
    [
        (50, 5000, []),
        (4, 5000, ["warning"]),
        (0.9, 5000, ["problem"]),
        (50, 50, ["warning"]),
    ],
)
def test_disks(tmp_path: Path, free: float, files: int, expected: list[str]) -> None:
    size = 20 << 30
    disk = SimpleNamespace(
        f_blocks=size >> 12, f_frsize=4096, f_bavail=int(size * free / 100) >> 12, f_files=10_000, f_favail=files
    )
    paths = [(str(tmp_path / "not" / "there"), "`state_dir`"), (str(tmp_path), "a log")]  # one disk
    found = told(places.disks(paths, lambda path: disk))  # type: ignore[arg-type,return-value]
    assert [one[:2] for one in found] == [("disk", severity) for severity in expected]


def test_the_files_that_a_configuration_needs(tmp_path: Path) -> None:
    backend = Backend("shop/ u", "unix:/a", "http", "a", 80)
    at = Snapshot(
        1,
        (Listener("unix:/run/x/web.sock"),),
        (Service("shop", ("*",), (), (Location("shop/", "/", backends=(backend,)),), tls=Tls(files=(("/c.pem", "/k.pem"),))),),
        state_dir=str(tmp_path),
        runtime_dir=str(tmp_path / "not-there-yet"),
    )
    assert {one.path for one in uses(at)} == {str(tmp_path), "/c.pem", "/k.pem", "/run/x"}


# Certificates.


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def tls(folder: Path, authority: Authority, *names: str, host: str = "shop.test", alone: bool = False, **keys: Any) -> Snapshot:
    issued = authority.issue(*names, **keys)
    chain, key = issued.write(folder)
    if alone:
        chain.write_bytes(issued.alone)
    service = Service("shop", (host,), (), (), tls=Tls(files=((str(chain), str(key)),)))
    return Snapshot(1, (), (service,), certificate_threshold=14 * DAY)


@pytest.mark.parametrize(
    ("keys", "severity", "word"),
    [
        ({}, None, ""),
        ({"days": 5, "begun": 60}, "warning", "ends in 4 days"),
        ({"days": -3, "begun": 30}, "problem", "expired 3 days ago"),
        ({"begun": -2}, "problem", "is not valid before"),
        ({"host": "other.test"}, "warning", "No certificate of service shop has the name other.test"),
        ({"alone": True}, "note", "without those of the authorities (Test Authority issued it)"),
    ],
)
def test_certificates(tmp_path: Path, authority: Authority, keys: dict[str, Any], severity: str | None, word: str) -> None:
    found = told(certificates.check(tls(tmp_path, authority, "shop.test", **keys), time.time()))
    assert [one[:2] for one in found] == ([("certificates", severity)] if severity else []) and all(word in one[2] for one in found)


def test_a_key_that_is_another_ones(tmp_path: Path, authority: Authority) -> None:
    at = tls(tmp_path, authority, "shop.test")
    (tmp_path / "site.key").write_bytes(authority.issue("else.test").key)
    ((check, severity, what),) = told(certificates.check(at, time.time()))
    assert (check, severity) == ("certificates", "problem") and "the key does not belong to the certificate" in what


# Names.


def test_a_name_server_that_is_dead() -> None:
    asked = names.ask([("backend.terraster.test", False)], (f"127.0.0.1:{_free_udp()}",))  # the kernel refuses at once
    ((check, severity, what),) = told(names.check(asked))
    assert (check, severity) == ("dns", "problem") and "backend.terraster.test of a backend does not resolve" in what


def _free_udp() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_a_slow_name_and_a_quick_one() -> None:
    found = told(names.check([Asked("slow.test", 1.5, ""), Asked("quick.test", 0.2, "")]))
    assert [(one[0], one[1]) for one in found] == [("dns", "warning")] and "slow.test" in found[0][2] and "1.5 s" in found[0][2]


def test_the_names_that_are_looked_up() -> None:
    def backend(url: str, host: str, **keys: Any) -> Backend:
        return Backend(url, url, "http", host, 80, **keys)

    backends = (
        backend("a", "one.test"),
        backend("b", "one.test"),
        backend("c", "192.0.2.1"),
        backend("d", "_web.one.test", srv=True),
    )
    at = Snapshot(1, (), (Service("shop", ("*",), (), (Location("shop/", "/", backends=backends),)),))
    assert names.wanted(at) == [("one.test", False), ("_web.one.test", True)]


# The running Terraster.


def test_a_reload_that_was_refused_and_problems_of_the_status() -> None:
    last = {"ok": False, "when": NOW - 3 * 3600, "problems": ["site.yaml:3:1: no"], "generation": 4}
    problems = [
        {"kind": "reload-failed", "text": "x"},
        {"kind": "queue", "text": "5 requests wait", "service": "shop", "location": "/"},
    ]
    found = told(running.check({"last_reload": last, "problems": problems}, 7, "", NOW))
    assert [one[:2] for one in found] == [("reload", "warning"), ("status", "warning")]
    assert "3 hours ago, was refused: site.yaml:3:1: no" in found[0][2] and found[1][2] == "shop/: 5 requests wait."


def test_a_backend_with_a_problem_is_named() -> None:
    problem = {"text": "refused", "service": "shop", "location": "/", "backend": "http://a:1"}
    problems = [{**problem, "kind": kind} for kind in ("backend-down", "backend-failing")]
    down, failing = running.check({"problems": problems}, 7, "", NOW)
    assert (down.what, failing.what) == ("shop/: http://a:1 is down: refused.", "shop/: http://a:1: refused.")
    assert down.do == failing.do == "See `terrasterctl why http://a:1`."


def test_a_terraster_that_does_not_run_or_does_not_answer() -> None:
    assert [one[:2] for one in told(running.check(None, 0, "", NOW))] == [("running", "note")]
    assert [one[:2] for one in told(running.check(None, 7, "no answer", NOW))] == [("running", "problem")]


def test_exit_codes() -> None:
    def of(*severities: Any) -> int:
        return exit_code(Finding("x", one, "", "", "") for one in severities)

    assert [of(), of("note"), of("note", "warning"), of("warning", "problem", "note")] == [0, 0, 1, 2]
