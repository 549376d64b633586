"""One load of the configuration: its files are read, every problem of all of them is collected, each with its place.

Each file has its scope: the main file may say everything; files below ``services_dir`` only `services`; ``api_config`` only what
concerns the management API, and wins over the main file; log files (JSON) only `loggers`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence

from ..errors import ConfigError, Problem
from . import adopting, checks, idle, idle_filters, level_checks, loggers, management, unserved
from .edits import CONFLICT, LOCATION_KINDS, UNKNOWN, Dormant, Edit
from .finds import Finds
from .language import Language
from .log_files import unwritable
from .messages import Complaint
from .plugins import Finder, Found, absent, optional
from .plugins import complaints as faults_of_plugins
from .regular import regular
from .settings import DEFAULT_SERVICE, ServiceSettings, Settings
from .settings.base import Model
from .source import Cache, Item, Source, validated

__all__ = ["LARGEST_FILE", "Load", "Path", "Texts", "with_paths"]

Path = tuple[str | int, ...]
Texts = Mapping[str, bytes]
"""The octets that were read, by file, in the order of reading."""

LARGEST_FILE = 256 << 20
"""Octets of a file of the configuration, at most."""

_API_KEYS = ("api", "admin_api", "admin_port", "auth", "database")


class Load:
    """The sources, and what is wrong with them.

    texts:   that were read
    dormant: by number, why edits have no effect
    files:   the names of those that were read, the main one first
    main:    the source of the main file
    edits:   made in what the files say
    """

    def __init__(
        self,
        cache: Cache,
        plugins: Finder | None = None,
        found: Found | None = None,
        edits: Sequence[Edit] = (),
        texts: Texts | None = None,
    ) -> None:
        self.texts: dict[str, bytes] = {}
        self.dormant: dict[int, Dormant] = {}
        self.edits = edits
        self._known_texts = texts
        self._cache = cache
        self._plugins = plugins
        self._found = found or Found()
        self._faults: list[Problem] = []  # plugins without which Terraster runs
        self.files: list[str] = []
        self._problems: list[Problem] = []
        self._warnings: list[tuple[Source, Complaint]] = []
        self._origins: dict[Path, tuple[Source, Path]] = {}
        self._items: list[tuple[Source, int, Item]] = []
        self._top_finds = Finds((), ())

    def run(self, path: str, services_dir: str | None, api_config: str | None, log_configs: Sequence[str], notes: bool) -> Settings:
        """The settings of these files. Raises ConfigError with all problems. Called once. For the arguments see `Loader.load`."""
        sources = [self._source(path)]
        for file in self._below(services_dir) if services_dir is not None else ():
            sources.append(self._source(file, ("services",), "a file of --services"))
        extra = [self._source(api_config, _API_KEYS, "the file of --api-config")] if api_config is not None else []
        for file in (name.strip() for names in log_configs for name in names.split(",")):
            extra.append(self._source(file, ("loggers",), "a file of --log-config"))

        self.main = sources[0]
        if self.edits:
            self._edit(sources)
        self._items = [(source, index, item) for source in sources for index, item in source.items]
        top = self._top(self.main)
        for source in extra:
            more = self._top(source)
            if top is not None and more is not None:
                top = self._merged(top, more, source)
        settings = None
        if top is not None:
            settings = top.loaded(tuple(item.settings for _, _, item in self._items), ())
            self._check(settings)
            silent = not self._problems and not any(source.problems for source in sources)
            if silent and services_dir is None and not settings.all_services():
                self._problems.append(Problem(path, 0, 0, "neither `services` nor `backends`: there is nothing to serve"))
        problems = [
            *self._problems,
            *self._found.problems,
            *(problem for source in (*sources, *extra) for problem in source.problems),
        ]
        if settings is not None and not problems:
            refused = list(unserved.listeners(settings, with_paths(settings)))
            warned = (*map(str, (*self._found.warnings, *self._faults)), *self._warned(settings, refused))
            found = checks.notes(settings, with_paths(settings)) if notes else ()
            noted = tuple(str(self.placed(complaint)) for complaint in found)
            refusals = tuple(self.placed(complaint) for complaint in (*refused, *management.refusals(settings)))
            made = settings.loaded(settings.services, warned, refusals, noted)
            return made if self._plugins is None else made.with_plugins(self._plugins.used())
        order = {file: index for index, file in enumerate(self.files)}
        raise ConfigError(sorted(problems, key=lambda one: (order.get(one.file, len(order)), one.file, one.line, one.column)))

    def _source(self, file: str, allowed: Collection[str] = (), what: str = "") -> Source:
        """Read a file; one that cannot be read is a problem and an empty source."""
        self.files.append(file)
        text = ""
        try:
            octets = self._octets(file)
            self.texts[file] = octets
            if len(octets) > LARGEST_FILE:
                self._problems.append(Problem(file, 0, 0, f"is larger than {LARGEST_FILE >> 20} MiB"))
            else:
                text = octets.decode("utf-8-sig")
        except OSError as error:
            self._problems.append(Problem(file, 0, 0, f"cannot be read: {error.strerror or error}"))
        except ValueError as error:
            before = octets[: error.start] if isinstance(error, UnicodeDecodeError) else b""
            line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
            self._problems.append(Problem(file, line, column, "is not UTF-8 text"))
        source = Source(file, text, self._cache)
        if allowed:
            for key in source.top:
                if key not in allowed:
                    source.complain(
                        ((key,), True, f"`{key}` is not allowed in {what}, only {', '.join(f'`{k}`' for k in allowed)}")
                    )
            source.top = {key: value for key, value in source.top.items() if key in allowed}
            if source.items and "services" not in allowed:
                source.complain((("services",), True, f"`services` is not allowed in {what}"))
        return source

    def _octets(self, file: str) -> bytes:
        if self._known_texts is not None:
            return self._known_texts[file]
        with open(file, "rb", opener=regular) as stream:
            return stream.read(LARGEST_FILE + 1)

    def _edit(self, sources: Sequence[Source]) -> None:
        """Make the edits, service by service."""
        by_service: dict[str, list[Edit]] = {}
        for edit in self.edits:
            by_service.setdefault(edit.service, []).append(edit)
        for service, edits in by_service.items():
            if service == DEFAULT_SERVICE and "backends" in self.main.top:
                edits = [edit for edit in edits if self._fits_top(edit, sources)]
            made = next((made for source in sources if (made := source.edit(service, edits)) is not None), None)
            for edit in edits:
                if made is None:
                    self.dormant[edit.number] = Dormant(UNKNOWN, f"there is no service {service}")
                elif edit.number in made.dormant:
                    self.dormant[edit.number] = made.dormant[edit.number]

    def adopted(self, settings: Settings, edits: Sequence[Edit]) -> dict[str, bytes]:
        """See `Loader.adopted`."""
        made: dict[str, str] = {}
        for edit in edits:
            found = next(((source.file, index) for source, index, item in self._items if item.settings.label == edit.service), None)
            file, index = found if found is not None else (self.main.file, None)
            if found is None and (edit.service != DEFAULT_SERVICE or not settings.backends):
                raise adopting.Unwritable(f"there is no service {edit.service} in the files")
            text = made.get(file) or self.texts[file].decode()
            if text.startswith("\ufeff"):
                raise adopting.Unwritable(f"{file} begins with a byte order mark")
            made[file] = adopting.with_edit(text, index, edit, self._cache.environ, self._cache.language)
        return {file: text.encode() for file, text in made.items()}

    def _fits_top(self, edit: Edit, sources: Sequence[Source]) -> bool:
        """True if the service of the top's `backends` can have this edit."""
        words = ""
        if edit.kind in LOCATION_KINDS:
            words = "the service of the top's `backends` has no locations of its own"
        elif "lb_policy" in edit.document and any(source.items for source in sources):
            words = "the algorithm of the top's `backends` is the top's `algorithm`, which other services have too"
        if words:
            self.dormant[edit.number] = Dormant(CONFLICT, words)
        return not words

    def _below(self, directory: str) -> Iterator[str]:
        """Every YAML file below a directory, in order of its path."""
        found = []
        if self._known_texts is not None:
            within = os.path.join(directory, "")
            yield from [file for file in self._known_texts if file.startswith(within) and file.endswith((".yaml", ".yml"))]
            return
        if not os.path.isdir(directory):
            self.files.append(directory)
            self._problems.append(Problem(directory, 0, 0, "is not a directory"))
        for folder, _, names in os.walk(directory):
            found += [os.path.join(folder, name) for name in names if name.endswith((".yaml", ".yml"))]
        yield from sorted(found)

    def _top(self, source: Source) -> Settings | None:
        """The top of one file, as far as it is good."""
        top, wrong = validated(self._cache.language, self._cache.language.settings, source.top, {"directory": source.directory})
        for complaint in wrong:
            source.complain(complaint)
        return top

    def _merged(self, top: Settings, more: Settings, source: Source) -> Settings:
        """The top with what another file says laid over it, key by key of its sections; a word where both speak."""
        update: dict[str, object] = {}
        for section in more.model_fields_set:
            value = getattr(more, section)
            other = {"api": "admin_api", "admin_api": "api"}.get(section, section)
            target = other if getattr(top, section) is None and getattr(top, other) is not None else section
            here = getattr(top, target)
            if isinstance(here, Model) and isinstance(value, Model):
                for key in value.model_fields_set:
                    self._origins[target, key] = (source, (section, key))
                    if key in here.model_fields_set:
                        words = f"`{section}.{key}` here overrides that of {self.main.file}"
                        self._warnings.append((source, ((section, key), True, words)))
                update[target] = here.model_copy(update={key: getattr(value, key) for key in value.model_fields_set})
            elif isinstance(here, dict) and isinstance(value, dict):
                for name in value:
                    self._origins[target, name] = (source, (section, name))
                    if name in here:
                        source.complain(((section, name), True, f"logger `{name}` is defined twice"))
                update[target] = {**here, **value}
            else:
                self._origins[(target,)] = (source, (section,))
                if section in top.model_fields_set:
                    words = f"`{section}` here overrides that of {self.main.file}"
                    self._warnings.append((source, ((section,), True, words)))
                update[target] = value
        return top.model_copy(update=update)

    def _check(self, settings: Settings) -> None:
        """Find the problems between keys, between services and on the disk."""
        services = with_paths(settings)
        unplaced = {("services", number) for number, (_, _, item) in enumerate(self._items) if not item.placed}
        found = (*checks.of_top(self._cache.language, settings), *checks.of_all(settings, services, unplaced))
        for complaint in (*found, *loggers.unrotatable(settings.loggers)):
            self._complain(complaint)
        if self._plugins is not None:
            self._check_plugins(self._plugins, settings, services)
        self._levels = tuple(level_checks.levels(settings, services, self._picked("inherits")))
        for complaint in level_checks.errors(self._levels):
            self._complain(complaint)
        self._top_finds = self._cache.finder.find(settings.loaded((), ()))
        seen: set[str] = set()
        for prefix, finds in self._finds():
            for path, file in finds.files:
                self._look_at_file((*prefix, *path), file)
            for path, file in finds.logs:
                if file not in seen:
                    seen.add(file)
                    self._look_at_log((*prefix, *path), file)

    def _check_plugins(self, finder: Finder, settings: Settings, services: list[tuple[Path, ServiceSettings]]) -> None:
        known = self._cache.language
        for complaint in faults_of_plugins(known, finder, settings, services):
            self._complain(complaint)
        for path, words in absent(known, finder, settings):
            source, there = self.located(path)
            self._warnings.append((source, (there, True, words)))
        spared = optional(known, settings)
        for name, fault in self._found.faults.items():
            if name in spared:
                words = f"{fault.message}; Terraster runs without it"
                self._faults.append(Problem(fault.file, fault.line, fault.column, words))
            else:
                self._problems.append(fault)

    def _finds(self) -> Iterator[tuple[Path, Finds]]:
        """The finds at the top and in the services, each with its path."""
        yield (), self._top_finds
        for number, (_, _, item) in enumerate(self._items):
            yield ("services", number), item.finds

    def _picked(self, finds: str) -> list[tuple[Path, ServiceSettings]]:
        """The services in which there is something of `Finds`, each with its path."""
        return [
            (("services", number), item.settings) for number, (_, _, item) in enumerate(self._items) if getattr(item.finds, finds)
        ]

    def places(self, named: Collection[tuple[str, str]]) -> dict[tuple[str, str], Problem]:
        """See `Loader.places`."""
        found: dict[tuple[str, str], Problem] = {}
        for prefix, finds in self._finds():
            for path, file in finds.files:
                one = _key_of(path), file
                if one in named and one not in found:
                    found[one] = self.placed(((*prefix, *path), False, ""))
        return found

    def _look_at_file(self, path: Path, file: str) -> None:
        what = _USES.get(_key_of(path), "")
        named = f"the {what} file {file}" if what else f"the file {file}"
        try:
            if path[-1] == "dns_hook" and os.path.isfile(file) and not os.access(file, os.X_OK):
                self._complain((path, False, f"the hook file {file} cannot be executed"))
            with open(file, "rb", opener=regular):
                return
        except OSError as error:
            self._complain((path, False, f"{named} cannot be read: {error.strerror or error}"))

    def _look_at_log(self, path: Path, file: str) -> None:
        if words := unwritable("access log" if path[-1] == "path" else "log", file):
            self._complain((path, False, words))

    def _warned(self, settings: Settings, refused: list[Complaint]) -> Iterator[str]:
        """The warnings in words, each key without effect once, at its first place."""
        found = [*self._warnings]
        services = with_paths(settings)
        special = [*refused[:1], *checks.warnings(settings, services), *level_checks.warnings(settings, self._levels)]
        mentioning: list[tuple[Path, ServiceSettings]] = [(path, service) for path, service in services if path == ("backends",)]
        mentioning += self._picked("idles")
        known = {path for path, _, _ in special}
        special += [found for found in idle.warnings(settings, services, mentioning) if found[0] not in known]
        special += idle_filters.warnings(self._cache.language, settings, self._picked("filters"))
        if len(refused) > 1:
            path, key, words = refused[0]
            special[0] = path, key, f"{words}; and {len(refused) - 1} more"
        said: set[str] = set()
        finds = [(path, words) for path, words in self._top_finds.doubts]
        for number, (_, _, item) in enumerate(self._items):
            finds += [(("services", number, *path), words) for path, words in item.finds.doubts]
        for path, words in finds:
            if words not in said:
                said.add(words)
                special.append((path, True, words))
        for complaint in special:
            source, there = self.located(complaint[0])
            found.append((source, (there, *complaint[1:])))
        order = dict.fromkeys([*self.files, *(edit.label for edit in self.edits)], 0)
        order = {file: index for index, file in enumerate(order)}
        problems = [source.problem(complaint) for source, complaint in found]
        for problem in sorted(problems, key=lambda one: (order[one.file], one.line, one.column, one.message)):
            yield str(problem)

    @property
    def language(self) -> Language:
        """With the kinds of this load's filters and plugins."""
        return self._cache.language

    def placed(self, complaint: Complaint) -> Problem:
        """A complaint as a problem with its file, line and column."""
        source, there = self.located(complaint[0])
        return source.problem((there, *complaint[1:]))

    def located(self, path: Path) -> tuple[Source, Path]:
        """The file that a path of the settings lies in, and the path there."""
        if len(path) > 1 and path[0] == "services" and isinstance(path[1], int):
            source, index, _ = self._items[path[1]]
            return source, ("services", index, *path[2:])
        for length in (2, 1):
            if path[:length] in self._origins:
                source, there = self._origins[path[:length]]
                return source, (*there, *path[length:])
        return self.main, path

    def _complain(self, complaint: Complaint) -> None:
        source, path = self.located(complaint[0])
        source.complain((path, *complaint[1:]))


_USES = {
    **dict.fromkeys(("cert_file", "client_cert"), "certificate"),
    **dict.fromkeys(("key_file", "client_key"), "key"),
    "ca_file": "authorities",
    "crl_file": "CRL",
    "dns_hook": "hook",
}
"""The uses of files in words, by the keys that name them."""


def _key_of(path: Path) -> str:
    """The key that a path ends with; behind it there may be a place in a list."""
    return str(path[-2] if isinstance(path[-1], int) else path[-1])


def with_paths(settings: Settings) -> list[tuple[Path, ServiceSettings]]:
    """All services with their paths; that of the top's `backends` has the path of these."""
    services = settings.all_services()
    extra = len(services) - len(settings.services)
    return [(("services", index - extra) if index >= extra else ("backends",), service) for index, service in enumerate(services)]
