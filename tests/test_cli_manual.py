"""docs/operations.md cannot lie: every option, command, exit code, route, status key, problem and access-log field stands in it."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from terraster.admin import problems
from terraster.admin.worker import AdminWorker
from terraster.cli import ctl, main
from terraster.config.log_format import FIELDS, NAMED_FORMATS
from terraster.config.snapshot import AccessLog
from terraster.state.cells import BackendCells
from terraster.state.table import Table
from terraster.state.view import SeatView
from terraster.users.room import Users

from .test_admin_readings import House
from .test_admin_status import all_up, status

TEXT = (Path(__file__).parent.parent / "docs" / "operations.md").read_text()


def section(title: str) -> str:
    """The text under a heading of the second level."""
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def listed(text: str) -> set[str]:
    """What stands in backquotes, within a line."""
    return set(re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)))


def options(parser: argparse.ArgumentParser) -> set[str]:
    found = {option for action in parser._actions for option in action.option_strings if option.startswith("--")}
    return found - {"--help"}


def commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return next(action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))


@pytest.mark.parametrize("option", sorted(options(main.terraster_parser())))
def test_options_of_terraster(option):
    assert any(word.split()[0] == option for word in listed(section("terraster")) if word.startswith("--")), option


def test_commands_and_options_of_terrasterctl():
    words = {word.split()[0] for word in listed(section("terrasterctl"))}
    found = commands(ctl._parser())
    assert set(found) == set(ctl._COMMANDS) <= words
    actions = commands(found["backend"])
    for parser in (ctl._parser(), *found.values(), *actions.values()):
        assert options(parser) - {"--version"} <= words
    whole = listed(section("terrasterctl"))
    for name in actions:
        assert any(text.startswith(f"backend {name} ") for text in whole), name


def test_states():
    assert {f"`{state}`" for state in BackendCells.STATES} <= set(
        re.findall(r"^\| (`\w+`) \|", section("States of a backend"), re.MULTILINE)
    )


def test_exit_codes():
    for code in (ctl.DONE, ctl.FAILED, ctl.NOT_RUNNING, ctl.UNKNOWN):
        assert f"\n| {code} | " in section("terrasterctl")


def test_routes():
    class Bare(AdminWorker):
        def __init__(self) -> None:
            self._auditor = self._live = self._tailing = self._past = self._explainer = self.log = None
            self.view = SeatView(Table(1, 1, 1))
            self._users = Users(self._running)

    worker = Bare()
    words = listed(section("Ports"))
    for site in (worker._admin_site(), worker._metrics_site(), worker._control_site()):
        for path in getattr(site, "_site", site)._routes:
            named = next((folder for folder in ("/dashboard/", "/docs") if path.startswith(folder)), path)
            assert any(named in word.split() for word in words), path


def test_status_keys():
    house = all_up(House())
    house.answer(1, 0, 200)
    found = status(house)
    words = {word.removesuffix("[]") for text in listed(section("Status")) for word in text.split()}
    location = found["services"][0]["locations"][0]
    for keys in (found, found["workers"][0], found["services"][0], location, location["backends"][0]):
        assert set(keys) <= words, set(keys) - words


def test_kinds_of_problems():
    source = Path(problems.__file__).read_text()
    kinds = set(re.findall(r'_problem\(\s*"([\w-]+)"', source))
    assert len(kinds) > 5 and kinds <= listed(section("Status"))


def test_access_log_fields_and_formats():
    text = section("Access log")
    assert set(FIELDS) <= {word for one in listed(text) for word in one.split()}
    assert set(NAMED_FORMATS) | {"json"} <= listed(text)
    assert f"`{NAMED_FORMATS['common']}`" in text
    assert set(AccessLog().redact_query) | {AccessLog().mask} <= listed(text)
