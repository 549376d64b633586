"""Generations on the disk, so that a restart, an upgrade and a kill forget none of the last ones.

    STATE_DIR/generations/NUMBER.json   {"version": 1, "generation": …, "when": …, "why": …, "changes": […], "edits": […],
                                         "texts": {FILE: HASH}}
    STATE_DIR/generations/HASH.gz       what a file of the configuration said; generations share those that they have in common

A generation is written after it is in effect. It is not forced to the disk, so it keeps no change waiting, and what a loss of power damages is
left out and told. Numbers go on after a start, so no two generations have the same one. Texts may have secrets: all can be read by the
owner only. Master only; the calls do not raise.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import gevent

from terraster.config.edits import Edit, from_json, to_json
from terraster.logs.program import ProgramLog
from terraster.net.yielding import yield_to_loop

__all__ = ["Kept", "KeptGenerations"]

_VERSION = 1
_LARGEST = 64 * 1024 * 1024  # octets of a file that is read at all
_GREATEST = 1 << 53  # number of a generation


@dataclass(frozen=True, slots=True)
class Kept:
    """A generation. texts: hashes, by file; see `KeptGenerations.texts`"""

    generation: int
    when: float
    why: str
    changes: tuple[str, ...]
    edits: tuple[Edit, ...]
    texts: Mapping[str, str]


class KeptGenerations:
    """The generations of one state directory.

    most: how many are kept

    ``found``: those of earlier runs, the oldest first
    """

    def __init__(self, state_dir: str, most: int, log: ProgramLog) -> None:
        self._directory = os.path.join(state_dir, "generations")
        self._most = most
        self._log = log
        self._known: dict[str, tuple[bytes, str]] = {}  # file → what it said last, and the hash of that
        self._used: dict[int, frozenset[str]] = {}  # the hashes of each generation that is kept
        self._waiting: deque[tuple[Kept, Mapping[str, bytes]]] = deque(maxlen=most)
        self._begun = False
        self._writer: gevent.Greenlet | None = None
        self._failed = ""
        self.found: tuple[Kept, ...] = ()

    def read(self) -> int:
        """Find what was kept. Returns the number of the next generation."""
        numbers = self._numbers()
        found = []
        for number in numbers[-self._most :]:
            path = self._path(number)
            try:
                found.append(_parsed(_read(path), number))
            except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
                why = error.strerror if isinstance(error, OSError) else error
                self._log.warning("%s cannot be used (%s): generation %d cannot be gone back to", path, why, number)
        self.found = tuple(found)
        self._used = {one.generation: frozenset(one.texts.values()) for one in found}
        return numbers[-1] + 1 if numbers else 1

    def begin(self) -> None:
        """Write from now on: all workers serve. A start that fails before leaves no generation behind."""
        self._begun = True
        self._write_soon()

    def keep(self, one: Kept, texts: Mapping[str, bytes]) -> None:
        """Write a generation soon. texts: what its files said, by file; ``one.texts`` is not used"""
        self._waiting.append((one, texts))
        self._write_soon()

    def _write_soon(self) -> None:
        if self._begun and self._waiting and self._writer is None:
            self._writer = gevent.spawn(self._write)

    def texts(self, one: Kept) -> dict[str, bytes]:
        """The texts of a generation's files, by file. Raises OSError or ValueError if they are damaged."""
        return {file: self._text(name) for file, name in one.texts.items()}

    def _text(self, name: str) -> bytes:
        try:
            with gzip.open(os.path.join(self._directory, f"{name}.gz")) as stream:
                octets = stream.read(_LARGEST + 1)
        except (EOFError, zlib.error) as error:
            raise ValueError(f"{name}.gz is damaged: {error}") from error
        if hashlib.sha256(octets).hexdigest() != name:
            raise ValueError(f"{name}.gz is damaged")
        return octets

    # Writing.

    def _write(self) -> None:
        try:
            while self._waiting:
                one, texts = self._waiting.popleft()
                try:
                    self._write_one(one, texts)
                    self._failed = ""
                except OSError as error:
                    if error.strerror != self._failed:
                        self._failed = error.strerror or str(error)
                        self._log.warning(
                            "cannot write %s: %s; a restart forgets generation %d", self._directory, self._failed, one.generation
                        )
        finally:
            self._writer = None

    def _write_one(self, one: Kept, texts: Mapping[str, bytes]) -> None:
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        hashes = {file: self._hash(file, octets) for file, octets in texts.items()}
        head = {"version": _VERSION, "generation": one.generation, "when": one.when, "why": one.why, "changes": one.changes}
        edits = [to_json(edit) for edit in one.edits]
        self._replace(self._path(one.generation), json.dumps({**head, "edits": edits, "texts": hashes}).encode())
        self._used[one.generation] = frozenset(hashes.values())
        self._forget()

    def _hash(self, file: str, octets: bytes) -> str:
        """The hash of a text, which is kept."""
        known = self._known.get(file)
        if known is not None and known[0] == octets and known[1] in frozenset().union(*self._used.values()):
            return known[1]
        name = self._write_text(octets)
        self._known[file] = octets, name
        yield_to_loop()
        return name

    def _write_text(self, octets: bytes) -> str:
        name = hashlib.sha256(octets).hexdigest()
        path = os.path.join(self._directory, f"{name}.gz")
        if not self._is_whole(name):  # else it stays damaged for all generations that have the same text
            self._replace(path, gzip.compress(octets, 1, mtime=0))
        return name

    def _is_whole(self, name: str) -> bool:
        try:
            self._text(name)
        except (OSError, ValueError):
            return False
        return True

    @staticmethod
    def _replace(path: str, octets: bytes) -> None:
        draft = f"{path}.new"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                os.fchmod(descriptor, 0o600)
                stream.write(octets)
            os.replace(draft, path)
        except OSError:
            with suppress(OSError):
                os.unlink(draft)
            raise

    def _forget(self) -> None:
        """Remove the generations that are too many, and the texts that none has any longer."""
        numbers = self._numbers()
        for number in numbers[: -self._most]:
            os.unlink(self._path(number))
        kept = set(numbers[-self._most :])
        before = frozenset().union(*self._used.values())
        self._used = {number: hashes for number, hashes in self._used.items() if number in kept}
        for name in before - frozenset().union(*self._used.values()):
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(self._directory, f"{name}.gz"))

    def _numbers(self) -> list[int]:
        try:
            names = [name.removesuffix(".json") for name in os.listdir(self._directory) if name.endswith(".json")]
        except OSError:
            return []
        return sorted(int(name) for name in names if name.isdecimal() and int(name) < _GREATEST)

    def _path(self, number: int) -> str:
        return os.path.join(self._directory, f"{number}.json")


def _read(path: str) -> bytes:
    with open(path, "rb") as stream:
        octets = stream.read(_LARGEST + 1)
    if len(octets) > _LARGEST:
        raise ValueError("it is too large")
    return octets


def _parsed(octets: bytes, number: int) -> Kept:
    """Raises ValueError, TypeError or KeyError."""
    root: Any = json.loads(octets)
    if not isinstance(root, dict) or root.get("version") != _VERSION or root.get("generation") != number:
        raise ValueError(f"it is not generation {number} in version {_VERSION} of the format")
    texts = {str(file): str(name) for file, name in root["texts"].items()}
    if not all(len(name) == 64 and name.isalnum() for name in texts.values()):
        raise ValueError("it names no texts")
    return Kept(
        number,
        float(root["when"]),
        str(root["why"]),
        tuple(map(str, root["changes"])),
        tuple(from_json(one) for one in root["edits"]),
        texts,
    )
