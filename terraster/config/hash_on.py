"""The values of `hash_on`, which a consistent hash uses as its key: one spelling for one thing, or ValueError with a hint."""

from __future__ import annotations

import difflib
import re

__all__ = ["selector", "token"]

_PLAIN = ("client-ip", "path")
_NAMED = ("header", "cookie", "query")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CHOICES = "client-ip, path, header:NAME, cookie:NAME or query:NAME"


def token(value: str) -> str:
    """The name of a cookie or a header field: a token (RFC 9110, 5.6.2; RFC 6265, 4.1.1). ValueError else."""
    if not _TOKEN.fullmatch(value):
        raise ValueError(f"must be a name of letters, digits and !#$%&'*+-.^_`|~, not {value!r}")
    return value


def selector(value: object) -> str:
    """``client-ip``, ``path``, ``header:NAME`` (NAME in lower case), ``cookie:NAME`` or ``query:NAME`` (as they are written)."""
    if not isinstance(value, str):
        raise ValueError(f"must be {_CHOICES}")
    kind, colon, name = value.strip().partition(":")
    kind, name = kind.strip().lower().replace("_", "-"), name.strip()
    if kind in _PLAIN:
        if colon:
            raise ValueError(f"must not have a name after `{kind}`, not {value!r}")
        return kind
    if kind not in _NAMED:
        near = difflib.get_close_matches(kind, (*_PLAIN, *_NAMED), 1, 0.5)
        shown = {**dict.fromkeys(_PLAIN, ""), **dict.fromkeys(_NAMED, ":NAME")}
        hint = f"did you mean `{near[0]}{shown[near[0]]}`?" if near else f"there are {_CHOICES}"
        raise ValueError(f"is not a valid selector: {value!r}; {hint}")
    if not name:
        raise ValueError(f"must say which {kind}: {kind}:NAME")
    if kind == "query":
        if any(not "!" <= character <= "~" or character in "&=#" for character in name):
            raise ValueError(f"has an invalid query key: {name!r}")
        return f"query:{name}"
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"has an invalid {kind} name: {name!r}")
    return f"header:{name.lower()}" if kind == "header" else f"cookie:{name}"
