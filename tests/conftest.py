"""What all tests share: the hypothesis profile, and the marker for tests that need a program."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from .harness.program import find


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(program, …): a system-level test that is left out where a program is missing")
    settings.register_profile("terraster", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "terraster"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        missing = [program for program in mark.args if find(program) is None]
        if missing:
            pytest.skip(f"left out: needs {', '.join(missing)}, not installed")
