"""The audit log on the disk: who changed what, append-only.

    STATE_DIR/audit/2026-11.jsonl     the rows of a month (UTC), a line each (`terraster.audit.row`)
    STATE_DIR/audit/head.json         the last rows, and where the log begins (`terraster.audit.chain.Head`)
    STATE_DIR/audit/lock              held (flock) for each write, and at the beginning of a look
    STATE_DIR/audit/begun-PID-…       changes that a process has begun (`terraster.audit.begun`)

Several processes write: the admin worker what it was asked for, the master what signals ask for, and two of each during an upgrade. The lock
puts their rows into one chain.

A row is first in ``head.json``, which is replaced as a whole, and then in its file; both are on the disk when `append` returns. A writer that
was killed between the two, or in the middle of a line, leaves a row that the next one completes from the head. The head is only replaced
when its row is in the file. A full disk therefore loses no row that was taken, and takes no half row. Rows that come together (`append_all`)
are written together: the head has all of them, so that it takes no more waits for the disk than a single one.

All can be read by the owner only. Every call blocks its thread, for a few writes to the disk.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from typing import Any, BinaryIO, NamedTuple

from gevent import monkey

from terraster.errors import TerrasterError

from .begun import Begun, Note
from .chain import Head, Verdict, verified
from .folder import Folder, Step
from .row import UNKNOWN, Facts, Row, made, parsed, prepared, written

__all__ = ["AuditError", "AuditLog", "Ended", "Step"]

DAY = 86400.0

_TRIES, _PAUSE = 1000, 0.002  # how often, and after how many seconds, the lock is tried: it is held for a few writes
_LOST_HEAD = "audit.head-lost"
_RECENT = 8 * 1024 * 1024  # octets at the end of a file that are searched for rows that were begun: of some thousand changes


class AuditError(TerrasterError):
    """The log cannot be written or read. The text says why, for operators."""


class Ended(NamedTuple):
    """A change that is over. facts: of `terraster.audit.row.FACTS`; token: of `AuditLog.begin`, "" = it was not begun; when: its moment"""

    facts: Mapping[str, Any]
    token: str
    when: float


class AuditLog:
    """The log of one state directory. Any thread, one call at a time; those that begin changes may run beside the others.

    directory: ``STATE_DIR/audit``; made (0700) by the first row
    complain:  takes a sentence about what was found wrong: a removed head, a line of another hand, a row that was completed
    step:      called with the name of each step of a write; for tests
    """

    def __init__(
        self,
        directory: str,
        complain: Callable[[str], object],
        clock: Callable[[], float] = time.time,
        step: Step = str,
    ) -> None:
        self.directory = directory
        self._complain = complain
        self._clock = clock
        self._step = step
        self._folder = Folder(directory, step)
        self._begun = Begun(self._folder, clock)

    # Writing.

    def append(self, facts: Mapping[str, Any], token: str = "", when: float | None = None) -> Row:
        """Add a row. Returns it. Raises AuditError: there is no row then.

        facts: of `terraster.audit.row.FACTS`
        token: of `begin`, if the change was begun; when: the moment of the change, if it is over
        """
        (row,) = self.append_all([Ended(facts, token, self._clock() if when is None else when)])
        return row

    def append_all(self, several: Sequence[Ended]) -> list[Row]:
        """Add rows, in their order, with as many waits for the disk as one takes. Returns those that were added, one at least: fewer than
        were given, if the others belong in another file. Raises AuditError: no row was added then."""
        try:
            with self._locked():
                head = self._mended()
                if head is None:
                    lost = prepared(_of_terraster(_LOST_HEAD, "rows may be missing before this one"))
                    head = self._put(self._anew(), [(lost, several[0].when)])
                head = self._put(head, [(prepared(one.facts), one.when) for one in several])
                rows = [parsed(line) for line in head.line.splitlines()]
        except OSError as error:
            raise self._error("written", error) from error
        for one in several[: len(rows)]:
            if one.token:
                self._begun.end(one.token)
        return rows

    def begin(self, facts: Mapping[str, Any]) -> str:
        """Note that a change begins. Returns a token for the `append` that tells how it went. If this process is killed meanwhile, `recover`
        adds the row. Raises AuditError."""
        return self.begin_all([facts])[0]

    def begin_all(self, several: Sequence[Mapping[str, Any]]) -> list[str]:
        """The same for changes that begin together."""
        try:
            return self._begun.add([prepared(facts) for facts in several])
        except OSError as error:
            raise self._error("written", error) from error

    def recover(self) -> list[Row]:
        """Complete what killed writers left. Returns the rows that were added for changes whose processes were killed. Raises AuditError."""
        if not os.path.isdir(self.directory):
            return []
        try:
            with self._locked():
                self._mended()
            return [row for name in self._begun.orphans() for row in self._of_orphan(name)]
        except OSError as error:
            raise self._error("written", error) from error

    def tidy(self, days: float) -> list[str]:
        """Remove the files whose rows are all older than so many days. Returns their names. Raises AuditError."""
        if not os.path.isdir(self.directory):
            return []
        removed = []
        try:
            with self._locked():
                head = self._mended()
                for name in self._folder.files():
                    if head is None or name == head.file:
                        break
                    last = self._last(name)
                    if last is None or (last["seq"] > head.before and last["when"] >= self._clock() - days * DAY):
                        break
                    if last["seq"] > head.before:
                        head = replace(head, before=last["seq"], root=last["hash"])
                        self._keep(head)
                        self._step("head moved")
                    os.unlink(os.path.join(self.directory, name))
                    removed.append(name)
        except OSError as error:
            raise self._error("written", error) from error
        return removed

    # Reading.

    def rows(self, before: int = 0) -> Iterator[Row]:
        """The rows, the newest first. Other lines are left out: `verify` names them. Raises AuditError.

        before: only rows with smaller numbers; 0: all
        """
        try:
            for name in reversed(self._folder.files()):
                with open(os.path.join(self.directory, name), "rb") as stream:
                    lines = stream.read().splitlines()
                for line in reversed(lines):
                    with suppress(ValueError, RecursionError):
                        row = parsed(line)
                        if not before or row["seq"] < before:
                            yield row
        except OSError as error:
            raise self._error("read", error) from error

    def verify(self, known: tuple[int, str] | None = None) -> Verdict:
        """Judge the whole log. known: number and hash of a row, from the program's log or elsewhere. Raises AuditError."""
        if not os.path.isdir(self.directory):
            return verified((), Head(), known)
        with ExitStack() as stack:
            try:
                with self._locked(os.O_RDONLY):
                    head = self._head()
                    opened = [(name, stack.enter_context(self._open(name))) for name in self._folder.files()]
                    files = [(name, stream, os.fstat(stream.fileno()).st_size) for name, stream in opened]
                if head is None and not files:
                    head = Head()
                return verified(_lines(files), head, known)
            except OSError as error:
                raise self._error("read", error) from error

    def _open(self, name: str) -> BinaryIO:
        return open(os.path.join(self.directory, name), "rb")

    def _read(self) -> Iterator[bytes]:
        """The lines of all files."""
        for name in self._folder.files():
            with self._open(name) as stream:
                yield from (line.removesuffix(b"\n") for line in stream)

    # The head.

    def _head(self) -> Head | None:
        """None: there is none, or it is damaged."""
        try:
            with open(os.path.join(self.directory, "head.json"), "rb") as stream:
                found = json.loads(stream.read())
            head = Head(**{**found, "line": found["line"].encode("ascii")})
            if head.line:
                row = [parsed(line) for line in head.line.splitlines()][-1]
                if (row["seq"], row["hash"]) != (head.seq, head.hash) or head.file != os.path.basename(head.file):
                    return None
        except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
            return None
        return head

    def _mended(self) -> Head | None:
        """The head, and its row is in the file. None: there are files, and no head. With the lock."""
        head = self._head()
        if head is None:
            return None if self._folder.files() else Head()
        if not head.line:
            return head
        path = os.path.join(self.directory, head.file)
        begin = head.size - len(head.line)
        try:
            size = os.stat(path).st_size
        except FileNotFoundError:
            size = 0
        if size == head.size:
            return head
        if begin <= size < head.size:
            tail = self._folder.read(path, begin) if size > begin else b""
            if head.line.startswith(tail):
                rest = head.line[len(tail) :]
                self._folder.add(path, size, rest)
                missing = rest.count(b"\n")
                rows = f"row {head.seq}" if missing == 1 else f"{missing} rows up to {head.seq}"
                self._complain(
                    f"{rows} of the audit log {'was' if missing == 1 else 'were'} not complete in {head.file}: now from head.json"
                )
                return head
        self._complain(f"{path} has {size} octets and not the {head.size} that were written: another hand changed it")
        if size and self._folder.read(path, size - 1) != b"\n":
            self._folder.add(path, size, b"\n")
            size += 1
        return replace(head, size=size)

    def _anew(self) -> Head:
        """A head for files that have none: it follows the last row that can be read."""
        files = self._folder.files()
        name = files[-1]
        path = os.path.join(self.directory, name)
        self._complain(f"{self.directory}/head.json is missing or damaged: rows of the audit log may have been cut off")
        size = os.stat(path).st_size
        if size and self._folder.read(path, size - 1) != b"\n":
            self._folder.add(path, size, b"\n")
            size += 1
        first = next((row for line in self._read() if (row := _parsed(line)) is not None), None)
        last = next(iter(self.rows()), None)
        if first is None or last is None:
            return Head(file=name, size=size)
        return Head(last["seq"], last["hash"], b"", name, size, first["seq"] - 1, first["prev"])

    def _put(self, head: Head, several: Sequence[tuple[Facts, float]]) -> Head:
        """Write rows of one file, the first one at least. Returns the new head, which has them."""
        name = _file(head.file, several[0][1])
        at = head.size if name == head.file else 0
        path = os.path.join(self.directory, name)
        if name != head.file and os.path.exists(path):
            at = os.stat(path).st_size
        lines = []
        seq, last = head.seq, head.hash
        for facts, when in several:
            if _file(name, when) != name:
                break
            row = made(facts, seq + 1, when, last)
            seq, last = row["seq"], row["hash"]
            lines.append(written(row))
        octets = b"".join(lines)
        new = replace(head, seq=seq, hash=last, line=octets, file=name, size=at + len(octets))
        self._keep(new)
        self._step("head written")
        with suppress(OSError):  # the head has the rows: they are completed when there is room
            self._folder.add(path, at, octets)
        self._step("row written")
        return new

    def _keep(self, head: Head) -> None:
        self._folder.replace("head.json", json.dumps({**asdict(head), "line": head.line.decode("ascii")}).encode())

    # Files.

    def _last(self, name: str) -> Row | None:
        with open(os.path.join(self.directory, name), "rb") as stream:
            lines = stream.read().splitlines()
        return next((row for line in reversed(lines) if (row := _parsed(line)) is not None), None)

    def _of_orphan(self, name: str) -> list[Row]:
        """The rows that were added for the changes of a file of notes."""
        try:
            notes: list[Note] = self._begun.read(name)
        except FileNotFoundError:
            return []  # another process was faster
        except (ValueError, TypeError, KeyError):
            notes = [(self._clock(), _of_terraster("audit.broken", f"{name} cannot be read"))]
        told: dict[str, float] = {row["request_id"]: row["when"] for row in self._newest()}
        detail = "the process that carried it out was killed before it could tell how it ended"
        rows = []
        for when, facts in notes:
            request_id = facts.get("request_id", "")
            if not request_id or told.get(request_id, 0.0) < when - 1.0:
                rows.append(self.append({**facts, "outcome": UNKNOWN, "detail": facts.get("detail") or detail}, "", when))
        self._begun.remove(name)
        return rows

    def _newest(self) -> Iterator[Row]:
        for name in self._folder.files()[-1:]:
            path = os.path.join(self.directory, name)
            for line in self._folder.read(path, max(0, os.stat(path).st_size - _RECENT)).splitlines():
                if (row := _parsed(line)) is not None:
                    yield row

    @contextmanager
    def _locked(self, how: int = os.O_RDWR | os.O_CREAT) -> Iterator[None]:
        self._folder.make()
        path = os.path.join(self.directory, "lock")
        try:
            descriptor = os.open(path, how | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:
            yield
            return
        try:
            if not _lock(descriptor):
                raise AuditError(f"the audit log cannot be used: another process holds {path}")
            yield
        finally:
            os.close(descriptor)

    def _error(self, what: str, error: OSError) -> AuditError:
        return AuditError(f"the audit log in {self.directory} cannot be {what}: {error.strerror or error}")


def _parsed(line: bytes) -> Row | None:
    try:
        return parsed(line)
    except (ValueError, RecursionError):
        return None


def _file(last: str, when: float) -> str:
    """The file for a row of a moment: none before the last one, if the clock went back."""
    return max(last, time.strftime("%Y-%m.jsonl", time.gmtime(when)))


def _lines(files: Sequence[tuple[str, BinaryIO, int]]) -> Iterator[tuple[str, bytes]]:
    """(place, line) of files, as far as they went at a moment. files: (name, stream, octets)"""
    for name, stream, left in files:
        for number, line in enumerate(_until(stream, left), 1):
            yield f"{name}, line {number}", line[:-1] if line.endswith(b"\n") else line + b" (without its end)"


def _until(stream: BinaryIO, left: int) -> Iterator[bytes]:
    """The lines of the next octets of a file, each with its newline."""
    while left and (line := stream.readline(left)):
        left -= len(line)
        yield line


def _of_terraster(action: str, detail: str) -> dict[str, Any]:
    return {"user": "Terraster", "how": "Terraster", "action": action, "detail": detail, "outcome": UNKNOWN}


def _lock(descriptor: int) -> bool:
    """Take the lock; wait for it as long as a few writes may take. The thread waits, and with it the hub of a master."""
    sleep: Callable[[float], None] = monkey.get_original("time", "sleep")
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            sleep(_PAUSE)
    return False
