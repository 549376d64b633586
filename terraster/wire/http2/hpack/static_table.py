"""The static table of HPACK (RFC 7541, appendix A)."""

from __future__ import annotations

__all__ = ["ENTRIES", "NAMES", "PAIRS", "Field", "entry_size"]

Field = tuple[bytes, bytes, int]
"""Name, value, and the size that RFC 7541, section 4.1, gives them."""

_OVERHEAD = 32

_TABLE = """
:authority
:method GET
:method POST
:path /
:path /index.html
:scheme http
:scheme https
:status 200
:status 204
:status 206
:status 304
:status 400
:status 404
:status 500
accept-charset
accept-encoding gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate
"""


def entry_size(name: bytes, value: bytes) -> int:
    """The size of a field in the dynamic table and in a list of fields: octets, and 32 for what an entry costs besides."""
    return len(name) + len(value) + _OVERHEAD


def _entries() -> tuple[Field, ...]:
    entries: list[Field] = [(b"", b"", 0)]
    for line in _TABLE.encode("ascii").split(b"\n")[1:-1]:
        name, _, value = line.partition(b" ")
        entries.append((name, value, entry_size(name, value)))
    return tuple(entries)


def _first_of_each_name() -> dict[bytes, int]:
    names: dict[bytes, int] = {}
    for index in range(1, len(ENTRIES)):
        names.setdefault(ENTRIES[index][0], index)
    return names


ENTRIES = _entries()
"""The entries by their index. Indices start at 1, so the first entry has no meaning."""

NAMES = _first_of_each_name()
"""Name → the first index with this name."""

PAIRS = {(ENTRIES[index][0], ENTRIES[index][1]): index for index in range(1, len(ENTRIES))}
"""(name, value) → index."""
