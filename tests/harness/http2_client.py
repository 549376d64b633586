"""A client of HTTP/2 on a raw socket: every frame that is sent stands in the test, and every frame that comes is kept.

Blocks of fields are written and read with python-hyper's hpack, so the product's own is not its own judge. Every wait has a deadline.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from hpack import Decoder, Encoder

from .client import Connection
from .http2 import PREFACE, frame
from .waiting import DEADLINE

__all__ = [
    "CONTINUATION",
    "DATA",
    "GOAWAY",
    "HEADERS",
    "PING",
    "PREFACE",
    "PRIORITY_UPDATE",
    "RST_STREAM",
    "SETTINGS",
    "WINDOW_UPDATE",
    "Answer",
    "Frame",
    "Http2",
    "frame",
    "masked",
]

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PRIORITY_UPDATE = 16

Fields = list[tuple[str, str]]


@dataclass
class Frame:
    """A frame as it came."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def code(self) -> int:
        """The error code of an RST_STREAM or a GOAWAY."""
        return int(struct.unpack(">L", self.payload[:4] if self.kind == RST_STREAM else self.payload[4:8])[0])

    @property
    def last(self) -> int:
        """The last stream that a GOAWAY names."""
        return int(struct.unpack(">L", self.payload[:4])[0])


@dataclass
class Answer:
    """An answer on a stream. reset: the code of an RST_STREAM, None without. ended: True if END_STREAM came."""

    fields: Fields = field(default_factory=list)
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    interim: list[Fields] = field(default_factory=list)
    reset: int | None = None
    ended: bool = False

    @property
    def status(self) -> int:
        return int(self.get(":status") or 0)

    def get(self, name: str) -> str | None:
        """The only value of a field, or None."""
        values = [value for spelt, value in self.fields if spelt == name]
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None


def masked(payload: bytes, opcode: int = 2) -> bytes:
    """A frame of a WebSocket client (RFC 6455) of at most 125 octets."""
    return bytes((0x80 | opcode, 0x80 | len(payload))) + b"\0\0\0\0" + payload


class Http2:
    """A connection on which the preface and SETTINGS are sent. auto: acknowledge SETTINGS and give back the windows."""

    def __init__(self, connection: Connection, *, settings: dict[int, int] | None = None, auto: bool = True) -> None:
        self.connection = connection
        self.auto = auto
        self.frames: list[Frame] = []
        self.answers: dict[int, Answer] = {}
        self.ended = False
        self.next = 1
        self._encoder, self._decoder = Encoder(), Decoder()
        self._held = b""
        self._block: tuple[int, int, bytes] | None = None
        pairs = b"".join(struct.pack(">HL", key, value) for key, value in (settings or {}).items())
        self.send(PREFACE + frame(SETTINGS, 0, 0, pairs))

    def __enter__(self) -> Http2:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def send(self, data: bytes) -> Http2:
        self.connection.sock.sendall(data)
        return self

    def block(self, fields: Fields) -> bytes:
        return bytes(self._encoder.encode(fields))

    def open(
        self, path: str = "/", *, method: str = "GET", host: str = "localhost", fields: Fields | None = None, body: bytes | None = None,
        end: bool = True, scheme: str = "http",
    ) -> int:  # fmt: skip
        """Begin a request, with a body if there is one. end: it ends with that. Returns the stream's number."""
        number, self.next = self.next, self.next + 2
        pseudo = [(":method", method), (":scheme", scheme), (":authority", host), (":path", path)]
        out = frame(HEADERS, 4 | (end and body is None), number, self.block(pseudo + (fields or [])))
        if body is not None:
            out += self.data(number, body, end)
        self.answers[number] = Answer()
        self.send(out)
        return number

    def websocket(self, path: str = "/ws", *, protocol: str = "websocket", host: str = "localhost") -> int:
        """Begin an extended CONNECT (RFC 8441). Returns the stream's number."""
        number, self.next = self.next, self.next + 2
        fields = [
            (":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"), (":authority", host), (":path", path),
            ("sec-websocket-version", "13"), ("origin", "http://localhost"),
        ]  # fmt: skip
        self.answers[number] = Answer()
        self.send(frame(HEADERS, 4, number, self.block(fields)))
        return number

    @staticmethod
    def data(number: int, body: bytes, end: bool = True) -> bytes:
        """The frames of a body."""
        pieces = [body[at : at + 16384] for at in range(0, len(body), 16384)] or [b""]
        return b"".join(frame(DATA, end and at == len(pieces) - 1, number, piece) for at, piece in enumerate(pieces))

    def read(self, deadline: float = DEADLINE) -> Frame | None:
        """The next frame; None at the end of the connection."""
        end = time.monotonic() + deadline
        while len(self._held) < 9 or len(self._held) < 9 + int.from_bytes(self._held[:3], "big"):
            left = end - time.monotonic()
            assert left > 0, f"no frame within {deadline} seconds; so far {self.frames}"
            self.connection.sock.settimeout(left)
            try:
                data = self.connection.sock.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                self.ended = True
                return None
            self._held += data
        size = int.from_bytes(self._held[:3], "big")
        kind, flags, stream = struct.unpack(">BBL", self._held[3:9])
        one = Frame(kind, flags, stream & 0x7FFFFFFF, self._held[9 : 9 + size])
        self._held = self._held[9 + size :]
        self.frames.append(one)
        self._take(one)
        return one

    def _take(self, one: Frame) -> None:
        answer = self.answers.get(one.stream)
        if one.kind == SETTINGS and not one.flags & 1 and self.auto:
            self.send(frame(SETTINGS, 1))
        elif one.kind == PING and not one.flags & 1 and self.auto:
            self.send(frame(PING, 1, 0, one.payload))
        elif one.kind in (HEADERS, CONTINUATION):
            flags, block = (one.flags, one.payload) if self._block is None else (self._block[1], self._block[2] + one.payload)
            if not one.flags & 4:
                self._block = (one.stream, flags, block)
                return
            self._block = None
            fields = [(str(name), str(value)) for name, value in self._decoder.decode(block)]
            assert answer is not None
            if answer.fields:
                answer.trailers = fields
            elif dict(fields)[":status"].startswith("1"):
                answer.interim.append(fields)
            else:
                answer.fields = fields
            answer.ended = bool(flags & 1)
        elif one.kind == DATA and answer is not None:
            answer.body += one.payload
            answer.ended = bool(one.flags & 1)
            if self.auto and one.payload:
                self.grow(0, len(one.payload))
                if not answer.ended:
                    self.grow(one.stream, len(one.payload))
        elif one.kind == RST_STREAM and answer is not None:
            answer.reset = one.code

    def grow(self, stream: int, octets: int) -> None:
        """Give window."""
        try:
            self.send(frame(WINDOW_UPDATE, 0, stream, struct.pack(">L", octets)))
        except ConnectionError:
            return

    def until(self, condition: Callable[[], object], deadline: float = DEADLINE) -> None:
        """Read frames until this is true."""
        end = time.monotonic() + deadline
        while not condition():
            assert self.read(max(end - time.monotonic(), 0.001)) is not None, f"the connection ended: {self.frames[-5:]}"

    def answer(self, number: int, deadline: float = DEADLINE) -> Answer:
        """The whole answer on a stream, or what came of it before a reset."""
        one = self.answers[number]
        self.until(lambda: one.ended or one.reset is not None, deadline)
        return one

    def get(self, path: str = "/", **how: object) -> Answer:
        """Ask, and wait for the answer."""
        return self.answer(self.open(path, **how))  # type: ignore[arg-type]

    def goaway(self, deadline: float = DEADLINE) -> Frame:
        """The last GOAWAY before the end of the connection."""
        end = time.monotonic() + deadline
        while self.read(max(end - time.monotonic(), 0.001)) is not None:
            pass
        goaways = [one for one in self.frames if one.kind == GOAWAY]
        assert goaways, f"the connection ended without GOAWAY: {self.frames[-5:]}"
        return goaways[-1]
