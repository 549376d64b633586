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


BACKEND = {"state": "up", "since": 100, "reason": "200 OK", "order": None}

PERIODS = [
    ("nothing happened", [], BACKEND, [["up", 100, 1000]]),
    ("it is new", [], {**BACKEND, "since": 400}, [["", 100, 400], ["up", 400, 1000]]),
    ("it went and came", [(300, "down: refused"), (500, "up")], BACKEND, [["", 100, 300], ["down", 300, 500], ["up", 500, 1000]]),
    ("in any order", [(500, "up"), (300, "down")], BACKEND, [["", 100, 300], ["down", 300, 500], ["up", 500, 1000]]),
    (
        "an order that no event tells yet",
        [(300, "up")],
        {"state": "draining", "since": 600, "reason": "", "order": {"reason": "disk"}},
        [["", 100, 300], ["up", 300, 600], ["draining", 600, 1000]],
    ),
    ("what is too old or yet to come", [(50, "down"), (2000, "down")], BACKEND, [["up", 100, 1000]]),
]


@pytest.mark.parametrize("what, events, backend, parts", PERIODS, ids=[row[0] for row in PERIODS])
def test_the_times_that_a_backend_spent_in_its_states(value, what, events, backend, parts) -> None:
    told = json.dumps([{"when": when, "text": text} for when, text in events])
    found = value("{ periods } from './timeline.js'", f"periods({told}, {json.dumps(backend)}, 100, 1000)")
    assert [[one["state"], one["from"], one["to"]] for one in found] == parts


def test_the_words_of_a_change_of_state(value) -> None:
    texts = ["down: health check: 503 (by ada)", "up (by ada)", "ejected", "draining: \u202e x\ny"]
    found = value("{ change } from './timeline.js'", f"{json.dumps(texts)}.map(change)")
    assert [(one["state"], one["why"]) for one in found] == [
        ("down", "health check: 503 (by ada)"),
        ("up", "(by ada)"),
        ("ejected", ""),
        ("draining", "\u202e x\ny"),
    ]


def test_a_day_of_minutes_is_drawn_by_five_minutes(value) -> None:
    now = 1_795_000_000 // 300 * 300 + 130.0  # two minutes and ten seconds into a slot
    first = now - 130
    minutes = [[first - 600, 30, 2, 3, 0.01, 0.02, 0.03], [first - 540, 300, 0, 0, 0.02, 0.01, 0.5], [first, 13, 0, 13, 1, 1, 1]]
    found = value("{ slots } from './timeline.js'", f"slots({json.dumps(minutes)}, {now})")
    assert len(found) == 288 and found[-1]["from"] == first and found[0]["from"] == first - 287 * 300
    assert found[-3]["requests"] == 330 / 300 and found[-3]["errors"] == 3 / 300 and found[-3]["times"] == [0.02, 0.02, 0.5]
    assert found[-1]["requests"] == 13 / 130 == found[-1]["errors"] and found[-2]["times"] is None
    assert value("{ slots } from './timeline.js'", f"slots([], {now}).at(-1).requests") is None, "its minutes are not over"


def looks(*counts: tuple[int, list[int]]) -> str:
    """Status documents of one service, two seconds after each other. counts: requests, and their durations"""
    location = {"path": "/", "responses": {}, "backends": []}
    documents = [
        {
            "now": 1000 + 2 * at,
            "duration_bounds": [0.01, 0.1],
            "services": [{"name": "a", "locations": [{**location, "requests": requests, "durations": durations or None}]}],
        }
        for at, (requests, durations) in enumerate(counts)
    ]
    return f"{json.dumps(documents)}.reduce((samples, one) => (samples.take(one), samples), new Samples())"


def test_latency_is_that_of_the_last_looks(value) -> None:
    taken = "{ Samples } from './samples.js'"
    first = looks((100, [100, 0, 0]), (200, [100, 100, 0]))
    assert value(taken, f"{first}.lately('a').times") == pytest.approx([0.055, 0.0955, 0.0991]), "not that since the start"
    assert value(taken, f"{first}.lately('a').rate") == 50
    assert value(taken, f"{looks((0, []), (10, [10, 0, 0]))}.lately('a/').times") == pytest.approx([0.005, 0.0095, 0.0099])
    assert value(taken, f"{looks((10, [10, 0, 0]), (10, [10, 0, 0]))}.lately('a').times") is None, "there were no requests"
    later = looks(*((100 + at, [0, 100, at]) for at in range(8)))
    assert value(taken, f"{later}.lately('a').times") == [0.1, 0.1, 0.1], "beyond the last bucket"
    assert value(taken, f"{looks((100, [0, 100, 0]), (4, [4, 0, 0]), (8, [8, 0, 0]))}.lately('a').times")[2] < 0.01, "began anew"
