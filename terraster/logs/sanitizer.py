"""Masks secrets in what log lines repeat: URIs, header fields, and texts with queries, fields or JSON in them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote_plus

__all__ = ["Sanitizer"]

_SEPARATORS = re.compile(r"([&;?#])")
_QUERY = re.compile(r"[?#]")
_USERINFO = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*@")
_WITHIN = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]{0,30}://)[^/?#\s@]*@")  # bounded: "a.a.a…" would cost the square of its length
_ALWAYS = frozenset(("authorization", "proxy-authorization", "cookie", "set-cookie"))
"""Header fields whose value is masked, whatever the configuration says."""


class Sanitizer:
    """Masks the values of these names, compared without case, and with ``-`` and ``_`` alike in header fields. mask: in their place"""

    __slots__ = ("_mask", "_names", "_text", "_fields")

    def __init__(self, names: Iterable[str], mask: str) -> None:
        self._names = frozenset(name.lower() for name in names)
        self._fields = _ALWAYS | {name.replace("_", "-") for name in self._names}
        self._mask = mask
        self._text = _pattern(self._names)

    def uri(self, uri: str) -> str:
        """A URI without a user's name and password, and without the values of these parameters."""
        if "@" in uri:
            uri = _USERINFO.sub(lambda match: f"{match[1] or ''}//{self._mask}@", uri)
        begin = _QUERY.search(uri)
        if begin is None:
            return uri
        path, question, query = uri[: begin.start()], begin[0], uri[begin.end() :]
        parts = _SEPARATORS.split(query)
        for at in range(0, len(parts), 2):
            name, equals, _ = parts[at].partition("=")
            if equals and unquote_plus(name).strip().lower() in self._names:
                parts[at] = f"{name}={self._mask}"
        return path + question + "".join(parts)

    def field(self, name: str, value: str) -> str:
        """The value of a header field as a line may have it. name: in small letters"""
        if name.replace("_", "-") in self._fields:
            return self._mask
        if name in ("referer", "location"):
            return self.uri(value)
        return self.text(self.uri(value) if "%" in value else value)  # names of a query may be percent-encoded

    def parameter(self, name: str, value: str) -> str:
        """The value of a parameter of a query, both decoded."""
        return self._mask if name.strip().lower() in self._names else self.text(value)

    def text(self, text: str) -> str:
        """A text in which ``name=value``, ``name: value`` and ``"name": value`` of these names are masked, and passwords in URLs."""
        if "://" in text and "@" in text:
            text = _WITHIN.sub(lambda match: f"{match[1]}{self._mask}@", text)
        if self._text is None:
            return text
        return self._text.sub(self._masked, text)

    def _masked(self, match: re.Match[str]) -> str:
        value = match[3]
        quote = '"' if value.startswith('"') else '\\"' if value.startswith('\\"') else ""
        return f"{match[1]}{quote}{self._mask}{quote}"


def _pattern(names: frozenset[str]) -> re.Pattern[str] | None:
    """A name, quoted or not, what is between it and its value, and the value: a string of JSON, which may be cut off, a number or word of
    it, or a text up to the next separator. An array or object of JSON is masked with all that follows it."""
    if not names:
        return None
    name = "|".join(re.escape(one) for one in sorted(names, key=len, reverse=True))
    key = rf'(?<![\w.-])(?:\\?(")(?:{name})\\?"\s*:\s*|(?:{name})\s*[=:]\s*)'
    text = r'\\"(?:[^"\\]|\\[^"])*(?:\\"|\Z|(?="))|"(?:[^"\\]|\\.)*(?:"|\\?\Z)'
    value = rf'{text}|(?(2)[\[{{].*|(?!))|(?:Bearer|Basic)\s+[^\s,;&"]+|[^\s,;&"}}\]]+'
    return re.compile(f"({key})({value})", re.IGNORECASE | re.DOTALL)
