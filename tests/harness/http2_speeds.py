"""What the sessions of HTTP/2, the reader and writer of HPACK and the reader of hellos make of many inputs, as lines of text.

Two processes that print the same lines, one compiled and one with ``TERRASTER_PURE=1``, behave alike (tests/test_wire_http2_speeds.py). The
inputs are those of the three corpora, and what chance makes of them: the same with the same START, a number.

    python -m tests.harness.http2_speeds START INPUTS
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator

from terraster.wire.client_hello import HelloError, HelloReader
from terraster.wire.http2.hpack import huffman
from terraster.wire.http2.hpack.errors import HpackError

from . import frame_fuzzer, hello_fuzzer, hpack_fuzzer

__all__ = ["lines"]


def changed(octets: bytes, chance: random.Random) -> bytes:
    """Some octets replaced, left out, or put in."""
    made = bytearray(octets)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(made) + 1)
        match chance.randrange(4):
            case 0:
                made[at : at + 1] = chance.randbytes(1)
            case 1:
                del made[at : at + chance.choice((1, 1, 9, 40))]
            case 2:
                made[at:at] = chance.randbytes(chance.choice((1, 2, 20)))
            case _ if at < len(made):
                made[at] ^= 1 << chance.randrange(8)
    return bytes(made)


def _shuffled(octets: bytes, chance: random.Random) -> bytes:
    """Frames of an input left out, repeated or exchanged, the first two aside."""
    frames = frame_fuzzer.cut(octets)
    rest = frames[2:]
    for _ in range(chance.randrange(4)):
        if rest:
            at = chance.randrange(len(rest))
            rest[at : at + 1] = chance.choice(([], [rest[at]] * 2, [rest[at], chance.choice(rest)]))
    return b"".join(frames[:2] + rest)


def _session(octets: bytes, chance: random.Random) -> str:
    at = chance.randrange(len(octets) + 1)
    pieces = [octets[:at], octets[at:]]
    return repr([frame_fuzzer.outcome(pieces, answers) for answers in (False, True)])


def _hello(octets: bytes, chance: random.Random) -> str:
    reader, at = HelloReader(), chance.randrange(len(octets) + 1)
    try:
        for piece in (octets[:at], octets[at:]) if at and chance.random() < 0.5 else (octets,):
            hello = reader.feed(piece)
            if hello is not None:
                return repr((hello.server_name, hello.alpn, hello.tickets, reader.message))
    except HelloError as error:
        return repr((str(error), error.code, error.plain))
    return "more"


def _string(octets: bytes) -> str:
    try:
        text = repr(huffman.decode(octets))
    except HpackError as error:
        text = str(error)
    return f"{text} {huffman.encode(octets).hex()}"


def lines(seed: int, inputs: int) -> Iterator[str]:
    """A line for each input: those of the corpora, and so many others of each kind."""
    chance = random.Random(seed)
    frames, blocks = frame_fuzzer.corpus(), hpack_fuzzer.corpus()
    hellos = hello_fuzzer.corpus()
    for one in frames:
        yield _session(one, chance)
    for several in blocks:
        yield repr(hpack_fuzzer.outcome(several)[0])
    for one in hellos:
        yield _hello(one, chance)
    for _ in range(inputs):
        one = chance.choice(frames)
        yield _session(_shuffled(one, chance) if chance.random() < 0.5 else changed(one, chance), chance)
        found, decoder = hpack_fuzzer.outcome(
            tuple(changed(block, chance) for block in chance.choice(blocks)), chance.choice((300, 65536))
        )
        yield repr((found, decoder._dynamic, decoder._room))
        yield _hello(changed(chance.choice(hellos), chance), chance)
        string = chance.randbytes(chance.choice((1, 5, 30, 400)))
        yield _string(string)
        yield _string(changed(huffman.encode(string), chance))


if __name__ == "__main__":
    for line in lines(int(sys.argv[1]), int(sys.argv[2])):
        print(line)
