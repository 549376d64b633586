"""The lines of all workers for those who follow requests live (`terraster.logs.tail`), as server-sent events.

    event: request  data: a summary of a request that is over (`terraster.logs.summary.FIELDS`)
    event: lost     data: {"lines": …} were lost: a worker had too many at once, or this listener is too slow
    event: workers  data: {"listening": […], "silent": […]} the processes that send, and those that do not answer: at the beginning, and
                    whenever these are others
    event: failure  data: {"detail": …}, where the workers cannot be asked
    event: ended    the login is over, or Terraster stops

While there is a listener, all workers are asked every `AGAIN` seconds for what the listeners want; so a worker that has just started is
asked as well, and all of them stop by themselves when nobody asks any longer. A listener has a queue of `KEPT` lines; the oldest are lost
when it is full.
"""

from __future__ import annotations

import json
import marshal
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import gevent
from gevent import socket
from gevent.event import Event

from ..errors import TerrasterError
from ..logs.summary import FIELDS
from ..logs.tail import Wanted

__all__ = ["AGAIN", "KEPT", "LISTENERS", "Tailing"]

AGAIN = 1.0
KEPT = 2000
LISTENERS = 8

_STILL = 2.0  # seconds after which a silent stream gets a comment: so it is noticed that its listener has gone
_READ = 1 << 20  # octets of the longest message


class _Listener:
    """One of those who follow. workers: the last event of that name, or the failure. news: set when there is something to send"""

    __slots__ = ("lines", "lost", "news", "wanted", "workers")

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.lines: deque[tuple[Any, ...]] = deque()
        self.lost = 0
        self.workers = b""
        self.news = Event()

    def take(self, lines: Sequence[tuple[Any, ...]]) -> None:
        """Keep the lines that it wants."""
        wanted = [line for line in lines if self.wanted.takes(line[_SERVICE], line[_STATUS], line[_PATH])]
        if wanted:
            self.lines.extend(wanted)
            while len(self.lines) > KEPT:
                self.lines.popleft()
                self.lost += 1
            self.news.set()


class Tailing:
    """Those of one admin worker.

    channel: the descriptor of its side of the channel, -1: there is none. ask: asks the master (`seen`); raises TerrasterError
    """

    def __init__(self, channel: int, ask: Callable[..., Any], log: Any) -> None:
        self._channel = channel
        self._ask = ask
        self._log = log
        self._listeners: set[_Listener] = set()
        self._asking: gevent.Greenlet | None = None
        self._reading: gevent.Greenlet | None = None
        self._changed = Event()
        self._closing = False

    @property
    def is_full(self) -> bool:
        """True if there are as many listeners as are allowed."""
        return len(self._listeners) >= LISTENERS

    def frames(self, wanted: Wanted, still: Callable[[], bool]) -> Iterator[bytes]:
        """The events for one listener. still: True if it may still see them"""
        one = _Listener(wanted)
        self._listeners.add(one)
        self._changed.set()
        workers = b""
        try:
            self._begin()
            yield b"retry: 2000\n\n"
            while True:
                one.news.wait(_STILL)
                if self._closing or not still():
                    yield b"event: ended\ndata:\n\n"
                    return
                one.news.clear()
                lines, one.lines = one.lines, deque()
                lost, one.lost = one.lost, 0
                found = b"".join([_event("request", dict(zip(FIELDS, line, strict=True))) for line in lines])
                if lost:
                    found += _event("lost", {"lines": lost})
                if one.workers != workers:
                    workers = one.workers
                    found = workers + found
                yield found or b": still here\n\n"
        finally:
            self._listeners.discard(one)
            self._changed.set()

    def close(self) -> None:
        """End all streams: a drain does not wait for them."""
        self._closing = True
        for one in self._listeners:
            one.news.set()

    def _begin(self) -> None:
        if self._asking is None:
            self._asking = gevent.spawn(self._ask_again)
            if self._channel >= 0:
                self._reading = gevent.spawn(self._read)

    def _ask_again(self) -> None:
        """Ask all workers for what is wanted, as long as there is a listener. In a greenlet of its own."""
        try:
            while self._listeners and not self._closing:
                self._changed.clear()
                self._ask_once()
                self._changed.wait(AGAIN)
            self._ask_once()
        finally:
            self._asking = None
            if self._reading is not None:
                self._reading.kill()
                self._reading = None
            if self._listeners and not self._closing:  # one has come meanwhile
                self._begin()

    def _ask_once(self) -> None:
        about = json.dumps([] if self._closing else [one.wanted.values() for one in self._listeners])
        lost = 0
        try:
            told = self._ask("seen", what="tail", about=about)
        except TerrasterError as error:
            workers = _event("failure", {"detail": str(error)})
        else:
            answers = told["answers"]
            lost = sum(count or 0 for count in answers.values())
            silent = [*told["silent"], *[pid for pid, count in answers.items() if count is None]]
            listening = [pid for pid, count in answers.items() if count is not None]
            workers = _event("workers", {"listening": sorted(listening), "silent": sorted(silent)})
        for one in self._listeners:
            one.lost += lost
            if one.workers != workers or lost:
                one.workers = workers
                one.news.set()

    def _read(self) -> None:
        """Hand out the lines that come. In a greenlet of its own."""
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=os.dup(self._channel))
        try:
            _empty(channel)
            while True:
                lines = marshal.loads(channel.recv(_READ))
                for one in list(self._listeners):
                    one.take(lines)
        except OSError as error:
            self._log.error("a tail cannot be read: %s", error.strerror or error)
        finally:
            channel.close()


def _empty(channel: Any) -> None:
    """Forget what was sent for those who listened before."""
    channel.settimeout(0.0)
    with suppress(BlockingIOError):
        while True:
            channel.recv(_READ)
    channel.settimeout(None)


def _event(name: str, value: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(value)}\n\n".encode()


_SERVICE, _STATUS, _PATH = (FIELDS.index(name) for name in ("service", "status", "path"))
