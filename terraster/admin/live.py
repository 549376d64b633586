"""The status as a stream of events, for dashboards (server-sent events, HTML Living Standard, section 9.2).

    event: status   data: the document of `terrasterctl status --json`, every `EVERY` seconds
    event: failure  data: {"detail": …}, where the document cannot be made
    event: ended    the login is over, or Terraster stops

The document is made once a tick for all viewers, and not at all while there is none. A viewer that is slower than the tick misses documents
and gets the newest: nothing is kept for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import gevent
from gevent.event import Event

from ..errors import TerrasterError

__all__ = ["EVERY", "VIEWERS", "Live"]

EVERY = 2.0  # seconds between two documents
VIEWERS = 64
STILL = 15.0  # seconds after which a silent stream gets a comment, so that no program in between ends it


class Live:
    """The stream of one admin worker. document: the status; it may yield to the loop, and raise TerrasterError"""

    def __init__(self, document: Callable[[], Any], log: Any) -> None:
        self._document = document
        self._log = log
        self._viewers = 0
        self._number = 0
        self._newest = b""
        self._ticking = False
        self._closing = False
        self._news = Event()

    @property
    def is_full(self) -> bool:
        """True if there are as many viewers as are allowed."""
        return self._viewers >= VIEWERS

    def frames(self, still: Callable[[], bool]) -> Iterator[bytes]:
        """The events for one viewer. still: True if this viewer may still see them; asked before each document."""
        self._viewers += 1
        seen = self._number
        try:
            if not self._ticking:
                self._ticking = True
                gevent.spawn(self._tick)
            elif self._newest:
                seen -= 1
            yield b"retry: 2000\n\n"
            while True:
                if seen == self._number and not self._closing and not self._news.wait(STILL):
                    yield b": still here\n\n"
                if self._closing or not still():
                    yield b"event: ended\ndata:\n\n"
                    return
                if seen != self._number:
                    seen = self._number
                    yield self._newest
        finally:
            self._viewers -= 1

    def close(self) -> None:
        """End all streams: a drain does not wait for viewers."""
        self._closing = True
        self._news.set()

    def _tick(self) -> None:
        try:
            while self._viewers and not self._closing:
                self._newest = self._event()
                self._number += 1
                news, self._news = self._news, Event()
                news.set()
                gevent.sleep(EVERY)
        finally:
            self._ticking = False
            self._newest = b""

    def _event(self) -> bytes:
        try:
            return b"event: status\ndata: " + json.dumps(self._document()).encode() + b"\n\n"
        except TerrasterError as error:
            detail = str(error)
        except Exception:
            self._log.exception("cannot make the status for dashboards")
            detail = "internal error, see the log"
        return b"event: failure\ndata: " + json.dumps({"detail": detail}).encode() + b"\n\n"
