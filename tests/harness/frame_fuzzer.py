"""A fuzzer for the sessions of HTTP/2 (`terraster.wire.http2`): it changes the octets of a corpus, frame by frame, and keeps those that lead
a session somewhere new.

"New" is a line that follows another one in the modules of that room, as tracing sees it. The corpus is in tests/frames/, one file for each
input, as hexadecimal text; what a run adds is written only if a folder is named. An input that begins as a client does is for a server's
session; any other one is for a client's, which has sent four requests. For each input these must hold:

- a session raises nothing, and says and sends the same however the octets are cut;
- what it sends is whole frames, and at most one and a half times the input;
- its streams, its counts and its windows fit together, and what it keeps is bounded.

    python -m tests.harness.frame_fuzzer SECONDS [FOLDER]
"""

from __future__ import annotations

import hashlib
import random
import sys
import time
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import terraster.wire.http2
from terraster.wire.http2.client import ClientSession
from terraster.wire.http2.events import DATA, REQUEST
from terraster.wire.http2.limits import Limits
from terraster.wire.http2.server import ServerSession
from terraster.wire.http2.streams import Stream

from .http2 import GET, POST, PREFACE, block, events_told, frame, told

__all__ = ["CORPUS", "Fuzzer", "corpus", "judge"]

CORPUS = Path(__file__).parents[1] / "frames"
_ROOM = str(Path(terraster.wire.http2.__file__).parent)
_LIMITS = Limits(
    max_streams=4, header_list_size=2000, window=3000, connection_window=70_000, resets_per_second=5, linger_octets=2000
)
_KINDS = (0, 0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 16, 99)
_FLAGS = (0, 1, 4, 5, 5, 8, 9, 32, 37, 45, 255)
_NUMBERS = (0, 1, 1, 2, 3, 5, 7, 9, 2**31 - 1)
_PAYLOADS = (
    b"",
    block(GET),
    block(POST),
    block([("a", "b")]),
    block([*POST, ("content-length", "5")]),
    block([*GET, ("priority", "u=1, i")]),
    block([(":method", "CONNECT"), (":authority", "a:1")]),
    block([*GET, ("x", "y" * 3000)]),
    block([(":status", "200")]),
    block([(":status", "103")]),
    block([(":status", "200"), ("content-length", "5")]),
    b"\0\0\0\1",
    b"\0\0\0\1u=1,i",
    bytes(5),
    bytes(8),
    bytes(3001),
    b"abcde",
    b"\0\1\0\0\0\0",
    b"\0\4\0\0\0\1",
    b"\0\4\x7f\xff\xff\xff",
    b"\0\5\0\0\x40\0",
)

Outcome = tuple[list[str], int]
"""The events as texts, and the error code of the session, -1 for none."""


def corpus(folder: Path = CORPUS) -> list[bytes]:
    """The inputs that are kept."""
    return [bytes.fromhex(file.read_text()) for file in sorted(folder.glob("*.hex"))]


def outcome(pieces: list[bytes], answers: bool) -> tuple[list[str], list[str], int]:
    """(events, frames sent, error code) of octets that come in these pieces. answers: each request is answered and over once it was read."""
    if b"".join(pieces)[:1] == PREFACE[:1]:
        return _of(ServerSession(Stream, _LIMITS), pieces, answers)
    client = ClientSession(Stream, _LIMITS)
    for method, end in ((b"GET", True), (b"HEAD", True), (b"POST", False), (b"CONNECT", False)):
        client.open(block(GET), method, end)
    return _of(client, pieces, answers)


def _of(session: ServerSession | ClientSession, pieces: list[bytes], answers: bool) -> tuple[list[str], list[str], int]:
    session.out.clear()
    events: list[str] = []
    lines: list[str] = []
    given = 0
    working: list[Any] = list(session.streams.values()) if answers else []
    for piece in pieces:
        given += len(piece)
        found = session.feed(piece, 1000.0)
        events += events_told(found)
        for kind, stream, value in found:
            assert stream is None or stream.unread >= 0
            if kind == REQUEST:
                working.append(stream)
            elif kind == DATA and answers and stream is not None:
                session.consumed(stream, len(value))
        if answers:
            for stream in working:
                if isinstance(session, ServerSession):
                    session.head(stream, b"\x88", False)
                session.data(stream, b"abc", True)
                session.done(stream, 8)
            working.clear()
        _check(session, given)
        lines += told(session.out)
    return events, lines, session.failed


def _check(session: ServerSession | ClientSession, given: int) -> None:
    """What must hold between two reads."""
    assert len(session._held) <= _LIMITS.max_frame + 9
    assert session._block is None or len(session._block[2]) <= session._most_block + _LIMITS.max_frame
    assert len(session.streams) <= 2 * _LIMITS.max_streams
    assert len(session.lingering) <= _LIMITS.max_streams and session.lingering.keys() <= session.streams.keys()
    assert isinstance(session, ClientSession) or len(session._early) <= _LIMITS.max_streams
    assert 0 <= session.working <= _LIMITS.max_streams
    assert 0 <= session._unread <= given
    for number, stream in session.streams.items():
        assert number == stream.id and number & 1 and number <= session.last
        assert (stream.sending or stream.receiving) and stream.abandoned == (number in session.lingering)
    assert sum(len(piece) for piece in session.out) <= 1.5 * given + 200


def judge(octets: bytes, chance: random.Random) -> Outcome:
    """Hold one input to what must be so. Raises AssertionError, or what a session raises."""
    whole = outcome([octets], False)
    cuts = sorted(chance.randrange(len(octets) + 1) for _ in range(3))
    at = [0, *cuts, len(octets)]
    pieces = [octets[one:other] for one, other in zip(at, at[1:], strict=False)]
    assert outcome(pieces, False) == whole, cuts
    if len(octets) < 4000:
        assert outcome([octets[one : one + 1] for one in range(len(octets))], False) == whole
    outcome(pieces, True)
    return whole[0], whole[2]


def cut(octets: bytes) -> list[bytes]:
    """The frames of an input, with the preface and a rest that is not a frame."""
    at = len(PREFACE) if octets.startswith(PREFACE) else 0
    found = [octets[:at]] if at else []
    while at + 9 <= len(octets):
        end = at + 9 + int.from_bytes(octets[at : at + 3], "big")
        found.append(octets[at:end])
        at = end
    if at < len(octets):
        found.append(octets[at:])
    return found


class Fuzzer:
    """inputs: the corpus, and what a run added. runs: how many inputs were judged."""

    def __init__(self, seed: int, inputs: list[bytes]) -> None:
        self.inputs = list(inputs) or [PREFACE + frame(4, 0, 0) + frame(1, 5, 1, block(GET))]
        self.runs = 0
        self._chance = random.Random(seed)
        self._seen: set[tuple[str, int, int]] = set()
        self._lines: set[tuple[str, int, int]] = set()
        self._last = 0
        for one in self.inputs:
            self._lead(one)

    def run(self, seconds: float) -> list[bytes]:
        """Fuzz for so long. What was found to lead somewhere new. An input that breaks a rule is in the note of the exception."""
        end, before = time.monotonic() + seconds, len(self.inputs)
        while time.monotonic() < end:
            octets = self._next()
            self.runs += 1
            try:
                judge(octets, self._chance)
            except BaseException as error:
                error.add_note(f"the input: {octets.hex()}")
                raise
            if self._lead(octets):
                self.inputs.append(octets)
        return self.inputs[before:]

    def _made(self) -> bytes:
        """A frame by chance."""
        chance = self._chance
        payload = chance.choice(_PAYLOADS) if chance.random() < 0.9 else chance.randbytes(chance.randrange(30))
        return frame(chance.choice(_KINDS), chance.choice(_FLAGS), chance.choice(_NUMBERS), payload)

    def _next(self) -> bytes:
        chance = self._chance
        frames = cut(chance.choice(self.inputs))
        for _ in range(chance.choice((1, 1, 2, 3, 8))):
            greeting = (2 if frames[:1] == [PREFACE] else 1) if chance.random() < 0.95 else 0  # most often it stays
            greeting = min(greeting, len(frames))
            at = chance.randrange(greeting, len(frames) + 1)
            match chance.randrange(7):
                case 0:
                    del frames[at : at + 1]
                case 1:
                    frames[at:at] = frames[at : at + 3] * chance.choice((1, 1, 40))
                case 2:
                    frames[at:at] = cut(chance.choice(self.inputs))[1:][-3:]
                case 3 if frames:  # an octet, most often of the head of a frame
                    at = min(at, len(frames) - 1)
                    one = bytearray(frames[at])
                    if one:
                        one[chance.randrange(min(len(one), chance.choice((9, 20, 100))))] = chance.choice(
                            (0, 1, 4, 8, 32, 128, 255)
                        )
                    frames[at] = bytes(one)
                case 4 if frames:  # its payload, shorter or longer
                    at = min(at, len(frames) - 1)
                    if len(frames[at]) >= 9:
                        payload = frames[at][9 : chance.randrange(9, len(frames[at]) + 1)] + chance.randbytes(
                            chance.choice((0, 0, 1, 9))
                        )
                        frames[at] = len(payload).to_bytes(3, "big") + frames[at][3:9] + payload
                case _:
                    frames[at:at] = [self._made()]
        return b"".join(frames)[:50_000]

    def _lead(self, octets: bytes) -> bool:
        """True if an input runs a line after another one that it did not follow before."""
        self._lines = set()
        self._last = 0
        sys.settrace(self._trace)
        try:
            outcome([octets[:40], octets[40:]], True)
            outcome([octets], False)
        finally:
            sys.settrace(None)
        new = not self._lines <= self._seen
        self._seen |= self._lines
        return new

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        code: CodeType = frame.f_code
        if not code.co_filename.startswith(_ROOM):
            return None
        if event in ("line", "return"):
            self._lines.add((code.co_filename + code.co_name, self._last, frame.f_lineno))
            self._last = frame.f_lineno
        return self._trace


def main() -> None:
    """Fuzz for so many seconds, and write what led somewhere new into a folder."""
    seconds, folder = float(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None
    seed = time.time_ns()
    fuzzer = Fuzzer(seed, corpus())
    found = fuzzer.run(seconds)
    print(f"seed {seed}: {fuzzer.runs} inputs judged, {len(found)} led somewhere new")
    for octets in found if folder is not None else ():
        (folder / f"{hashlib.sha256(octets).hexdigest()[:12]}.hex").write_text(octets.hex() + "\n")


if __name__ == "__main__":
    main()
