"""What `make docs` writes into the manual is written."""

from __future__ import annotations

import pytest

from tests.harness.manual import DOCS, PAGES, written


@pytest.mark.parametrize("page", PAGES)
def test_the_tables_are_written(page: str) -> None:
    assert written(page) == (DOCS / page).read_text(), "run `make docs`"
