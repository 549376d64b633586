"""docs/balancing.md speaks of every algorithm, and of no key, metric, command or picture that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from terraster.config.algorithms import ALGORITHMS
from terraster.config.resolve import resolve
from tests.harness.configuration import load
from tests.test_config_docs import ROWS

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = (DOCS / "balancing.md").read_text()
PROSE = re.sub(r"^```.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL)
WORDS = re.findall(r"`([^`\n]+)`", PROSE)
KEYS = {step for path in ROWS for step in (path, path.split(".")[-1].removesuffix("[]"))}


def test_every_algorithm_has_a_section_and_a_row() -> None:
    sections = PAGE.partition("\n## The algorithms")[2].partition("\n## ")[0]
    headings = {name for line in re.findall(r"^### (.*)$", sections, re.MULTILINE) for name in line.split(", ")}
    rows = set(re.findall(r"\*\*([a-z-]+)\*\*", PAGE.partition("\n## The algorithms")[0]))
    assert headings == set(ALGORITHMS.values())
    assert rows | {"weighted-round-robin"} == headings


def test_every_algorithm_that_is_named_is_one() -> None:
    bold = set(re.findall(r"\*\*([a-z]+(?:-[a-z]+)+)\*\*", PAGE))
    assert bold <= set(ALGORITHMS)


@pytest.mark.parametrize("word", sorted({word for word in WORDS if re.fullmatch(r"[a-z]+([._][a-z_]+)+", word)}))
def test_every_key_and_metric_that_is_named_is_there(word: str) -> None:
    if word.startswith("terraster_"):
        assert f"| `{word}` |" in (DOCS / "metrics.md").read_text()
    else:
        assert word in KEYS


def test_commands_that_are_named_are_there() -> None:
    named = set(re.findall(r"`terrasterctl ([a-z]+)", PROSE))
    assert named >= {"status", "why"}
    assert all(re.search(rf"^\| `{name}[ `]", (DOCS / "operations.md").read_text(), re.MULTILINE) for name in named)


def test_what_is_written_as_yaml_is_good(tmp_path: Path) -> None:
    mappings = [word for word in WORDS if re.fullmatch(r"[a-z_]+: .*", word)]
    assert len(mappings) > 5
    for number, text in enumerate([*re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL), *mappings]):
        key = text.partition(":")[0]
        if f"services[].locations[].split.{key}" in ROWS and key not in ROWS:
            arms = [f"{{weight: 1, backends: ['http://127.0.0.1:{port}']}}" for port in (2, 3)]
            text = f"split: {{{text}, to: [{', '.join(arms)}]}}"
            text = f"services: [{{name: split, host: split.test, locations: [{{path: /, {text}}}]}}]"
        tail = f", {text}" if f"backends[].{key}" in ROWS else ""
        file = tmp_path / f"{number}.yaml"
        file.write_text(("" if tail else text.rstrip("\n") + "\n") + f"backends: [{{url: 'http://127.0.0.1:1'{tail}}}]\n")
        assert resolve(load(str(file)), 1).services, text


def test_pictures_and_figures_say_when_and_by_what_they_were_made() -> None:
    shown = set(re.findall(r"!\[[^\]]+\]\(img/([^)]+)\)", PAGE))
    assert shown == {file.name for file in (DOCS / "img").glob("balance-*")}
    measured = PAGE.partition("\n## Measured")[2]
    for part in re.split(r"^### ", measured, flags=re.MULTILINE)[1:]:
        assert re.search(r"\b20\d\d-\d\d-\d\d\b", part) and re.search(r"`(make|python|\.venv/bin/python) [^`]+`", part), part[:80]
