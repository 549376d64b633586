"""`buffer`: requests and responses are read ahead, so that a slow client keeps no backend busy.

A backend with a few synchronous workers answers as many requests at a time as it has workers. With a slow client each of them waits for the
client most of the time. With `response` Terraster reads the response as fast as the backend sends it. With `request` it reads the whole
request before it picks a backend. `terraster.phases.ahead` does it; this filter says for which requests.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from typing import ClassVar

from pydantic import Field

from ..config.settings.base import FilePath, Size
from ..config.settings.kinds import LOCATION, SERVICE, FilterSettings, Level
from ..exchange import Exchange
from ..state.view import SeatView
from ..wire.edits import Edits
from ..wire.http1 import ResponseHead
from .contract import Counter, Filter, Place, Tally

__all__ = ["Buffer", "BufferSettings", "Buffering"]

_EVENTS = b"text/event-stream"


class BufferSettings(FilterSettings):
    """Bodies are read ahead, so that slow clients keep no backend busy."""

    enabled: bool = Field(True, description="False: bodies are not read ahead. `buffer: off` is short for that.")
    request: bool = Field(True, description="Read the whole body of a request before a backend is picked.")
    response: bool = Field(
        True,
        description="Read responses as fast as backends send them. Not for event streams, upgrades, gRPC, and responses with "
        "`X-Accel-Buffering: no`.",
    )
    memory: Size = Field(65536, description="Octets of each body that are kept in memory.")
    disk: Size = Field(
        1 << 30,
        description="Octets of each body beyond that, which are kept in a file without a name; 0: none. A body that is larger still is passed "
        "on only as fast as the slower side takes it.",
    )
    directory: FilePath = Field("/var/tmp", description="Directory of these files. It must allow files without names (O_TMPFILE).")

    def idle(self, beside: Collection[str]) -> Iterator[tuple[str, str]]:
        if not (self.request or self.response):
            yield "", "reads neither requests nor responses ahead; `buffer: off` says so"
        elif not self.disk:
            yield "directory", "has no effect with `disk: 0`"


class Buffering:
    """The bodies that are read ahead at one location."""

    __slots__ = ("directory", "disk", "failures", "memory", "request", "requests", "response", "responses", "spilled")

    def __init__(self, settings: BufferSettings, place: Place) -> None:
        self.request = settings.request
        self.response = settings.response
        self.memory = settings.memory
        self.disk = settings.disk
        self.directory = settings.directory
        self.requests: Tally = place.tally("requests")
        self.responses: Tally = place.tally("responses")
        self.spilled: Tally = place.tally("spilled")
        self.failures: Tally = place.tally("disk_failures")

    def takes(self, response: ResponseHead) -> bool:
        """True if a response may be read ahead."""
        if not self.response:
            return False
        for name, value in response.fields:
            lower = name.lower()
            if lower == b"x-accel-buffering" and value.lower() == b"no":
                return False
            if lower == b"content-type" and value.partition(b";")[0].strip(b" \t").lower() == _EVENTS:
                return False
        return True


class Buffer(Filter):
    """Marks the requests that are read ahead."""

    __slots__ = ("_buffering",)

    name: ClassVar[str] = "buffer"
    settings: ClassVar[type[FilterSettings]] = BufferSettings
    levels: ClassVar[tuple[Level, ...]] = (SERVICE, LOCATION)
    shorthand: ClassVar[tuple[Level, ...]] = (SERVICE, LOCATION)
    counters: ClassVar[tuple[Counter, ...]] = (
        Counter("requests", "Requests of which the body was read before a backend was picked."),
        Counter("responses", "Responses that were read ahead of their clients."),
        Counter("spilled", "Bodies of which a part was in a file."),
        Counter("disk_failures", "Bodies for which a file could not be made or had no room on the disk."),
    )

    def __init__(self, settings: BufferSettings, place: Place, view: SeatView) -> None:
        """Raises `ConfigError` if there is no such directory."""
        if settings.disk and not os.path.isdir(settings.directory):
            raise place.problem("buffer", f"has a `directory` that is not there: {settings.directory}", "directory")
        self._buffering = Buffering(settings, place)

    def on_request(self, exchange: Exchange) -> None:
        head = exchange.head
        if head.upgrade is None and head.protocol is None and exchange.grpc is None:
            exchange.buffering = self._buffering

    def explained(self, exchange: Exchange, answered: bool) -> str:
        if exchange.buffering is None:
            return "reads nothing ahead, because the connection is upgraded"
        ahead = [name for name in ("request", "response") if getattr(self._buffering, name)]
        return f"reads the body of the {' and of the '.join(ahead)} ahead" if ahead else ""

    def on_upstream(self, exchange: Exchange, edits: Edits) -> None:
        if exchange.body is not None and exchange.body.spool is not None:  # the client was told to send the body, and has
            edits.remove(b"Expect")
