"""All values that a configuration writes, each with its place: what two configurations are compared by (`terraster.config.comparing`).

An item of a list is named by what identifies it, not by its number: a service by its name, a location by its label, a backend by its URL or
name, a filter by its kind. So an item that only moved is the same. Secrets are compared and never shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from . import quantities
from .addresses import Url
from .checks import canonical
from .ids import label
from .language import Language
from .settings import LocationSettings, ServiceSettings, Settings
from .settings.base import default_of, quantity_of
from .telling import HIDDEN, masked

__all__ = ["Key", "Value", "defaults", "written"]

Path = tuple[str | int, ...]

Key = tuple[str, str, str]
"""A service ("": the top), the label of a location there ("": the service itself), and a key such as ``timeouts.read`` or
``backends[http://10.0.0.1:80].weight``."""

_UNSHOWN = re.compile(r"(^|\.)(request_body|(health_check|match)\.(headers|query|cookies)|match)($|\.)")
"""Keys that may hold a password, though they are not of the type of secrets."""
_QUERY = re.compile(r"(https?://[^\s?]*\?)\S+")


class Value(NamedTuple):
    """A value. value: to compare, "": of an item that is there. words: as the file would say it, without secrets. shown: likewise as JSON.
    path: in the settings. order: True if it is only the order of items. item: True if it is an item as a whole"""

    value: Any
    words: str
    shown: Any
    path: Path
    order: bool = False
    item: bool = False


def written(known: Language, top: Settings, services: Sequence[tuple[Path, ServiceSettings]]) -> dict[Key, Value]:
    """The values by key. services: each with its path"""
    found: dict[Key, Value] = {}
    _level(known, found, ("", ""), top, ())
    for here, service in services:
        if here == ("backends",):
            continue  # it is made of keys of the top
        found[service.label, "", ""] = Value("", "there", True, here, item=True)
        _level(known, found, (service.label, ""), service, here)
        names = []
        for index, location in enumerate(service.locations):
            place, path = label(canonical(location.path), location.conditions()[1]), (*here, "locations", index)
            names.append(place)
            found[service.label, place, ""] = Value("", "there", True, path, item=True)
            _level(known, found, (service.label, place), location, path)
        if len(names) > 1:
            found[service.label, "", "locations"] = Value(tuple(names), ", ".join(names), names, (*here, "locations"), True)
    return found


def defaults(known: Language) -> dict[str, str]:
    """The defaults in words, by key, as far as there are some."""
    found: dict[str, str] = {}
    for model in (known.location, known.service, known.settings):
        _defaults(model, "", found, 0)
    for kind in known.kinds.values():
        if kind.settings is not None:
            _defaults(kind.settings, f"middleware.{kind.name}.", found, 0)
    return found


def _defaults(model: type[BaseModel], prefix: str, found: dict[str, str], depth: int) -> None:
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        inner = next((one for one in _parts(field.annotation) if isinstance(one, type) and issubclass(one, BaseModel)), None)
        if inner is not None and depth < 4:
            _defaults(inner, f"{key}.", found, depth + 1)
        if default := default_of(field):
            found.setdefault(key, default)


def _parts(annotation: Any) -> Iterator[Any]:
    """The types of an annotation, those in lists apart."""
    yield annotation
    if getattr(annotation, "__origin__", None) not in (tuple, list):
        for part in getattr(annotation, "__args__", ()):
            yield from _parts(part)


_STRUCTURE = frozenset(("services", "locations", "middleware"))


def _level(known: Language, found: dict[Key, Value], place: tuple[str, str], model: BaseModel, here: Path) -> None:
    for kind, settings, path, _ in known.written(model):
        name = f"middleware.{kind.name}" + (f"[{settings.entry}]" if settings.entry else "")
        found[(*place, name)] = Value("", "there", True, (*here, *path), item=True)
        _model(found, place, name, settings, (*here, *path))
    _model(found, place, "", model, here, frozenset(known.kinds) | _STRUCTURE)


def _model(
    found: dict[Key, Value],
    place: tuple[str, str],
    prefix: str,
    model: BaseModel,
    here: Path,
    without: frozenset[str] = frozenset(),
) -> None:
    for name, field in type(model).model_fields.items():
        if name in model.model_fields_set and name not in without:
            spelling = field.alias or name
            key = f"{prefix}.{spelling}" if prefix else spelling
            _any(found, place, key, getattr(model, name), (*here, spelling), field)


def _any(found: dict[Key, Value], place: tuple[str, str], key: str, value: Any, path: Path, field: FieldInfo | None) -> None:
    if isinstance(value, BaseModel):
        _model(found, place, key, value, path)
    elif isinstance(value, dict):
        for name, one in value.items():
            _any(found, place, f"{key}.{name}", one, (*path, name), None)
    elif isinstance(value, tuple) and value and all(isinstance(one, BaseModel) for one in value):
        _items(found, place, key, value, path)
    else:
        found[(*place, key)] = Value(value, *_shown(key, value, field), path)


def _items(found: dict[Key, Value], place: tuple[str, str], key: str, items: tuple[Any, ...], path: Path) -> None:
    names: list[str] = []
    for index, item in enumerate(items):
        name = _identity(item, index)
        if name in names:
            name = f"{name}#{index + 1}"
        names.append(name)
        found[(*place, f"{key}[{name}]")] = Value("", "there", True, (*path, index), item=True)
        _model(found, place, f"{key}[{name}]", item, (*path, index))
    if len(names) > 1:
        found[(*place, key)] = Value(tuple(names), ", ".join(names), names, path, True)


def _identity(item: Any, index: int) -> str:
    if isinstance(item, ServiceSettings | LocationSettings):
        return str(index + 1)
    for name in ("url", "name", "host", "path", "file", "address"):
        text = getattr(item, name, None)
        text = text.text if isinstance(text, Url) else text
        if isinstance(text, str) and text:
            return _QUERY.sub(r"\1…", text)
    return str(index + 1)


def _shown(key: str, value: Any, field: FieldInfo | None) -> tuple[str, Any]:
    """A value in words and as JSON. field: None for a value of a mapping, whose name may tell that it is secret"""
    name = key.rpartition(".")[2]
    value = value.text if isinstance(value, Url) else value
    if isinstance(value, SecretStr) or _UNSHOWN.search(key) or (field is None and masked({name: value})[name] == HIDDEN):
        return HIDDEN, HIDDEN
    plain = _without_queries(masked(to_jsonable_python(value, fallback=str)))
    if isinstance(value, bool):
        return ("true" if value else "false"), plain
    if isinstance(value, int | float):
        return quantities.shown(value, None if field is None else quantity_of(field)), plain
    if value is None or value == ():
        return "off", plain
    if isinstance(plain, list):
        return ", ".join(one if isinstance(one, str) else json.dumps(one) for one in plain), plain
    return (plain if isinstance(plain, str) else json.dumps(plain)), plain


def _without_queries(value: Any) -> Any:
    if isinstance(value, str):
        return _QUERY.sub(r"\1…", value)
    return [_without_queries(one) for one in value] if isinstance(value, list) else value
