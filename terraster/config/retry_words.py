"""Hints at words in `retry.on` that name no status: a status of gRPC with a slip in it, or a word of another proxy is probably meant."""

from __future__ import annotations

import difflib
import re

from ..wire import grpc

__all__ = ["meant"]

_STATUSES = {
    "5xx": "500-599",
    "4xx": "400-499",
    "gateway-error": "502-504",
    "retriable-4xx": "409",
    "all-retryable-errors": "500-599",
}
_WITHOUT_RESPONSE = (
    "conn-failure",
    "connect-failure",
    "empty-response",
    "error",
    "invalid-header",
    "junk-response",
    "refused-stream",
    "reset",
    "response-timeout",
    "timeout",
)
_GRPC = tuple(grpc.word_of(status) for status in range(grpc.APART + 1, grpc.APART + 17))
_HTTP = re.compile(r"http-([1-5][0-9][0-9])")


def meant(written: object) -> str:
    """A hint that follows the words of an error, "" if nothing is near."""
    word = str(written).strip().lower().replace("_", "-")
    if match := _HTTP.fullmatch(word):
        return f"; did you mean {match[1]}?"
    near = difflib.get_close_matches(word, (*_STATUSES, *_WITHOUT_RESPONSE), 1, 0.8)
    if near:
        if near[0] in _STATUSES:
            return f'; did you mean "{_STATUSES[near[0]]}"?'
        return "; an attempt without a response is tried again anyway, where that is safe"
    near = difflib.get_close_matches(word if word.startswith("grpc") else f"grpc-{word}", _GRPC, 1, 0.8)
    if near:
        return f"; did you mean `{near[0]}`?"
    return f"; the words are {', '.join(_GRPC)}" if word.startswith("grpc") else ""
