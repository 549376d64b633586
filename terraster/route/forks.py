"""Locations of a service of which several share a path: paths and conditions → location.

Of the locations whose conditions a request fulfils, one for exactly its path comes first, then the one with the longest prefix, and those of
one path in the order in which they are given (`terraster.config.match.rank`). So the candidates of each path are known beforehand: its own, and
unless one of these takes all requests, those of the next shorter prefix. A request costs the conditions that it fails.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, NamedTuple, Protocol, TypeVar

from ..config.called import served
from ..config.snapshot import Location, Service
from ..exchange import Exchange
from .prefix import Prefixes, normal

__all__ = ["Candidate", "Forks", "Test", "has_forks", "of_service"]

P = TypeVar("P")


class Test(Protocol):
    """The conditions of a location besides its path."""

    def fits(self, exchange: Exchange, path: bytes) -> bool:
        """True if a request fulfils them. path: canonical"""


class Candidate(NamedTuple, Generic[P]):
    """A location. path: as it is written; exact: True if nothing below it belongs to it; test: None = it takes every request"""

    path: bytes
    exact: bool
    test: Test | None
    payload: P


Chain = tuple[Candidate[P], ...]
"""The locations that may take a request for a path, in their order; behind one without a test there is none."""


class Forks(Generic[P]):
    """Immutable. Candidates are given in the order in which those of one path are tried."""

    __slots__ = ("_exact", "_prefixes")

    def __init__(self, candidates: Iterable[Candidate[P]]) -> None:
        """ValueError if a location can never be reached, because one before it takes every request to its path."""
        exact: dict[bytes, list[Candidate[P]]] = {}
        groups: dict[bytes, list[Candidate[P]]] = {}
        for one in candidates:
            group = exact.setdefault(one.path, []) if one.exact else groups.setdefault(normal(one.path), [])
            if group and group[-1].test is None:
                raise ValueError(f"a path is defined twice: {one.path!r}")
            group.append(one)
        self._prefixes = _prefixes(groups)
        self._exact: dict[bytes, Chain[P]] = {path: self._followed(path, group) for path, group in exact.items()}

    def _followed(self, path: bytes, group: list[Candidate[P]]) -> Chain[P]:
        return (*group,) if group[-1].test is None else (*group, *(self._prefixes.find(path) or ()))

    def candidates(self, path: bytes) -> Chain[P]:
        """The locations that may take a request for a canonical path."""
        return self._exact.get(path) or self._prefixes.find(path) or ()

    def find(self, exchange: Exchange, path: bytes) -> P | None:
        """The location of a request, None if there is none. path: canonical"""
        for one in self._exact.get(path) or self._prefixes.find(path) or ():
            if one.test is None or one.test.fits(exchange, path):
                return one.payload
        return None


def _prefixes(groups: dict[bytes, list[Candidate[P]]]) -> Prefixes[Chain[P]]:
    chains: dict[bytes, Chain[P]] = {}
    for prefix in sorted(groups, key=len):
        chain = (*groups[prefix],)
        shorter = prefix
        while shorter and chain[-1].test is not None:
            shorter = shorter[: shorter.rfind(b"/")]
            if shorter in chains:
                chain = (*chain, *chains[shorter])
                break
        chains[prefix] = chain
    return Prefixes([(prefix or b"/", chain) for prefix, chain in chains.items()])


def has_forks(service: Service) -> bool:
    """True if a location of the service has conditions."""
    for location in service.locations:
        if location.match is not None:
            return True
    return False


class _Unread:
    """Stands for conditions where only their being there counts."""

    __slots__ = ()

    def fits(self, exchange: Exchange, path: bytes) -> bool:
        raise NotImplementedError


_UNREAD = _Unread()


def of_service(service: Service) -> Forks[Location]:
    """The locations of a service that requests are for. To be asked for candidates only."""
    return Forks(
        [
            Candidate(
                location.path.encode("ascii"),
                location.match is not None and location.match.exact,
                _UNREAD if location.match is not None and location.match.selects else None,
                location,
            )
            for location in served(service)
        ]
    )
