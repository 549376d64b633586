"""The manual pages are those of the parsers, and roff has nothing to say about them."""

from __future__ import annotations

import subprocess

import pytest

from terraster.cli import ctl
from terraster.cli.manpage import page
from terraster.cli.options import Parser

from .harness.manual import DOCS, man_pages

PAGES = man_pages()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_fresh(name: str) -> None:
    assert (DOCS / "man" / name).read_text() == PAGES[name], "run make docs"


@pytest.mark.needs("groff")
@pytest.mark.parametrize("name", PAGES)
def test_roff_is_silent(name: str) -> None:
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-rLL=78n", str(DOCS / "man" / name)], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "") and done.stdout


def test_every_command_and_option_is_in_the_page() -> None:
    text = PAGES["terrasterctl.1"].replace("\\-", "-")
    for command in ctl._COMMANDS:
        assert f"\\fB{command}" in text or f"(also: {command})" in text, command
    for option in ("--dry-run", "--json", "--url", "--reason", "--must-change"):
        assert f"\\fB{option}\\fR" in text, option


def test_text_cannot_be_taken_for_requests() -> None:
    parser = Parser(prog="made", description=".so /etc/passwd", epilog="exit codes: 0 done")
    parser.add_argument("--x", help="'quoted\\\\fB and - dashes")
    text = page(parser, "a test", "1", (), "no(1)")
    assert "\\&.so /etc/passwd" in text.splitlines() and "\\&'quoted\\e\\efB and \\- dashes." in text.splitlines()
