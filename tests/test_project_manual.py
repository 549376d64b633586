"""What `make docs` writes into the manual is written."""

from __future__ import annotations

import re

import pytest

from tests.harness.manual import DOCS, PAGES, written


@pytest.mark.parametrize("page", PAGES)
def test_the_tables_are_written(page: str) -> None:
    assert written(page) == (DOCS / page).read_text(), "run `make docs`"


def test_each_member_and_parameter_of_the_api_has_a_meaning() -> None:
    page = (DOCS / "api.md").read_text()
    assert not re.findall(r"^\| `\w+` \|(?: Required\.)? +\|$", page, re.MULTILINE)
    assert not re.findall(r"^curl .*\{\w+\}", page, re.MULTILINE), (
        "an example names what it is about, or says where the name is from"
    )
