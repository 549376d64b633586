"""Conditions of a location beside its path: which requests it is for, its rank among locations of the same path, and its mark.

Of all locations whose conditions a request fulfils, the exact path comes first, then the longest prefix. Among those of one path the one with
the most conditions comes first, then the one with the most exact values, then the one with the most regular expressions, then the one that is
written first.

A location is called by its path and its mark (``/api#canary``). The mark is the location's `name`, or else tells the conditions, except for the
values of fields, cookies and parameters: they may be secrets, and a mark is in metrics and logs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network
from urllib.parse import quote

__all__ = ["Conditions", "Match", "covers", "mark", "order", "rank"]

Conditions = tuple[tuple[str, str], ...]
"""Names and what their values must be: "true" (there is one), "false" (there is none), "~" and a regular expression for the whole of one, or
the very value of one."""

_PRINTABLE = "".join(map(chr, range(33, 127))).replace("%", "")


@dataclass(frozen=True, slots=True)
class Match:
    """All conditions that are written must hold. () and "" mean that there is no such condition."""

    exact: bool = False  # the path itself, nothing below it
    path_regex: str = ""
    methods: tuple[str, ...] = ()
    headers: Conditions = ()  # names in lower case
    query: Conditions = ()
    cookies: Conditions = ()
    clients: tuple[str, ...] = ()  # networks and "unix"

    @property
    def selects(self) -> bool:
        """True if there is a condition besides the path."""
        return bool(self.path_regex or self.methods or self.clients or self.headers or self.query or self.cookies)

    @property
    def values(self) -> Conditions:
        """The conditions about fields, parameters and cookies."""
        return (*self.headers, *self.query, *self.cookies)


def rank(match: Match | None) -> tuple[bool, int, int, int]:
    """Sorts the locations of one path; those of one rank keep their order."""
    if match is None:
        return True, 0, 0, 0
    kinds = [_kind(wanted) for _, wanted in match.values]
    conditions = len(kinds) + sum(map(bool, (match.path_regex, match.methods, match.clients)))
    return not match.exact, -conditions, -kinds.count("value"), -kinds.count("pattern") - bool(match.path_regex)


def order(path: str, match: Match | None) -> tuple[object, ...]:
    """Sorts locations by their paths; those of one path are then in the order in which they are tried."""
    return path.rstrip("/"), *rank(match)


def _kind(wanted: str) -> str:
    return "presence" if wanted in ("true", "false") else "pattern" if wanted.startswith("~") else "value"


def mark(match: Match | None, name: str) -> str:
    """The word behind the path of a location by which it is called; "" for one without a name and conditions."""
    if name or match is None:
        return name
    parts = ["exact"] if match.exact else []
    parts += [f"~{match.path_regex}"] if match.path_regex else []
    parts += [",".join(match.methods)] if match.methods else []
    for kind, conditions in (("header", match.headers), ("query", match.query), ("cookie", match.cookies)):
        parts += [f"{'no-' * (wanted == 'false')}{kind}:{which}" for which, wanted in conditions]
    parts += [f"client:{','.join(match.clients)}"] if match.clients else []
    return quote("+".join(parts), safe=_PRINTABLE)


def covers(wide: Match | None, narrow: Match | None) -> bool:
    """True if each request that fulfils the conditions of one surely fulfils those of the other. Both are about the same path."""
    if wide is None or narrow is None:
        return wide is None or not wide.selects
    if wide.path_regex and wide.path_regex != narrow.path_regex:
        return False
    if wide.methods and not (narrow.methods and set(narrow.methods) <= set(wide.methods)):
        return False
    if wide.clients and not (narrow.clients and all(_within(one, wide.clients) for one in narrow.clients)):
        return False
    pairs = ((wide.headers, narrow.headers), (wide.query, narrow.query), (wide.cookies, narrow.cookies))
    return all(_implied(name, wanted, dict(others)) for conditions, others in pairs for name, wanted in conditions)


def _implied(name: str, wanted: str, others: dict[str, str]) -> bool:
    known = others.get(name)
    return known is not None and (known == wanted or (wanted == "true" and known != "false"))


def _within(client: str, networks: Iterable[str]) -> bool:
    if client in networks:
        return True
    if client == "unix":
        return False
    one = ip_network(client, strict=False)
    others = [ip_network(other, strict=False) for other in networks if other != "unix"]
    return any(one.version == other.version and one.subnet_of(other) for other in others)  # type: ignore[arg-type]
