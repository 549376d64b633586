"""The soak test finds what it looks for: answers to other requests, counters that differ, memory that grows."""

from __future__ import annotations

import importlib
import json
import socket
import subprocess
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parent.parent / "bench"
OWN = ("soak", "soak_client", "soak_backends", "tree")


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module bench/soak.py, imported as it is when it runs: with its own folder first on the path."""
    monkeypatch.syspath_prepend(str(BENCH))
    yield importlib.import_module("soak")
    for name in OWN:
        sys.modules.pop(name, None)


def load(tmp_path: Path) -> Any:
    given = {"port": 1, "number": 1, "requests": 1, "connections": 1, "seconds": 1, "folder": str(tmp_path)}
    return sys.modules["soak_client"].Load(given)


def answers(tmp_path: Path, octets: bytes) -> list[str]:
    """What is wrong with the octets as answers to GET /1 and GET /2 of the service "plain"."""
    one = load(tmp_path)
    client = one.clients[0]
    client.batch = "plain"
    client.awaited.extend([(0, 1, b"G", b""), (0, 2, b"G", b"")])
    one.take(client, octets)
    return [text.partition(": ")[2].partition(";")[0] for text in one.mismatches]


def answer(number: int, body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nX-Id: /%d\r\nContent-Length: %d\r\n\r\n%b" % (status, number, len(body), body)


@pytest.mark.parametrize(
    ("octets", "wrong"),
    [
        (answer(1, b"/1" * 2) + answer(2, b"/2" * 3), []),
        (answer(1, b"/1" * 2) + answer(2, b"/2" * 3)[:-1], []),
        (answer(2, b"/2" * 3) + answer(1, b"/1" * 2), ["plain /1: THE ANSWER TO ANOTHER REQUEST", "plain /2: THE ANSWER TO ANOTHER REQUEST"]),
        (answer(1, b"/2" * 2), ["plain /1: THE BODY OF ANOTHER REQUEST"]),
        (answer(1, b"/1"), ["plain /1: 2 octets instead of 4"]),
        (answer(1, b"/1" * 2, b"404 Not Found"), ["plain /1: an unexpected status"]),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", ["plain /1: an answer without X-Id"]),
    ],
)  # fmt: skip
def test_an_answer_is_compared_with_its_request(soak: ModuleType, tmp_path: Path, octets: bytes, wrong: list[str]) -> None:
    assert answers(tmp_path, octets) == wrong


def test_rules_of_two_generations_are_wrong(soak: ModuleType, tmp_path: Path) -> None:
    client = load(tmp_path).clients[0]
    rules = sys.modules["soak_client"]._rules
    assert rules(client, b"x\r\nX-Got: 3\r\nX-Generation: 3\r\n") == ""
    assert rules(client, b"x\r\nX-Got: 3\r\nX-Generation: 4\r\n") == "rules of two generations: 3 and 4"
    assert rules(client, b"x\r\nX-Got: 3\r\nX-Generation: 3\r\n") == "generation 3 after 4"


def counted(place: str, location: str, code: str, count: int, octets_in: int, octets_out: int) -> dict[str, float]:
    where = f'service="{place}",location="{location}"'
    return {
        f'terraster_requests_total{{{where},code="{code}"}}': count,
        f'terraster_bytes_total{{{where},direction="in"}}': octets_in,
        f'terraster_bytes_total{{{where},direction="out"}}': octets_out,
        f'terraster_backend_requests_total{{{where},backend="http://a"}}': count + 1,
        f"terraster_location_retries_total{{{where}}}": 1,
    }


def test_every_counter_is_compared(soak: ModuleType, tmp_path: Path) -> None:
    one = load(tmp_path)
    one.statuses[0][b"200"] = 7
    one.octets_in[0], one.octets_out[0], one.cut_asked[0] = 700, 1400, 8
    one.cut_statuses[0][b"200"] = 3
    reports = [one.report()]

    def problems(**other: int) -> list[str]:
        usual = {"count": 7, "octets_in": 700, "octets_out": 1400, "cut": 5, **other}
        cut = counted("plain", "/cut", "200", usual.pop("cut"), 0, 0)
        found: list[str] = soak.compare({**counted("plain", "/", "200", **usual), **cut}, reports)[1]  # type: ignore[arg-type]
        return [text.partition(":")[0] for text in found]

    assert problems() == []
    assert problems(count=8) == ["plain"]
    assert problems(count=6) == ["plain"]
    assert problems(octets_in=699) == ["plain"]
    assert problems(octets_out=1401) == ["plain"]
    assert problems(cut=8) == []
    assert problems(cut=9) == ["plain/cut"]
    assert problems(cut=2) == ["plain/cut"]


def test_a_request_for_no_service_that_no_client_sent_is_wrong(soak: ModuleType, tmp_path: Path) -> None:
    metrics = {'terraster_requests_total{service="",location="",code="400"}': 1.0}
    assert soak.compare(metrics, [load(tmp_path).report()])[1] == [
        "requests for no service: clients counted 0 421, Terraster {'400': 1}"
    ]


def test_a_post_that_was_executed_twice_or_never_is_wrong(soak: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "executed").write_bytes(array("q", [1, 2, 2]).tobytes())
    (tmp_path / "acknowledged-1").write_bytes(array("q", [1, 3]).tobytes())
    assert soak.compare_posts(tmp_path)[1] == [
        "POST 2 was executed 2 times",
        "POST 3 was answered with 200 but never executed",
    ]


@pytest.mark.parametrize(
    ("series", "wrong"),
    [
        ([10, 20, 30, 100, 100, 100, 101, 102, 103], ""),
        ([100, 100, 100, 100, 100, 100, 104, 104, 104], "grew from 100 to 104"),
        ([100] * 7 + [500, 100], ""),
        ([100, 200], ""),
    ],
)
def test_what_is_flat(soak: ModuleType, series: list[int], wrong: str) -> None:
    assert soak.grown(series, 0) == wrong


@pytest.mark.parametrize("arguments", [["--requests", "0"], ["--seconds", "-1"], ["--resume"]])
def test_what_it_does_not_know_is_refused(soak: ModuleType, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        soak.parse_arguments(arguments)
    assert stopped.value.code == 2


def test_two_thousand_requests(tmp_path: Path) -> None:
    """The program as it runs, small: its clients, its backends and a real Terraster."""
    done = subprocess.run(
        [sys.executable, str(BENCH / "soak.py"), "--requests", "2000", "--seconds", "60"],
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert done.stdout.endswith("Nothing was wrong.\n")


def test_its_backends_count_what_they_execute(soak: ModuleType, tmp_path: Path) -> None:
    """Two POSTs, one of them chunked, straight to a backend."""
    backends = subprocess.Popen(
        [sys.executable, str(BENCH / "soak_backends.py"), str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert backends.stdout is not None
    try:
        ports = json.loads(backends.stdout.readline())
        with socket.create_connection(("127.0.0.1", ports["good"]), timeout=10) as sock:
            for octets in (
                b"POST /5 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
                b"POST /6 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            ):
                sock.sendall(octets)
                assert sock.recv(4096).endswith(b" 3 352441c2")
        said = json.loads(backends.communicate(timeout=10)[0])
    finally:
        backends.kill()
        backends.wait()
    assert said["good"] == 2
    assert list(soak._ids(tmp_path / "executed")) == [5, 6]
