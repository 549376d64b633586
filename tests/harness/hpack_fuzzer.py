"""A fuzzer for the reader and the writer of HPACK (`terraster.wire.http2.hpack`), with python-hyper's hpack as a second opinion.

An input is a connection: a sequence of field blocks. The corpus is in tests/blocks/, one file for each, with a block a line as hexadecimal
text. Inputs that lead the reader to a new line are kept (`new_lines.py`). For each input these must hold:

- the reader raises nothing but `HpackError` and `Oversized`;
- it finds the fields that hpack finds, and has the same dynamic table afterwards, also behind a list that was too large;
- it refuses what hpack refuses; what only the reader refuses is an integer of more than 28 bits;
- the start of a block gives the first of its fields, or an error;
- what the writer writes, hpack reads as the same fields.

    python -m tests.harness.hpack_fuzzer SECONDS [FOLDER]
"""

from __future__ import annotations

import hashlib
import random
import sys
import time
from pathlib import Path

import hpack

from terraster.wire.http2.hpack import huffman, reader, writer
from terraster.wire.http2.hpack.errors import HpackError, Oversized
from terraster.wire.http2.hpack.reader import Decoder

from .new_lines import NewLines

__all__ = ["CORPUS", "Fuzzer", "corpus", "judge", "made_by_hpack", "outcome"]

CORPUS = Path(__file__).parents[1] / "blocks"
_LIMITS = (65536, 300)
_NAMES = (b":path", b"cookie", b"x-a", b"accept", b"user-agent", b"x-long-name-of-a-field", b":status", b"etag")

Fields = list[tuple[bytes, bytes]]
Blocks = tuple[bytes, ...]
Outcome = list[tuple[str, object]]
"""For each block ("fields", pairs) or ("large", the pairs before the limit); the last may be ("error", message)."""


def corpus(folder: Path = CORPUS) -> list[Blocks]:
    """The inputs that are kept."""
    return [tuple(bytes.fromhex(line) for line in file.read_text().split("\n")[:-1]) for file in sorted(folder.glob("*.hex"))]


def outcome(blocks: Blocks, limit: int = _LIMITS[0]) -> tuple[Outcome, Decoder]:
    """What the reader makes of the blocks of one connection. Raises what it raises, apart from its own errors."""
    decoder, found = Decoder(limit), Outcome()
    for block in blocks:
        try:
            fields = decoder.decode(block)
        except Oversized as large:
            fields = large.fields
            found.append(("large", [(name, value) for name, value, _ in fields]))
        except HpackError as error:
            found.append(("error", str(error)))
            break
        else:
            found.append(("fields", [(name, value) for name, value, _ in fields]))
        assert all(size == len(name) + len(value) + 32 for name, value, size in fields)
        assert sum(size for _, _, size in fields) <= limit
        assert sum(size for _, _, size in decoder._dynamic) == decoder._size <= decoder._room <= 4096
    return found, decoder


def judge(blocks: Blocks, chance: random.Random) -> Outcome:
    """Hold one input to what must be so. Raises AssertionError, or what the reader raises."""
    whole: Outcome = []
    for limit in reversed(_LIMITS):
        whole, decoder = outcome(blocks, limit)
        other = hpack.Decoder(1 << 40)
        for number, (kind, found) in enumerate(whole, 1):
            try:
                fields: Fields | None = [(name, value) for name, value in other.decode(blocks[number - 1], raw=True)]
            except hpack.HPACKError:
                fields = None
            if kind == "error":
                assert fields is None or found == "integer too large", found
                break
            assert fields is not None, "hpack refuses it"
            if kind == "fields":
                assert found == fields
            else:
                assert isinstance(found, list) and found == fields[: len(found)]
            sizes = [len(name) + len(value) + 32 for name, value in fields]
            assert (kind == "large") is (sum(sizes) > limit)
            table = [(name, value) for name, value in reversed(other.header_table.dynamic_entries)]
            if number == len(blocks):
                assert table == [(name, value) for name, value, _ in decoder._dynamic]
            _write(fields[:50])
    at = chance.randrange(len(blocks))
    _cut(blocks[:at], blocks[at], chance.randrange(len(blocks[at]) + 1))
    return whole


def _cut(before: Blocks, block: bytes, size: int) -> None:
    whole, part = outcome((*before, block))[0], outcome((*before, block[:size]))[0]
    assert len(whole) <= len(part) + 1
    kind, found = part[-1]
    if len(part) == len(before) + 1 and kind == "fields" and whole[-1][0] == "fields":
        assert isinstance(found, list) and isinstance(whole[-1][1], list)
        assert found == whole[-1][1][: len(found)]


def _write(fields: Fields) -> None:
    for _ in range(2):
        block = writer.encode(fields)
        assert [(name, value) for name, value in hpack.Decoder(1 << 40).decode(block, raw=True)] == fields


def made_by_hpack(chance: random.Random) -> Blocks:
    """The blocks of a connection, written by hpack with settings by chance."""
    encoder = hpack.Encoder()
    blocks = []
    for _ in range(chance.randrange(1, 6)):
        if chance.random() < 0.2:
            encoder.header_table_size = chance.choice((0, 40, 200, 4096))
        fields = []
        for _ in range(chance.randrange(8)):
            value = chance.choice((b"", b"/a", b"1" * chance.randrange(300), chance.randbytes(chance.randrange(40))))
            kind = hpack.NeverIndexedHeaderTuple if chance.random() < 0.2 else hpack.HeaderTuple
            fields.append(kind(chance.choice((*_NAMES, value)), value))
        blocks.append(encoder.encode(fields, huffman=chance.random() < 0.7))
    return tuple(blocks)


class Fuzzer:
    """inputs: the corpus, and what a run added. runs: how many inputs were judged. blocks: how many blocks these had."""

    def __init__(self, seed: int, inputs: list[Blocks]) -> None:
        self.inputs = list(inputs)
        self.runs = self.blocks = 0
        self._chance = random.Random(seed)
        self._new = NewLines(reader.__file__, huffman.__file__)
        for one in inputs:
            self._lead(one)

    def run(self, seconds: float, blocks: int = 1 << 60) -> list[Blocks]:
        """Fuzz for so long, or for so many blocks. What was found to lead somewhere new. An input that breaks a rule is in the note of
        the exception."""
        end, before = time.monotonic() + seconds, len(self.inputs)
        while self.blocks < blocks and time.monotonic() < end:
            one = self._next()
            self.runs += 1
            self.blocks += len(one)
            try:
                judge(one, self._chance)
            except BaseException as error:
                error.add_note(f"the input: {' '.join(block.hex() for block in one)}")
                raise
            if self.runs % 8 == 0 and self._lead(one):  # tracing takes most of the time
                self.inputs.append(one)
        return self.inputs[before:]

    def _next(self) -> Blocks:
        chance = self._chance
        blocks = list(made_by_hpack(chance) if chance.random() < 0.2 else chance.choice(self.inputs))
        for _ in range(chance.choice((1, 1, 2, 3, 8))):
            number = chance.randrange(len(blocks))
            octets = bytearray(blocks[number])
            at = chance.randrange(len(octets) + 1)
            match chance.randrange(7):
                case 0 if octets:
                    first = (0, 15, 16, 31, 32, 62, 63, 64, 127, 128, 190, 254, 255, chance.randrange(256))
                    octets[min(at, len(octets) - 1)] = chance.choice(first)
                case 1:
                    octets[at:at] = chance.randbytes(chance.choice((1, 2, 5, 40)))
                case 2:
                    del octets[at : at + chance.choice((1, 2, 5, 40))]
                case 3:
                    other = chance.choice(chance.choice(self.inputs))
                    start = chance.randrange(len(other) + 1)
                    octets[at : at + 20] = other[start : start + chance.choice((1, 5, 60))]
                case 4 if octets:  # a bit of a code or a length
                    octets[min(at, len(octets) - 1)] ^= 1 << chance.randrange(8)
                case 5 if len(blocks) < 12:
                    blocks.insert(number, chance.choice(chance.choice(self.inputs)))
                    continue
                case _:
                    octets += octets[at : at + 100]
            blocks[number] = bytes(octets[:4000])
        return tuple(blocks)

    def _lead(self, blocks: Blocks) -> bool:
        """True if an input runs a line of the reader after another one that it did not follow before."""
        return self._new.in_call(lambda: outcome(blocks))


def main() -> None:
    """Fuzz for so many seconds, and write what led somewhere new into a folder."""
    seconds, folder = float(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None
    seed = time.time_ns()
    fuzzer = Fuzzer(seed, corpus() or [made_by_hpack(random.Random(seed))])
    found = fuzzer.run(seconds)
    print(f"seed {seed}: {fuzzer.runs} inputs with {fuzzer.blocks} blocks judged, {len(found)} led somewhere new")
    for blocks in found if folder is not None else ():
        text = "".join(f"{block.hex()}\n" for block in blocks)
        (folder / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.hex").write_text(text)


if __name__ == "__main__":
    main()
