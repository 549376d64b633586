"""A look through validated settings for what their values do not show: what filters doubt, and files that they need. Only keys that were
written count."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel

from . import descriptors, idle, idle_filters, level_checks
from .language import Language
from .log_targets import is_remote
from .settings import LocationSettings, ServiceSettings
from .settings.acme import AcmeSettings
from .settings.base import submodel
from .settings.kinds import FilterSettings, Source
from .settings.logs import AccessLogSettings, LoggerSettings
from .settings.tls import TlsSettings

__all__ = ["Finds", "Finder"]

Path = tuple[str | int, ...]


class Finds(NamedTuple):
    """The finds in one model.

    doubts:   the path of each key that a filter doubts, and the warning about it
    files:    the path and the absolute name of each file that must exist
    logs:     the same for each file that must be writable
    inherits: True for a service that writes keys of `level_checks.levels`
    idles:    True for a service that writes keys of the tables in `terraster.config.idle`
    filters:  True for a service that writes a filter
    """

    doubts: tuple[tuple[Path, str], ...]
    files: tuple[tuple[Path, str], ...]
    logs: tuple[tuple[Path, str], ...] = ()
    inherits: bool = False
    idles: bool = False
    filters: bool = False


class Finder:
    """Knows which keys of which model to look at; one for many models of a language."""

    def __init__(self, known: Language) -> None:
        self._known = known
        self._keys: dict[type[BaseModel], dict[str, str]] = {}  # by model: the spelling of each key that has a model or several

    def find(self, model: BaseModel, path: Path = ()) -> Finds:
        """The finds in a model and the models within it; paths begin with `path`."""
        doubts: list[tuple[Path, str]] = []
        files: list[tuple[Path, str]] = []
        logs: list[tuple[Path, str]] = []
        self._look(model, path, (doubts, files, logs), None)
        inherits = isinstance(model, ServiceSettings) and level_checks.writes(model)
        idles = isinstance(model, ServiceSettings) and idle.mentions(model)
        filters = isinstance(model, ServiceSettings) and idle_filters.writes(self._known, model)
        return Finds(tuple(doubts), tuple(files), tuple(logs), inherits, idles, filters)

    def _look(self, model: BaseModel, path: Path, found: tuple[list[tuple[Path, str]], ...], level: BaseModel | None) -> None:
        """level: the service or location that the model is a part of, None: the top"""
        doubts, files, logs = found
        if isinstance(model, ServiceSettings | LocationSettings):
            level = model
        keys = self._keys.get(type(model))
        if keys is None:
            keys = self._learn(type(model))
        for name in model.model_fields_set:
            spelling = keys.get(name)
            if spelling is None:
                continue
            value = getattr(model, name)
            here = (*path, spelling)
            if isinstance(value, BaseModel):
                self._look(value, here, found, level)
            elif isinstance(value, tuple):
                for index, item in enumerate(value):
                    self._look(item, (*here, index), found, level)
            elif isinstance(value, dict):
                for item_name, item in value.items():
                    self._look(item, (*here, item_name), found, level)
        if isinstance(model, TlsSettings) and model.enabled:
            files += [((*path, name), file) for name in ("cert_file", "key_file") if (file := getattr(model, name)) is not None]
            for index, one in enumerate(model.certificates):
                here = (*path, "certificates", index)
                files += [((*here, name), file) for name in ("cert_file", "key_file") if (file := getattr(one, name)) is not None]
        if not _TLS_FILES.isdisjoint(model.model_fields_set):
            files += [((*path, name), file) for name in sorted(_TLS_FILES) if (file := getattr(model, name, None))]
        if isinstance(model, FilterSettings) and (getattr(model, "enabled", True) or model.kept_when_off):
            files += [(_place(model, path, source), source.name) for source in model.sources() if source.name.startswith("/")]
            doubts += [((*path, key) if key else path, words) for key, words in model.doubts(level)]
        if isinstance(model, AcmeSettings) and model.dns_hook is not None:
            files.append(((*path, "dns_hook"), model.dns_hook))
        if isinstance(model, AccessLogSettings) and model.path not in (None, "", descriptors.STDOUT) and not is_remote(model.path):
            logs.append(((*path, "path"), model.path))
        if isinstance(model, LoggerSettings):
            logs += model.files(path)

    def _learn(self, model: type[BaseModel]) -> dict[str, str]:
        fields = model.model_fields.items()
        keys = {name: field.alias or name for name, field in fields if submodel(field.annotation)[0] is not None}
        self._keys[model] = keys
        return keys


_TLS_FILES = frozenset(("ca_file", "client_cert", "client_key", "crl_file"))


def _place(model: FilterSettings, path: Path, source: Source) -> Path:
    """The path of the name of a file: of its key, or within a list."""
    value = getattr(model, source.key, None)
    return (*path, source.key, value.index(source.name)) if isinstance(value, tuple) else (*path, source.key)
