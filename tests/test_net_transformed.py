"""Bodies through encoders: whatever the cuts, pauses and ends, what a client decodes is what the backend sent."""

from __future__ import annotations

import random
import sys
import zlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import brotli
import pytest
from greenlet import getcurrent

from terraster.errors import ConnectionLost, HttpError
from terraster.filters.compression import Compressed
from terraster.net.transformed import HOLD, relay_transformed
from terraster.policy.pace import Pace
from terraster.wire import encoders
from terraster.wire.encoders import ENCODERS, encoder

from .harness.sizes import times

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class BrotliDecoder:
    """Gives out all that it can: `brotli.Decompressor` keeps what does not fit into its buffer for the next call."""

    def __init__(self) -> None:
        self._process = brotli.Decompressor().process

    def __call__(self, data: bytes) -> bytes:
        out: bytes = self._process(data)
        while more := self._process(b""):
            out += more
        return out


DECODERS: dict[bytes, Callable[[], Callable[[bytes], bytes]]] = {
    b"zstd": lambda: zstd.ZstdDecompressor().decompress,
    b"br": BrotliDecoder,
    b"gzip": lambda: zlib.decompressobj(31).decompress,
}
TEXT = b"".join(b"<li class=item>%d %x</li>\n" % (n, n * n * 7919) for n in range(20000))


class Loop:
    """A loop, its clock, and a reactor on them: time passes with every look at the clock."""

    def __init__(self, step: float) -> None:
        self.now = 0.0
        self.step = step
        self.turns = 0
        self.armed: Any = None
        self.loop = self

    def clock(self) -> float:
        self.now += self.step
        return self.now

    def update_now(self) -> None: ...

    def sleep(self, seconds: float) -> None:
        self.turns += 1

    def timer(self, after: float) -> Any:
        assert self.armed is None, "two timers at once"

        def start(*call: Any) -> None:
            self.armed = call

        def stop() -> None:
            self.armed = None

        return SimpleNamespace(start=start, stop=stop, close=lambda: None)

    def pause(self) -> None:
        """The timer rings, if there is one."""
        if self.armed is not None:
            throw, *args = self.armed
            throw(*args)


class Body:
    """A source and a sink. script: payload, None for a pause, or an error."""

    def __init__(self, coding: bytes, script: list[bytes | None | HttpError], loop: Loop) -> None:
        self.script = script
        self.loop = loop
        self.given = self.got = b""
        self.ended = False
        self.trailers = [(b"X-T", b"1")]
        self.done = len(script) < 2
        self._decode = DECODERS[coding]()
        self._paused = False

    def here(self) -> bytes:
        first = self.script.pop(0) if self.script else b""
        assert isinstance(first, bytes)
        self.given += first
        return first

    def room(self) -> int:
        return 1 << 18

    def read(self, room: int) -> bytes | memoryview:
        if self._paused:
            assert self.got == self.given, "what came before a pause has not gone out"
            self._paused = False
        while self.script[0] is None:
            self.script.pop(0)
            self._paused = True
            self.loop.pause()
            self._paused = False
        head = self.script[0]
        if isinstance(head, HttpError):
            raise head
        piece, rest = head[:room], head[room:]
        if rest:
            self.script[0] = rest
        else:
            self.script.pop(0)
        self.given += piece
        self.done = not self.script
        return memoryview(bytearray(piece))

    def write(self, payload: bytes) -> None:
        assert not self.ended
        if payload:
            self.got += self._decode(payload)

    def end(self, payload: bytes, trailers: list[tuple[bytes, bytes]]) -> None:
        assert trailers is self.trailers
        self.write(payload)
        self.ended = True


class Count:
    def __init__(self) -> None:
        self.sum = 0

    def count(self, many: int = 1) -> None:
        self.sum += many


def relay(body: Body, coding: bytes, level: int, pace: Pace, loop: Loop) -> list[int]:
    """Responses, octets in, octets out."""
    counts = [Count(), Count(), Count()]
    relay_transformed(body, body, Compressed(encoder(coding, level), pace, counts), loop)  # type: ignore[arg-type]
    return [count.sum for count in counts]


def payload(rng: random.Random) -> bytes:
    size = rng.choice([0, 1, 2, rng.randrange(100), rng.randrange(3000), rng.randrange(9000)])
    if rng.random() < 0.01:
        size *= 20
    at = rng.randrange(10000)
    return rng.choice([rng.randbytes(size), TEXT[at : at + size], bytes(size), b"ab" * (size // 2)])


def script(rng: random.Random) -> list[bytes | None | HttpError]:
    """What a backend does: octets with the head, then octets and pauses, and perhaps it breaks off."""
    steps: list[bytes | None | HttpError] = [payload(rng)]
    for _ in range(rng.randrange(8)):
        if rng.random() < 0.3:
            steps.append(None)
        if more := payload(rng):
            steps.append(more)
    if steps[-1] is None:
        steps.append(b"x")
    if len(steps) > 1 and rng.random() < 0.2:
        steps.append(ConnectionLost("the backend is gone"))
    return steps


@times(300, 10_000)
def test_what_a_client_decodes_is_what_the_backend_sent(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    isal = encoders.isal_zlib
    for seed in range(count):
        rng = random.Random(seed)
        monkeypatch.setattr(encoders, "isal_zlib", rng.choice([None, isal]))
        coding = rng.choice([*ENCODERS])
        loop = Loop(rng.choice([0.0, 1e-5, 1e-4, 1e-3]))
        steps = script(rng)
        breaks_off = isinstance(steps[-1], HttpError)
        sent = b"".join([step for step in steps if isinstance(step, bytes)])
        body = Body(coding, steps, loop)
        try:
            responses, octets_in, octets_out = relay(body, coding, rng.randint(1, 7), Pace(rng.choice([1024, 8192, 65536])), loop)
        except ConnectionLost:
            assert breaks_off and not body.ended and sent.startswith(body.got), seed
        else:
            assert not breaks_off and body.ended and body.got == sent, seed
            assert (responses, octets_in) == (1, len(sent)) and octets_out > 0, seed


def test_long_calls_give_others_a_turn() -> None:
    loop = Loop(HOLD / 3)
    body = Body(b"br", [TEXT[:200_000], TEXT[:200_000]], loop)
    relay(body, b"br", 4, Pace(8192), loop)
    assert body.got == TEXT[:200_000] * 2 and loop.turns >= 10


def test_an_error_within_a_response_is_counted_with_what_came_before() -> None:
    loop, counts = Loop(0.0), [Count(), Count(), Count()]
    body = Body(b"gzip", [b"hello", None, ConnectionLost("gone")], loop)
    with pytest.raises(ConnectionLost):
        relay_transformed(body, body, Compressed(encoder(b"gzip", 1), Pace(8192), counts), loop)  # type: ignore[arg-type]
    assert body.got == b"hello" and not body.ended and loop.armed is None
    assert [counts[0].sum, counts[1].sum] == [1, 5] and counts[2].sum > 5


def test_the_timer_is_stopped_where_no_pause_comes() -> None:
    loop = Loop(0.0)
    body = Body(b"gzip", [b"hello", b"you"], loop)
    relay(body, b"gzip", 1, Pace(8192), loop)
    assert loop.armed is None and getcurrent().parent is None
