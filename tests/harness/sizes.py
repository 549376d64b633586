"""Tests with several sizes: `make test` runs the shortest one, `make test-all` a longer one in its place, `make test-night` the longest one."""

from __future__ import annotations

from typing import Any

import pytest

__all__ = ["times"]


def times(some: int, many: int, most: int = 0) -> pytest.MarkDecorator:
    """So often each time, so often by `make test-all`, and by `make test-night` so often, unless it is 0."""
    sizes: list[Any] = [pytest.param(some, marks=pytest.mark.short), pytest.param(many, marks=pytest.mark.nightly)]
    if most:
        sizes.append(pytest.param(most, marks=pytest.mark.night))
    return pytest.mark.parametrize("count", sizes)
