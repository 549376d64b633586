"""Files → Settings: everything read, every problem of all files collected, each with its place.

    text ─incremental─▶ skeleton + items ─nodes─▶ values ─settings─▶ models ─checks─▶ Settings, or one ConfigError

A `Loader` is kept between reloads: an item of a `services` list whose text it has seen before (and whose environment variables and
secret files still say the same) costs one look into a dict. Everything that depends on other files, other services or the disk
is looked at each time. `load` does the same with a Loader of its own.

Each file has its scope: the main file may say everything; files below ``services_dir`` only `services`; ``api_config`` only what
concerns the management API, and wins over the main file; log files (JSON) only `loggers`.

The module is longer than 400 lines because a load is one sequence of steps over the same lists, and reads best in one place.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from ..errors import ConfigError, Problem, Unplaced
from . import adopting, checks, idle, idle_filters, level_checks, loggers, management, unserved
from .comparing import Side, compared
from .edited import location_label
from .edits import CONFLICT, LOCATION_KINDS, UNKNOWN, Dormant, Edit
from .finds import Finds
from .language import Language, language
from .log_files import unwritable
from .messages import Complaint
from .origins import origins
from .places import keys_of, place_of
from .plugins import Finder, Found, absent, directory, optional, spared
from .plugins import complaints as faults_of_plugins
from .regular import regular
from .settings import DEFAULT_SERVICE, ServiceSettings, Settings
from .settings.base import Model
from .settings.kinds import Kind
from .source import Cache, Item, Source, validated
from .wanted import wanted

__all__ = ["Loader", "Texts", "load"]

Path = tuple[str | int, ...]
Texts = Mapping[str, bytes]
"""The octets that were read, by file, in the order of reading."""

_API_KEYS = ("api", "admin_api", "admin_port", "auth", "database")
_LARGEST_FILE = 256 << 20


def load(
    path: str,
    *,
    services_dir: str | None = None,
    api_config: str | None = None,
    log_configs: Sequence[str] = (),
    kinds: Sequence[Kind] = (),
) -> Settings:
    """The settings of these files. Raises ConfigError with all problems. Reads the process's environment."""
    return Loader(kinds=kinds).load(path, services_dir=services_dir, api_config=api_config, log_configs=log_configs)


class Loader:
    """Loads configurations, remembering services between loads.

    `environ`: where ``${NAME}`` looks, default the process's environment. `pause`: called every few dozen services that have to be
    parsed, so that a master with thousands of new services can go on probing meanwhile; default: nothing. `kinds`: of filters, whose keys
    the language has. `plugins`: finds plugins, which are further kinds; None: there are none.
    """

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        pause: Callable[[], None] | None = None,
        *,
        kinds: Sequence[Kind] = (),
        plugins: Finder | None = None,
    ) -> None:
        self._kinds = tuple(kinds)
        self._plugins = plugins
        self._found = Found()
        self.texts: Texts = {}
        self.dormant: dict[int, Dormant] = {}
        self._cache = Cache(os.environ if environ is None else environ, pause or _go_on, language(self._kinds))

    def load(
        self,
        path: str,
        *,
        services_dir: str | None = None,
        api_config: str | None = None,
        log_configs: Sequence[str] = (),
        notes: bool = False,
        edits: Sequence[Edit] = (),
        texts: Texts | None = None,
    ) -> Settings:
        """The settings of these files. Raises ConfigError with all problems of all of them. notes: with `Settings.notes`. edits: made in
        what the files say. texts: of an earlier load (`Loader.texts`), in place of what the files say now.

        Afterwards ``texts`` has the texts that were read, and ``dormant``, by number, why edits have no effect."""
        good = False
        if self._plugins is not None and texts is None:
            self._look_for_plugins(self._plugins, path)
        one = _Load(self._cache, self._plugins, self._found, edits, texts)
        try:
            settings = one.run(path, services_dir, api_config, log_configs, notes)
            good = True
        finally:
            self._cache.loaded(good)
        self.texts, self.dormant = one.texts, one.dormant
        return settings

    def _look_for_plugins(self, finder: Finder, path: str) -> None:
        """Find the plugins, and learn their keys."""
        try:
            with open(path, "rb", opener=regular) as stream:
                text = stream.read(_LARGEST_FILE).decode("utf-8-sig", "replace")
        except OSError:
            return  # `_Load` says so
        folder = os.path.dirname(os.path.abspath(path))
        environ = self._cache.environ
        self._found = finder.find(*directory(text, folder, environ), spared(text, environ))
        known = language((*self._kinds, *self._found.kinds))
        if known is not self._cache.language:
            self._cache = self._cache.speaking(known)

    def label(self, location: Mapping[str, Any]) -> str:
        """The label that a location has by its document. Raises ValueError."""
        return location_label(self._cache.language, location)

    def adopted(
        self,
        edits: Sequence[Edit],
        path: str,
        *,
        services_dir: str | None = None,
        api_config: str | None = None,
        log_configs: Sequence[str] = (),
    ) -> tuple[Texts, dict[str, bytes]]:
        """The texts of the files now, and those that change when edits are written into them. Raises `adopting.Unwritable`."""
        load = _Load(self._cache, self._plugins, self._found)
        try:
            settings = load.run(path, services_dir, api_config, log_configs, False)
        except ConfigError as error:
            raise adopting.Unwritable(f"the files have mistakes: {error.problems[0]}") from None
        return load.texts, load.adopted(settings, edits)

    def asks(
        self,
        address: str,
        path: str,
        *,
        services_dir: str | None = None,
        api_config: str | None = None,
        log_configs: Sequence[str] = (),
    ) -> str:
        """The service that asks for a listening address in these files, and the place: "service `shop`, terraster.yaml:3:9". Or a port of
        Terraster's own. "" if none does. Reads the files again."""
        load = _Load(self._cache)
        try:
            settings = load.run(path, services_dir, api_config, log_configs, False)
        except ConfigError:
            return ""
        return load.asks(settings, address)

    def places(
        self,
        named: Collection[tuple[str, str]],
        path: str,
        *,
        services_dir: str | None = None,
        api_config: str | None = None,
        log_configs: Sequence[str] = (),
    ) -> dict[tuple[str, str], Problem]:
        """By key and file (absolute), the first place where this key names the file, as a problem without words. Those without one are missing.
        Reads the configuration again."""
        load = _Load(self._cache)
        try:
            load.run(path, services_dir, api_config, log_configs, False)
        except ConfigError:
            return {}
        return load.places(named)

    def rules(
        self,
        path: str,
        *,
        services_dir: str | None,
        api_config: str | None,
        log_configs: Sequence[str],
        pause: bool = True,
        edits: Sequence[Edit] = (),
        texts: Texts | None = None,
    ) -> Rules:
        """The places of rules in these files, which are read again. pause: False: without pauses, so that no event loop is needed. edits,
        texts: as for `load`."""
        if not pause:
            self._cache.pause = _go_on
        load = _Load(self._cache, edits=edits, texts=texts)
        try:
            return Rules(load, load.run(path, services_dir, api_config, log_configs, False), ())
        except ConfigError as error:
            return Rules(load, None, tuple(map(str, error.problems)))

    def placed(
        self, problem: Unplaced, path: str, *, services_dir: str | None, api_config: str | None, log_configs: Sequence[str]
    ) -> Problem:
        """The problem with its place, without one if the files no longer have it. Reads the configuration again."""
        return self.rules(path, services_dir=services_dir, api_config=api_config, log_configs=log_configs).placed(problem)


def _go_on() -> None:
    pass


class Rules:
    """Where rules are written in the files of one load. files: those that were read, the main one first. known: False if they cannot be used;
    then no rule has a place, and ``problems`` has the reasons"""

    __slots__ = ("_load", "_settings", "files", "known", "problems")

    def __init__(self, load: _Load, settings: Settings | None, problems: tuple[str, ...]) -> None:
        """settings: None if the files cannot be used."""
        self.problems = problems
        self._load = load
        self._settings = settings
        self.files = tuple(load.files)
        self.known = settings is not None

    def placed(self, problem: Unplaced) -> Problem:
        """The problem with its place, without one if the files do not have it."""
        return problem if self._settings is None else self._load.placed(self._settings, problem)

    def place(self, service: str, location: str, kind: str) -> str:
        """The file, line and column of a rule, from the service's name, the location's label and the filter's kind; "" if it has none."""
        found = None if self._settings is None else self._load.rule(self._settings, service, location, kind)
        return f"{found.file}:{found.line}:{found.column}" if found is not None and found.line else ""

    def values(self, service: str, location: str) -> list[dict[str, Any]]:
        """The values that a location has: ``key value origin place`` (`terraster.config.origins`), [] if the files do not have it. location:
        its label"""
        return [] if self._settings is None else self._load.values(self._settings, service, location)

    def compared(self, other: Rules) -> list[dict[str, Any]]:
        """The differences from these files to others, see `terraster.config.comparing`; both can be used."""
        assert self._settings is not None and other._settings is not None
        return compared(self._load.language, self._load.side(self._settings), other._load.side(other._settings))


class _Load:
    """One load: the sources, and what is wrong."""

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
        self._edits = edits
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
        sources = [self._source(path)]
        for file in self._below(services_dir) if services_dir is not None else ():
            sources.append(self._source(file, ("services",), "a file of --services"))
        extra = [self._source(api_config, _API_KEYS, "the file of --api-config")] if api_config is not None else []
        for file in (name.strip() for names in log_configs for name in names.split(",")):
            extra.append(self._source(file, ("loggers",), "a file of --log-config"))

        self._main = sources[0]
        if self._edits:
            self._edit(sources)
        self._items = [(source, index, item) for source in sources for index, item in source.items]
        top = self._top(self._main)
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
            refused = list(unserved.listeners(settings, _with_paths(settings)))
            warned = (*map(str, (*self._found.warnings, *self._faults)), *self._warned(settings, refused))
            found = checks.notes(settings, _with_paths(settings)) if notes else ()
            noted = tuple(str(self._placed(complaint)) for complaint in found)
            refusals = tuple(self._placed(complaint) for complaint in (*refused, *management.refusals(settings)))
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
            if len(octets) > _LARGEST_FILE:
                self._problems.append(Problem(file, 0, 0, f"is larger than {_LARGEST_FILE >> 20} MiB"))
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
            return stream.read(_LARGEST_FILE + 1)

    def _edit(self, sources: Sequence[Source]) -> None:
        """Make the edits, service by service."""
        by_service: dict[str, list[Edit]] = {}
        for edit in self._edits:
            by_service.setdefault(edit.service, []).append(edit)
        for service, edits in by_service.items():
            if service == DEFAULT_SERVICE and "backends" in self._main.top:
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
            file, index = found if found is not None else (self._main.file, None)
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
                        words = f"`{section}.{key}` here overrides that of {self._main.file}"
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
                    words = f"`{section}` here overrides that of {self._main.file}"
                    self._warnings.append((source, ((section,), True, words)))
                update[target] = value
        return top.model_copy(update=update)

    def _check(self, settings: Settings) -> None:
        """Find the problems between keys, between services and on the disk."""
        services = _with_paths(settings)
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
            source, there = self._located(path)
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
                    found[one] = self._placed(((*prefix, *path), False, ""))
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
        services = _with_paths(settings)
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
            source, there = self._located(complaint[0])
            found.append((source, (there, *complaint[1:])))
        order = dict.fromkeys([*self.files, *(edit.label for edit in self._edits)], 0)
        order = {file: index for index, file in enumerate(order)}
        problems = [source.problem(complaint) for source, complaint in found]
        for problem in sorted(problems, key=lambda one: (order[one.file], one.line, one.column, one.message)):
            yield str(problem)

    def asks(self, settings: Settings, address: str) -> str:
        """See `Loader.asks`."""
        found = wanted(settings, _with_paths(settings), address)
        if found is None:
            return ""
        path, who = found
        if not path:
            return f"{who}, as the default; {self._main.file} names no other port for it"
        problem = self._placed((path, False, ""))
        return f"{who}, {problem.file}:{problem.line}:{problem.column}"

    def placed(self, settings: Settings, problem: Unplaced) -> Problem:
        """See `Loader.placed`."""
        found = place_of(self._cache.language, settings, _with_paths(settings), problem)
        return problem if found is None else self._placed((found, True, f"{problem.file}: {problem.message}"))

    def rule(self, settings: Settings, service: str, location: str, kind: str) -> Problem | None:
        """See `Rules.place`."""
        services = _with_paths(settings)
        here = next((path for path, one in services if one.label == service), None)
        if here is None:
            return None
        found = place_of(self._cache.language, settings, services, Unplaced("", "", service, location, kind, "", ()))
        if kind in _KEYS:
            found = next(keys_of(settings, services, service, location, kind), found)
        if not kind and (here == ("backends",) or found is None):
            found = here
        return (
            None if found is None or (location and not kind and found == here != ("backends",)) else self._placed((found, True, ""))
        )

    @property
    def language(self) -> Language:
        return self._cache.language

    def side(self, settings: Settings) -> Side:
        """These files as one side of a comparison."""
        return Side(settings, _with_paths(settings), self._where, self._edits)

    def _where(self, path: Path) -> str:
        """The place of a path as text; the label of the edit that it is from."""
        place = self._placed((path, True, ""))
        return f"{place.file}:{place.line}:{place.column}" if place.line else place.file

    def values(self, settings: Settings, service: str, location: str) -> list[dict[str, Any]]:
        """See `Rules.values`."""
        found = []
        for one in origins(self._cache.language, settings, _with_paths(settings), service, location) or ():
            place = self._placed((one.path, True, "")) if one.path else None
            where = f"{place.file}:{place.line}:{place.column}" if place is not None and place.line else ""
            found.append({"key": one.key, "value": one.value, "origin": one.level, "place": where})
        return found

    def _placed(self, complaint: Complaint) -> Problem:
        source, there = self._located(complaint[0])
        return source.problem((there, *complaint[1:]))

    def _located(self, path: Path) -> tuple[Source, Path]:
        """The file that a path of the settings lies in, and the path there."""
        if len(path) > 1 and path[0] == "services" and isinstance(path[1], int):
            source, index, _ = self._items[path[1]]
            return source, ("services", index, *path[2:])
        for length in (2, 1):
            if path[:length] in self._origins:
                source, there = self._origins[path[:length]]
                return source, (*there, *path[length:])
        return self._main, path

    def _complain(self, complaint: Complaint) -> None:
        source, path = self._located(complaint[0])
        source.complain((path, *complaint[1:]))


_KEYS = frozenset(("redirect", "http_redirect", "split", "rewrite", "backends"))
"""The keys of rules that are not written in `middleware`."""

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


def _with_paths(settings: Settings) -> list[tuple[Path, ServiceSettings]]:
    """All services with their paths; that of the top's `backends` has the path of these."""
    services = settings.all_services()
    extra = len(services) - len(settings.services)
    return [(("services", index - extra) if index >= extra else ("backends",), service) for index, service in enumerate(services)]
