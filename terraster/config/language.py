"""The configuration language with the kinds of filters that this Terraster has: models of the top, a service and a location whose keys are
those of `terraster.config.settings` and those that the kinds add.

Kinds come from above (`terraster.filters.registry`, and plugins), handed to the `terraster.config.loader.Loader`. Each becomes a key of
`middleware` entries on its levels, and a key of its own where it is a shorthand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, Field, create_model

from .schema import as_written
from .settings import LocationSettings, MiddlewareEntry, ServiceSettings, Settings
from .settings.base import holds_header_values
from .settings.kinds import LOCATION, SERVICE, TOP, FilterSettings, Kind, Level
from .settings.lean import Lean
from .settings.plugins import PluginKind, WithKeys
from .settings.switches import OrWord, switched

__all__ = ["Language", "Written", "language", "taken"]

Path = tuple[str | int, ...]


class Written(NamedTuple):
    """One kind as one level writes it. path: of its key, from the level. shorthand: False if it is in an entry of `middleware`."""

    kind: Kind
    settings: FilterSettings
    path: Path
    shorthand: bool


class Language:
    """The models, and what of them is due to kinds.

    kinds: by name, in the order of their hooks.
    answering: names of kinds that answer all requests of a location.
    plugins: names of kinds that are plugins.
    header_values: keys of kinds that hold values of header fields, as (kind, key).
    settings, service, location: the models of the levels.
    """

    __slots__ = ("_names", "answering", "header_values", "kinds", "location", "plugins", "service", "settings")

    def __init__(self, kinds: Sequence[Kind]) -> None:
        """ValueError if two kinds have one name."""
        known = [kind for kind in kinds if kind.settings is not None and kind.levels]
        self.kinds = {kind.name: kind for kind in known}
        if len(self.kinds) < len(known):
            raise ValueError(f"two kinds of filters have one name: {', '.join(kind.name for kind in known)}")
        self.plugins = {kind.name: kind for kind in known if isinstance(kind, PluginKind)}
        self.answering = frozenset(kind.name for kind in known if kind.answers)
        self._names = frozenset(("middleware", *self.kinds))
        self.header_values = frozenset(
            [
                (kind.name, field.alias or name)
                for kind in self.kinds.values()
                for name, field in (kind.settings.model_fields.items() if kind.settings is not None else ())
                if holds_header_values(field)
            ]
        )
        self.location = self._model(LocationSettings, LOCATION)
        self.service = self._model(ServiceSettings, SERVICE, locations=self.location)
        self.settings = self._model(Settings, TOP, services=self.service)
        self.settings.language, self.settings.service_model = self, self.service

    def written(self, level: BaseModel) -> list[Written]:
        """The kinds that a level writes, in the order in which they are written in `middleware`; shorthands first."""
        if self._names.isdisjoint(level.model_fields_set):
            return []
        return list(self._written(level))

    def schema(self) -> dict[str, Any]:
        """The JSON Schema (2020-12) of a configuration file."""
        return as_written(self.settings.model_json_schema())

    def _written(self, level: BaseModel) -> Iterator[Written]:
        for name in level.model_fields_set & self.kinds.keys():
            if (settings := getattr(level, name)) is not None:
                yield Written(self.kinds[name], settings, (name,), True)
        for index, entry in enumerate(getattr(level, "middleware", ())):
            for name in entry.model_fields_set:
                if (settings := getattr(entry, name)) is not None:
                    yield Written(self.kinds[name], settings, ("middleware", index, name), False)

    def _model(self, base: Any, level: Level, **lists: type[BaseModel]) -> Any:
        """A level's model with the kinds; lists: fields that are lists of a level below."""
        here = [kind for kind in self.kinds.values() if level in kind.levels]
        fields_of_entry: dict[str, Any] = {kind.name: self._field(kind) for kind in here}
        entry = create_model(
            f"{'' if level is TOP else level.name.capitalize()}MiddlewareEntry",
            __base__=MiddlewareEntry,
            __module__=__name__,
            **fields_of_entry,
        )
        fields: dict[str, Any] = {kind.name: self._field(kind) for kind in here if level in kind.shorthand}
        for name, model in {**lists, "middleware": entry}.items():
            fields[name] = tuple[model, ...], base.model_fields[name]  # type: ignore[valid-type]
        bases = base if level is TOP else (Lean, base)
        return create_model(base.__name__, __base__=bases, __module__=__name__, __doc__=base.__doc__, **fields)

    def _field(self, kind: Kind) -> tuple[Any, Any]:
        model: Any = kind.settings
        what = " ".join((model.__doc__ or "").split("\n\n")[0].split())
        if isinstance(kind, PluginKind):
            what = kind.about or f"The plugin {kind.name}."
            model = Annotated[model, WithKeys(kind.schema)]
            return Annotated[model, BeforeValidator(switched), OrWord()] | None, Field(None, description=what)
        if "enabled" in model.model_fields:
            model = Annotated[model, BeforeValidator(switched), OrWord()]
            what = f"{what.removesuffix('.')}: `on`, `off`, or a mapping."
        return model | None, Field(None, description=what)


def taken(kinds: Sequence[Kind]) -> frozenset[str]:
    """The names that no plugin may have: those of filters, and of keys beside them."""
    return frozenset(("middleware", *(kind.name for kind in kinds), *Settings.model_fields))


@lru_cache(maxsize=8)
def language(kinds: tuple[Kind, ...] = ()) -> Language:
    """The language with these kinds; the same one for the same kinds, as its models take some 50 ms to make."""
    return Language(kinds)
