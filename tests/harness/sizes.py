"""Tests with two sizes: `make test` runs the shorter one, `make test-all` the longer one in its place."""

from __future__ import annotations

from typing import Any

import pytest

__all__ = ["times"]


def times(some: int, many: int) -> pytest.MarkDecorator:
    """So often each time, and so often every night."""
    sizes: list[Any] = [pytest.param(some, marks=pytest.mark.short), pytest.param(many, marks=pytest.mark.nightly)]
    return pytest.mark.parametrize("count", sizes)
