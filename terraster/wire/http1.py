"""HTTP/1.1 message heads: the one door for all rooms above.

`terraster.wire.head_reader` reads every head, `terraster.wire.heads` has what it found. http1.pyx is the compiled twin of this module: it
takes the heads that are plainly in order and hands every other one to the same reader. So a refusal, a limit and its text are in one place.
"""

from __future__ import annotations

from .head_reader import parse_request, parse_response
from .heads import RequestHead, ResponseHead

__all__ = ["MAX_INTERIM", "RequestHead", "ResponseHead", "parse_request", "parse_response"]

MAX_INTERIM = 32
"""Number of interim responses (1xx) that a backend may send to one request."""
