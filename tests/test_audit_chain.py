"""The chain of the audit log: what it finds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from terraster.audit.chain import Head, verified
from terraster.audit.row import ROOT, Row, made, prepared, written

Lines = list[bytes]


def chain(count: int, prev: str = ROOT, first: int = 1) -> list[Row]:
    rows = []
    for number in range(first, first + count):
        rows.append(made(prepared({"user": "bob", "action": f"act{number}"}), number, 1e9 + number, prev))
        prev = rows[-1]["hash"]
    return rows


def lines(rows: list[Row]) -> Lines:
    return [written(row)[:-1] for row in rows]


def head(rows: list[Row], before: int = 0, root: str = ROOT) -> Head:
    return Head(rows[-1]["seq"], rows[-1]["hash"], written(rows[-1]), before=before, root=root)


def judged(found: Lines, end: Head | None, known: tuple[int, str] | None = None) -> tuple[str, str]:
    verdict = verified([(f"line {number}", line) for number, line in enumerate(found, 1)], end, known)
    return verdict.place, verdict.problem


ROWS = chain(6)
WHOLE = lines(ROWS)
FORGED = lines(chain(6, first=1)[:5]) + lines([made(prepared({"user": "eve"}), 6, 2e9, ROWS[4]["hash"])])


def swapped(found: Lines) -> Lines:
    return [found[0], found[2], found[1], *found[3:]]


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        (lambda found: found[:2] + [found[2].replace(b"bob", b"eve")] + found[3:], "line 3", "its hash does not fit"),
        (lambda found: found[:2] + [found[2].replace(b'"bob"', b'"bob" ')] + found[3:], "line 3", "spelt"),
        (lambda found: found[:2] + found[3:], "line 3", "row 3 is missing before row 4"),
        (lambda found: found[:2] + found[4:], "line 3", "rows 3 to 4 are missing before row 5"),
        (lambda found: found[2:], "line 1", "rows 1 to 2 are missing before row 3"),
        (swapped, "line 2", "row 2 is missing before row 3"),
        (lambda found: [*found[:3], found[2], *found[3:]], "line 4", "row 3 comes again"),
        (lambda found: found[:-1], "", "row 6 is missing at the end"),
        (lambda found: found[:-3], "", "rows 4 to 6 are missing at the end"),
        (lambda found: [], "", "rows 1 to 6 are missing at the end"),
        (lambda found: found + lines(chain(1, ROWS[-1]["hash"], 7)), "", "something was appended"),
        (lambda found: [*found, b"hello"], "line 7", "does not fit"),
        (lambda found: [*found[:3], b"", *found[3:]], "line 4", "does not fit"),
        (lambda found: [*found[:3], *lines(chain(3, ROWS[0]["hash"], 4))], "line 4", "does not follow the row before it"),
        (lambda found: FORGED, "", "something was appended"),
    ],
)
def test_tampering_is_named(change: Callable[[Lines], Lines], place: str, words: str) -> None:
    assert judged(WHOLE, head(ROWS)) == ("", "")
    found = judged(change(list(WHOLE)), head(ROWS))
    assert found[0] == place and words in found[1], found


def test_a_log_whose_beginning_was_removed_in_time_is_whole() -> None:
    end = head(ROWS, 3, ROWS[2]["hash"])
    assert judged(WHOLE[3:], end) == ("", "")
    assert "row 4 is missing before row 5" in judged(WHOLE[4:], end)[1]
    assert "does not follow" in judged(lines(chain(3, ROOT, 4)), end)[1]


def test_without_a_head_the_rest_is_judged_as_well() -> None:
    assert "head.json" in judged(WHOLE, None)[1]
    assert "missing before" in judged(WHOLE[:2] + WHOLE[3:], None)[1]


def test_a_row_that_is_known_from_elsewhere() -> None:
    for row in ROWS:
        assert judged(WHOLE, head(ROWS), (row["seq"], row["hash"])) == ("", "")
    assert "another hash" in judged(WHOLE, head(ROWS), (3, ROWS[3]["hash"]))[1]
    anew = chain(5)
    assert "row 6, whose hash was given, is not in the log" in judged(lines(anew), head(anew), (6, ROWS[5]["hash"]))[1]


def test_an_empty_log_is_whole() -> None:
    assert judged([], Head()) == ("", "")
