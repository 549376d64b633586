"""A document from a URL: one GET, which follows no redirect and uses no proxy. Time and size of the answer are limited.

All waits are those of the hub.
"""

from __future__ import annotations

import http.client
import ssl
from urllib.parse import urlsplit

import gevent

from ..errors import TerrasterError

__all__ = ["LIMIT", "MOST", "FetchError", "fetch"]

LIMIT = 10.0
"""Seconds that a fetch may take, all together."""

MOST = 256 << 10
"""Octets of a document: a set of 100 RSA keys has some 50 KiB."""


class FetchError(TerrasterError):
    """A document that could not be fetched. Its words hold no part of the URL, which may have a secret in its query."""


def fetch(url: str, ca_file: str = "", limit: float = LIMIT) -> bytes:
    """The octets of the document. ca_file: the authorities of an https server in PEM, "": those of the system. limit: seconds. Raises
    `FetchError`."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    try:
        with gevent.Timeout(limit, TimeoutError(f"no complete answer within {limit:g} s")):
            connection: http.client.HTTPConnection
            if parts.scheme == "https":
                context = ssl.create_default_context(cafile=ca_file or None)
                connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=limit, context=context)
            else:
                connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=limit)
            try:
                connection.request(
                    "GET", target, headers={"Connection": "close", "Accept": "application/json", "User-Agent": "terraster"}
                )
                answer = connection.getresponse()
                if answer.status != 200:
                    why = "; redirects are not followed" if 300 <= answer.status < 400 else ""
                    raise FetchError(f"the server answers {answer.status}{why}")
                octets = answer.read(MOST + 1)
                if len(octets) <= MOST and answer.length:  # what its Content-Length announced and did not come
                    raise FetchError("the server ended the connection before its answer was complete")
            finally:
                connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FetchError(
            f"the server cannot be asked: {getattr(error, 'strerror', None) or error or type(error).__name__}"
        ) from error
    if len(octets) > MOST:
        raise FetchError(f"the server answers with more than {MOST >> 10} KiB")
    return octets
