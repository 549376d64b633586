"""Settings of filters that have no effect, or hardly the one that is meant, once the values of all wider levels are known.

Looked at is each level that writes a filter, with what it inherits; said is only what that level itself wrote. A level is not doubted if a
narrower one writes the same filter, or one that it depends on: together they may well have an effect. `FilterSettings.idle` has what is said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from pydantic import BaseModel

from . import inherit
from .language import Language
from .messages import Complaint
from .settings import ServiceSettings, Settings

__all__ = ["warnings", "writes"]

Path = tuple[str | int, ...]


def writes(known: Language, service: ServiceSettings) -> bool:
    """True if a service or one of its locations writes a filter."""
    return any(known.written(level) for level in (service, *service.locations))


def warnings(known: Language, top: Settings, services: Sequence[tuple[Path, ServiceSettings]]) -> Iterator[Complaint]:
    """Settings without effect, each with its path. services: those for which `writes` is true, each with its path."""
    below = [_kinds(known, (service, *service.locations)) for _, service in services]
    chosen = inherit.filters(known, None, top)
    yield from _of_level(known, (), top, chosen, frozenset().union(*below))
    for path, service in services:
        of_service = inherit.filters(known, chosen, service)
        if path != ("backends",):
            yield from _of_level(known, path, service, of_service, _kinds(known, service.locations))
        for index, location in enumerate(service.locations):
            if known.written(location):
                of_location = inherit.filters(known, of_service, location)
                yield from _of_level(known, (*path, "locations", index), location, of_location, frozenset())


def _kinds(known: Language, levels: Iterable[BaseModel]) -> frozenset[str]:
    """The kinds that these levels write."""
    return frozenset([one.kind.name for level in levels for one in known.written(level)])


def _of_level(known: Language, here: Path, level: BaseModel, chosen: inherit.Chosen, below: Collection[str]) -> Iterator[Complaint]:
    """below: the kinds that narrower levels write"""
    beside = {name for name, _ in chosen.filters}
    for kind, written, path, _ in known.written(level):
        settings = chosen.settings[kind.name][written.entry]
        if not getattr(settings, "enabled", True) or kind.name in below or not settings.leans_on.isdisjoint(below):
            continue
        for key, words in settings.idle(beside):
            if not key:
                yield (*here, *path), True, f"`{kind.name}` {words}"
            elif key in written.model_fields_set:
                yield (*here, *path, key), True, f"`{key}` {words}"
