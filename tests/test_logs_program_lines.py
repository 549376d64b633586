"""Lines of the program's own log, as texts."""

from __future__ import annotations

import json
import logging

import pytest

from terraster.config.loggers import Encoding
from terraster.logs.program_lines import JournalLine, JsonLine, Line

SENT = "bad \x1b[2J\r2026 error \x00\x85\u2028\x7f é\tend"
SHOWN = "bad \\x1b[2J\\r2026 error \\x00\\x85\\u2028\\x7f é\tend"


def record() -> logging.LogRecord:
    try:
        raise ValueError(SENT)
    except ValueError as error:
        return logging.LogRecord("x", logging.INFO, "/a/b.py", 1, "plugin %s", (SENT,), (ValueError, error, error.__traceback__))


@pytest.mark.parametrize("form", [Line(), JournalLine()])
def test_a_text_cannot_control_a_terminal_or_forge_a_line(form: Line) -> None:
    text = form.format(record())
    assert SHOWN in text.splitlines()[0] and f"ValueError: {SHOWN}" in text.splitlines()[-1]
    assert all(char.isprintable() or char in "\n\t" for char in text)


def test_json_has_the_text_as_it_is() -> None:
    assert json.loads(JsonLine(Encoding()).format(record()))["msg"] == f"plugin {SENT}"
