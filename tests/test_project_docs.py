"""The manual cannot lie: links lead somewhere, shown configurations load, named commands and options exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from terraster.config.resolve import resolve
from tests.harness.configuration import load
from tests.harness.pictures import IMAGES, PICTURES, SCHEMES

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGES.md",
    *sorted((ROOT / "docs").glob("**/*.md")),
    *sorted((ROOT / "bench").glob("**/*.md")),
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    return [body for found, body in FENCE.findall(page.read_text()) if found == language]


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as GitHub makes them."""
    prose = FENCE.sub("", page.read_text())
    headings = re.findall(r"^#+ +(.+?)\s*$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links() -> list[tuple[Path, str]]:
    found = []
    for page in PAGES:
        prose = FENCE.sub("", page.read_text())
        found += [(page, target) for target in re.findall(r"\]\(([^)\s]+)\)", prose)]
    return found


def images() -> list[tuple[Path, str]]:
    """The pictures that pages show in HTML, for viewers in light and in dark."""
    return [(page, path) for page in PAGES for path in re.findall(r'(?:src|srcset)="([^"]+)"', FENCE.sub("", page.read_text()))]


def test_pictures_are_there_are_shown_and_are_small() -> None:
    shown = {(page.parent / path).resolve() for page, path in images()}
    taken = {IMAGES / f"{name}-{scheme}.png" for name in PICTURES for scheme in SCHEMES}
    assert shown == taken == set(IMAGES.iterdir())
    assert all(file.read_bytes().startswith(b"\x89PNG") and file.stat().st_size < 100_000 for file in taken)


def test_readme_has_links_to_look_at() -> None:
    assert sum(page.name == "README.md" and page.parent == ROOT for page, _ in links()) > 5


@pytest.mark.parametrize(("page", "target"), links(), ids=lambda value: value.name if isinstance(value, Path) else value)
def test_links_lead_somewhere(page: Path, target: str) -> None:
    if target.startswith(("http://", "https://", "mailto:")):
        return
    path, _, anchor = target.partition("#")
    there = (page.parent / path).resolve() if path else page
    assert there.exists(), f"{page.relative_to(ROOT)} links to {path}, which is not there"
    assert there.is_relative_to(ROOT)
    if anchor:
        assert anchor in anchors(there), f"{page.relative_to(ROOT)}: {target}: no such heading"


@pytest.mark.parametrize("number", range(len(blocks(ROOT / "README.md", "yaml"))))
def test_configurations_in_the_readme_load(number: int, tmp_path: Path) -> None:
    text = blocks(ROOT / "README.md", "yaml")[number]
    file = tmp_path / "terraster.yaml"
    file.write_text(text)
    snapshot = resolve(load(str(file)), 1)
    assert not snapshot.warnings, "README shows a key that is not in effect yet"
    shown = {backend["url"] for backend in _backends(yaml.safe_load(text))}
    assert shown == {backend.url for service in snapshot.services for place in service.locations for backend in place.backends}


def _backends(node: object) -> list[dict[str, str]]:
    if isinstance(node, dict):
        own = node.get("backends", [])
        return [*own, *(found for key, value in node.items() if key != "backends" for found in _backends(value))]
    if isinstance(node, list):
        return [found for item in node for found in _backends(item)]
    return []


def test_the_readme_shows_three_configurations() -> None:
    assert len(blocks(ROOT / "README.md", "yaml")) == 3


def test_ten_lines_lead_to_a_certificate(tmp_path: Path) -> None:
    """What docs/tls.md shows is a whole file: it names no file of the reader, and the authority reaches a listener."""
    page = (ROOT / "docs" / "tls.md").read_text()
    (text, *_) = (
        body for language, body in FENCE.findall(page.partition("From zero to a real certificate")[2]) if language == "yaml"
    )
    assert len(text.splitlines()) <= 10
    file = tmp_path / "terraster.yaml"
    file.write_text(text)
    snapshot = resolve(load(str(file)), 1)
    assert not snapshot.warnings
    assert [service.tls.domains for service in snapshot.services if service.tls] == [("shop.example.com",)]


@pytest.mark.parametrize("name", ["terraster.yaml", "docker.yaml"])
def test_the_configurations_in_etc_load(name: str) -> None:
    assert resolve(load(str(ROOT / "etc" / name)), 1).services


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^make (?:[A-Z]+=\S+ )?([a-z-]+)", "\n".join(blocks(page, "")), re.MULTILINE))
    named |= set(re.findall(r"`make (?:[A-Z]+=\S+ )?([a-z-]+)", page.read_text()))
    assert named <= targets


@pytest.mark.parametrize(("module", "command"), [("terraster.cli.main", "terraster"), ("terraster.cli.ctl", "terrasterctl")])
def test_options_and_commands_in_the_readme_exist(module: str, command: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    rows = [line for line in (ROOT / "README.md").read_text().splitlines() if re.match(rf"\| `{command}[ `]", line)]
    assert rows
    usage = " ".join(match for row in rows for match in re.findall(r"`([^`]+)`", row.split("|")[1]))
    for option in sorted(set(re.findall(r"--[a-z-]+", usage))):
        assert option in done.stdout, f"{command} {option} is in README, not in --help"
    for verb in {"reload", "status", "stop"} & set(usage.split()):
        assert verb in done.stdout


def test_options_in_the_bench_page_are_those_of_the_bench() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "bench.py"), "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    offered = set(re.findall(r"(?<![\w-])--[a-z-]+", done.stdout)) - {"--help"}
    table = [line for line in (ROOT / "bench" / "README.md").read_text().splitlines() if line.startswith("| `--")]
    described = {option for line in table for option in re.findall(r"--[a-z-]+", line.split("|")[1])}
    assert described == offered


def test_no_figure_is_still_missing() -> None:
    assert "<!-- bench -->" not in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_has_the_marks_of_a_merge(page: Path) -> None:
    assert not re.search(r"^(<<<<<<<|=======|>>>>>>>)", page.read_text(), re.MULTILINE)
