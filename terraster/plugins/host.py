"""The plugins of one worker: loaded, set up, called under a guard, counted, and put into quarantine.

A plugin cannot harm a request more than its configuration says. A hook that raises, or takes too long, is a fault. `on_error: fail` answers
the request with 500, `pass` goes on as if the plugin were not there. After `faults` faults in a row the plugin is in quarantine in this worker
for `QUARANTINE` seconds: it is not called, and requests are answered with 503 or go on. Then one call tries it again.

A plugin in which workers died is in quarantine in all workers. The master says so in the shared table (`terraster.master.plugin_deaths`), and
a worker that starts meanwhile does not even load it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable
from time import monotonic_ns
from types import ModuleType
from typing import Any

import gevent

from ..config.settings.plugins import PluginUse
from ..config.snapshot import Plugin, Snapshot
from ..errors import HttpError
from ..filters.runtime import Bodies
from ..state.cells import LocationCells, Seat, SeatLocation, SeatPlugin
from ..state.view import SeatView
from .faults import said
from .guard import Guard
from .hooked import Bound
from .loading import SPELLINGS, PluginError, class_in, described, module_of, package_class, place_of
from .marks import mark

__all__ = ["SETUP", "Code", "Context", "Host", "uses"]

SETUP = 10.0
"""Seconds for loading a plugin in a worker, for `setup` and for `cleanup`."""

_LONGEST_LINE = 8192  # characters of a line of a plugin's in the log
_GROWTH = 1.0  # seconds between two looks at the memory

Say = Callable[..., None]


class Context:
    """The argument of `setup`.

    name: of the plugin. settings: an instance of its `Settings`, None if it has none
    """

    __slots__ = ("_cells", "_count", "_log", "name", "settings")

    def __init__(self, name: str, settings: Any, log: Callable[[str, str], None], count: Callable[[str, int], None]) -> None:
        self.name = name
        self.settings = settings
        self._log = log
        self._count = count

    def log(self, text: str, level: str = "info") -> None:
        """A line in the program's log. level: "debug", "info", "warning" or "error"."""
        if level not in ("debug", "info", "warning", "error"):
            raise ValueError(f"a level is debug, info, warning or error, not {level!r}")
        self._log(level, text)

    def count(self, counter: str, many: int = 1) -> None:
        """Add to one of the counters that the class names in `counters`. KeyError for another one."""
        self._count(counter, many)


class Code:
    """One version of the code of a plugin, loaded. instances: of the class, by their keys."""

    __slots__ = ("cls", "hooks", "instances", "model", "module", "plugin")

    def __init__(self, plugin: Plugin) -> None:
        """Loads it. Raises `PluginError`."""
        self.plugin = plugin
        self.module: ModuleType | None = None
        if plugin.origin == "package":
            cls = package_class(plugin.file)
        else:
            self.module = module_of(plugin.file, plugin.octets)
            cls = class_in(self.module, plugin.cls)
        said = described(cls, plugin.name)
        self.cls, self.model = cls, said.model
        self.instances: dict[str, Any] = {}
        self.hooks = {hook: _spelling(cls, hook) for hook in said.hooks}

    def forget(self) -> None:
        """No request uses it any longer."""
        if self.module is not None and sys.modules.get(self.module.__name__) is self.module:
            del sys.modules[self.module.__name__]


def _spelling(cls: type, hook: str) -> str:
    if callable(getattr(cls, hook, None)):
        return hook
    return next(other for other, meant in SPELLINGS.items() if meant == hook)


class Host:
    """All plugins of a worker (`terraster.filters.runtime.Plugins`).

    log: the program's log. leave: called when the worker has grown too much, to have it replaced
    held: plugins in which workers died → time.monotonic() until which they are not called
    """

    __slots__ = (
        "_before",
        "_bound",
        "_codes",
        "_guard",
        "_growth",
        "_looked",
        "_most",
        "_plugins",
        "_view",
        "bodies",
        "held",
        "leave",
        "log",
    )

    def __init__(self, view: SeatView, bodies: Bodies, log: Any = None, leave: Callable[[], None] | None = None) -> None:
        self._view = view
        self._codes: dict[str, Code] = {}
        self._before: list[Code] = []  # versions that some keys still use, because the next one could not be set up with them
        self._bound: dict[tuple[str, PluginUse], Bound] = {}
        self._plugins: dict[str, Plugin] = {}
        self._guard = Guard(view.q[view.base + Seat.HOOK : view.base + Seat.WAITING_HOOKS + Seat.MOST_WAITING_HOOKS])
        self._growth = 0
        self._most = 0
        self._looked = 0.0
        self.bodies = bodies
        self.held: dict[str, float] = {}
        self.leave = leave
        self.log = log

    def hooked(self, use: PluginUse) -> Bound:
        bound = self._bound.get((use.name, use))
        if bound is None:
            bound = self._bound[use.name, use] = Bound(self, use)
            if use.name in self.held:
                bound.hold(self._plugins[use.name], self.held[use.name])
            else:
                bound.take(self._codes.get(use.name))
        return bound

    def adopt(self, plugins: Iterable[Plugin]) -> None:
        """Have these plugins. New ones, and new versions, are loaded; may wait. One that cannot be loaded stays what it was."""
        wanted = self._plugins = {plugin.name: plugin for plugin in plugins}
        self._look_for_held()
        for name, plugin in wanted.items():
            old = self._codes.get(name)
            if old is not None and old.plugin.digest == plugin.digest and old.plugin.file == plugin.file:
                old.plugin = plugin
            elif name not in self.held:
                self._load(plugin, old)
        for name in [name for name in self._codes if name not in wanted]:
            code = self._codes.pop(name)
            for key in [key for key in self._bound if key[0] == name]:
                self._bound.pop(key).take(None)
            self._give_up(code)
        self._give_up_unused()
        self._most = max((plugin.memory for plugin in wanted.values()), default=0)
        if wanted and not self._growth:
            self._growth = resident()

    def _load(self, plugin: Plugin, old: Code | None) -> None:
        """Load a plugin, and use it from now on. May wait. old: its code before"""
        try:
            code = self._guard.call(mark(plugin, "its loading"), SETUP, Code, plugin)
        except HttpError:
            raise
        except BaseException as error:
            self.put(plugin, SeatPlugin.NOT_SET_UP, 1)
            self._say_unloadable(plugin, error, old is not None)
            return
        self._codes[plugin.name] = code
        self.put(plugin, SeatPlugin.NOT_SET_UP, 0)
        for bound in self._of(plugin.name):
            bound.take(code)
        if old is not None:
            self._before.append(old)
        self._give_up_unused()

    def _give_up_unused(self) -> None:
        used = {bound.code for bound in self._bound.values()}
        unused, self._before = [one for one in self._before if one not in used], [one for one in self._before if one in used]
        for code in unused:
            self._give_up(code)

    def _of(self, name: str) -> list[Bound]:
        return [one for one in self._bound.values() if one.use.name == name]

    def _look_for_held(self) -> None:
        """Learn which plugins must not be called, because workers died in them. On the hub."""
        now = monotonic_ns()
        for name, plugin in self._plugins.items():
            if plugin.slot < 0:
                continue  # of `terraster plugin test`
            until = self._view.q[self._view.table.location(plugin.slot) + LocationCells.HELD]
            if until > now:
                if self.held.get(name) != until / 1e9:
                    self.held[name] = until / 1e9
                    for bound in self._of(name):
                        bound.hold(plugin, until / 1e9)
            elif self.held.pop(name, None) is not None:
                gevent.spawn(self._return, plugin)
        for name in self.held.keys() - self._plugins.keys():
            del self.held[name]

    def _return(self, plugin: Plugin) -> None:
        """The quarantine of a plugin in which workers died is over: use it, if this worker has not loaded it or set it up so far."""
        code = self._codes.get(plugin.name)
        if self._plugins.get(plugin.name) is not plugin or plugin.name in self.held:
            return
        if code is None:
            self._load(plugin, None)
            return
        for bound in self._of(plugin.name):
            if not bound.works:
                bound.take(code)

    def set_up(self, uses: Collection[PluginUse]) -> None:
        """Set plugins up with these keys before the first request comes, and clean up those with keys that are not used any longer."""
        for use in uses:
            self.hooked(use)
        for key in [key for key in self._bound if key[1] not in uses]:
            del self._bound[key]
        for code in self._codes.values():
            here = {use.values.get_secret_value() for use in uses if use.name == code.plugin.name}
            for keys in [keys for keys in code.instances if keys not in here]:
                self._clean_up(code, code.instances.pop(keys))

    def sweep(self, now: float) -> None:
        """See to the memory of the worker, and to plugins in which workers died. On the hub, a few times a second."""
        self._look_for_held()
        if self._most and now - self._looked >= _GROWTH:
            self._looked = now
            grown = resident() - self._growth
            if grown > self._most and self.leave is not None:
                names = ", ".join(self._codes)
                self.log.error(
                    "the worker has grown by %d MiB since its plugins were loaded (%s), more than `memory` allows; it is replaced",
                    grown >> 20,
                    names,
                )
                self._most = 0
                self.leave()

    def close(self) -> None:
        """The worker ends: clean up."""
        for code in (*self._codes.values(), *self._before):
            self._give_up(code)
        self._codes.clear()
        self._before.clear()
        self._guard.close()

    # For `Bound`.

    def plugin(self, name: str) -> Plugin | None:
        """The plugin of this name, whether its code is loaded or not."""
        return self._plugins.get(name)

    def call(self, plugin: Plugin, name: str, seconds: float, hook: Callable[..., Any], *arguments: Any) -> Any:
        return self._guard.call(mark(plugin, name), seconds, hook, *arguments)

    def called(self, plugin: Plugin, seconds: float) -> None:
        """Count a call that succeeded."""
        view = self._view
        q, at = view.q, view.locations + plugin.slot * SeatLocation.CELLS
        q[at + SeatPlugin.CALLS] += 1
        q[at + SeatPlugin.NANOSECONDS] += int(seconds * 1e9)

    def add(self, plugin: Plugin, cell: int, many: int = 1) -> None:
        """Add to a cell of a plugin."""
        view = self._view
        view.q[view.locations + plugin.slot * SeatLocation.CELLS + cell] += many

    def put(self, plugin: Plugin, cell: int, value: int) -> None:
        view = self._view
        view.q[view.locations + plugin.slot * SeatLocation.CELLS + cell] = value

    def instance(self, code: Code, use: PluginUse) -> Any:
        """The plugin, set up with these keys. Raises whatever its own code raises."""
        keys = use.values.get_secret_value()
        if keys not in code.instances:
            code.instances[keys] = self._guard.call(mark(code.plugin, "setup"), SETUP, self._make, code, use)
        return code.instances[keys]

    def _make(self, code: Code, use: PluginUse) -> Any:
        plugin = code.plugin
        settings = None if code.model is None else code.model.model_validate(use.own)
        made = code.cls()
        setup = getattr(made, "setup", None)
        if setup is not None:
            own = {name: SeatPlugin.OWN + number for number, (name, _) in enumerate(plugin.counters)}

            def log(level: str, text: str) -> None:
                line = " ".join(str(text)[: _LONGEST_LINE + 1].split("\n"))
                line = line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]} …"
                getattr(self.log, level)("plugin %s: %s", plugin.name, line)

            def count(counter: str, many: int) -> None:
                self.add(plugin, own[counter], int(many))

            setup(Context(plugin.name, settings, log, count))
        return made

    def _give_up(self, code: Code) -> None:
        """Clean up what was set up."""
        for made in code.instances.values():
            self._clean_up(code, made)
        code.forget()

    def _clean_up(self, code: Code, made: Any) -> None:
        cleanup = getattr(made, "cleanup", None)
        if cleanup is not None:
            try:
                self._guard.call(mark(code.plugin, "cleanup"), SETUP, cleanup)
            except BaseException as error:
                self.log.warning("plugin %s: cleanup failed: %s", code.plugin.name, said(error, code.plugin.file))

    def _say_unloadable(self, plugin: Plugin, error: BaseException, stays: bool) -> None:
        words = error.words if isinstance(error, PluginError) else said(error, plugin.file)
        line = error.line if isinstance(error, PluginError) else place_of(error, plugin.file)
        place = f"{plugin.file}:{line}" if line else plugin.file
        what = "the version that was loaded before stays in use" if stays else "it is not called"
        self.log.error("plugin %s: %s: %s; %s", plugin.name, place, words, what)


def uses(snapshot: Snapshot) -> set[PluginUse]:
    """The plugins that a configuration uses, with their keys."""
    found: set[PluginUse] = set()
    if snapshot.plugins:
        for service in snapshot.services:
            for filters in (service.filters, *[one.filters for one in service.locations if one.filters is not service.filters]):
                found.update(settings for _, settings in filters if isinstance(settings, PluginUse))
    return found


def resident() -> int:
    """Octets of resident memory of this process."""
    with open("/proc/self/statm", "rb") as stream:
        return int(stream.read().split()[1]) * 4096
