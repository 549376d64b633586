"""The balancing benchmark measures what it says: shares over time, and latencies from when a request was due."""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).resolve().parent.parent / "bench"
OWN = ("balance", "balance_figures", "bad_backends", "open_loop", "tree")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module bench/balance.py, imported as it is when it runs: with its own folder first on the path."""
    monkeypatch.syspath_prepend(str(BENCH))
    yield importlib.import_module("balance")
    for name in OWN:
        sys.modules.pop(name, None)


def sample(due: float, latency: float) -> object:
    return sys.modules["open_loop"].Sample(due, latency, 0.0, 200)


def evenly(begin: float, end: float, rate: float) -> list[float]:
    return [begin + number / rate for number in range(int((end - begin) * rate))]


def test_when_the_bad_one_was_avoided_and_when_it_was_back(bench: ModuleType) -> None:
    """Bad from 2 to 4; it gets its share until 3, nothing until 5, and all of it from then on."""
    others = [evenly(0, 8, 100) for _ in range(3)]
    first = [moment for moment in evenly(0, 8, 100) if not 3 <= moment < 5]
    samples = [sample(moment, 0.02 if 2 <= moment < 4 else 0.01) for moment in evenly(-1, 8, 100)]
    use = bench.Use(0.1, 0.1, 0.1, 0.1, 0.0, 0.0)
    found = bench.figures("first", "slow", bench.Bad("slow", 10, 2, 4), 8, samples, [first, *others], use)
    assert found.avoided == pytest.approx(1.0, abs=0.11)
    assert found.back == pytest.approx(0.9, abs=0.21)
    assert found.share == pytest.approx(100 / 700, abs=0.005)
    assert (found.p50, found.p99, found.longest, found.failures, found.requests) == (0.02, 0.02, 0.02, 0, 800)
    assert [share for moment, share in found.shares if 3 < moment < 5] == [0.0] * 8


def test_who_keeps_the_share_is_never_avoided(bench: ModuleType) -> None:
    moments = [evenly(0, 8, 100) for _ in range(4)]
    samples = [sample(moment, 0.01) for moment in evenly(0, 8, 100)]
    found = bench.figures("x", "slow", bench.Bad("slow", 10, 2, 4), 8, samples, moments, bench.Use(0, 0, 0, 0, 0, 0))
    assert (found.avoided, found.back) == (None, 0.0)


def test_latency_counts_from_when_a_request_was_due(bench: ModuleType) -> None:
    """A server that stalls for 0.3 s makes all wait who come meanwhile, and each for as long as is left of it."""

    async def run() -> list[float]:
        begun = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.readuntil(b"\r\n\r\n"):
                await begun.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        zero = time.monotonic() + 0.1
        asyncio.get_running_loop().call_at(zero + 0.3, begun.set)
        due = [0.0, 0.1, 0.2, 0.4]
        samples = await bench.load(server.sockets[0].getsockname(), due, zero)
        server.close()
        assert [(sample.due, sample.status) for sample in samples] == [(moment, 200) for moment in due]
        return [sample.latency for sample in samples]

    first, second, third, last = asyncio.run(run())
    assert (first > 0.29, second > 0.19, third > 0.09) == (True, True, True)
    assert first > second > third > last


@pytest.mark.parametrize(
    ("bad", "second", "slowness"),
    [
        (("slow", 10.0, 5.0, 15.0), 4.9, 1.0),
        (("slow", 10.0, 5.0, 15.0), 5.0, 10.0),
        (("slow", 10.0, 5.0, 15.0), 15.0, 1.0),
        (("erratic", 20.0, 5.0, 15.0), 5.5, 20.0),
        (("erratic", 20.0, 5.0, 15.0), 6.5, 1.0),
        (("erratic", 20.0, 5.0, 15.0), 7.5, 20.0),
    ],
)
def test_how_slow_the_bad_one_is(bench: ModuleType, bad: tuple[str, float, float, float], second: float, slowness: float) -> None:
    assert bench.Bad(*bad).slowness(second) == slowness


@pytest.mark.parametrize("arguments", [["--behaviours", "lazy"], ["--algorithms", "fastest"], ["--resume"]])
def test_what_it_does_not_know_is_refused(bench: ModuleType, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        bench.parse_arguments(arguments)
    assert stopped.value.code == 2
    assert arguments[-1] in capsys.readouterr().err
