"""Kinds: what the configuration language knows of a filter, so that its keys can be written, inherited, described and compared.

A kind is one concern that requests go through: header rules, redirects, a circuit breaker. Its code is in `terraster.filters`, above this
room; from there come the kinds, handed to `terraster.config.loader.Loader`. Here is only the contract: a name, a model of what may
be written, and where it may be written.

Where a kind is written on several levels, the narrower level wins: location over service over top. With `LAY_OVER` it wins key by key, and
within a key that holds a mapping name by name. With `REPLACE` it wins as a whole.

A kind with a key `name` may be written several times on a level, each time with another name. Its entries are told apart by their names on
every level, and the entry without a name is one more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from enum import Enum
from typing import Any, ClassVar, NamedTuple, Protocol, Self

from pydantic import BaseModel, PrivateAttr, model_validator

from ..addresses import Url
from .base import Model

__all__ = [
    "CALLED",
    "LAY_OVER",
    "LOCATION",
    "REPLACE",
    "SERVICE",
    "TOP",
    "Call",
    "Fetch",
    "FilterSettings",
    "Inherit",
    "Kind",
    "Level",
    "Source",
]


class Level(Enum):
    """A level of the configuration. The value names it in hints and in the manual."""

    TOP = "the top"
    SERVICE = "a service"
    LOCATION = "a location"


class Inherit(Enum):
    """How a narrower level changes what a wider level says."""

    LAY_OVER = "key by key"
    REPLACE = "as a whole"


class Fetch(NamedTuple):
    """How the admin worker fetches a document (`terraster.admin.documents`).

    refresh: seconds between two fetches. ca_file: the authorities of its server, "": those of the system. wanted: the counter of the kind
    that grows when a newer document is needed
    """

    refresh: float
    ca_file: str
    wanted: str


class Call(NamedTuple):
    """Servers that a filter asks about requests, or sends copies of requests (`terraster.config.called`).

    path: of the location that stands for them; it begins with `CALLED`, so that no request has it. urls: of the servers. timeout: seconds for
    a whole answer; 0: the filter bounds it itself. attempts: how often a request is tried. http2: True if they speak HTTP/2
    """

    path: str
    urls: tuple[Url, ...]
    timeout: float
    attempts: int = 2
    http2: bool = False


class Source(NamedTuple):
    """Octets that a filter needs and that are not in the configuration (`terraster.config.filter_sources`).

    key: the key that names it. name: the file's absolute name, or the URL. check: called with the octets; raises ValueError, with words
    that follow "FILE: …", for octets that cannot be used. fetch: how a document is fetched from a URL, None: it is a file.
    largest: octets of a file at most.
    """

    key: str
    name: str
    check: Callable[[bytes], object]
    fetch: Fetch | None = None
    largest: int = 1 << 20


CALLED = "@"
"""The first character of the path of a location that only filters ask."""

TOP, SERVICE, LOCATION = Level.TOP, Level.SERVICE, Level.LOCATION
LAY_OVER, REPLACE = Inherit.LAY_OVER, Inherit.REPLACE


class FilterSettings(Model):
    """The keys of a kind. A subclass has one field a key, with its real default and a description with the unit.

    A field `enabled` makes the kind one that can be switched: ``on`` and ``off`` are then short for a mapping with `enabled` alone, and
    where `enabled` is false the filter is not made. Each level that writes the kind switches it on unless it says otherwise.
    """

    spellings: ClassVar[Mapping[str, str]] = {}
    """Other spellings of keys, and the fields that they stand for. Both are fields of the model."""

    kept_when_off: ClassVar[bool] = False
    """True if the filter is made although `enabled` is false, because an operator may switch it on."""

    _contents: dict[str, bytes] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _spelt_once(self) -> Self:
        for other, field in self.spellings.items():
            if other in self.model_fields_set and field in self.model_fields_set:
                raise ValueError(f"has both `{field}` and `{other}`, which mean the same: keep one")
        return self

    @property
    def entry(self) -> str:
        """The `name` of this entry, for a kind that may be written several times on a level; "" if it has none."""
        return getattr(self, "name", None) or ""

    def given(self) -> dict[str, Any]:
        """The fields that were written, other spellings under the names of the fields that they stand for."""
        return {self.spellings.get(name, name): getattr(self, name) for name in self.model_fields_set}

    def over(self, wider: Self | None) -> Self:
        """These settings laid over those of a wider level, key by key. Both are unchanged."""
        given = self.given()
        if wider is None:
            return self if self.spellings.keys().isdisjoint(self.model_fields_set) else type(self).model_construct(**given)
        inherited = wider.given()
        inherited.pop("enabled", None)  # to write a kind is to switch it on
        for name, value in given.items():
            before = inherited.get(name)
            inherited[name] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
        return type(self).model_construct(**inherited)

    def calls(self) -> tuple[Call, ...]:
        """The servers that the filter asks (`terraster.filters.runtime.Subrequests`)."""
        return ()

    def sources(self) -> tuple[Source, ...]:
        """The files and documents that the filter needs."""
        return ()

    def doubts(self, level: BaseModel | None) -> Iterator[tuple[str, str]]:
        """Warnings about values that are allowed but can hardly be meant: the key, "" for all of them, and a sentence. level: the service or
        location that has these settings, None: the top."""
        return iter(())

    leans_on: ClassVar[frozenset[str]] = frozenset()
    """Other kinds without which some of the settings have no effect."""

    def idle(self, beside: Collection[str]) -> Iterator[tuple[str, str]]:
        """Settings of all levels together that have no effect: the key, "" for all of them, and words that follow it. A key is told only where
        it is written (`terraster.config.idle_filters`). beside: the kinds that are on in the same place."""
        return iter(())

    @property
    def contents(self) -> Mapping[str, bytes]:
        """The octets of `sources` by name. A source that has not been read or fetched is missing: in a mere check of a configuration, each."""
        return self._contents

    def with_contents(self, contents: dict[str, bytes]) -> Self:
        """The same settings with these octets."""
        made = self.model_copy()
        made._contents = contents
        return made

    def facts(self) -> dict[str, Any]:
        """Fields of a `terraster.config.snapshot.Location` by name, for a kind that acts through them rather than through hooks."""
        return {}


class Kind(Protocol):
    """One kind, as this room sees it. Filters fit it (`terraster.filters.contract.Filter`).

    name: the key under `middleware`. settings: the model of what may be written; None: the kind has no key of its own. levels: where the
    kind may be written. shorthand: the levels where the name is a key of its own as well, beside `middleware`. inherit: how levels add
    up. answers: True if it answers every request of a location, which then needs no backends.
    """

    @property
    def name(self) -> str: ...
    @property
    def settings(self) -> type[FilterSettings] | None: ...
    @property
    def levels(self) -> tuple[Level, ...]: ...
    @property
    def shorthand(self) -> tuple[Level, ...]: ...
    @property
    def inherit(self) -> Inherit: ...
    @property
    def answers(self) -> bool: ...
