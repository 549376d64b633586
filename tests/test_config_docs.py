"""docs/configuration.md names every key, with its default, and no key that does not exist."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from terraster.config import quantities
from terraster.config.algorithms import ALGORITHMS
from terraster.config.settings import Model
from terraster.config.settings.base import keys_of, submodel
from terraster.config.snapshot import (
    Backend,
    Breaker,
    ConnectionPool,
    HealthCheck,
    Limits,
    Location,
    Outlier,
    Queue,
    Retry,
    Snapshot,
    Sticky,
    Timeouts,
)
from tests.harness.configuration import LANGUAGE, load
from tests.harness.manual import keys

Settings = LANGUAGE.settings
KINDS_OF_ENTRIES = {f"middleware[].{name}" for name in LANGUAGE.kinds}
"""Described once, where they are keys of their own."""
PAGE = (Path(__file__).parent.parent / "docs" / "configuration.md").read_text()
ROWS = {
    match[1]: (match[2].strip(), match[3].strip())
    for match in re.finditer(r"^\| `([^`]+)` \| (.*?) \| (.*) \|$", PAGE, re.MULTILINE)
}


def exists(path: str) -> bool:
    """Whether a dotted path leads to a key, by whatever way."""
    model: type[Model] | None = Settings
    how = ""
    for step in path.split("."):
        if how == "{}":
            how = ""
            continue
        name = step.removesuffix("[]")
        if model is None or name not in keys_of(model):
            return False
        model, how = submodel(keys_of(model)[name].annotation)
        if step.endswith("[]") and how != "[]":
            return False
    return True


@pytest.mark.parametrize("path", keys())
def test_every_key_is_described(path: str) -> None:
    key = keys()[path]
    assert key.meaning, f"{path} has no description in the settings models"
    if path in KINDS_OF_ENTRIES:
        return
    assert path in ROWS, f"{path} is in no table of tests/harness/manual.py"
    assert ROWS[path] == (key.default, key.meaning), "run `make docs`"


@pytest.mark.parametrize("path", ROWS)
def test_every_row_is_a_key(path: str) -> None:
    assert exists(path)


def test_every_path_in_the_text_is_a_key() -> None:
    tops = "|".join(map(re.escape, keys_of(Settings)))
    prose = re.sub(r"^```.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL)
    paths = re.findall(rf"`((?:{tops})(?:\[\])?(?:\.[A-Za-z_]+(?:\[\])?)+)[:`]", prose)
    assert len(paths) > 150
    assert [path for path in paths if not exists(path)] == []


def _value(text: str) -> object:
    if text in ("true", "false"):
        return text == "true"
    if text == "off":
        return 0
    if match := re.fullmatch(r"(\d{3})-(\d{3})", text):
        return ((int(match[1]), int(match[2])),)
    if text.endswith("%"):
        return quantities.share(text)
    return quantities.size(text) if re.fullmatch(r"\d+k", text) else quantities.duration(text)


PLAIN = re.compile(r"[0-9]+[a-z%]*|[0-9]{3}-[0-9]{3}|off|true|false")
WORD = re.compile(r"(?!none|required)[a-z-]+")
UNCOMPARED = {"outlier.": 0, "circuit_breaker.": 0, "retry.": 0, "queue.": 0, "connection_pool.": 1, "sticky.": 4, "timeouts.": 0}
"""How many fields of a mapping have no plain default: max_idle; the cookie's name, path, domain and key."""


@pytest.mark.parametrize(
    ("prefix", "defaults"),
    [
        ("timeouts.", Timeouts()),
        ("limits.", Limits()),
        ("health_check.", HealthCheck()),
        ("health_check.thresholds.", HealthCheck()),
        ("outlier.", Outlier()),
        ("circuit_breaker.", Breaker()),
        ("retry.", Retry()),
        ("queue.", Queue()),
        ("connection_pool.", ConnectionPool()),
        ("sticky.", Sticky()),
        ("backends[].", Backend("", "", "http", "", 0)),
        ("", Location("", "")),
    ],
)
def test_defaults_are_what_is_run(prefix: str, defaults: object) -> None:
    compared = 0
    for path, (default, _) in ROWS.items():
        name = path.removeprefix(prefix)
        if path.startswith(prefix) and hasattr(defaults, name) and PLAIN.fullmatch(default):
            assert (getattr(defaults, name) or 0) == _value(default), path
            compared += 1
        elif path.startswith(prefix) and isinstance(getattr(defaults, name, None), str) and WORD.fullmatch(default):
            assert getattr(defaults, name) == default, path
            compared += 1
    assert compared >= 1
    assert compared >= len(fields(defaults)) - UNCOMPARED.get(prefix, 99)  # type: ignore[arg-type]


def test_other_defaults_are_what_is_run() -> None:
    made = Snapshot(1, (), ())
    assert ROWS["metrics.listen"][0] == made.metrics_listen
    assert ROWS["drain_timeout"][0] == f"{made.drain_timeout:g}s"
    assert ROWS["log_level"][0] == made.log_level


def test_every_algorithm_is_described() -> None:
    names = re.findall(r"\*\*([a-z-]+)\*\*", "".join(re.findall(r"^\| \*\*.*$", PAGE, re.MULTILINE)))
    assert sorted(names) == sorted(ALGORITHMS)


def test_the_examples_are_good(tmp_path: Path) -> None:
    (tmp_path / "sticky.key").write_text("0123456789abcdef\n")
    (tmp_path / "log").mkdir()
    examples = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(examples) >= 8
    for text in examples:
        for here in ("/etc/terraster", "/var/log/terraster"):
            text = text.replace(here, str(tmp_path))
        whole = text if re.search(r"^(backends|services):", text, re.MULTILINE) else text + "backends: [{url: 'http://h'}]\n"
        (tmp_path / "t.yaml").write_text(whole if not text.startswith("  - ") else "backends:\n" + text)
        assert load(str(tmp_path / "t.yaml")).warnings == (), text
