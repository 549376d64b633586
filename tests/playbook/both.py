"""Rows of HTTP/1.1 played over HTTP/2 as well: each request of a client becomes a stream, each answer the reply on it.

Only what a version says otherwise is translated. A row that is about the connection (which ends, is upgraded, or carries pieces of a message)
has no meaning over HTTP/2, and is left out.
"""

from __future__ import annotations

from typing import Any

from ..harness.http2 import data, headers
from .frames import declined, greeting, replied
from .lines import Expected, Mismatch, _Message, chunks, refused, text
from .play import Backend, Client, Row, Step, _Gets, _Sends, log, table, whole
from .stage import Stage

__all__ = ["twice"]

_HEAD_END = b"\r\n\r\n"
_OF_CONNECTIONS = ("connection", "keep-alive", "upgrade", "transfer-encoding", "expect", "http2-settings", "te")


class _Untranslatable(Exception):
    """A step has no meaning over HTTP/2."""


def twice(*rows: Row) -> Any:
    """A test of each row, and of the same over HTTP/2 if it has a meaning there. At least one must have."""
    found, translated = [], 0
    for one in rows:
        found.append(one)
        try:
            found.append(_over_http2(one))
            translated += 1
        except _Untranslatable:
            continue
    assert translated, "no row has a meaning over HTTP/2"
    return table(*found)


def _over_http2(one: Row) -> Row:
    if "http2:" in one.config:
        raise _Untranslatable
    streams = _Streams()
    steps = [made for step in one.steps for made in streams.translated(step)]
    if not streams.replies:
        raise _Untranslatable
    return Row(f"{one.name}, over HTTP/2", tuple(steps), f"http2: true\n{one.config}", one.cut, one.xfail, one.filters)


class _Streams:
    """The streams of the clients of a row. replies: how many were translated"""

    def __init__(self) -> None:
        self.replies = 0
        self._next: dict[str, int] = {}
        self._waiting: dict[str, list[int]] = {}

    def translated(self, step: Step) -> list[Step]:
        """The steps in place of this one."""
        if isinstance(step, _Sends) and isinstance(step.party, Client):
            return self._sends(step.party, step.what)
        if isinstance(step, _Gets) and isinstance(step.party, Client):
            return [self._gets(step.party, step.what)]
        if isinstance(step, _Gets) and isinstance(step.party, Backend) and isinstance(step.what, _Message):
            return [step.party << _Lower(step.what)]
        if isinstance(step, _Gets) or (isinstance(step, _Sends) and not isinstance(step.what, (bytes, whole))):
            raise _Untranslatable
        if not isinstance(step, (_Sends, log)) and repr(step).startswith(("reload", "client", "drain")):
            raise _Untranslatable
        return [step]

    def _sends(self, party: Client, what: object) -> list[Step]:
        octets = what.octets if isinstance(what, whole) else what
        if not isinstance(octets, bytes):
            raise _Untranslatable
        begin = [] if party.name in self._next else greeting(party)
        number = self._next[party.name] = self._next.get(party.name, -1) + 2
        self._waiting.setdefault(party.name, []).append(number)
        asked = _request(number, octets)
        return [*begin, party >> (whole(asked) if isinstance(what, whole) else asked)]

    def _gets(self, party: Client, what: object) -> Step:
        if not self._waiting.get(party.name):
            raise _Untranslatable
        number = self._waiting[party.name].pop(0)
        self.replies += 1
        if isinstance(what, refused) and not (what.html or what.close or what.keep_alive) and what.body:
            return party << declined(number, what.status, what.reason, *map(_lower, what.more), n=int(what.identity[-8:], 16))
        if isinstance(what, _Message):
            return party << _reply(number, what)
        raise _Untranslatable


def _lower(field: str) -> str:
    name, colon, value = field.partition(":")
    if name.lower() in _OF_CONNECTIONS:
        raise _Untranslatable
    return f"{name.lower()}{colon}{value}"


def _request(number: int, octets: bytes) -> bytes:
    """A whole request of HTTP/1.1 on a stream."""
    head, end, body = octets.partition(_HEAD_END)
    line, *fields = head.decode("latin-1").split("\r\n")
    method, target, version = line.split(" ")
    pairs = [tuple(_lower(field).split(": ", 1)) for field in fields]
    length = sum(int(value) for name, value in pairs if name == "content-length")
    if not end or version != "HTTP/1.1" or len(body) != length or not target.startswith("/"):
        raise _Untranslatable
    hosts = [value for name, value in pairs if name == "host"]
    if len(hosts) != 1:
        raise _Untranslatable
    pseudo = [(":method", method), (":scheme", "http"), (":path", target), (":authority", hosts[0])]
    made = headers(number, [*pseudo, *(pair for pair in pairs if pair[0] != "host")], not body)
    return made + data(number, body, True) if body else made


def _reply(number: int, what: _Message) -> replied:
    status = int(what.line.split(" ")[1])
    fields = [field for field in what.fields if field != "Date" and field != "Transfer-Encoding: chunked"]
    if isinstance(what.body, chunks) and what.body.last and not what.body.trailers:
        body = what.body.payload
    elif isinstance(what.body, text):
        body = what.body.octets
    else:
        raise _Untranslatable
    if status < 200:
        raise _Untranslatable
    return replied(number, status, *map(_lower, fields), body=body, date="Date" in what.fields, length=False)


class _Lower(Expected):
    """What a backend gets, if its client speaks HTTP/2: the same, but for the case of names, which is lower in what the client sent."""

    def __init__(self, what: _Message) -> None:
        self.what = what

    def take(self, sent: bytes, stage: Stage) -> int:
        end = sent.find(_HEAD_END)
        line, *fields = sent[:end].decode("latin-1").split("\r\n")
        wanted = [field.replace("Via: 1.1 terraster", "Via: 2.0 terraster") for field in self.what.fields]
        seen, expected = (sorted(map(_with_lower_name, some)) for some in (fields, wanted))
        if end < 0 or line != self.what.line or seen != expected:
            raise Mismatch(f"expected {self.what.line} {expected}, got {sent[:500]!r}")
        return end + 4 + self.what.body.take(sent[end + 4 :], stage)

    def __repr__(self) -> str:
        return f"{self.what!r}, from a client of HTTP/2"


def _with_lower_name(field: str) -> str:
    name, colon, value = field.partition(":")
    return f"{name.lower()}{colon}{value}"
