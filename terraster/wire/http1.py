"""HTTP/1.1 message heads: the one door for all rooms above.

`terraster.wire.head_reader` reads every head, `terraster.wire.heads` has what it found. http1.pyx is the compiled twin of this module: it
takes the heads that are plainly in order and hands every other one to the same reader. So a refusal, a limit and its text are in one place.

Microseconds for reading a head, compiled, and by the reader if it has met the head before or not: a small GET 0.07, 0.7, 2.2; a browser's with
15 fields 0.23, 0.9, 6.2; a response with 8 fields 0.03 or 0.15, 0.4, 3.7 (`bench/heads.py`, 2026-11-29, CPython 3.11).
"""

from __future__ import annotations

from .head_reader import parse_request, parse_response
from .heads import RequestHead, ResponseHead

__all__ = ["MAX_INTERIM", "RequestHead", "ResponseHead", "parse_request", "parse_response"]

MAX_INTERIM = 32
"""Number of interim responses (1xx) that a backend may send to one request."""
