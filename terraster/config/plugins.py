"""Plugins, as a loader sees them: who finds them and checks their keys (`terraster.plugins.finder`), and what the files write for them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import yaml

from ..errors import Problem
from . import nodes, scalars
from .language import Language
from .messages import Complaint
from .settings import ServiceSettings, Settings
from .settings.base import file_path
from .settings.plugins import PluginEntry, PluginKind
from .snapshot import Plugin

__all__ = ["Entry", "Finder", "Found", "absent", "complaints", "directory", "entries", "optional", "spared"]

Path = tuple[str | int, ...]

DEFAULT = "plugins"
"""The directory beside the configuration file."""


class Found(NamedTuple):
    """The plugins of a configuration, and the faults of others.

    kinds: of all plugins that may be written. problems: why plugins cannot be used at all. faults: why a file cannot be used, by the name
    of the plugin that is probably in it: that of the file. warnings: why what a file was before is used
    """

    kinds: tuple[PluginKind, ...] = ()
    problems: Sequence[Problem] = ()
    faults: Mapping[str, Problem] = {}
    warnings: Sequence[Problem] = ()


class Finder(Protocol):
    """Finds plugins and checks what is written for them. It runs their code only in processes of its own."""

    def find(self, directory: str, written: bool, spared: Collection[str] = ()) -> Found:
        """The plugins of a directory and of installed packages. written: True if the configuration names the directory, which has to exist
        then. spared: names that may be written even if there is no such plugin"""

    def check(self, entries: Sequence[tuple[str, Mapping[str, Any]]]) -> list[list[tuple[Path, str]]]:
        """For each plugin with its keys: what is wrong, as paths of keys and words. An empty path: the plugin itself cannot be used."""

    def used(self) -> Mapping[str, Plugin]:
        """All plugins whose code is good, those of packages that were checked included."""


class Entry(NamedTuple):
    """An entry of a plugin. path: of its key. wider: the keys of its own on the levels above, which it inherits"""

    path: Path
    name: str
    settings: PluginEntry
    wider: Mapping[str, Any]


def directory(text: str, folder: str, environ: Mapping[str, str]) -> tuple[str, bool]:
    """The directory of plugins, and True if a configuration names it. text: of the file. folder: of the file.

    It has to be known before the file can be checked, because plugins add keys. So only its own line is read."""
    for line in text.splitlines():
        if line.startswith(("plugin_directory", '"plugin_directory"', "'plugin_directory'")):
            root = nodes.compose(line)
            if isinstance(root, yaml.MappingNode):
                value = nodes.Reader(environ, 0, frozenset()).value(root)
                if isinstance(value, dict) and isinstance(value.get("plugin_directory"), str):
                    return _absolute(value["plugin_directory"], folder), True
    return _absolute(DEFAULT, folder), False


def spared(text: str, environ: Mapping[str, str]) -> frozenset[str]:
    """The names of entries with `required: false`: a plugin of this name need not be there. text: of the file.

    They too have to be known before the file can be checked. So only the lines of `middleware` are read, or all of a file in flow style."""
    if "required" not in text:
        return frozenset()
    lines = text.splitlines()
    if not text.lstrip().startswith("{"):
        begins = next((at for at, line in enumerate(lines) if _MIDDLEWARE.match(line)), len(lines))
        ends = next((at for at in range(begins + 1, len(lines)) if lines[at][:1] not in _INNER), len(lines))
        lines = lines[begins:ends]
    root = nodes.compose("\n".join(lines))
    value = nodes.Reader(environ, 0, frozenset()).value(root) if isinstance(root, yaml.MappingNode) else None
    written = value.get("middleware") if isinstance(value, dict) else None
    return frozenset(
        name
        for item in (written if isinstance(written, list) else ())
        if isinstance(item, dict)
        for name, keys in item.items()
        if isinstance(keys, dict) and scalars.truth(keys.get("required")) is False
    )


_MIDDLEWARE = re.compile("""(["']?)middleware\\1\\s*:""")
_INNER = ("", " ", "\t", "-", "#")


def _absolute(value: str, folder: str) -> str:
    class _Info:
        context = {"directory": folder}

    return file_path(value, _Info())  # type: ignore[arg-type]


def entries(known: Language, settings: Settings, services: Sequence[tuple[Path, ServiceSettings]]) -> Iterator[Entry]:
    """The entries of plugins in a configuration."""
    if not known.plugins:
        return
    top: dict[str, Mapping[str, Any]] = {}
    yield from _of_level(known, settings, (), top, top)
    for path, service in services:
        here = dict(top)
        yield from _of_level(known, service, path, top, here)
        for index, location in enumerate(service.locations):
            yield from _of_level(known, location, (*path, "locations", index), here, {})


def _of_level(
    known: Language, level: Any, prefix: Path, wider: Mapping[str, Mapping[str, Any]], here: dict[str, Mapping[str, Any]]
) -> Iterator[Entry]:
    for kind, settings, path, _ in known.written(level):
        if isinstance(settings, PluginEntry):
            above = wider.get(kind.name, {})
            here[kind.name] = {**above, **settings.own()}
            yield Entry((*prefix, *path), kind.name, settings, above)


def optional(known: Language, settings: Settings) -> set[str]:
    """The names of plugins that need not be there."""
    return {
        kind.name
        for kind, entry, _, _ in (known.written(settings) if known.plugins else ())
        if isinstance(entry, PluginEntry) and not entry.required
    }


def absent(known: Language, finder: Finder, settings: Settings) -> Iterator[tuple[Path, str]]:
    """Plugins that are not there and need not be: the path of the entry, and why."""
    for kind, entry, path, _ in known.written(settings) if known.plugins else ():
        if isinstance(entry, PluginEntry) and not entry.required and kind.name not in finder.used():
            for where, words in finder.check([(kind.name, {})])[0]:
                if not where:
                    yield path, f"`{kind.name}` {words}; Terraster runs without it"


def complaints(
    known: Language, finder: Finder, settings: Settings, services: Sequence[tuple[Path, ServiceSettings]]
) -> Iterator[Complaint]:
    """The faults of the entries of plugins."""
    found = list(entries(known, settings, services))
    bare = [name for name, kind in known.plugins.items() if kind.everywhere and name in finder.used()]
    bare = [name for name in bare if not any(one.name == name and len(one.path) == _AT_TOP for one in found)]
    asked: list[tuple[str, Mapping[str, Any]]] = [(one.name, {**one.wider, **one.settings.own()}) for one in found]
    asked += [(name, {}) for name in bare]
    if not asked:
        return
    answers = finder.check(asked)
    spared = optional(known, settings) - finder.used().keys()
    for one, wrong in zip(found, answers, strict=False):
        if one.name in spared:
            continue
        for where, words in wrong:
            if not where and not one.settings.enabled and one.name in finder.used():
                continue  # what is off needs no keys
            if where[:1] and where[0] in one.wider and where[0] not in one.settings.own():
                continue  # said where it is written
            is_key = not where or words.startswith("unknown key ")
            yield (*one.path, *where), is_key, f"`{one.name}` {words}" if not where else words
        if len(one.path) != _AT_TOP:
            for key in ("required", "memory"):
                if key in one.settings.model_fields_set:
                    yield (*one.path, key), True, f"`{key}` of a plugin belongs in `middleware` at the top"
    for name, wrong in zip(bare, answers[len(found) :], strict=True):
        for _, words in wrong:
            entry = f"`middleware: [{{{name}: {{…}}}}]`"
            yield (
                ("middleware",),
                False,
                f"the plugin `{name}`, which is on everywhere, needs an entry at the top, {entry}: {words}",
            )


_AT_TOP = 3
"""The length of the path of an entry at the top: `middleware`, its number, its name."""
