"""Modules of the dashboard that decide something, run by node: what they make of values. Their text is that of the package."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from terraster import admin

from .harness.program import find

pytestmark = pytest.mark.needs("node")

Value = Callable[[str, str], Any]


@pytest.fixture(scope="module")
def value(tmp_path_factory: pytest.TempPathFactory) -> Value:
    """The value of an expression with the names that it takes from modules: ``value("{ span } from './format.js'", "span(60)")``"""
    folder = tmp_path_factory.mktemp("scripts") / "dashboard"
    shutil.copytree(Path(admin.__file__).parent / "dashboard", folder)
    (folder / "package.json").write_text('{"type": "module"}')

    def run(imported: str, expression: str) -> Any:
        node = find("node")
        assert node is not None
        script = folder / "asked.js"
        script.write_text(f"import {imported};\nconsole.log(JSON.stringify({expression}));")
        done = subprocess.run(
            [node, str(script)], capture_output=True, text=True, timeout=60, env={"TZ": "Europe/Berlin", "LC_ALL": "en_GB.UTF-8"}
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


DIFFERENCES = [
    (None, None, []),
    ({"state": "up", "order": None}, {"state": "draining", "order": None}, ["state: up → draining"]),
    ({"state": "up"}, {"state": "up"}, []),
    ({"weight": 2}, {}, ["weight: 2 → none"]),
    (None, {"disabled": False}, ["disabled: false"]),
    ("reader", "operator", ["reader → operator"]),
    ({"changes": None}, {"changes": []}, []),
    ({}, {"changes": ["a added", "b removed"]}, ["changes: a added; b removed"]),
    (None, {"seconds": 7200, "edits": 1795898977}, ["seconds: 7200", "edits: 1795898977"]),
]


def test_differences_of_the_audit_log_are_words(value) -> None:
    pairs = json.dumps([[before, after] for before, after, _ in DIFFERENCES])
    found = value("{ differences } from './differences.js'", f"{pairs}.map(([one, other]) => differences(one, other))")
    assert found == [lines for _, _, lines in DIFFERENCES]


def test_moments_of_the_audit_log_are_dates_in_the_zone_of_the_viewer(value) -> None:
    order = {"what": "drain", "when": 1795898977.7, "until": None, "by": "root"}
    found = value("{ differences } from './differences.js'", f"differences({{order: null}}, {{order: {json.dumps(order)}}})")
    assert found[0] == "order.what: drain" and found[2] == "order.by: root"
    assert "1795898977" not in found[1] and "2026" in found[1] and ":49:37" in found[1]
