"""Where the values of a location come from: the narrowest level that writes each, or a default.

Keys are inherited key by key from the top to a service and from a service to a location (`terraster.config.inherit`). A filter that is not
inherited so comes whole from the narrowest level that writes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from .checks import canonical
from .ids import label
from .language import Language
from .settings import LocationSettings, ServiceSettings, Settings, TrafficSettings
from .settings.base import default_of, keys_of, submodel
from .settings.kinds import LAY_OVER
from .telling import HIDDEN, masked

__all__ = ["Origin", "origins"]

Path = tuple[str | int, ...]

_NOT_VALUES = frozenset(("name", "path", "locations", "services", "middleware"))
"""Keys that identify a place, or hold others."""

_UNSHOWN = re.compile(r"(health_check|match)\.(headers|query|cookies)|health_check\.request_body")
"""Keys with values that may be passwords, whatever their names are."""
_ASKED = re.compile(r"middleware\..*url")
_QUERY = re.compile(r"(https?://[^\s?]*\?)\S+")
"""The query of a URL that a filter asks: it may hold a secret."""


class Origin(NamedTuple):
    """A value. level: "location", "service", "top" or "default". path: in the settings, () for a default"""

    key: str
    value: Any
    level: str
    path: Path


def origins(
    known: Language, top: Settings, services: Sequence[tuple[Path, ServiceSettings]], service: str, location: str
) -> list[Origin] | None:
    """The values of a location, by key; None if the settings do not have it. services: each with its path. location: its label"""
    levels = _levels(top, services, service, location)
    if levels is None:
        return None
    found: dict[str, Origin] = {}
    filters: dict[str, Origin] = {}
    whole: set[tuple[str, str]] = set()
    kinds = frozenset(known.kinds)
    for level, here, model in levels:
        for kind, settings, path, _ in known.written(model):
            one = kind.name, settings.entry
            if one in whole:
                continue
            name = f"middleware.{kind.name}" + (f"[{settings.entry}]" if settings.entry else "")
            _take(filters, name, settings, level, (*here, *path))
            if kind.inherit is not LAY_OVER:
                whole.add(one)
        allowed = None if level == "location" else _shared(level)
        for name, field in type(model).model_fields.items():
            if (
                name not in model.model_fields_set
                or name in _NOT_VALUES
                or name in kinds
                or (allowed is not None and name not in allowed)
            ):
                continue
            value = getattr(model, name)
            spelling = field.alias or name
            if isinstance(value, BaseModel):
                _take(found, spelling, value, level, (*here, spelling))
            else:
                found.setdefault(spelling, Origin(spelling, _plain(spelling, value), level, (*here, spelling)))
    for key, default in _defaults(TrafficSettings, ""):
        if not any(one == key or one.startswith(f"{key}.") for one in found):
            found[key] = Origin(key, default, "default", ())
    return [*(found[key] for key in sorted(found)), *(filters[key] for key in sorted(filters))]


def _levels(
    top: Settings, services: Sequence[tuple[Path, ServiceSettings]], service: str, location: str
) -> list[tuple[str, Path, BaseModel]] | None:
    """The levels, the narrowest first."""
    for here, one in services:
        if one.label != service:
            continue
        if here == ("backends",):
            return [("top", (), top)]
        for index, place in enumerate(one.locations):
            if label(canonical(place.path), place.conditions()[1]) == location:
                return [("location", (*here, "locations", index), place), ("service", here, one), ("top", (), top)]
        return [("service", here, one), ("top", (), top)]
    return None


def _shared(level: str) -> frozenset[str]:
    """The keys of a wider level that a location has from there."""
    if level == "service":
        return frozenset(ServiceSettings.model_fields)
    own = frozenset(ServiceSettings.model_fields) | frozenset(LocationSettings.model_fields)
    return (own & frozenset(Settings.model_fields)) | frozenset(TrafficSettings.model_fields)


def _take(found: dict[str, Origin], prefix: str, model: BaseModel, level: str, path: Path) -> None:
    """Note each written key of a model that no narrower level has written."""
    for name, field in type(model).model_fields.items():
        if name not in model.model_fields_set:
            continue
        spelling = field.alias or name
        value, key = getattr(model, name), f"{prefix}.{spelling}"
        if isinstance(value, BaseModel):
            _take(found, key, value, level, (*path, spelling))
        else:
            found.setdefault(key, Origin(key, _plain(key, value), level, (*path, spelling)))


def _defaults(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    """Each key that has a default, with the default in words."""
    for name, field in keys_of(model).items():
        key = f"{prefix}{name}"
        inner, several = submodel(field.annotation)
        default = default_of(field)
        if default:
            yield key, default
        elif inner is not None and not several:
            yield from _defaults(inner, f"{key}.")


def _plain(key: str, value: Any) -> Any:
    """JSON values, without secrets."""
    plain = to_jsonable_python(value, fallback=str)
    if _UNSHOWN.fullmatch(key):
        return dict.fromkeys(plain, HIDDEN) if isinstance(plain, dict) else HIDDEN
    return _QUERY.sub(r"\1…", masked(plain)) if isinstance(plain, str) and _ASKED.fullmatch(key) else masked(plain)
