"""Frames of HTTP/2, short to write: what a client sends (`greeting`, `ask`), and what it must get (`replied`, `declined`, `frames`).

Frames are written and read without a line of the product's, by `tests.harness.http2` and python-hyper's hpack. Terraster's WINDOW_UPDATEs are
passed over where a reply is expected: how much a client may send is no matter of a request's life.
"""

from __future__ import annotations

import json
import re

import hpack

from ..harness.http2 import PREFACE, data, headers, settings, told
from .lines import Expected, Mismatch, asked, request_id
from .play import Client, Scene, Step, do
from .stage import Stage

__all__ = ["ask", "declined", "forwarded", "frames", "greeting", "replied"]

_DATA, _HEADERS, _RST_STREAM, _WINDOW_UPDATE = 0, 1, 3, 8
_END_STREAM = 1


def greeting(party: Client, *pairs: tuple[int, int]) -> list[Step]:
    """The client begins with HTTP/2. pairs: its settings."""

    def note(scene: Scene) -> None:
        party.connection(scene).framed = True

    return [
        party >> PREFACE + settings(*pairs) + settings(ack=True),
        party << frames(_is_greeting, "Terraster's settings, and that it knows ours"),
        do(note, f"{party} speaks HTTP/2"),
    ]


def ask(number: int, line: str, *fields: str, body: bytes | None = None, end: bool = True, host: str = "a.test") -> bytes:
    """A request on a stream: ``"GET /a"``. end: it ends with its head, or with ``body`` if there is one."""
    method, path = line.split(" ")
    pseudo = [(":method", method), (":scheme", "http"), (":path", path), (":authority", host)]
    pairs = [(name.lower(), value) for name, _, value in (field.partition(": ") for field in fields)]
    head = headers(number, [*pseudo, *pairs], end and body is None)
    return head if body is None else head + data(number, body, end)


def forwarded(line: str, *fields: str, body: str | bytes | Expected = b"", n: int = 1, host: str = "a.test") -> Expected:
    """What a backend gets for `ask` of the same arguments, as the worker's n-th request."""
    about = (
        f"host: {host}",
        "X-Forwarded-For: 192.0.2.7",
        "X-Real-IP: 192.0.2.7",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Port: 80",
        "Via: 2.0 terraster",
        f"X-Forwarded-Host: {host}",
        request_id(n),
    )
    return asked(line, *about, *fields, host=None, body=body, about=False, length=False)


class frames(Expected):
    """Frames that are told so (`tests.harness.http2.told`), and no others: ``"RST_STREAM 1 CANCEL"``; or those that pass a test."""

    def __init__(self, *expected: object) -> None:
        self.expected = expected

    def take(self, sent: bytes, stage: Stage) -> int:
        seen = told([sent])
        if callable(self.expected[0]):
            if not self.expected[0](seen):
                raise Mismatch(f"expected {self.expected[1]}, got {seen}")
        elif seen != list(self.expected):
            raise Mismatch(f"expected {list(self.expected)}, got {seen}")
        return len(sent)

    def __repr__(self) -> str:
        return str(self.expected[-1] if callable(self.expected[0]) else list(self.expected))


def _is_greeting(seen: list[str]) -> bool:
    return [one.split(" ")[0] for one in seen] == ["SETTINGS", "WINDOW_UPDATE", "SETTINGS"]


class replied(Expected):
    """The reply on a stream, or more of it: a head with this status unless it is 0, and this body.

    fields: of the head, with the names in lower case, ``date`` for one that we add. end: it ends here; False: more is to come. reset: it ends
    by RST_STREAM with this code. trailers: fields behind the body.
    """

    def __init__(
        self,
        number: int,
        status: int = 0,
        *fields: str,
        body: str | bytes = b"",
        end: bool = True,
        reset: int | None = None,
        trailers: tuple[str, ...] = (),
        date: bool = True,
        length: bool = True,
    ) -> None:
        self.number, self.status, self.end, self.reset, self.trailers = number, status, end and reset is None, reset, trailers
        self.body = body.encode() if isinstance(body, str) else body
        more = (
            (f"content-length: {len(self.body)}",) if length and not any(one.startswith("content-length") for one in fields) else ()
        )
        self.fields = sorted([f":status: {status}", *fields, *more]) if status else []
        self.date = date and status >= 200

    def take(self, sent: bytes, stage: Stage) -> int:
        at, body = 0, b""
        heads: list[list[str]] = []
        ended = False
        while not ended and (at < len(sent)):
            if not self.end and self.reset is None and body == self.body and bool(heads) == bool(self.fields):
                break
            size, kind, flags = int.from_bytes(sent[at : at + 3], "big"), sent[at + 3], sent[at + 4]
            number = int.from_bytes(sent[at + 5 : at + 9], "big")
            payload = sent[at + 9 : at + 9 + size]
            at += 9 + size
            if kind == _WINDOW_UPDATE:
                continue
            if number != self.number:
                raise Mismatch(f"expected a frame of stream {self.number}, got {told([sent])}")
            if kind == _HEADERS:
                heads.append([f"{name}: {value}" for name, value in hpack.Decoder().decode(payload)])
            elif kind == _DATA:
                body += payload
            elif kind == _RST_STREAM and int.from_bytes(payload, "big") == self.reset:
                ended = True
                continue
            else:
                raise Mismatch(f"expected a reply on stream {self.number}, got {told([sent])}")
            ended = bool(flags & _END_STREAM)
        self._compare(heads, body, ended, told([sent]))
        return at

    def _compare(self, heads: list[list[str]], body: bytes, ended: bool, seen: list[str]) -> None:
        expected = [self.fields] if self.fields else []
        if self.trailers:
            expected.append(sorted(self.trailers))
        got = [sorted(one for one in head if not (self.date and one.startswith("date: "))) for head in heads]
        if got != expected:
            raise Mismatch(f"the heads are {got}, expected {expected}")
        if self.date and not any(one.startswith("date: ") for one in heads[0]):
            raise Mismatch(f"no date in {heads[0]}")
        if body != self.body or ended is not (self.end or self.reset is not None):
            raise Mismatch(f"the body is {body[:500]!r}, ended: {ended}; expected {self.body[:500]!r}; {seen}")

    def __repr__(self) -> str:
        how = f"reset {self.reset}" if self.reset is not None else "end" if self.end else "more"
        return f"stream {self.number}: {self.fields} {self.body[:100]!r} {self.trailers or ''} {how}"


class declined(Expected):
    """An error of our own making on a stream: the status, and the error type of RFC 9209. more: further fields."""

    def __init__(self, number: int, status: int, reason: str, *more: str, n: int = 1) -> None:
        self.number, self.status, self.reason, self.more, self.n = number, status, reason, more, n

    def take(self, sent: bytes, stage: Stage) -> int:
        while sent[3:4] == bytes([_WINDOW_UPDATE]):
            return 13 + self.take(sent[13:], stage)
        size = int.from_bytes(sent[:3], "big")
        fields = dict(hpack.Decoder().decode(sent[9 : 9 + size])) if sent[3:4] == bytes([_HEADERS]) else {}
        said = re.fullmatch(r'terraster; error=([a-z0-9_]+); details="([^"]+)"', fields.get("proxy-status", ""))
        if said is None or said[1] != self.reason:
            raise Mismatch(f"expected the error {self.reason}, got {fields or told([sent])}")
        body = sent[size + 18 : size + 18 + int(fields["content-length"])]
        own = (
            "content-type: application/json",
            "cache-control: no-store",
            request_id(self.n).replace("X-Request-ID", "x-request-id"),
            f"proxy-status: {said[0]}",
        )
        expected = {"status": self.status, "error": said[1], "detail": said[2]}
        if {**json.loads(body), "error": said[1]}.items() < expected.items():
            raise Mismatch(f"the body does not say what it should: {body!r}")
        return replied(self.number, self.status, *own, *self.more, body=body).take(sent, stage)

    def __repr__(self) -> str:
        return f"stream {self.number}: our own {self.status} {self.reason}"
