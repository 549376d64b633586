"""What configurations become: tests/golden."""

from __future__ import annotations

import pytest

from .harness.golden import NAMES, shown, snapshot_file


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str) -> None:
    assert shown(name) == snapshot_file(name).read_text(), "`make golden` writes what is new; read the difference"


def test_there_are_the_three_of_the_first_page_and_more() -> None:
    assert {"quickstart", "basic", "advanced"} < set(NAMES) and len(NAMES) >= 7
