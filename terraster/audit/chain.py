"""The proof that an audit log is whole: each row has the hash of the row before.

The head of the log shows the rest: it has the number and the hash of the last row, and those of the row before the first that is kept.
So rows that were cut off at the end, or a first file that was removed, are seen as well. The same number and hash are in the program's log
with each row, for who has to trust neither.

Pure: lines in, a verdict out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .row import ROOT, Row, parsed

__all__ = ["Head", "Verdict", "verified"]


@dataclass(frozen=True, slots=True)
class Head:
    """The ends of a log.

    seq, hash:   of the last row; 0 and `ROOT`: there is none
    line:        the last row as its line with the newline, behind those that were written with it; b"" if there is none
    file, size:  the file that has them, and that file's octets up to the end of the last row
    before, root: number and hash of the row before the first one that is kept
    """

    seq: int = 0
    hash: str = ROOT
    line: bytes = b""
    file: str = ""
    size: int = 0
    before: int = 0
    root: str = ROOT


@dataclass(slots=True)
class Verdict:
    """The verdict on a log.

    rows:    rows that were read and fit
    seq, hash: of the last row that fits
    problem: what is wrong with the first row that does not fit; "": nothing
    place:   the file and line of it
    """

    rows: int = 0
    seq: int = 0
    hash: str = ROOT
    problem: str = ""
    place: str = ""

    def fault(self, problem: str, place: str = "") -> Verdict:
        self.problem, self.place = problem, place
        return self


def verified(lines: Iterable[tuple[str, bytes]], head: Head | None, known: tuple[int, str] | None = None) -> Verdict:
    """Judge a log.

    lines: (place, line without its newline) of all files that are kept, the oldest first
    head:  None: it is missing or damaged
    known: number and hash of a row, from elsewhere, which must be in the log
    """
    found = Verdict()
    if head is None:
        found.fault("the head of the log (head.json) is missing or damaged: rows may have been cut off at either end")
        head = Head()
        anywhere = True
    else:
        anywhere = False
        found.seq, found.hash = head.before, head.root
    for place, line in lines:
        try:
            row = parsed(line)
        except (ValueError, RecursionError) as error:
            return found.fault(f"this line does not fit: {error}", place)
        if anywhere:
            anywhere = False
        elif problem := _misfit(row, found):
            return found.fault(problem, place)
        found.rows += 1
        found.seq, found.hash = row["seq"], row["hash"]
        if known is not None and known[0] == row["seq"] and known[1] != row["hash"]:
            return found.fault(f"row {row['seq']} has another hash than the one that was given", place)
    if found.problem:
        return found
    if found.seq < head.seq:
        missing = f"rows {found.seq + 1} to {head.seq} are" if head.seq > found.seq + 1 else f"row {head.seq} is"
        return found.fault(f"{missing} missing at the end: cut off, or a file was removed")
    if (found.seq, found.hash) != (head.seq, head.hash):
        return found.fault(f"the log goes on behind row {head.seq}, the last one that Terraster wrote: something was appended")
    if known is not None and not head.before < known[0] <= found.seq:
        return found.fault(f"row {known[0]}, whose hash was given, is not in the log")
    return found


def _misfit(row: Row, found: Verdict) -> str:
    """The words on a row that is not the one after the last; "": it is."""
    seq = found.seq + 1
    if row["seq"] > seq:
        missing = f"rows {seq} to {row['seq'] - 1} are" if row["seq"] > seq + 1 else f"row {seq} is"
        return f"{missing} missing before row {row['seq']}: removed, or moved to another place"
    if row["seq"] < seq:
        return f"row {row['seq']} comes again, or at the wrong place: row {seq} was expected"
    if row["prev"] != found.hash:
        return f"row {seq} does not follow the row before it: one of them was put in another's place"
    return ""
