"""Masks secrets in what log lines repeat: URIs, header fields, and texts with queries, fields or JSON in them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from urllib.parse import unquote_plus

__all__ = ["Sanitizer"]

_SEPARATORS = re.compile(r"([&;?#])")
_QUERY = re.compile(r"[?#]")
_USERINFO = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*@")
_WITHIN = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]{0,30}://)[^/?#\s@]*@")  # bounded: "a.a.a…" would cost the square of its length
_TELLING = re.compile("[%=:]")
_NESTED = 3  # how often a value is percent-decoded in search of secrets
_PARTS = re.compile(r"[\[\].]")
_ALWAYS = frozenset(("authorization", "proxy-authorization", "cookie", "set-cookie"))
"""Header fields whose value is masked, whatever the configuration says."""


class Sanitizer:
    """Masks the values of these names, compared without case, and with ``-`` and ``_`` alike in header fields. mask: in their place"""

    __slots__ = ("names", "_mask", "_text", "_fields")

    def __init__(self, names: Iterable[str], mask: str) -> None:
        self.names = frozenset(name.lower() for name in names)
        self._fields = _ALWAYS | {name.replace("_", "-") for name in self.names}
        self._mask = mask
        self._text = _pattern(self.names, re.escape)

    def uri(self, uri: str) -> str:
        """A URI without a user's name and password, and without the values of these parameters, nor of others that have one of them within."""
        if "@" in uri:
            uri = _USERINFO.sub(lambda match: f"{match[1] or ''}//{self._mask}@", uri)
        begin = _QUERY.search(uri)
        if begin is None:
            return uri
        path, question, query = uri[: begin.start()], begin[0], uri[begin.end() :]
        parts = _SEPARATORS.split(query)
        for at in range(0, len(parts), 2):
            name, equals, value = parts[at].partition("=")
            if equals and (self._is_secret(unquote_plus(name)) or (_TELLING.search(value) and self._tells(value))):
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
        return self._mask if self._is_secret(name) else self.text(value)

    def _tells(self, value: str) -> bool:
        """True if there is a secret within a value of a query, which may be a URI itself and have one in its own query."""
        for _ in range(_NESTED):
            value = unquote_plus(value)
            if self.text(value) != value:
                return True
            if "%" not in value:
                break
        return False

    def _is_secret(self, name: str) -> bool:
        """True if this parameter of a query has one of the names, or a part of it has, as in ``user[password]`` and ``user.password``."""
        name = name.strip().lower()
        return name in self.names or not self.names.isdisjoint(_PARTS.split(name))

    def text(self, text: str) -> str:
        """A text in which ``name=value``, ``name: value`` and ``"name": value`` of these names are masked, and passwords in URLs."""
        if "://" in text and "@" in text:
            text = _WITHIN.sub(lambda match: f"{match[1]}{self._mask}@", text)
        pattern = _pattern(self.names, _escaped) if "\\u" in text else self._text
        return text if pattern is None else pattern.sub(self._masked, text)

    def _masked(self, match: re.Match[str]) -> str:
        value = match[3]
        quote = value[0] if value[0] in "\"'" else '\\"' if value.startswith('\\"') else ""
        return f"{match[1]}{quote}{self._mask}{quote}"


@lru_cache(maxsize=32)
def _pattern(names: frozenset[str], spelt: Callable[[str], str]) -> re.Pattern[str] | None:
    """A name, quoted or not, what is between it and its value, and the value: a string in quotes, which may be cut off, a number or word of
    JSON, or a text up to the next separator. An array or object of JSON is masked with all that follows it. spelt: the pattern of a name

    It takes up to 15 ms, and many logs have the same names."""
    if not names:
        return None
    name = "|".join(spelt(one) for one in sorted(names, key=len, reverse=True))
    index = r"(?:\]|%5D)?(?:(?:\[|%5B)\w{0,32}(?:\]|%5D)){0,4}"  # of user[password]=, password[]= and the like
    key = rf'(?:(?<![\w.-])|(?<=%5B))(?:\\?(["\'])(?:{name})\\?\2\s*:\s*|(?:{name}){index}\s*[=:]\s*)'
    text = r'\\"(?:[^"\\]|\\[^"])*(?:\\"|\Z|(?="))|"(?:[^"\\]|\\.)*(?:"|\\?\Z)' + r"|'(?:[^'\\]|\\.)*(?:'|\\?\Z)"
    value = rf'{text}|(?(2)[\[{{].*|(?!))|(?:Bearer|Basic)\s+[^\s,;&"]+|[^\s,;&"}}\]]+'
    return re.compile(f"({key})({value})", re.IGNORECASE | re.DOTALL)


def _escaped(name: str) -> str:
    """The pattern of a name that may have escapes of JSON: each character, or the number of it and of its other case."""
    return "".join(f"(?:{'|'.join(dict.fromkeys((re.escape(one), *_escapes(one))))})" for one in name)


def _escapes(one: str) -> Iterable[str]:
    """The escapes of a character, after one backslash, or two where JSON is within a string of JSON."""
    for form in (one, one.upper()):
        units = form.encode("utf-16-be")
        yield "".join(rf"\\{{1,2}}u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
