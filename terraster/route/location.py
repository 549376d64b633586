"""Two worlds: paths as the client sees them, and as a backend does.

Towards the backend the matched prefix is replaced by ``rewrite`` (if there is one) and the backend's base path is put in front:
`forward_path`. What the backend says of itself is put back on the way out: `map_back`, for Location and Content-Location (nginx's
proxy_redirect default, Apache's ProxyPassReverse). A prefix ends where a segment ends, in both directions, and slashes at the end
of a prefix or a rewrite mean nothing:

    location /api/, rewrite /v1, base path /app      /api/users  ⇄  /app/v1/users      /api ⇄ /app/v1      /api/ ⇄ /app/v1/

A backend speaks of itself by its own authority, by the Host it was sent (the client's), or by none. Everything else is another
site, and stays.
"""

from __future__ import annotations

import re

from ..config.snapshot import Backend
from ..errors import BadRequest
from .host import split_host

__all__ = ["forward_path", "https_target", "map_back"]

_URL = re.compile(rb"(?:([Hh][Tt][Tt][Pp][Ss]?):)?//([^/?#]*)([^?#]*)(.*)", re.DOTALL)
_PATH = re.compile(rb"(/[^?#]*)(.*)", re.DOTALL)
_DEFAULT_PORTS = {b"http": 80, b"https": 443}


def forward_path(path: bytes, prefix: bytes, rewrite: bytes, base_path: bytes) -> bytes:
    """What is sent to the backend for a canonical path that ``prefix`` fits.

    rewrite: replaces the prefix, b"" keeps it. base_path: b"" or without a slash at its end. Never empty, never loses a slash.
    """
    if rewrite:
        path = rewrite.rstrip(b"/") + path[len(prefix.rstrip(b"/")) :]
    return base_path + path or b"/"


def map_back(value: bytes, backend: Backend, scheme: bytes, host: bytes, prefix: bytes, rewrite: bytes) -> bytes:
    """The value of a Location field as the client must see it; the same object if nothing changes.

    scheme, host: of the request, b"http" or b"https" and the Host as it came, with its port. prefix, rewrite: as with
    `forward_path`.
    """
    base_path = backend.base_path.encode("ascii")
    match = None if value.startswith(b"//") else _PATH.fullmatch(value)
    if match is not None:
        path = _outer(match[1], base_path, prefix, rewrite)
        if path is None or path == match[1]:
            return value
        if path.startswith(b"//"):  # or it would name another host
            path = b"%b://%b%b" % (scheme, host, path)
        return path + match[2]
    match = _URL.fullmatch(value)
    if match is None:
        return value
    said = match[1].lower() if match[1] else b""  # b"" in //host/path: the client's scheme
    path = _outer(match[3] or b"/", base_path, prefix, rewrite)
    if _same(match[2], said or backend.scheme.encode("ascii"), _authority(backend), backend.port):
        if path is None:  # out of reach through this location, but the address of a backend helps no client
            path = match[3] or b"/"
        return b"%b://%b%b%b" % (scheme, host, path, match[4])
    if path is None or not _same(match[2], said or scheme, host, 0):
        return value
    if said == b"http" and backend.scheme == "http" and scheme == b"https":
        return b"https://%b%b%b" % (host, path, match[4])  # it was spoken to in clear and knows of no TLS in front of it
    if path == match[3]:
        return value
    return b"%b%b//%b%b%b" % (said, b":" if said else b"", match[2], path, match[4])


def _authority(backend: Backend) -> bytes:
    host = backend.host.encode("ascii")
    return b"[%b]" % host if b":" in host else host


def _same(authority: bytes, scheme: bytes, other: bytes, other_port: int) -> bool:
    """Whether two authorities are one, each with the port that it names or its scheme's; ``other_port``: what ``other`` has, 0 =
    that rule."""
    try:
        name, port = split_host(authority)
        other_name, named = split_host(other)
    except BadRequest:
        return False
    default = _DEFAULT_PORTS[scheme]
    return name == other_name and (port or default) == (other_port or named or default)


def _outer(path: bytes, base_path: bytes, prefix: bytes, rewrite: bytes) -> bytes | None:
    """The client's path for a backend's; None if it lies outside of what is reached through this location."""
    inner, outer = base_path, b""
    if rewrite:
        inner += rewrite.rstrip(b"/")
        outer = prefix.rstrip(b"/")
    rest = path[len(inner) :]
    if not path.startswith(inner) or (rest and rest[0] != 47):
        return None
    return outer + rest or b"/"


def https_target(name: bytes, redirect_port: int, path: bytes, query: bytes) -> bytes:
    """Where a plain-HTTP request is sent: the same host (as `split_host` gives it), path and query, under https. `BadRequest`
    without a host."""
    if not name:
        raise BadRequest("no Host to redirect to")
    port = b"" if redirect_port == 443 else b":%d" % redirect_port
    return b"https://%b%b%b%b%b" % (name, port, path, b"?" if query else b"", query)
