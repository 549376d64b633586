"""Files → Settings: everything read, every problem of all files collected, each with its place.

    text ─incremental─▶ skeleton + items ─nodes─▶ values ─settings─▶ models ─checks─▶ Settings, or one ConfigError

A `Loader` is kept between reloads: an item of a `services` list whose text it has seen before (and whose environment variables and
secret files still say the same) costs one look into a dict. Everything that depends on other files, other services or the disk
is looked at each time. `load` does the same with a Loader of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from ..errors import ConfigError, Problem, Unplaced
from . import adopting
from .edited import location_label
from .edits import Dormant, Edit
from .language import language
from .load import LARGEST_FILE, Load, Texts
from .plugins import Finder, Found, directory, spared
from .regular import regular
from .rules import Rules
from .settings import Settings
from .settings.kinds import Kind
from .source import Cache

__all__ = ["Loader", "load"]


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
        one = Load(self._cache, self._plugins, self._found, edits, texts)
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
                text = stream.read(LARGEST_FILE).decode("utf-8-sig", "replace")
        except OSError:
            return  # `Load` says so
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
        load = Load(self._cache, self._plugins, self._found)
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
        return self.rules(path, services_dir=services_dir, api_config=api_config, log_configs=log_configs).asks(address)

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
        load = Load(self._cache)
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
        load = Load(self._cache, edits=edits, texts=texts)
        try:
            return Rules(load, load.run(path, services_dir, api_config, log_configs, False))
        except ConfigError as error:
            return Rules(load, None, tuple(map(str, error.problems)))

    def placed(
        self, problem: Unplaced, path: str, *, services_dir: str | None, api_config: str | None, log_configs: Sequence[str]
    ) -> Problem:
        """The problem with its place, without one if the files no longer have it. Reads the configuration again."""
        return self.rules(path, services_dir=services_dir, api_config=api_config, log_configs=log_configs).placed(problem)


def _go_on() -> None:
    pass
