"""The contract of a filter. A filter has one concern, and is one file.

    class RateLimit(Filter):
        name = "rate_limit"
        settings = RateLimitSettings                  # its keys: `terraster.config.settings.kinds.FilterSettings`
        counters = (Counter("refused", "Requests refused by the rate limit."),)

        def __init__(self, settings, place, view): …  # once for each location that has it, when the configuration is compiled
        def on_request(self, exchange): …             # for each request

There are five hooks. Each is optional: a hook that a filter does not define, or does not need, is not called for it.

    on_request(exchange) -> Answer | None    the location is known; an Answer goes to the client, and no backend is asked
    on_upstream(exchange, edits) -> None     changes the head that goes to a backend, for each attempt
    on_response(exchange, edits) -> None     changes every head that goes to a client: interim (1xx), 101, relayed, our own, errors;
                                             may set `Edits.transform`, which changes the body of a backend's response
    on_error(exchange, error) -> Answer | None   an error is about to be answered; an Answer goes to the client in its place
    on_log(exchange) -> None                 the exchange is over and counted; it is logged next

Hooks run in the order of the filters' stages (`Stage`), and within a stage in the order of `terraster.filters.registry`, each hook for all
filters of the location. Entries of one kind run in the order in which they were written, those of a wider level first. The first Answer of
`on_request` or `on_error` ends the round. A filter keeps facts about a request only in the exchange, because one filter serves many requests
at the same time. Hooks run in the request's greenlet. `on_request`, `on_upstream` and, for a backend's response, `on_response` may raise
`HttpError`, which is answered like any other. Elsewhere an exception is logged as a defect, and the answer goes out without that hook.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from operator import attrgetter, methodcaller
from typing import Any, ClassVar, NamedTuple

from ..config.settings.kinds import LAY_OVER, LOCATION, SERVICE, TOP, FilterSettings, Inherit, Level
from ..config.snapshot import Location, Service
from ..errors import ConfigError, HttpError, Unplaced
from ..exchange import Exchange
from ..state.cells import SeatLocation
from ..state.view import SeatView
from ..wire.edits import Edits
from .answer import Answer
from .runtime import Runtime

__all__ = [
    "HOOKS",
    "Counted",
    "Counter",
    "Filter",
    "Hooks",
    "Place",
    "Stage",
    "Tally",
    "cells",
    "compile_hooks",
    "counted",
    "defined",
    "kind_of",
]

HOOKS = ("on_request", "on_upstream", "on_response", "on_error", "on_log")


class Stage(IntEnum):
    """The stages of a request's way through its filters, in their order. ``about`` says what happens there; the manual shows it
    (docs/filters.md)."""

    about: str

    def __new__(cls, order: int, about: str) -> Stage:
        made = int.__new__(cls, order)
        made._value_ = order
        made.about = about
        return made

    ADDRESSES = 0, "Addresses that may not come in at all are refused."
    MAINTENANCE = 1, "A service under maintenance answers."
    PREFLIGHTS = 2, "Preflights of browsers (CORS) are answered: they have no credentials, and no limit counts them."
    LIMITS = 3, "Limits that need no identity. They also protect what follows."
    REDIRECTS = 4, "Redirects, before authentication: no client is asked for a password in clear that https would protect."
    AUTHENTICATION = 5, "Clients show who they are."
    IDENTITY_LIMITS = 6, "Limits by a claim of the client (`jwt:CLAIM`)."
    PLUGINS = 7, "Plugins, those of a low `priority` first: they see requests that may come in, and who sent them."
    REST = 8, "Everything else."


class Counter(NamedTuple):
    """A counter of a filter. Metrics have it as ``terraster_KIND_NAME_total`` for each location, status as ``filters.KIND.NAME``.

    name: one or more words, joined by "_". help: a sentence for the metric. per: what is counted for one in metric and status, such as
    1,000,000,000 if nanoseconds are counted and seconds shown.
    """

    name: str
    help: str
    per: int = 1

    def shown(self, count: int) -> float:
        """A count as metrics and status show it."""
        return count if self.per == 1 else count / self.per


class Tally:
    """A counter at one location. Its cell is in the seat of the counting process, so no other process writes it."""

    __slots__ = ("_at", "_view")

    def __init__(self, view: SeatView, at: int) -> None:
        self._view = view
        self._at = at

    def count(self, many: int = 1) -> None:
        """Add to the counter."""
        view = self._view
        view.q[view.locations + self._at] += many


class Place:
    """The location, service or top for which a filter is compiled.

    service:  None for the rules of the top, which apply before a service is known
    location: None for the rules of a service or of the top, which apply before a location is known
    runtime:  what the process does for filters; filled in before the first request
    """

    __slots__ = ("_cells", "_view", "location", "runtime", "service")

    def __init__(
        self,
        service: Service | None,
        location: Location | None,
        view: SeatView,
        cells: Mapping[str, int],
        runtime: Runtime | None = None,
    ) -> None:
        """cells: of the kind's counters, by name"""
        self.runtime = runtime or Runtime()
        self.service = service
        self.location = location
        self._view = view
        self._cells = cells

    @property
    def where(self) -> str:
        """The place in words of a `ConfigError`."""
        if self.service is None:
            return "the top"
        return f"service {self.service.name}" if self.location is None else f"service {self.service.name}, {self.location.label}"

    def tally(self, counter: str) -> Tally:
        """One of the kind's counters. KeyError if the kind declares no counter of this name."""
        slot = self._view.table.unrouted if self.location is None else self.location.slot
        return Tally(self._view, slot * SeatLocation.CELLS + self._cells[counter])

    def scope(self, kind: str, settings: FilterSettings) -> str:
        """A name for what shares the facts of an entry: the service, if its own entry has the same settings, else the location."""
        service = "" if self.service is None else self.service.name
        if self.service is None or self.location is None or (kind, settings) in self.service.filters:
            return service
        return f"{service}{self.location.label}"

    def problem(self, kind: str, words: str, *keys: str, entry: str = "") -> ConfigError:
        """The error of settings that show to be wrong only here, where those of all levels are known. words: follow the kind's name. keys:
        those that make it wrong, the one first that the error should point at; entry: the name of the filter's entry"""
        service = "" if self.service is None else self.service.name
        location = "" if self.location is None else self.location.label
        return ConfigError([Unplaced(self.where, f"`{kind}` {words}", service, location, kind, entry, keys)])


class Filter:
    """The base of all filters. A subclass has its own file, ``__slots__``, and a line in `terraster.filters.registry`.

    name:     the key under `middleware`
    settings: the model of its keys; None: the filter depends on other keys, and is made for every place
    levels, shorthand, inherit, answers: see `terraster.config.settings.kinds.Kind`
    counters: its counters
    stage:    when its hooks are called, see also `when`
    priority: the order within a stage, low first; those of one priority have the order of the registry
    guards:   True if it decides who may come in, so that there must be no way round it
    """

    __slots__ = ()

    priority = 0
    name: ClassVar[str]
    stage: ClassVar[Stage] = Stage.REST
    settings: ClassVar[type[FilterSettings] | None] = None
    levels: ClassVar[tuple[Level, ...]] = (TOP, SERVICE, LOCATION)
    shorthand: ClassVar[tuple[Level, ...]] = ()
    inherit: ClassVar[Inherit] = LAY_OVER
    answers: ClassVar[bool] = False
    guards: ClassVar[bool] = False
    counters: ClassVar[tuple[Counter, ...]] = ()

    def __init__(self, settings: Any, place: Place, view: SeatView) -> None:
        """Compile the filter. settings: an instance of ``self.settings`` with the inherited values. Raises `ConfigError`."""

    def needs(self, hook: str) -> bool:
        """True if this place needs a hook that the class defines. Called once, when the configuration is compiled."""
        return True

    def when(self) -> Stage:
        """The stage of its hooks at this place, for a kind whose stage depends on its settings."""
        return self.stage

    def explained(self, exchange: Exchange, answered: bool) -> str:
        """More about what the filter does with a request, in words that follow its name, for explanations (`terraster.explain`); "" if its
        hooks say it all. Never called in traffic. answered: True if `on_request` has answered or refused it, False if the request goes on"""
        return ""


class Hooks(NamedTuple):
    """The hooks of a location's filters: bound methods, in the order in which they are called."""

    on_request: tuple[Callable[[Exchange], Answer | None], ...] = ()
    on_upstream: tuple[Callable[[Exchange, Edits], None], ...] = ()
    on_response: tuple[Callable[[Exchange, Edits], None], ...] = ()
    on_error: tuple[Callable[[Exchange, HttpError], Answer | None], ...] = ()
    on_log: tuple[Callable[[Exchange], None], ...] = ()


_NONE = Hooks()


def defined(kind: type[Filter]) -> tuple[str, ...]:
    """The hooks that a kind defines."""
    return tuple([hook for hook in HOOKS if hasattr(kind, hook)])


def kind_of(hook: Callable[..., Any]) -> str:
    """The kind of the filter that a hook is of, such as ``respond``; "" if it is of none."""
    return str(getattr(getattr(hook, "__self__", None), "name", ""))


def compile_hooks(filters: Sequence[Filter]) -> Hooks:
    """The hooks that these filters define and need, in the order of their stages."""
    if not filters:
        return _NONE
    found: dict[str, tuple[Any, ...]] = {}
    for made in sorted(sorted(filters, key=attrgetter("priority")), key=methodcaller("when")):
        for hook in defined(type(made)):
            if made.needs(hook):
                found[hook] = (*found.get(hook, ()), getattr(made, hook))
    return Hooks(**found)


class Counted(NamedTuple):
    """A counter of a kind, and its cell in a location's row of a seat."""

    kind: str
    counter: Counter
    cell: int

    @property
    def metric(self) -> str:
        """The name of its metric."""
        return f"terraster_{self.kind}_{self.counter.name}_total"


def counted(kinds: Iterable[type[Filter]]) -> tuple[Counted, ...]:
    """The counters of all kinds. ValueError if there are more than a location has cells for."""
    declared = [(kind.name, counter) for kind in kinds for counter in kind.counters]
    room = SeatLocation.CELLS - SeatLocation.FILTERS
    if len(declared) > room:
        raise ValueError(f"filters have {len(declared)} counters, and a location has {room} cells for them")
    return tuple(Counted(name, counter, SeatLocation.FILTERS + number) for number, (name, counter) in enumerate(declared))


def cells(kinds: Sequence[type[Filter]]) -> dict[str, dict[str, int]]:
    """The cell of each counter by kind and name; see `counted`."""
    found: dict[str, dict[str, int]] = {kind.name: {} for kind in kinds}
    for one in counted(kinds):
        found[one.kind][one.counter.name] = one.cell
    return found
