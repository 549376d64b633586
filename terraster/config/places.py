"""Where a problem of a filter is written that shows only when the values of all levels are known: on the narrowest level that writes one of its
keys, else on the narrowest one that writes the filter at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import BaseModel

from ..errors import Unplaced
from .checks import canonical
from .ids import label
from .language import Language
from .settings import ServiceSettings, Settings

__all__ = ["keys_of", "place_of"]

Path = tuple[str | int, ...]


def place_of(known: Language, top: Settings, services: Sequence[tuple[Path, ServiceSettings]], problem: Unplaced) -> Path | None:
    """The path of the key that a problem is about; None if no level writes the filter. services: each with its path.

    A problem without a kind is about the location itself, else about the service."""
    if not problem.kind:
        return next((here for here, _ in _levels(top, services, problem)), None)
    found = None
    for here, level in _levels(top, services, problem):
        for kind, settings, path, _ in known.written(level):
            if kind.name != problem.kind or settings.entry != problem.entry:
                continue
            for key in problem.keys:
                if key in settings.model_fields_set:
                    return (*here, *path, type(settings).model_fields[key].alias or key)
            found = found or (*here, *path)
    return found


def keys_of(
    top: Settings, services: Sequence[tuple[Path, ServiceSettings]], service: str, location: str, name: str
) -> Iterator[Path]:
    """The paths of a key at the levels whose settings count at a place, the narrowest first."""
    for here, level in _levels(top, services, Unplaced("", "", service, location, "", "", ())):
        if name in level.model_fields_set:
            yield (*here, name)


def _levels(top: Settings, services: Sequence[tuple[Path, ServiceSettings]], problem: Unplaced) -> Iterator[tuple[Path, BaseModel]]:
    """The levels whose settings count at the place of a problem, the narrowest first."""
    for here, service in services:
        if service.label != problem.service or here == ("backends",):
            continue
        for index, location in enumerate(service.locations):
            if problem.location and label(canonical(location.path), location.conditions()[1]) == problem.location:
                yield (*here, "locations", index), location
        yield here, service
    yield (), top
