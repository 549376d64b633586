"""The beginning of a backend's answer to a probe, as operators may see it: printable, without secrets, and bounded."""

from __future__ import annotations

import re
from collections.abc import Iterable

from terraster.config.loggers import AccessLog
from terraster.logs.sanitizer import Sanitizer

__all__ = ["KEPT", "Heard"]

KEPT = 256
"""Octets of an answer that are kept."""

_NAMES = ("authorization", "cookie", "set-cookie", "x-api-key", "passwd", "pwd", "client_secret", "private_key")
"""Masked besides the names of the configuration: the answer may be a page for developers, or the head of another protocol."""

_UNPRINTABLE = re.compile(r"[^\S ]+| {2,}")
_CUT_OFF = re.compile(r"(?<=://)[^/?#\s@:]*:[^/?#\s@]*$")  # the beginning of a password in a URL, or of a port: the rest tells


class Heard:
    """The answer to one probe, as far as it has come.

    keeps:  True if its beginning is wanted also if the probe passes
    status: of the response, 0: there is none yet
    octets: the beginning of the body, or of what came instead of a response
    judged: the verdict, if the rest of the body cannot change it any more
    """

    __slots__ = ("judged", "keeps", "octets", "status")

    def __init__(self, keeps: bool) -> None:
        self.keeps = keeps
        self.status = 0
        self.octets = b""
        self.judged: tuple[bool, str] | None = None

    @staticmethod
    def sanitizer(names: Iterable[str], mask: str) -> Sanitizer:
        """The mask for answers. names: those of the configuration"""
        return Sanitizer((*AccessLog().redact_query, *_NAMES, *names), mask)

    def text(self, sanitizer: Sanitizer) -> str:
        """The text that is shown. Line ends become spaces; characters that are not printable, and octets that are not UTF-8, are replaced."""
        text = self.octets[:KEPT].decode(errors="replace")
        if len(self.octets) >= KEPT:
            text = _CUT_OFF.sub("", text)
        plain = "".join(one if one.isprintable() else " " if one.isspace() else "\N{REPLACEMENT CHARACTER}" for one in text)
        return sanitizer.text(_UNPRINTABLE.sub(" ", plain)).strip()
