"""A share of a load of `terraster bench`, run in the test's own process."""

from __future__ import annotations

import socket
from typing import Any

from terraster.bench.http1 import Http1Client
from terraster.bench.http2 import Http2Client
from terraster.bench.load import Load
from terraster.bench.record import Record
from terraster.bench.run import Client, Run
from terraster.net.reactor import Reactor, Wakeup

from .waiting import DEADLINE

__all__ = ["drive", "load_on"]


def load_on(port: int, scheme: str = "http", **more: Any) -> Load:
    """A load on a port of loopback: 2 connections, 1 second for a request, 10 requests unless there is another limit."""
    limits = {} if "seconds" in more else {"requests": 10}
    address = ("127.0.0.1", port)
    given = {"connections": 2, "timeout": 1.0, **limits, **more}
    url = f"{scheme}://127.0.0.1:{port}/"
    return Load(url, scheme, "127.0.0.1", f"127.0.0.1:{port}", "/", socket.AF_INET, address, **given)


def drive(load: Load) -> Record:
    """Run a load to its end. Fails if it does not end."""
    reactor = Reactor()
    over = Wakeup(reactor)
    ended = []

    def rested() -> None:
        ended.append(True)
        over.wake()

    run = Run(load, reactor, rested)
    reactor.start()
    try:
        clients: list[Client] = [(Http2Client if load.http2 else Http1Client)(run) for _ in range(load.connections)]
        for client in clients:
            reactor.spawn(client.prepare)
        reactor.sleep(0.05)
        run.turns.begin(run.clock())
        for client in clients:
            client.begin()
        end = run.clock() + DEADLINE
        while not ended and run.clock() < end:
            over.wait(0.1)
        assert ended, "the load did not end"
    finally:
        run.close()
        reactor._timer.stop()
    return run.record
