"""The media type of a file, by the ending of its name."""

from __future__ import annotations

from functools import cache
from mimetypes import MimeTypes

__all__ = ["media_type"]


def media_type(file: str) -> bytes:
    """The value of Content-Type for a file; a text is taken for UTF-8."""
    kind = _types().guess_type(file)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8".encode() if kind.startswith("text/") else kind.encode()


@cache
def _types() -> MimeTypes:
    return MimeTypes(())  # not those of the host, so that a file has the same type everywhere
