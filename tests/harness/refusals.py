"""Why a configuration with a filter cannot run."""

from __future__ import annotations

from pathlib import Path

import pytest

from terraster.config.resolve import resolve
from terraster.errors import ConfigError
from terraster.plan import compile_plan
from terraster.state.leases import Leases
from terraster.state.table import Table
from terraster.state.view import SeatView

from .configuration import load

__all__ = ["SERVICE", "refusal"]

SERVICE = """\
services:
  - name: s
    locations:
      - path: /
        backends: [http://10.0.0.1]
        middleware: [%s]
"""
"""A service whose only location has this entry of `middleware`."""


def refusal(folder: Path, text: str) -> str:
    """The problems of a configuration: of its loading, or else of its compilation."""
    (folder / "t.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        snapshot = resolve(load(str(folder / "t.yaml")), 1, environ={})
        compile_plan(Leases(table := Table(4, 4, 2)).assign(snapshot), SeatView(table))
    return str(error.value)
