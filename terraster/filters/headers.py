"""Header rules, compiled: which fields are taken out of a head that is forwarded, and which lines are put in.

A field that is set replaces those of its name; removal comes before setting. Values that are the same for every request are
rendered once. ``${remote_addr}`` ``${host}`` ``${uri}`` ``${method}`` are the client's address, the Host as received, the
canonical path with its query, and the method.

What may be said in rules is `terraster.config.edits`' to tell; it is asked again when they are compiled. What clients send is put
in without CR, LF and NUL, whatever was checked before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from ..config import edits
from ..errors import ConfigError, Problem
from ..exchange import Exchange
from ..state.view import SeatView
from ..wire.edits import Edits, without
from .contract import Filter, Place

__all__ = ["HeaderEdits", "Headers"]

_ENDS = b"\r\n\0"


class Headers(Filter):
    """Header rules. They are asked after all other filters, so they have the last word."""

    __slots__ = ("request", "response")

    name: ClassVar[str] = "headers"

    def __init__(self, settings: Any, place: Place, view: SeatView) -> None:
        """Raises `ConfigError` for names and values that cannot be used."""
        self.request: HeaderEdits | None = None
        self.response: HeaderEdits | None = None
        if settings is not None:
            try:
                if settings.set_request or settings.remove_request:
                    self.request = HeaderEdits(settings.set_request, settings.remove_request)
                if settings.set_response or settings.remove_response:
                    self.response = HeaderEdits(settings.set_response, settings.remove_response)
            except ValueError as error:
                service = "the top" if place.service is None else f"service {place.service.name}"
                raise ConfigError([Problem(service, 0, 0, f"`headers`: {error}")]) from None

    def needs(self, hook: str) -> bool:
        return (self.request if hook == "on_upstream" else self.response) is not None

    def on_upstream(self, exchange: Exchange, edits: Edits) -> None:
        assert self.request is not None
        self.request.apply(exchange, edits)

    def on_response(self, exchange: Exchange, edits: Edits) -> None:
        assert self.response is not None
        self.response.apply(exchange, edits)


class HeaderEdits:
    """The rules for one direction.

    drop: lower-case names to take out, those that are set included. constant: the lines to put in if they are always the same,
    else None.
    """

    __slots__ = ("drop", "constant", "_pieces")

    def __init__(self, set: Iterable[tuple[str, str]] = (), remove: Iterable[str] = ()) -> None:
        """set: (name, value) pairs. remove: names. ValueError for what cannot be one, and for names that are not for rules."""
        pieces: list[bytes | str] = []
        drop: list[str] = []
        for name in remove:
            drop.append(_name(name, edits.removable))
        for name, value in set:
            drop.append(_name(name, edits.field_name))
            pieces += _line(name, value)
        self.drop = frozenset(name.encode("ascii") for name in drop)
        merged: list[bytes | str] = []
        for piece in pieces:
            if merged and isinstance(piece, bytes) and isinstance(merged[-1], bytes):
                merged[-1] += piece
            else:
                merged.append(piece)
        self.constant: bytes | None = None
        if not merged:
            self.constant = b""
        elif len(merged) == 1 and isinstance(merged[0], bytes):
            self.constant = merged[0]
        self._pieces = tuple(merged)

    def apply(self, exchange: Exchange, edits: Edits) -> None:
        """Edit a head, and what was put in there before."""
        if edits.extra:
            edits.extra = without(edits.extra, self.drop)
        edits.drop |= self.drop
        edits.extra += self.render(exchange) if self.constant is None else self.constant

    def render(self, exchange: Exchange) -> bytes:
        """The lines to put in, each with its CRLF."""
        if self.constant is not None:
            return self.constant
        out = b""
        for piece in self._pieces:
            out += piece if isinstance(piece, bytes) else _value(piece, exchange).translate(None, _ENDS)
        return out


def _name(name: str, check: Callable[[str], str]) -> str:
    try:
        return check(name)
    except ValueError as error:
        raise ValueError(f"field name {name!r} {error}") from None


def _line(name: str, value: str) -> Iterable[bytes | str]:
    """The pieces of a field line: octets, and names of variables."""
    try:
        parts = edits.value_parts(value)
    except ValueError as error:
        raise ValueError(f"the value of {name} {error}") from None
    yield name.encode("ascii") + b": "
    for at, part in enumerate(parts):
        yield part.encode("utf-8") if at % 2 == 0 else part
    yield b"\r\n"


def _value(variable: str, exchange: Exchange) -> bytes:
    if variable == "remote_addr":
        return exchange.client_ip.encode("ascii", "replace")
    if variable == "host":
        return exchange.host
    if variable == "method":
        return exchange.method
    return b"%b?%b" % (exchange.path, exchange.query) if exchange.query else exchange.path
