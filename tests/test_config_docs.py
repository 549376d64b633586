"""docs/configuration.md names every key, with its default, and no key that does not exist."""

from __future__ import annotations

import re
from collections import deque
from pathlib import Path

import pytest

from terraster.config import quantities
from terraster.config.settings import Model, Settings, is_later
from terraster.config.settings.base import keys_of, submodel
from terraster.config.snapshot import HealthCheck, Limits, Snapshot, Timeouts

PAGE = (Path(__file__).parent.parent / "docs" / "configuration.md").read_text()
ROWS = {
    match[1]: (match[2].strip(), match[3].strip())
    for match in re.finditer(r"^\| `([^`]+)` \| (.*?) \| (.*) \|$", PAGE, re.MULTILINE)
}
STEP = {"": "", "[]": "[]", "{}": ".NAME"}


def keys() -> dict[str, tuple[str, bool]]:
    """Every key once, at its shallowest place, as a mapping that stands in many is described at one: description, not in effect."""
    found: dict[str, tuple[str, bool]] = {}
    queue: deque[tuple[str, type[Model]]] = deque([("", Settings)])
    seen: set[type[Model]] = set()
    while queue:
        prefix, model = queue.popleft()
        if model in seen:
            continue
        seen.add(model)
        for key, field in keys_of(model).items():
            child, how = submodel(field.annotation)
            found[prefix + key + ("[]" if how == "[]" else "")] = field.description or "", is_later(field.json_schema_extra)
            if child is not None:
                queue.append((f"{prefix}{key}{STEP[how]}.", child))
    return found


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
    description, later = keys()[path]
    assert description, f"{path} has no description in the settings models"
    assert path in ROWS, f"{path} has no row in docs/configuration.md"
    default, meaning = ROWS[path]
    assert meaning
    assert ("Not in effect yet" in meaning) == later
    said = re.search(r"Default: (.*?)\.( Not in effect yet\.)?$", description)
    assert default.strip("`") == (said[1].strip("`") if said else default.strip("`")), f"{path}: the default is told in two ways"
    if said is None:
        assert default in ("", "required")


@pytest.mark.parametrize("path", ROWS)
def test_every_row_is_a_key(path: str) -> None:
    assert exists(path)


def test_every_path_in_the_text_is_a_key() -> None:
    tops = "|".join(map(re.escape, keys_of(Settings)))
    prose = re.sub(r"^```.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL)
    paths = re.findall(rf"`((?:{tops})(?:\[\])?(?:\.[A-Za-z_]+(?:\[\])?)+)[:`]", prose)
    assert len(paths) > 150
    assert [path for path in paths if not exists(path)] == []


def _value(text: str) -> float:
    return quantities.size(text) if re.fullmatch(r"\d+k", text) else quantities.duration(text)


@pytest.mark.parametrize(
    ("prefix", "defaults"),
    [
        ("timeouts.", Timeouts()),
        ("limits.", Limits()),
        ("health_check.", HealthCheck()),
        ("health_check.thresholds.", HealthCheck()),
    ],
)
def test_defaults_are_what_is_run(prefix: str, defaults: object) -> None:
    compared = 0
    for path, (default, _) in ROWS.items():
        name = path.removeprefix(prefix)
        if path.startswith(prefix) and hasattr(defaults, name) and re.fullmatch(r"[0-9]+[a-z]*", default):
            assert getattr(defaults, name) == _value(default), path
            compared += 1
    assert compared >= 2


def test_other_defaults_are_what_is_run() -> None:
    made = Snapshot(1, (), ())
    assert ROWS["metrics.listen"][0] == made.metrics_listen
    assert ROWS["drain_timeout"][0] == f"{made.drain_timeout:g}s"
    assert ROWS["log_level"][0] == made.log_level
