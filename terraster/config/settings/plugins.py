"""The keys of a plugin's entry under `middleware`: those that every plugin has, beside those of its own `Settings`.

The class is the same for all plugins, so that the settings of each can travel between processes. The keys of a plugin's own are kept as they
were written; `terraster.plugins` has them checked by the plugin's model, in a process of its own.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import ConfigDict, Field, GetJsonSchemaHandler, SecretStr
from pydantic_core import CoreSchema

from .base import Size, SomeTime, Whole
from .kinds import LAY_OVER, LOCATION, SERVICE, TOP, FilterSettings, Inherit, Level

__all__ = ["PluginEntry", "PluginKind", "PluginUse", "WithKeys"]


class PluginEntry(FilterSettings):
    """A plugin. Beside these keys an entry has those of the plugin's own `Settings`."""

    model_config = ConfigDict(extra="allow")

    enabled: bool = Field(True, description="False: the plugin is not called. `NAME: off` is short for that.")
    timeout: Annotated[SomeTime, Field(ge=0.001, le=60)] = Field(
        0.05, description="Time for one call of a hook, 1 ms to 60 s. A hook that takes longer is cut off."
    )
    on_error: Literal["fail", "pass"] = Field(
        "fail", description="A request whose hook failed gets 500 with `fail`, and goes on without the hook with `pass`."
    )
    faults: Annotated[Whole, Field(ge=1, le=1_000_000)] = Field(
        5, description="So many faults in a row put the plugin into quarantine, in the worker where they happened."
    )
    required: bool = Field(
        True, description="False: Terraster also starts, and reloads, without the plugin, if it cannot be loaded. Only at the top."
    )
    memory: Annotated[Size, Field(ge=1 << 20)] = Field(
        1 << 30,
        description="A worker is replaced when its resident memory has grown by so much since its plugins were loaded. The largest of all "
        "plugins counts. Only at the top.",
    )

    @property
    def entry(self) -> str:
        return ""  # a key `name` is one of the plugin's own

    def given(self) -> dict[str, Any]:
        own = self.model_extra or {}
        return {name: own[name] if name in own else getattr(self, name) for name in self.model_fields_set}

    def over(self, wider: Self | None) -> Self:
        made = super().over(wider)
        made.model_fields_set.update(made.model_extra or ())  # pydantic leaves them out when it constructs a model
        return made

    def own(self) -> dict[str, Any]:
        """The keys of the plugin's own `Settings`, as written."""
        return dict(self.model_extra or {})


class WithKeys:
    """An annotation: the JSON Schema of an entry with the keys of a plugin's own `Settings`. schema: of these, as text; "" = not known"""

    def __init__(self, schema: str) -> None:
        self._own: dict[str, Any] = json.loads(schema) if schema else {}

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        made = handler.resolve_ref_schema(handler(core))
        own = {**self._own}
        own.pop("title", None)
        properties = {**own.pop("properties", {}), **made.get("properties", {})}
        more = own.pop("additionalProperties", False) if self._own else True
        own.pop("required", None)  # another level may have them
        return {**own, "type": "object", "properties": properties, "additionalProperties": more}


class PluginUse(FilterSettings):
    """A plugin at one level, with all that was inherited. Made from a `PluginEntry` and what is known about the plugin's class.

    values: the keys of its own, as JSON
    """

    name: str
    hooks: tuple[str, ...]
    priority: int = 0
    request_body: int = 0
    response_body: int = 0
    timeout: SomeTime = 0.05
    on_error: Literal["fail", "pass"] = "fail"
    faults: Whole = 5
    values: SecretStr = SecretStr("{}")

    @property
    def own(self) -> dict[str, Any]:
        """The keys of the plugin's own `Settings`, as written."""
        found: dict[str, Any] = json.loads(self.values.get_secret_value())
        return found


class PluginKind(NamedTuple):
    """A plugin as a kind of filter (`terraster.config.settings.kinds.Kind`).

    everywhere: True if it is on where nothing is written. about: what it does, in a sentence. schema: the JSON Schema of its `Settings`, as
    text; "" = not known
    """

    name: str
    everywhere: bool
    about: str = ""
    schema: str = ""
    settings: type[FilterSettings] = PluginEntry
    levels: tuple[Level, ...] = (TOP, SERVICE, LOCATION)
    shorthand: tuple[Level, ...] = ()
    inherit: Inherit = LAY_OVER
    answers: bool = False
