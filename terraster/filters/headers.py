"""Header rules, compiled: the fields to remove from a forwarded head, and the lines to add.

Fields are removed first and set afterwards. A field that is set replaces all fields of its name. A value that is the same for every request is
rendered once; others hold facts of the request (`terraster.filters.variables`).

`terraster.config.header_rules` checks the names and values of rules, and does so again when they are compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import ClassVar, Self

from pydantic import Field

from ..config import header_rules
from ..config.settings.base import HeaderName, HeaderValue, RemovedName
from ..config.settings.kinds import LOCATION, SERVICE, TOP, FilterSettings, Level
from ..exchange import Exchange
from ..state.view import SeatView
from ..wire.edits import Edits, without
from .contract import Filter, Place
from .variables import Template

__all__ = ["HeaderEdits", "HeaderSettings", "Headers"]


class HeaderSettings(FilterSettings):
    """Changes of forwarded fields."""

    request_headers: dict[HeaderName, HeaderValue] = Field(
        default_factory=dict,
        description="Fields set in requests to backends; values may hold [variables](#headers), as in `${remote_addr}`.",
    )
    response_headers: dict[HeaderName, HeaderValue] = Field(
        default_factory=dict, description="Fields set in responses to clients; values may hold the same variables."
    )
    remove_request_headers: tuple[RemovedName, ...] = Field((), description="Fields removed from requests.")
    remove_response_headers: tuple[RemovedName, ...] = Field((), description="Fields removed from responses.")

    def idle(self, beside: Collection[str]) -> Iterator[tuple[str, str]]:
        if not (self.request_headers or self.response_headers or self.remove_request_headers or self.remove_response_headers):
            yield "", "names no field, so it changes none"

    def over(self, wider: Self | None) -> Self:
        """Override the wider level separately for each name, whatever its spelling. A field that is removed here and set on the wider level is
        removed."""
        made = super().over(wider)
        if wider is None:
            return made
        return made.model_copy(
            update={
                "request_headers": _laid(self.request_headers, wider.request_headers, self.remove_request_headers),
                "response_headers": _laid(self.response_headers, wider.response_headers, self.remove_response_headers),
            }
        )


def _laid(narrower: dict[str, str], wider: dict[str, str], removed: tuple[str, ...]) -> dict[str, str]:
    gone = {name.lower() for name in (*narrower, *removed)}
    return {**{name: value for name, value in wider.items() if name.lower() not in gone}, **narrower}


class Headers(Filter):
    """Header rules. They run after all other filters, so they have the last word."""

    __slots__ = ("request", "response")

    name: ClassVar[str] = "headers"
    settings: ClassVar[type[FilterSettings]] = HeaderSettings
    shorthand: ClassVar[tuple[Level, ...]] = (TOP, SERVICE, LOCATION)

    def __init__(self, settings: HeaderSettings, place: Place, view: SeatView) -> None:
        """Raises `ConfigError` for a name or value that cannot be used."""
        self.request: HeaderEdits | None = None
        self.response: HeaderEdits | None = None
        set_request, remove_request = settings.request_headers, settings.remove_request_headers
        set_response, remove_response = settings.response_headers, settings.remove_response_headers
        try:
            if set_request or remove_request:
                self.request = HeaderEdits(set_request.items(), remove_request)
            if set_response or remove_response:
                self.response = HeaderEdits(set_response.items(), remove_response)
        except ValueError as error:
            raise place.problem(self.name, f"cannot be applied: {error}") from None

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

    drop: lower-case names to remove, including those that are set. constant: the lines to add if they are always the same, else
    None.
    """

    __slots__ = ("drop", "constant", "_pieces")

    def __init__(self, set: Iterable[tuple[str, str]] = (), remove: Iterable[str] = ()) -> None:
        """set: (name, value) pairs. remove: names. ValueError for an invalid name or value, and for a name that rules must not change."""
        pieces: list[bytes | Template] = [b""]
        drop = [_name(name, header_rules.removable) for name in remove]
        for name, value in set:
            drop.append(_name(name, header_rules.field_name))
            try:
                template = Template(value)
            except ValueError as error:
                raise ValueError(f"the value of {name} {error}") from None
            start = name.encode("ascii") + b": "
            if template.constant is not None:
                pieces[-1] = _joined(pieces[-1], start + template.constant + b"\r\n")
            else:
                pieces[-1] = _joined(pieces[-1], start)
                pieces += [template, b"\r\n"]
        self.drop = frozenset(name.encode("ascii") for name in drop)
        self.constant = pieces[0] if len(pieces) == 1 and isinstance(pieces[0], bytes) else None
        self._pieces = tuple(pieces)

    def apply(self, exchange: Exchange, edits: Edits) -> None:
        """Edit a head, and the lines that earlier filters have added."""
        if edits.extra:
            edits.extra = without(edits.extra, self.drop)
        edits.drop |= self.drop
        edits.extra += self.render(exchange, edits.status) if self.constant is None else self.constant

    def render(self, exchange: Exchange, status: int = 0) -> bytes:
        """The lines to add, each with its CRLF. status: of the response, 0: the lines are for a backend."""
        if self.constant is not None:
            return self.constant
        out = b""
        for piece in self._pieces:
            out += piece if isinstance(piece, bytes) else piece.render(exchange, status)
        return out


def _name(name: str, check: Callable[[str], str]) -> str:
    try:
        return check(name)
    except ValueError as error:
        raise ValueError(f"field name {name!r} {error}") from None


def _joined(piece: bytes | Template, more: bytes) -> bytes:
    assert isinstance(piece, bytes)
    return piece + more
