"""Responses of our own: heads, dates and short error pages. They reveal nothing about backends."""

from __future__ import annotations

import json
from collections.abc import Iterable
from email.utils import formatdate
from html import escape
from http import HTTPStatus

__all__ = ["error_answer", "http_date", "reason_phrase", "write_answer"]


def http_date(wall: float) -> bytes:
    """An IMF-fixdate (RFC 9110, section 5.6.7) for a time in seconds since 1970."""
    return formatdate(wall, usegmt=True).encode("ascii")


def reason_phrase(status: int) -> bytes:
    """The registered phrase of a status, b"" for an unregistered one."""
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        return b""


def write_answer(
    status: int,
    fields: Iterable[tuple[bytes, bytes]],
    body: bytes,
    method: bytes,
    minor: int,
    keep: bool,
    date: bytes,
) -> bytes:
    """A whole response. fields: without Date, Content-Length and Connection. keep: the connection can carry another request.

    method and minor are the request's: HEAD gets no body, HTTP/1.0 is told that a connection is kept. date: a Date field line.
    """
    lines = [b"HTTP/1.1 %d %b\r\n%b" % (status, reason_phrase(status), date)]
    lines += [b"%b: %b\r\n" % field for field in fields]
    if status != 204:
        lines.append(b"Content-Length: %d\r\n" % len(body))
    if not keep:
        lines.append(b"Connection: close\r\n")
    elif not minor:
        lines.append(b"Connection: keep-alive\r\n")
    lines.append(b"\r\n")
    if method != b"HEAD":
        lines.append(body)
    return b"".join(lines)


def error_answer(
    status: int,
    reason: str,
    detail: str,
    accept: bytes,
    request_id: bytes,
    method: bytes,
    minor: int,
    keep: bool,
    date: bytes,
    retry_after: int = 0,
) -> bytes:
    """A whole error response: HTML for those who ask for it, else JSON, with Proxy-Status (RFC 9209) and the request id.

    reason: the RFC 9209 error type. detail: one sentence that the client may see. retry_after: seconds, 0: no Retry-After.
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
    return write_answer(status, fields, text.encode("utf-8"), method, minor, keep, date)


def _quoted(text: str) -> bytes:
    """The inside of a structured-field string: RFC 8941, section 3.3.3."""
    plain = text.encode("ascii", "replace").decode("ascii")
    return plain.replace("\\", "\\\\").replace('"', '\\"').encode("ascii")
