"""The runtime of filters: the process that runs them does for them the things that take time.

A filter opens no socket, starts no thread and keeps no greenlet waiting by means of its own. Where a hook must wait, it asks its `Runtime`
(`Place.runtime`), which the worker fills in (`terraster.phases.data_plane`). The hook stays straight code, and a test gives it a runtime
that answers at once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..config.settings.plugins import PluginUse
from ..errors import HttpError
from ..exchange import Exchange
from ..policy.overload import Gates
from ..wire.edits import Edits
from .answer import Answer

if TYPE_CHECKING:
    from .copies import Copy

__all__ = ["Bodies", "Hooked", "Mirrors", "Passwords", "Plugins", "Reply", "Runtime", "Subrequests"]


Fields = Sequence[tuple[bytes, bytes]]


class Passwords(Protocol):
    """Compares passwords with their hashes."""

    def verify(self, client: str, user: bytes, password: bytes, hashed: bytes) -> bool:
        """True if the password has this hash (`terraster.policy.htpasswd`). Waits. Raises `HttpError` if too many are being compared.

        client: its IP address; clients take turns. user: the name that the client gave."""


class Reply(NamedTuple):
    """The answer to a request of ours. fields: without those that belong to a connection or frame the body."""

    status: int
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Subrequests(Protocol):
    """Asks servers about requests."""

    def get(self, exchange: Exchange, path: str, target: bytes, fields: Fields, about: Fields) -> Reply:
        """The answer to a GET. Waits, and no longer than the timeout of the server. Raises `HttpError` if there is none, or if the client of
        the exchange leaves meanwhile.

        path: of the location that stands for the server (`terraster.config.settings.kinds.Call`). target: path and query. fields: of the
        client. about: of ours, which may be such as clients cannot set."""


class Mirrors(Protocol):
    """Sends copies of requests, and keeps their memory within bounds. Nothing here waits."""

    def hold(self, octets: int, most: int) -> bool:
        """Reserve memory. False if more than ``most`` octets would then be reserved in this process."""

    def release(self, octets: int) -> None:
        """Give back what was reserved for a copy that will not be sent."""

    def send(self, copy: Copy) -> str:
        """Send a copy soon, tell its mirror what becomes of it, and give back the memory that is reserved for it. Returns ""; or the reason
        why nothing happens: "queue_full" if too many wait, "target_failing" if the last ones have failed, "dropped" if a reload has taken the
        target away."""


class Hooked(Protocol):
    """A plugin with its settings, as one worker has it. The hooks are those of `terraster.filters.contract`, with their rules."""

    def on_request(self, exchange: Exchange) -> Answer | None: ...
    def on_upstream(self, exchange: Exchange, edits: Edits) -> None: ...
    def on_response(self, exchange: Exchange, edits: Edits) -> None: ...
    def on_error(self, exchange: Exchange, error: HttpError) -> Answer | None: ...
    def on_log(self, exchange: Exchange) -> None: ...


class Plugins(Protocol):
    """The plugins of this process."""

    def hooked(self, use: PluginUse) -> Hooked:
        """The plugin with these settings. It may have been loaded, or not; a reload may load another version of it."""


class Bodies(Protocol):
    """Reads request bodies before a backend is picked."""

    def read(self, exchange: Exchange, most: int) -> bytes | None:
        """The whole body, which still goes to the backend; b"" if the request has none; None if it has more than ``most`` octets. Waits.
        Raises `HttpError`."""


class Runtime:
    """The means of one process. One object for all filters of a plan and of the plans that follow it; it is made before the process is.

    bodies, mirrors, passwords, plugins, subrequests: set by a worker before its first request
    gates: what an overloaded worker refuses
    draw: returns a random number from 0.0 to 1.0, which itself never comes
    """

    __slots__ = ("bodies", "draw", "gates", "mirrors", "passwords", "plugins", "subrequests")

    mirrors: Mirrors
    passwords: Passwords
    subrequests: Subrequests
    plugins: Plugins
    bodies: Bodies

    def __init__(self) -> None:
        self.gates = Gates()
        self.draw: Callable[[], float] = random.random
