"""All backends of one host: what is asked for them, and what is left at them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import Model
from .changes import Ending, Reason
from .services import Left, Moment, Order

__all__ = ["Host", "HostBody"]


class HostBody(Model):
    action: Annotated[
        Literal["drain", "maintain", "enable"],
        Field(description="drain: no new requests; maintain: no requests at all; enable: end both."),
    ]
    reason: Reason = ""
    seconds: Ending = 0.0


class HostBackend(Model):
    service_name: str
    path: str
    url: str
    name: str | None
    state: str
    since: Moment
    changed: Annotated[bool, Field(description="True if the call changes it.")]
    order: Annotated[Order | None, Field(description="The order of an operator.")]
    active: Annotated[int, Field(description="Requests under way.")]
    tunnels: Annotated[int, Field(description="Of these, WebSockets and other tunnels.")]
    open: Annotated[int, Field(description="Open connections.")]
    requests_per_second: Annotated[float, Field(description="In the last minute, or since the admin worker began.")]
    left: Annotated[Left | None, Field(description="The work that is left; null: it takes new work, or is down.")]


class Host(Model):
    """The backends of a host."""

    host: str
    dry_run: bool
    changed: Annotated[int, Field(description="Number of backends that the call changes.")]
    safe: Annotated[bool, Field(description="True if all of them may be stopped now.")]
    backends: list[HostBackend]
    notes: list[str]
