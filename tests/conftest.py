"""What all tests share: the hypothesis profile, and markers: what a test needs, and whether it runs beside others, or every night only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from .harness.program import find
from .harness.turns import Turns

_TURNS = Turns(room=Path(__file__).parent, door=Path(__file__).parent / "harness")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(program, …): a system-level test that is left out where a program is missing")
    config.addinivalue_line("markers", "alone: loads the whole machine, so no other test runs meanwhile (`pytest -n`)")
    config.addinivalue_line(
        "markers", "nightly: longer than what it guards is worth each time; `make test-all` runs it, `make test` does not"
    )
    config.addinivalue_line("markers", "night: too long for a change; `.ci/nightly` runs it, beside what `make test-all` runs")
    config.addinivalue_line(
        "markers",
        "short: the shorter size of a nightly test; `make test` runs it, `make test-all` runs the nightly one in its place",
    )
    settings.register_profile("terraster", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "terraster"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    os.environ.pop("COLUMNS", None)  # tables are as wide as they are without a terminal, wherever the tests run
    for mark in item.iter_markers("needs"):
        missing = [program for program in mark.args if find(program) is None]
        if missing:
            pytest.skip(f"left out: needs {', '.join(missing)}, not installed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that want to be alone come last, where no other process has to wait for them."""
    items.sort(key=lambda item: item.get_closest_marker("alone") is not None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Where tests run in several processes, those that want to be alone are."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    with _TURNS.take(alone=item.get_closest_marker("alone") is not None):
        return (yield)
