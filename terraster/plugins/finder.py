"""Finds plugins: the files of a directory, and the entry points of installed packages (`terraster.config.plugins.Finder`).

Their code is loaded in a process of its own (`terraster.plugins.checker`), and only if it is new. So an import that loops, exits or crashes
ends that process and not the master. A file that is at fault does not replace one that was good.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import PurePath
from typing import Any, NamedTuple

from ..config.plugins import Found
from ..config.settings.plugins import PluginKind
from ..config.snapshot import Plugin
from ..errors import Problem
from .process import run

__all__ = ["GROUP", "LONGEST", "Finder", "refusal"]

GROUP = "terraster.plugins"
"""The group of entry points."""

LONGEST = 10.0
"""Seconds in which a plugin has to be loaded."""

_LARGEST = 1 << 20
_OTHERS = stat.S_IWGRP | stat.S_IWOTH

Path = tuple[str | int, ...]


class _Fault(NamedTuple):
    words: str
    line: int = 0
    column: int = 0

    def at(self, file: str) -> str:
        """FILE:LINE:COLUMN: words."""
        return str(Problem(file, self.line, max(self.column, 1), self.words))


class _Version(NamedTuple):
    """One version of the code of a file, or of an entry point. plugins: with the kind of each"""

    digest: str
    octets: bytes
    plugins: tuple[tuple[Plugin, PluginKind], ...]


class Finder:
    """Finds plugins. It is kept between loads, and remembers what was good.

    taken: names that no plugin may have. longest: seconds in which a plugin has to be loaded
    """

    def __init__(self, taken: Collection[str], longest: float = LONGEST) -> None:
        self._taken = frozenset(taken)
        self._longest = longest
        self._good: dict[str, _Version] = {}  # by file
        self._bad: dict[str, tuple[str, _Fault]] = {}  # by file: the digest of what is at fault, and why
        self._packages: dict[str, tuple[str, str]] | None = None  # name → entry, version
        self._package: dict[str, _Version | _Fault] = {}  # by name
        self._used: dict[str, Plugin] = {}
        self._schemas: dict[str, str] = {}  # of their `Settings`, by name
        self._answers: dict[tuple[str, str, str], list[tuple[Path, str]]] = {}
        self._missing: set[str] = set()  # names that may be written although there is no such plugin

    # For a loader.

    def find(self, directory: str, written: bool, spared: Collection[str] = ()) -> Found:
        problems: list[Problem] = []
        warnings: list[Problem] = []
        kinds: dict[str, PluginKind] = {}
        self._used = {}
        self._answers = {}
        files = self._files(directory, written, problems)
        faults = self._load(files, warnings)
        for file in files:
            for plugin, kind in self._good[file].plugins if file in self._good else ():
                why = self._collision(plugin, kinds)
                if why:
                    problems.append(Problem(file, 0, 0, why))
                    continue
                kinds[plugin.name] = kind
                self._schemas[plugin.name] = kind.schema
                self._used[plugin.name] = replace(plugin, kept=self._bad[file][1].at(file) if file in self._bad else "")
        for file in [file for file in self._good if file not in files]:
            del self._good[file]
        for name in self._entry_points():
            if name not in kinds and name not in self._taken:
                known = self._package.get(name)
                kinds[name] = known.plugins[0][1] if isinstance(known, _Version) else PluginKind(name, False)
        for name in faults:
            if name not in kinds and name not in self._taken and name.isidentifier():
                kinds[name] = PluginKind(name, True)  # so that what is written for it is not unknown
        self._missing = {name for name in spared if name not in kinds and name not in self._taken and name.isidentifier()}
        kinds.update({name: PluginKind(name, False) for name in sorted(self._missing)})
        return Found(tuple(kinds.values()), problems, faults, warnings)

    def check(self, entries: Sequence[tuple[str, Mapping[str, Any]]]) -> list[list[tuple[Path, str]]]:
        self._load_packages({name for name, _ in entries})
        wanted: list[tuple[str, str, str]] = []
        for name, keys in entries:
            if name in self._used:
                one = name, self._used[name].digest, json.dumps(keys, sort_keys=True)
                if (known := self._without_asking(name, keys)) is not None:
                    self._answers[one] = known
                if one not in self._answers and one not in wanted:
                    wanted.append(one)
        if wanted:
            self._ask_about_keys(wanted)
        answers = []
        for name, keys in entries:
            fault = self._package.get(name)
            if name in self._used:
                answers.append(self._answers[name, self._used[name].digest, json.dumps(keys, sort_keys=True)])
            elif isinstance(fault, _Fault):
                answers.append([((), fault.words)])
            elif name in self._missing:
                answers.append(
                    [((), "names no plugin: neither a file of the directory nor an installed package has one of this name")]
                )
            else:
                answers.append([])  # its file is at fault, and that has been said
        return answers

    def _without_asking(self, name: str, keys: Mapping[str, Any]) -> list[tuple[Path, str]] | None:
        """The faults of keys as far as the schema tells them: of a plugin without keys, or of an entry that writes none. None: ask."""
        schema = json.loads(self._schemas.get(name) or "{}")
        if not schema:
            return [((key,), f"unknown key `{key}`; the plugin has no `Settings`") for key in keys]
        if not keys and not schema.get("required"):
            return []
        return None

    def used(self) -> Mapping[str, Plugin]:
        return dict(self._used)

    # Files.

    def _files(self, directory: str, written: bool, problems: list[Problem]) -> list[str]:
        """The files of plugins of a directory, in order of their names."""
        if not written and not os.path.lexists(directory):
            return []
        try:
            names = sorted(os.listdir(directory))
            why = refusal(directory, stat.S_ISDIR) or _refusal_of_parents(directory)
        except OSError as error:
            problems.append(Problem(directory, 0, 0, f"the directory of plugins cannot be read: {error.strerror}"))
            return []
        if why:
            problems.append(Problem(directory, 0, 0, f"the directory of plugins {why}"))
            return []
        return [
            os.path.join(directory, name) for name in names if name.endswith(".py") and not name.startswith((".", "_", "test_"))
        ]

    def _load(self, files: list[str], warnings: list[Problem]) -> dict[str, Problem]:
        """Load the files that are new. Returns why files cannot be used of which there is no earlier version, by their names."""
        faults: dict[str, Problem] = {}
        fresh: dict[str, tuple[str, bytes]] = {}
        found: dict[str, _Fault] = {}
        for file in files:
            try:
                why = refusal(file, stat.S_ISREG) or _refusal_of_target(file)
                octets = b"" if why else _read(file)
            except OSError as error:
                why = f"cannot be read: {error.strerror}"
            if why:
                found[file] = _Fault(why)
                continue
            digest = hashlib.sha256(octets).hexdigest()
            if file in self._good and self._good[file].digest == digest:
                self._bad.pop(file, None)
            elif file in self._bad and self._bad[file][0] == digest:
                found[file] = self._bad[file][1]
            else:
                fresh[file] = digest, octets
        asked = [
            {"file": file, "octets": base64.b64encode(octets).decode(), "entry": "", "name": ""}
            for file, (_, octets) in fresh.items()
        ]
        for file, answer in zip(fresh, self._ask(asked), strict=True):
            digest, octets = fresh[file]
            if isinstance(answer, _Fault):
                found[file] = answer
                self._bad[file] = digest, answer
            else:
                made = [_plugin(told, "file", file, octets, digest) for told in answer]
                self._good[file] = _Version(digest, octets, tuple(made))
                self._bad.pop(file, None)
        for file, fault in found.items():
            if file in self._good:
                self._bad.setdefault(file, ("", fault))
                said = Problem(
                    file, fault.line, max(fault.column, 1), f"{fault.words}; the version that was read before stays in use"
                )
                warnings.append(said)
            else:
                name = os.path.basename(file).removesuffix(".py").replace("-", "_")
                faults[name] = Problem(file, fault.line, max(fault.column, 1), f"the plugin {fault.words}")
        return faults

    def _collision(self, plugin: Plugin, kinds: Mapping[str, PluginKind]) -> str:
        """Why a plugin cannot have its name; "" if it can."""
        if plugin.name in self._taken:
            return f"the plugin cannot be called `{plugin.name}`: a filter has this name"
        if plugin.name in kinds:
            other = self._used[plugin.name].file
            return f"there are two plugins called `{plugin.name}`" + (
                f": the other one is in {other}" if other != plugin.file else ""
            )
        return ""

    # Packages.

    def _entry_points(self) -> Mapping[str, tuple[str, str]]:
        if self._packages is None:
            found = {}
            for one in metadata.entry_points(group=GROUP):
                version = one.dist.version if one.dist is not None else ""
                found[one.name] = one.value, version
            self._packages = found
        return self._packages

    def _load_packages(self, names: Collection[str]) -> None:
        """Load the packages of these names. Those that are loaded once stay as they are: a new version needs a restart."""
        known = self._entry_points()
        wanted = [name for name in sorted(names) if name in known and name not in self._used and name not in self._taken]
        fresh = [name for name in wanted if not isinstance(self._package.get(name), _Version)]
        asked = [{"file": "", "octets": "", "entry": known[name][0], "name": name} for name in fresh]
        for name, answer in zip(fresh, self._ask(asked), strict=True):
            if isinstance(answer, _Fault):
                self._package[name] = answer
            else:
                digest = f"{known[name][0]} {known[name][1]}"
                self._package[name] = _Version(digest, b"", (_plugin(answer[0], "package", known[name][0], b"", digest),))
        for name in wanted:
            version = self._package[name]
            if isinstance(version, _Version):
                self._used[name], kind = version.plugins[0]
                self._schemas[name] = kind.schema

    # The process.

    def _ask_about_keys(self, wanted: list[tuple[str, str, str]]) -> None:
        sources: dict[str, int] = {}
        plugins: list[dict[str, str]] = []
        settings: list[list[Any]] = []
        for name, _, keys in wanted:
            plugin = self._used[name]
            if plugin.file not in sources:
                sources[plugin.file] = len(plugins)
                packed = plugin.origin == "package"
                octets = base64.b64encode(plugin.octets).decode()
                plugins.append(
                    {"file": plugin.file, "octets": octets, "entry": plugin.file if packed else "", "name": name if packed else ""}
                )
            settings.append([sources[plugin.file], plugin.cls, json.loads(keys)])
        said, blamed = self._run({"plugins": plugins, "settings": settings})
        for one in wanted:
            self._answers[one] = [((), f"cannot check its keys: {blamed[1]}")] if blamed is not None else []
        for words in said:
            if words[0] == "settings":
                self._answers[wanted[words[1]]] = [(tuple(path), text) for path, text in words[2]]
            elif words[0] == "failed":
                for one in wanted:
                    if sources[self._used[one[0]].file] == words[1]:
                        self._answers[one] = [((), str(words[2]))]

    def _ask(self, plugins: list[dict[str, str]]) -> list[list[dict[str, Any]] | _Fault]:
        """The classes of each of these plugins, or why it cannot be used. Where one ends the process, the others are asked again without it."""
        answers: list[Any] = [None] * len(plugins)
        while left := [number for number, answer in enumerate(answers) if answer is None]:
            said, blamed = self._run({"plugins": [plugins[number] for number in left], "settings": []})
            for words in said:
                if words[0] == "loaded":
                    answers[left[words[1]]] = words[2]
                elif words[0] == "failed":
                    answers[left[words[1]]] = _Fault(words[2], words[3], words[4])
            if blamed is not None:
                answers[left[blamed[0]]] = _Fault(blamed[1])
        return answers

    def _run(self, asked: dict[str, Any]) -> tuple[list[list[Any]], tuple[int, str] | None]:
        """Run the process. Returns its lines; and the number of the plugin that ended it, with the reason, or None."""
        try:
            return run(asked, self._longest)
        except OSError as error:
            return [], (0, f"cannot be checked: no process can be started: {error.strerror}")


def refusal(path: str, is_kind: Callable[[int], bool]) -> str:
    """Why code is not taken from a path; "" if it is. Raises OSError."""
    found = os.stat(path)
    if not is_kind(found.st_mode):
        return "is not a directory" if is_kind is stat.S_ISDIR else "is not a file"
    if found.st_mode & _OTHERS:
        mode = stat.S_IMODE(found.st_mode)
        return f"can be written by others than its owner and root (mode {mode:o}): {os.path.realpath(path)}"
    if os.geteuid() == 0 != found.st_uid:
        return f"belongs to the user {found.st_uid}, who would run code as root: {os.path.realpath(path)}"
    return ""


def _refusal_of_target(file: str) -> str:
    """The same for what a link leads to: a user who can write the directory there can replace the file."""
    if not os.path.islink(file):
        return ""
    folder = os.path.dirname(os.path.realpath(file))
    return refusal(folder, stat.S_ISDIR) or _refusal_of_parents(folder)


def _refusal_of_parents(directory: str) -> str:
    """Why no code is taken from a directory because of those above it: where every user can rename entries of others, each can put another
    directory in its place. Those that a link to it is in count too. Raises OSError."""
    for start in dict.fromkeys((os.path.abspath(directory), os.path.realpath(directory))):
        for parent in PurePath(start).parents:
            mode = os.stat(parent).st_mode
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                return f"can be replaced by any user, who can write the directory above it (mode {stat.S_IMODE(mode):o}): {parent}"
    return ""


def _read(file: str) -> bytes:
    with open(file, "rb") as stream:
        octets = stream.read(_LARGEST + 1)
    if len(octets) > _LARGEST:
        raise OSError(0, f"it is larger than {_LARGEST >> 20} MiB")
    return octets


def _plugin(told: Mapping[str, Any], origin: str, file: str, octets: bytes, digest: str) -> tuple[Plugin, PluginKind]:
    made = Plugin(
        name=told["name"],
        origin=origin,
        file=file,
        cls=told["cls"],
        octets=octets,
        digest=digest,
        hooks=tuple(told["hooks"]),
        priority=told["priority"],
        request_body=told["request_body"],
        response_body=told["response_body"],
        counters=tuple((name, text) for name, text in told["counters"]),
    )
    return made, PluginKind(told["name"], origin == "file", told["about"], told["schema"])
