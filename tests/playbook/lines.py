"""Octets, short to write: what parties send (`req`, `resp`), and what they must get (`asked`, `answered`, `refused`).

What must be got is compared octet for octet, but for the order of field lines of different names, which means nothing (RFC 9110, section
5.3), and for what a text says to people.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus

from .stage import ID, Stage

__all__ = ["Expected", "Mismatch", "answered", "asked", "chunks", "matching", "ok", "refused", "req", "resp", "start", "text"]

_HEAD_END = b"\r\n\r\n"


class Mismatch(AssertionError):
    """Something else was sent than a script says."""


class Expected:
    """What a party must get next."""

    def take(self, sent: bytes, stage: Stage) -> int:
        """How many octets of ``sent`` this is. Raises `Mismatch`."""
        raise NotImplementedError


class text(Expected):
    """These octets."""

    def __init__(self, octets: str | bytes) -> None:
        self.octets = octets.encode("latin-1") if isinstance(octets, str) else octets

    def take(self, sent: bytes, stage: Stage) -> int:
        if not sent.startswith(self.octets):
            raise Mismatch(f"expected {self.octets[:500]!r}, got {sent[:500]!r}")
        return len(self.octets)

    def __repr__(self) -> str:
        return repr(self.octets)


class chunks(Expected):
    """A chunked body with this payload, however it is cut into chunks. trailers: field lines. last: the body ends here."""

    def __init__(self, payload: str | bytes, *trailers: str, last: bool = True) -> None:
        self.payload = payload.encode("latin-1") if isinstance(payload, str) else payload
        self.trailers = trailers
        self.last = last

    def take(self, sent: bytes, stage: Stage) -> int:
        at, payload = 0, b""
        while True:
            found = re.compile(rb"([0-9a-f]+)\r\n").match(sent, at)
            if found is None or found[1] == b"0":
                break
            size, begin = int(found[1], 16), found.end()
            if sent[begin + size : begin + size + 2] != b"\r\n":
                raise Mismatch(f"malformed chunk at octet {at}")
            payload += sent[begin : begin + size]
            at = begin + size + 2
            if not self.last and len(payload) >= len(self.payload):
                break
        if payload != self.payload:
            raise Mismatch(f"chunks with {payload[:500]!r} in place of {self.payload[:500]!r}, in {sent[:500]!r}")
        if self.last:
            end = b"0\r\n" + b"".join(line.encode("latin-1") + b"\r\n" for line in self.trailers) + b"\r\n"
            if sent[at : at + len(end)] != end:
                raise Mismatch(f"expected the end of the chunks, {end!r}, got {sent[at:]!r}")
            at += len(end)
        return at

    def __repr__(self) -> str:
        return f"chunks with {self.payload!r}"


class _Message(Expected):
    """A head, and the body behind it. A field line may be a check of its value: ``Date:``."""

    def __init__(self, line: str, fields: tuple[str, ...], body: str | bytes | Expected) -> None:
        self.line = line
        self.fields = fields
        self.body = body if isinstance(body, Expected) else text(body)

    def take(self, sent: bytes, stage: Stage) -> int:
        end = sent.find(_HEAD_END)
        if end < 0:
            raise Mismatch(f"expected a head: {self.line}, got {sent[:500]!r}")
        line, *fields = sent[:end].decode("latin-1").split("\r\n")
        if line != self.line:
            raise Mismatch(f"expected {self.line!r}, got {line!r}")
        got = [field for field in fields if not (field.startswith("Date: ") and "Date" in self.fields and _is_now(field, stage))]
        expected = [field for field in self.fields if field != "Date"]
        if len(fields) - len(got) != len(self.fields) - len(expected):
            raise Mismatch(f"Date is missing or wrong in {fields}")
        missing, more = _difference(expected, got), _difference(got, expected)
        if missing or more or _by_name(expected) != _by_name(got):
            raise Mismatch(f"{self.line}: missing {missing}, too many {more}, in {fields}")
        return end + 4 + self.body.take(sent[end + 4 :], stage)

    def __repr__(self) -> str:
        return f"{self.line} {list(self.fields)} {self.body!r}"


def _difference(one: list[str], other: list[str]) -> list[str]:
    rest = list(other)
    return [line for line in one if line not in rest or rest.remove(line)]  # type: ignore[func-returns-value]


def _by_name(fields: list[str]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for field in fields:
        names.setdefault(field.partition(":")[0].lower(), []).append(field)
    return names


def _is_now(field: str, stage: Stage) -> bool:
    wall = stage.wall()
    return field.removeprefix("Date: ") in {formatdate(wall - ago, usegmt=True) for ago in (0.0, 0.2)}


def _octets(line: str, fields: tuple[str, ...], body: str | bytes, length: bool) -> bytes:
    body = body.encode("latin-1") if isinstance(body, str) else body
    if length:
        fields = (*fields, f"Content-Length: {len(body)}")
    return "\r\n".join((line, *fields, "", "")).encode("latin-1") + body


def _counts(fields: tuple[str, ...]) -> bool:
    """True if field lines say how long the body is, or that it has no length."""
    return any(field.lower().startswith(("content-length:", "transfer-encoding:")) for field in fields)


# -------------------------------------------------------------------------------------------------------------- what parties send


def req(line: str, *fields: str, host: str | None = "a.test", body: str | bytes = b"") -> bytes:
    """A request: ``"GET /a"``, with the version if it is not 1.1. Content-Length is added where there is a body and no field says more."""
    line = line if " HTTP/" in line else f"{line} HTTP/1.1"
    name = () if host is None else (f"Host: {host}",)
    return _octets(line, (*name, *fields), body, bool(body) and not _counts(fields))


def resp(line: str, *fields: str, body: str | bytes = b"", length: bool = True) -> bytes:
    """A response: ``"200 OK"``. Content-Length is added unless a field says more, or ``length`` is false."""
    line = line if line.startswith("HTTP/") else f"HTTP/1.1 {line}"
    return _octets(line, fields, body, length and not _counts(fields))


def ok(body: str | bytes = b"", *fields: str) -> bytes:
    """A response 200."""
    return resp("200 OK", *fields, body=body)


# ------------------------------------------------------------------------------------------------------------- what they must get


def asked(
    line: str,
    *fields: str,
    host: str | None = "a.test",
    body: str | bytes | Expected = b"",
    n: int = 1,
    ip: str = "192.0.2.7",
    via: str = "1.1",
    about: bool = True,
    length: bool = True,
) -> Expected:
    """What a backend gets for `req` of the same arguments: without trust, from the client ``ip``, as the worker's n-th request.

    fields: what else travels. about: False if all field lines about the client stand in ``fields``, too.
    """
    more = fields
    if length and isinstance(body, (str, bytes)) and body and not _counts(fields):
        more = (*more, f"Content-Length: {len(body)}")
    if host is not None:
        more = (f"Host: {host}", *more)
    if about:
        more = (
            *more,
            f"X-Forwarded-For: {ip}",
            f"X-Real-IP: {ip}",
            "X-Forwarded-Proto: http",
            "X-Forwarded-Port: 80",
            f"Via: {via} terraster",
            f"X-Forwarded-Host: {host or ''}",
            request_id(n),
        )
    return _Message(line if " HTTP/" in line else f"{line} HTTP/1.1", more, body)


def request_id(n: int) -> str:
    """The field line of the worker's n-th request."""
    return f"X-Request-ID: {ID.decode()}{n:08x}"


def answered(line: str, *fields: str, body: str | bytes | Expected = b"", length: bool = True, date: bool = True) -> Expected:
    """What a client gets for `resp` of the same arguments. date: we add one, as the backend did not."""
    more = fields
    if length and isinstance(body, (str, bytes)) and not _counts(fields):
        more = (*more, f"Content-Length: {len(body)}")
    if date:
        more = (*more, "Date")
    return _Message(f"HTTP/1.1 {line}", more, body)


def start(line: str, *fields: str, date: bool = True) -> Expected:
    """A head alone, whatever is to come behind it."""
    return answered(line, *fields, length=False, date=date)


class refused(Expected):
    """An error of our own making: the status, the error type of RFC 9209, one sentence, and no more than that.

    close: the connection ends with it. html: for people. more: further field lines. body: False for HEAD.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        *more: str,
        close: bool = False,
        n: int = 1,
        html: bool = False,
        body: bool = True,
        keep_alive: bool = False,
        request_id: str = "",
    ) -> None:
        self.status, self.reason, self.more = status, reason, more
        self.close, self.html, self.body, self.keep_alive = close, html, body, keep_alive
        self.identity = request_id or f"{ID.decode()}{n:08x}"

    def take(self, sent: bytes, stage: Stage) -> int:
        end = sent.find(_HEAD_END)
        fields = dict(line.split(": ", 1) for line in sent[:end].decode("latin-1").split("\r\n")[1:]) if end > 0 else {}
        said = re.fullmatch(r'terraster; error=([a-z0-9_]+); details="([^"]+)"', fields.get("Proxy-Status", ""))
        if said is None:
            raise Mismatch(f"expected an error {self.status}, got {sent[:200]!r}")
        if said[1] != self.reason:
            raise Mismatch(f"expected the error type {self.reason}, got {said[1]} ({said[2]})")
        length = int(fields["Content-Length"])
        body = sent[end + 4 : end + 4 + length].decode("utf-8") if self.body else ""
        expected = _Message(
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            (
                f"Content-Type: {'text/html; charset=utf-8' if self.html else 'application/json'}",
                "Cache-Control: no-store",
                f"X-Request-ID: {self.identity}",
                f"Proxy-Status: {said[0]}",
                f"Content-Length: {length}",
                *(("Connection: close",) if self.close else ("Connection: keep-alive",) if self.keep_alive else ()),
                *self.more,
                "Date",
            ),
            body.encode("utf-8"),
        )
        taken = expected.take(sent, stage)
        if self.body:
            self._read(body, said[2])
        return taken

    def _read(self, body: str, detail: str) -> None:
        phrase = HTTPStatus(self.status).phrase
        if self.html:
            if not all(piece in body for piece in (f"<h1>{self.status} {phrase}</h1>", detail, self.identity)):
                raise Mismatch(f"the page does not say what it should: {body!r}")
        elif json.loads(body) != {"status": self.status, "error": phrase, "detail": detail, "request_id": self.identity}:
            raise Mismatch(f"the body does not say what it should: {body!r}")

    def __repr__(self) -> str:
        return f"our own {self.status} {self.reason}"


class matching(Expected):
    """Octets up to the end of a head that satisfy a test."""

    def __init__(self, test: Callable[[bytes], bool], what: str) -> None:
        self.test, self.what = test, what

    def take(self, sent: bytes, stage: Stage) -> int:
        end = sent.find(_HEAD_END) + 4
        if end < 4 or not self.test(sent[:end]):
            raise Mismatch(f"expected {self.what}")
        return end

    def __repr__(self) -> str:
        return self.what
