"""A process of the load generator: `python -m terraster.bench.worker`. `terraster.bench.fleet` starts it and talks to it in lines of JSON.

In: the share of the load; then ``{"begin": T}``, a monotonic time (the clock is one for all processes of a machine); ``{"stop": GRACE}`` ends
the load early. The end of its input ends the process.

Out: ``{"ready": true}`` when connections are open; every `TICK` seconds ``{"at": SECONDS, "record": …, "is_late": …}``, the requests that ended
up to this second of the load, and were not reported before, and whether that is after its end; last ``{"end": …}``, the fields of a
`terraster.bench.result.Share`. A share that cannot run: ``{"fault": TEXT}``.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import ssl
import sys
from math import inf
from time import process_time
from typing import Any

from terraster.errors import TerrasterError
from terraster.net.reactor import Reactor, Wakeup

from .http1 import Http1Client
from .http2 import Http2Client
from .load import Load
from .record import TICK, Record
from .run import Client, Run

__all__ = ["main"]

_FOREVER = 1e9
_ROUNDING = 1e-6
_SPARE = 32  # descriptors besides connections
_STANDSTILL = 0.5
"""Seconds by which a tick must be late to be a time in which this process stood still."""


class Worker:
    """One share of a load, from its connections to its end."""

    def __init__(self, load: Load) -> None:
        """Raises OSError, ssl.SSLError or `TerrasterError` for a share that cannot run."""
        _allow_descriptors(load.connections + _SPARE)
        self._reactor = reactor = Reactor()
        self._over = Wakeup(reactor)
        self._run = Run(load, reactor, self._rest)
        kind: Any = Http2Client if load.http2 else Http1Client
        self._clients: list[Client] = [kind(self._run) for _ in range(load.connections)]
        self._unprepared = len(self._clients)
        self._held = b""
        self._input = reactor.loop.io(0, 1)
        self._is_over = False
        self._looked = inf  # monotonic time of the last tick
        self._spent = _spent()
        self._stood = 0.0  # seconds
        self._timers: list[Any] = []

    def work(self) -> None:
        """All of it. Called once, in the main greenlet."""
        os.set_blocking(0, False)
        self._input.start(self._hear)
        self._reactor.start()
        for client in self._clients:
            self._reactor.spawn(self._prepare, client)
        while not self._is_over:
            self._over.wait(_FOREVER)
        run, turns = self._run, self._run.turns
        now = run.clock()
        self._watch(now)
        cpu, waited = (after - before for after, before in zip(_spent(), self._spent, strict=True))
        self._report((now if now > turns.until else run.last) - turns.since)
        wall = max(0.0, now - turns.since)
        seconds = turns.seconds(now, run.last)
        _say({"end": {"seconds": seconds, "wall": wall, "cpu": cpu, "waited": waited, "stood": self._stood}})

    def _prepare(self, client: Client) -> None:
        client.prepare()
        self._unprepared -= 1
        if not self._unprepared:
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 20)  # a collection would be a pause in the middle of measuring
            _say({"ready": True})

    def _hear(self) -> None:
        try:
            data = os.read(0, 65536)
        except BlockingIOError:
            return
        if not data:
            os._exit(1)  # the process that reads the results has ended
        *lines, self._held = (self._held + data).split(b"\n")
        for line in lines:
            order = json.loads(line)
            if "begin" in order:
                self._later(order["begin"], self._begin, order["begin"])
            else:
                run = self._run
                run.stop()
                if not self._is_over:
                    self._report(min(run.turns.until, run.clock()) - run.turns.since)  # what ends from now on is late
                    self._later(run.clock() + order["stop"], self._give_up)

    def _later(self, at: float, call: Any, *args: Any) -> None:
        self._reactor.loop.update_now()  # timers count from when the loop last woke
        timer = self._reactor.loop.timer(max(0.0, at - self._run.clock()))
        timer.start(call, *args)
        self._timers.append(timer)

    def _begin(self, at: float) -> None:
        turns = self._run.turns
        turns.begin(at)
        self._later(turns.since, self._count)
        for client in self._clients:
            client.begin()

    def _count(self) -> None:
        """From here on requests count."""
        self._spent = _spent()
        self._looked = self._run.clock()
        if self._run.load.warm_up:
            self._run.record.sent = self._run.record.received = 0
        self._report_later(0)

    def _report_again(self, ticks: int) -> None:
        if self._is_over:
            return
        self._watch(self._run.clock())
        self._report(ticks * TICK)
        self._timers.clear()
        self._report_later(ticks)

    def _report_later(self, ticks: int) -> None:
        turns = self._run.turns
        next_tick = turns.since + (ticks + 1) * TICK
        if self._run.clock() < turns.until < next_tick:
            self._later(
                turns.until, self._report, turns.until - turns.since
            )  # requests that end after the time of the load are apart
        self._later(next_tick, self._report_again, ticks + 1)

    def _watch(self, now: float) -> None:
        """Note a time in which this process did not run. Its own timers tell it: Ctrl-Z and the like stop it from outside."""
        if now - self._looked > TICK + _STANDSTILL:
            self._stood += now - self._looked - TICK
        self._looked = now

    def _report(self, at: float) -> None:
        run = self._run
        record, run.record = run.record, Record()
        at = max(0.0, at)  # the load may have been stopped before its requests count
        _say({"at": at, "record": record.to_json(), "is_late": at > run.turns.until - run.turns.since + _ROUNDING})

    def _rest(self) -> None:
        self._is_over = True
        self._over.wake()

    def _give_up(self) -> None:
        self._run.give_up()
        self._rest()


def _spent() -> tuple[float, float]:
    """Seconds of the CPU that this process has used, and seconds for which it was ready to run and another process had the core."""
    try:
        with open("/proc/self/schedstat", encoding="ascii") as stat:
            return process_time(), int(stat.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):  # a kernel without scheduler statistics
        return process_time(), 0.0


def _allow_descriptors(wanted: int) -> None:
    """Raise the limit of open descriptors. Raises `TerrasterError` if the hard limit is too low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise TerrasterError(
                f"{wanted - _SPARE} connections of a process are above the limit of open files ({hard}): see `ulimit -Hn`"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _say(message: dict[str, Any]) -> None:
    octets = json.dumps(message, separators=(",", ":")).encode() + b"\n"
    while octets:
        octets = octets[os.write(1, octets) :]


def _order() -> bytes:
    """The first line of the input, octet by octet: the next one is for the loop."""
    line = bytearray()
    while not line.endswith(b"\n"):
        octet = os.read(0, 1)
        if not octet:
            break
        line += octet
    return bytes(line)


def main() -> int:
    """The process. Returns its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one decides when the load ends
    line = _order()
    if not line:
        return 1
    try:
        worker = Worker(Load.from_json(line))
    except (OSError, ssl.SSLError, TerrasterError) as error:
        _say({"fault": str(error)})
        return 1
    worker.work()
    return 0


if __name__ == "__main__":
    sys.stdout.flush()
    os._exit(main())
