"""Plugins, as a filter: each plugin of a location is one of these. The code of the plugin is not here: a worker loads it
(`terraster.plugins.host`), and this filter only hands the hooks on.

So the master, and a check, compile plans with plugins without running a line of them.
"""

from __future__ import annotations

from typing import ClassVar

from ..config.settings.kinds import FilterSettings, Level
from ..config.settings.plugins import PluginUse
from ..errors import HttpError
from ..exchange import Exchange
from ..state.view import SeatView
from ..wire.edits import Edits
from .answer import Answer
from .contract import Filter, Place, Stage
from .runtime import Hooked, Runtime

__all__ = ["Plugin"]

_NEEDED = {
    "on_request": frozenset(("on_request", "on_request_body")),
    "on_upstream": frozenset(("on_request", "on_upstream", "on_request_body", "on_response_body")),
    "on_response": frozenset(("on_response", "on_response_body")),
    "on_error": frozenset(("on_error", "on_response")),
    "on_log": frozenset(("on_log",)),
}
"""The hooks of a plugin for which a hook of the filter is needed: fields that `on_request` sets are put in for the backend, and an answer of
`on_response` goes the way of an error."""


class Plugin(Filter):
    """Calls one plugin."""

    __slots__ = ("_hooked", "_runtime", "_use", "priority")

    name: ClassVar[str] = "plugin"
    stage: ClassVar[Stage] = Stage.PLUGINS
    settings: ClassVar[type[FilterSettings]] = PluginUse
    levels: ClassVar[tuple[Level, ...]] = ()

    def __init__(self, settings: PluginUse, place: Place, view: SeatView) -> None:
        self._hooked: Hooked | None = None
        self._runtime: Runtime = place.runtime
        self._use = settings
        self.priority = settings.priority

    @property
    def plugin(self) -> str:
        """The name of the plugin."""
        return self._use.name

    def needs(self, hook: str) -> bool:
        return not _NEEDED[hook].isdisjoint(self._use.hooks)

    def _bind(self) -> Hooked:
        """The plugin as this worker has it."""
        hooked = self._hooked = self._runtime.plugins.hooked(self._use)
        return hooked

    def on_request(self, exchange: Exchange) -> Answer | None:
        return (self._hooked or self._bind()).on_request(exchange)

    def on_upstream(self, exchange: Exchange, edits: Edits) -> None:
        (self._hooked or self._bind()).on_upstream(exchange, edits)

    def on_response(self, exchange: Exchange, edits: Edits) -> None:
        (self._hooked or self._bind()).on_response(exchange, edits)

    def on_error(self, exchange: Exchange, error: HttpError) -> Answer | None:
        return (self._hooked or self._bind()).on_error(exchange, error)

    def on_log(self, exchange: Exchange) -> None:
        (self._hooked or self._bind()).on_log(exchange)
