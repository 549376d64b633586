"""The level of the program's log."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import Model
from .changes import Ending, Reason
from .services import Order

__all__ = ["Level", "LevelBody"]


class LevelBody(Model):
    level: Annotated[
        Literal["debug", "info", "warning", "error", "critical", "file"],
        Field(description="The least level of lines that are written; file: that of the configuration."),
    ]
    reason: Reason = ""
    seconds: Ending = 0.0


class Level(Model):
    level: Annotated[str, Field(description="In effect, in all processes.")]
    order: Annotated[Order | None, Field(description="The order of an operator; null: it is that of the configuration.")]
    changed: bool
