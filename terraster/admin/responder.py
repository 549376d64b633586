"""One question to an OCSP responder, over plain HTTP (RFC 6960, appendix A; RFC 5019, section 5): the answer is signed.

No redirect is followed, and time and size of the answer are limited. All waits are those of the hub.
"""

from __future__ import annotations

import base64
import http.client
from urllib.parse import quote, urlsplit

import gevent

from ..certs.ocsp import MOST, OcspError, Question

__all__ = ["LIMIT", "ask"]

LIMIT = 10.0
"""Seconds that a question may take, all together."""

_MOST_IN_URL = 255  # octets: RFC 5019, section 5; a longer request is posted
_TYPE = "application/ocsp-request"


def ask(question: Question, limit: float = LIMIT) -> bytes:
    """The octets of the answer, whatever they are. limit: seconds. Raises `OcspError`."""
    try:
        parts = urlsplit(question.url)
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host, port = None, 0
    if not host:
        raise OcspError(f"the certificate names the OCSP responder {question.url!r}, which cannot be an address")
    place = f"the OCSP responder {question.url}"
    path = parts.path or "/"
    encoded = quote(base64.b64encode(question.request), safe="")
    short = len(question.url) + 1 + len(encoded) <= _MOST_IN_URL
    try:
        with gevent.Timeout(limit, TimeoutError(f"no answer within {limit:g} s")):
            connection = http.client.HTTPConnection(host, port, timeout=limit)
            try:
                if short:
                    connection.request("GET", f"{path.rstrip('/')}/{encoded}", headers={"Connection": "close"})
                else:
                    query = f"?{parts.query}" if parts.query else ""
                    connection.request("POST", path + query, question.request, {"Content-Type": _TYPE, "Connection": "close"})
                answer = connection.getresponse()
                if answer.status != 200:
                    raise OcspError(f"{place} answers {answer.status}")
                octets = answer.read(MOST + 1)
            finally:
                connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise OcspError(f"{place} cannot be asked: {getattr(error, 'strerror', None) or error or type(error).__name__}") from error
    if len(octets) > MOST:
        raise OcspError(f"{place} answers with more than {MOST >> 10} KiB")
    return octets
