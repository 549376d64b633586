"""Every page of the dashboard, with something to show on each: axe finds nothing that keeps anybody from using it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..harness.axe import findings
from ..harness.chromium import Chromium, Page
from ..harness.staged import PAGES, Staged
from ..harness.users_api import GOOD

pytestmark = pytest.mark.needs("chromium")

SIZES = ((1280, 800), (360, 740))


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """A page that asks for the login."""
    with Staged(tmp_path / "t") as terraster, Chromium(tmp_path / "c") as browser:
        page = browser.page(*SIZES[0])
        page.open(f"http://127.0.0.1:{terraster.admin_port}/")
        page.wait("document.querySelector('input[name=username]')")
        yield page


@pytest.mark.nightly  # axe comes from npm's registry
def test_axe_finds_nothing_on_any_page(page) -> None:
    found = [f"login: {line}" for line in findings(page)]
    page.log_in("ada", GOOD)
    for at, (width, height) in enumerate(SIZES):
        page.resize(width, height)
        for scheme, rule in (("light", ""), ("dark", "color-contrast" if at else "")):
            page.media(prefers_color_scheme=scheme)
            for name in PAGES:
                page.go(name)
                found += [f"{name}, {width}, {scheme}: {line}" for line in findings(page, rule)]
    assert found == []
    page.value("document.querySelector('main').append(document.createElement('input'))")
    assert [line.partition(":")[0] for line in findings(page)] == ["label"], "axe finds what is wrong"
