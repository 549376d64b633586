"""The English of the tree: plain, active, the noun named.

`PATTERNS` are turns that a reader has to decode. They are looked for in docstrings, in every text of a program (messages, errors, help:
all string constants of two words and more), in comments, and in the prose of docs/*.md and the README.md. `NOT_YET` lists the rooms that are
still to be rewritten: it only ever gets shorter.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

PATTERNS = {
    "is no X → is not a valid X": r"(?<![Tt]here )\b(?:is|are|was) no (?!longer\b|more than\b)[a-z]",
    "belongs into → belongs in": r"\bbelongs? into\b",
    "stands → is, is defined, is written": r"\b(?:stands?|stood) (?:twice|there|here|in|at|on|with|before|behind|beside|above|below|so)\b",
    "at the least → at least": r"\bat the (?:least|most)\b",
    "the begin → the start": r"\b[Tt]he begin\b",
    "no more → no longer": r"\bno more(?=[,.;:)]|$| and\b| but\b)",
    "told of → reported": r"\b(?:told|tells?|telling) of\b",
    "go by → depend on, use": r"\bgo(?:es)? by\b",
    "the own → its own": r"\b[Tt]he own\b",
    "whoever, whom → the backend, request, worker, operator that": r"\b[Ww]ho(?:m|ever|se ever|mever)\b",
    "Who does X … → name the subject": r"(?:^|[.;:(] )Who (?!owns|writes|reads|may)[a-z]+(?![^.]*\?)",
    "What is X … → name the noun": r"(?:^|(?<=\. )|(?<=\.\n))What (?![^.]*\?)[a-z]+",
    "Whether … → True if …": r"(?:^|(?<=\. )|(?<=\.\n))Whether\b|^ *[\w, ]+: +whether\b",
    "somebody, anybody → name the subject": r"\b(?:[Ss]ome|[Aa]ny|[Ee]very)body\b",
    "came about → was made": r"\bc[ao]mes? about\b",
    "well → healthy": r"\b(?:is|are|is not|are not) well\b(?!-| \w+ed\b)",
    "as it comes to stand → what state it is in": r"\b(?:how|as) (?:it|they|a backend|each backend) stands?\b",
}
COMPILED = {name: re.compile(pattern, re.MULTILINE) for name, pattern in PATTERNS.items()}

NOT_YET: set[str] = set()

FILES = [
    ROOT / "README.md",
    ROOT / "CHANGES.md",
    ROOT / "tests" / "README.md",
    ROOT / "bench" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *(path for path in sorted((ROOT / "terraster").rglob("*.py")) if path.stat().st_size),
    *sorted((ROOT / "bench").glob("*.py")),
]
CITATION = re.compile(r"\b(?:DESIGN|HOUSE|STYLE|SEED|RESEARCH)\b|\b[A-Z0-9]{2,}\.md\b")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def still_to_do(path: Path) -> bool:
    return any(name(path) == room or name(path).startswith(room + "/") for room in NOT_YET)


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) for all that people read in a file."""
    source = path.read_text()
    if path.suffix == ".md":
        yield from paragraphs(source)
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "N" for part in node.values)
            yield node.lineno, "".join(str(part) for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# ")


def paragraphs(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) for the prose of a page: no fences, no generated tables (their texts are in terraster/), each cell separately."""
    fenced = generated = False
    for number, line in enumerate(source.split("\n"), 1):
        if line.startswith("```"):
            fenced = not fenced
        elif line.startswith("<!--"):
            generated = "make docs" in line
        elif not fenced and not generated:
            for cell in line.strip("|").split(" | ") if line.startswith("|") else [line]:
                yield number, cell.strip().lstrip("-*# ")


def found(path: Path) -> list[str]:
    seen = {}
    for line, text in texts(path):
        for turn, pattern in COMPILED.items():
            for match in pattern.finditer(text):
                start = text.rfind("\n", 0, match.start()) + 1
                at = line + text.count("\n", 0, match.start())
                seen[turn, match[0], text[start:].partition("\n")[0].strip()] = at
    return [f"{name(path)}:{at}: {turn}: {where}" for (turn, _match, where), at in seen.items()]


@pytest.mark.parametrize("path", [path for path in FILES if not still_to_do(path)], ids=name)
def test_english_is_plain(path: Path) -> None:
    assert not (turns := found(path)), "\n".join(turns)


def test_rooms_that_are_still_to_do_are_there_and_need_it() -> None:
    for room in NOT_YET:
        path = ROOT / room
        assert path.exists(), f"{room} is gone: take it off the list"
        assert any(found(file) for file in ([path] if path.is_file() else path.rglob("*.py"))), (
            f"{room} is done: take it off the list"
        )


@pytest.mark.parametrize(
    "text",
    [
        "This is no address.",
        "`x` belongs into `y`.",
        "The key stands twice.",
        "It is kept no more.",
        "Of several the first is told of.",
        "The order they go by.",
        "A cell in the own seat.",
        "Nobody waits for whoever reads.",
        "Whether it is up.",
        "What is left of it.",
        "No connection came about.",
        "3 backends are not well.",
    ],
)
def test_each_turn_is_found(text: str) -> None:
    assert any(pattern.search(text) for pattern in COMPILED.values())


@pytest.mark.parametrize(
    "text",
    [
        "There is no more than one.",
        "It is no longer used.",
        "What is a backend? A server.",
        "It stands for a backend.",
        "The worker checks whether it is up.",
        "An argument that is well formed.",
    ],
)
def test_plain_sentences_pass(text: str) -> None:
    assert not [turn for turn, pattern in COMPILED.items() if pattern.search(text)]


def test_pages_that_are_cited_are_in_the_tree() -> None:
    pages = {page.name for page in ROOT.glob("*.md")}
    files = [path for suffix in ("py", "md", "http", "yaml") for path in ROOT.glob(f"[!.]*/**/*.{suffix}")]
    files += [*ROOT.glob("*.md"), ROOT / "setup.cfg", ROOT / "Makefile"]
    cited = [
        f"{name(path)}: {match[0]}"
        for path in files
        if path != Path(__file__).resolve()
        for match in CITATION.finditer(path.read_text())
        if match[0] not in pages
    ]
    assert not cited, "\n".join(cited)


def test_files_that_the_pages_name_are_in_the_tree() -> None:
    """Paths from the root of the tree, in backquotes."""
    pages = [path for path in FILES if path.suffix == ".md"]
    pattern = re.compile(r"`((?:terraster|tests|docs|bench|etc|systemd)/[\w./-]+)`")
    named = {path: name(page) for page in pages for path in pattern.findall(page.read_text())}
    assert len(named) > 40
    assert not {path for path in named if not (ROOT / path).exists()}
