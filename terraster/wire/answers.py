"""Responses of our own: heads, dates and short error pages. They reveal nothing about backends."""

from __future__ import annotations

import json
from collections.abc import Sequence, Set
from email.utils import formatdate
from html import escape
from http import HTTPStatus

__all__ = ["BODILESS", "OwnHead", "error_answer", "http_date", "reason_phrase"]

BODILESS = frozenset((204, 304))
"""Statuses of responses without a body and without a length of our own: RFC 9110, sections 6.4.1 and 8.6."""


def http_date(wall: float) -> bytes:
    """An IMF-fixdate (RFC 9110, section 5.6.7) for a time in seconds since 1970."""
    return formatdate(wall, usegmt=True).encode("ascii")


def reason_phrase(status: int) -> bytes:
    """The registered phrase of a status, b"" for an unregistered one."""
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        return b""


class OwnHead:
    """The head of a response of our own, with the calls of a `terraster.wire.heads.ResponseHead`."""

    __slots__ = ("chunked", "dated", "fields", "length", "location", "own", "status", "until_close", "upgrade")

    def __init__(self, status: int, fields: Sequence[tuple[bytes, bytes]], length: int) -> None:
        """fields: without Content-Length and Connection. length: octets of the body; -1: none, and nothing says so (HTTP/2 only)."""
        self.status = status
        self.own = True
        self.chunked = self.dated = self.until_close = False
        for name, _ in fields:
            if name.lower() == b"date":
                self.dated = True
        self.location = self.upgrade = None
        self.fields = fields
        self.length = length

    def forward(self, drop: Set[bytes], replace: object, extra: bytes) -> bytes:
        """The octets. drop: lower-case names to leave out. replace: nothing. extra: field lines to put at the end, each with its CRLF."""
        lines = [b"HTTP/1.1 %d %b\r\n" % (self.status, reason_phrase(self.status))]
        lines += [b"%b: %b\r\n" % field for field in self.fields if field[0].lower() not in drop]
        if self.status not in BODILESS:
            lines.append(b"Content-Length: %d\r\n" % self.length)
        lines.append(extra)
        lines.append(b"\r\n")
        return b"".join(lines)


def error_answer(
    status: int, reason: str, detail: str, accept: bytes, request_id: bytes, retry_after: int = 0
) -> tuple[tuple[tuple[bytes, bytes], ...], bytes]:
    """The fields and the body of an error response: HTML for those who ask for it, else JSON, with Proxy-Status (RFC 9209) and the
    request id.

    reason: the RFC 9209 error type, perhaps with parameters. detail: one sentence that the client may see. retry_after: seconds, 0: none.
    """
    phrase = reason_phrase(status).decode("ascii")
    identity = request_id.decode("latin-1")
    if b"text/html" in accept.lower():
        kind = b"text/html; charset=utf-8"
        text = (
            f"<!doctype html>\n<html><head><title>{status} {phrase}</title></head>\n"
            f"<body><h1>{status} {phrase}</h1>\n<p>{escape(detail)}</p>\n<p><small>Request {escape(identity)}</small></p></body></html>\n"
        )
    else:
        kind = b"application/json"
        text = json.dumps({"status": status, "error": phrase, "detail": detail, "request_id": identity}) + "\n"
    fields = [
        (b"Content-Type", kind),
        (b"Cache-Control", b"no-store"),
        (b"X-Request-ID", request_id),
        (b"Proxy-Status", b'terraster; error=%b; details="%b"' % (reason.encode("ascii"), _quoted(detail))),
    ]
    if retry_after:
        fields.append((b"Retry-After", b"%d" % retry_after))
    return tuple(fields), text.encode("utf-8")


def _quoted(text: str) -> bytes:
    """The inside of a structured-field string: RFC 8941, section 3.3.3."""
    plain = text.encode("ascii", "replace").decode("ascii")
    return plain.replace("\\", "\\\\").replace('"', '\\"').encode("ascii")
