"""`ip_access`: which addresses may come in. The first of all filters: nothing else is done for an address that may not.

An address in `deny` is refused, whatever `allow` says. If there is an `allow`, every address that is not in it is refused too. The order in
which networks are written, and how large they are, makes no difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from ..config import addresses
from ..config.settings.base import FilePath, items
from ..config.settings.kinds import FilterSettings, Source
from ..errors import CLIENT, HttpError
from ..exchange import Exchange
from ..policy.networks import ALL, UNIX, Entries, Networks, read
from ..state.view import SeatView
from .answer import Answer
from .contract import Counter, Filter, Place, Stage

__all__ = ["IpAccess", "IpAccessSettings"]


def _entries(value: object) -> tuple[str, ...]:
    found = items(value, 'a network, "unix" or "all"')
    return tuple(item if item in (ALL, UNIX) else addresses.network(item) for item in found)


Entry = Annotated[
    tuple[str, ...],
    BeforeValidator(_entries),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class IpAccessSettings(FilterSettings):
    """Which addresses of clients may come in; others get 403. An address in `deny` never may; with an `allow`, only those in it."""

    enabled: bool = Field(True, description="False: all addresses may come in. `ip_access: off` is short for that.")
    allow: Entry = Field(
        (),
        description="Addresses and networks (CIDR) that may come in, and no others; `unix`: clients of unix sockets; `all`. Default: all.",
    )
    deny: Entry = Field((), description="Addresses and networks that may not come in, also if `allow` has them; `unix`; `all`.")
    allow_files: tuple[FilePath, ...] = Field(
        (),
        description="Files with more entries of `allow`, one in a line. They are read again when they change, without a reload. With such a "
        "file only its entries may come in, also if it is empty.",
    )
    deny_files: tuple[FilePath, ...] = Field((), description="Files with more entries of `deny`.")
    on: Literal["client", "peer"] = Field(
        "client",
        description="`client`: the address of the client, which may be one that a trusted proxy reports. `peer`: the address at the other end "
        "of the connection.",
    )

    @model_validator(mode="after")
    def _is_no_mistake(self) -> Self:
        if "allow" in self.model_fields_set and not self.allow:
            raise ValueError("has an empty `allow`: write `all`, or leave it out, to let all addresses come in")
        return self

    def over(self, wider: Self | None) -> Self:
        """A list of a narrower level takes the place of the wider level's, with its files."""
        made = super().over(wider)
        if wider is None:
            return made
        replaced: dict[str, tuple[str, ...]] = {}
        for names in (("allow", "allow_files"), ("deny", "deny_files")):
            if not self.model_fields_set.isdisjoint(names):
                replaced |= {name: getattr(self, name) for name in names}
        return made.model_copy(update=replaced) if replaced else made

    def sources(self) -> tuple[Source, ...]:
        return tuple(
            Source(key, file, read, largest=_LARGEST)
            for key, files in (("allow_files", self.allow_files), ("deny_files", self.deny_files))
            for file in files
        )

    def networks(self, key: Literal["allow", "deny"]) -> Networks | None:
        """The set of a list with its files; None if there is none."""
        entries, files = (self.allow, self.allow_files) if key == "allow" else (self.deny, self.deny_files)
        if not entries and not files:
            return None
        return _networks(entries, tuple(self.contents.get(file, b"") for file in files))


_TOLD = 5
"""Entries of a list that an explanation names."""

_LARGEST = 32 << 20
"""Octets of a file of networks: more than a million of them."""


@lru_cache(maxsize=16)
def _networks(entries: tuple[str, ...], files: tuple[bytes, ...]) -> Networks:
    """One set for all places that have the same list: a large one takes a tenth of a second to read."""
    return Networks(_all(entries, files))


def _all(entries: tuple[str, ...], files: tuple[bytes, ...]) -> Iterator[str]:
    yield from entries
    for octets in files:
        yield from Entries(octets)


class IpAccess(Filter):
    """Refuses requests of addresses that may not come in."""

    __slots__ = ("_allow", "_deny", "_of_peer", "_refused", "_settings")

    name: ClassVar[str] = "ip_access"
    stage: ClassVar[Stage] = Stage.ADDRESSES
    guards: ClassVar[bool] = True
    settings: ClassVar[type[FilterSettings]] = IpAccessSettings
    counters: ClassVar[tuple[Counter, ...]] = (Counter("refused", "Requests refused for the address of the client."),)

    def __init__(self, settings: IpAccessSettings, place: Place, view: SeatView) -> None:
        """Raises `ConfigError` if no level has a list."""
        self._allow, self._deny = settings.networks("allow"), settings.networks("deny")
        if self._allow is None and self._deny is None:
            raise place.problem(self.name, "needs `allow`, `deny`, or a file of one of them")
        self._settings = settings
        self._of_peer = settings.on == "peer"
        self._refused = place.tally("refused")

    def on_request(self, exchange: Exchange) -> Answer | None:
        address = exchange.peer_ip if self._of_peer else exchange.client_ip
        deny, allow = self._deny, self._allow
        if deny is not None and address in deny:
            why = "is denied"
        elif allow is not None and address not in allow:
            why = "is not one of those that are allowed"
        else:
            return None
        self._refused.count()
        whose = "peer's" if self._of_peer else "client's"
        raise HttpError(f"ip_access: the {whose} address {why}", status=403, reason="http_request_denied", blame=CLIENT)

    def explained(self, exchange: Exchange, answered: bool) -> str:
        if not answered:
            return ""
        address = exchange.peer_ip if self._of_peer else exchange.client_ip
        denied = self._deny is not None and address in self._deny
        written, files = ("deny", "deny_files") if denied else ("allow", "allow_files")
        entries = [*getattr(self._settings, written), *(f"those in {file}" for file in getattr(self._settings, files))]
        more = f" and {len(entries) - _TOLD} more" if len(entries) > _TOLD else ""
        return f"{address} is {'' if denied else 'not '}in its list `{written}`: {', '.join(entries[:_TOLD])}{more}"
