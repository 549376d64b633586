"""Paths in two views: the client's and the backend's.

`forward_path` makes the backend's path. ``rewrite`` (if set) replaces the matched prefix, and the backend's base path is put in front.
`map_back` makes the client's path again, in Location and Content-Location (nginx: the default of proxy_redirect; Apache:
ProxyPassReverse). In both directions a prefix ends where a segment ends, and slashes at the end of a prefix or a rewrite have no
effect:

    location /api/, rewrite /v1, base path /app      /api/users  ⇄  /app/v1/users      /api ⇄ /app/v1      /api/ ⇄ /app/v1/

A URL means the backend itself if it has the backend's own authority, the Host that the backend received (the client's), or no
authority. Any other URL names another site and is not changed.
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
    """The path to send to the backend, for a canonical path that ``prefix`` matches. It is never empty and never loses a slash.

    rewrite:   replaces the prefix; b"" keeps the prefix
    base_path: b"", or a path without a slash at its end
    """
    if rewrite:
        path = rewrite.rstrip(b"/") + path[len(prefix.rstrip(b"/")) :]
    return base_path + path or b"/"


def map_back(value: bytes, backend: Backend, scheme: bytes, host: bytes, prefix: bytes, rewrite: bytes) -> bytes:
    """The value of a Location field in the client's view; the same object if nothing changes.

    scheme:          the request's, b"http" or b"https"
    host:            the request's Host as it was received, with its port
    prefix, rewrite: as for `forward_path`
    """
    base_path = backend.base_path.encode("ascii")
    match = None if value.startswith(b"//") else _PATH.fullmatch(value)
    if match is not None:
        path = _outer(match[1], base_path, prefix, rewrite)
        if path is None or path == match[1]:
            return value
        if path.startswith(b"//"):  # alone it would name another host
            path = b"%b://%b%b" % (scheme, host, path)
        return path + match[2]
    match = _URL.fullmatch(value)
    if match is None:
        return value
    said = match[1].lower() if match[1] else b""  # b"" in //host/path: the client's scheme
    path = _outer(match[3] or b"/", base_path, prefix, rewrite)
    if _same(match[2], said or backend.scheme.encode("ascii"), _authority(backend), backend.port):
        if path is None:  # this location does not reach the path, but the client must not see the backend's address
            path = match[3] or b"/"
        return b"%b://%b%b%b" % (scheme, host, path, match[4])
    if path is None or not _same(match[2], said or scheme, host, 0):
        return value
    if said == b"http" and backend.scheme == "http" and scheme == b"https":
        return b"https://%b%b%b" % (
            host,
            path,
            match[4],
        )  # the backend received plain HTTP and does not know that the client uses TLS
    if path == match[3]:
        return value
    return b"%b%b//%b%b%b" % (said, b":" if said else b"", match[2], path, match[4])


def _authority(backend: Backend) -> bytes:
    host = backend.host.encode("ascii")
    return b"[%b]" % host if b":" in host else host


def _same(authority: bytes, scheme: bytes, other: bytes, other_port: int) -> bool:
    """True if two authorities are the same. An authority without a port has its scheme's default port.

    other_port: the port of ``other``, 0 = the port that ``other`` names or the default
    """
    try:
        name, port = split_host(authority)
        other_name, named = split_host(other)
    except BadRequest:
        return False
    default = _DEFAULT_PORTS[scheme]
    return name == other_name and (port or default) == (other_port or named or default)


def _outer(path: bytes, base_path: bytes, prefix: bytes, rewrite: bytes) -> bytes | None:
    """The client's path for a backend's path; None if this location does not reach that path."""
    inner, outer = base_path, b""
    if rewrite:
        inner += rewrite.rstrip(b"/")
        outer = prefix.rstrip(b"/")
    rest = path[len(inner) :]
    if not path.startswith(inner) or (rest and rest[0] != 47):
        return None
    return outer + rest or b"/"


def https_target(name: bytes, redirect_port: int, path: bytes, query: bytes) -> bytes:
    """The https URL that a plain-HTTP request is redirected to: same host (from `split_host`), path and query. `BadRequest` without a
    host."""
    if not name:
        raise BadRequest("no Host to redirect to")
    port = b"" if redirect_port == 443 else b":%d" % redirect_port
    return b"https://%b%b%b%b%b" % (name, port, path, b"?" if query else b"", query)
