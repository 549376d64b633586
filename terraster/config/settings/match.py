"""`match`: the conditions of a location beside its path."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from .. import header_rules, patterns
from ..match import Conditions, Match
from .base import Model, Names, Peers, text

__all__ = ["MatchSettings"]

_UNMATCHED = frozenset(
    ("connection", "content-length", "expect", "http2-settings", "keep-alive", "proxy-connection", "te", "transfer-encoding")
)
"""Fields of one connection, or of the message, which differ between the versions of HTTP."""

_WRITTEN = frozenset(("client-cert", "client-cert-chain", "forwarded", "x-real-ip", "x-request-id"))
"""Fields that Terraster itself writes, besides X-Forwarded-*."""


def _pattern(value: object) -> str:
    written = text(value)
    patterns.compile_pattern(written)
    return written


def _methods(value: tuple[str, ...]) -> tuple[str, ...]:
    for index, method in enumerate(value):
        if not header_rules.is_token(method):
            raise ValueError(f"names {method!r}, which is not a method")
        if method != method.upper():
            raise ValueError(f"names {method}: methods are in capitals, {method.upper()}")
        if method in ("CONNECT", "TRACE"):
            raise ValueError(f"names {method}, which is not served")
        if method in value[:index]:
            raise ValueError(f"names {method} twice")
    return value


def _some(value: Any) -> Any:
    if not value:
        raise ValueError("must not be empty")
    return value


def _once(value: tuple[str, ...]) -> tuple[str, ...]:
    for index, one in enumerate(value):
        if one in value[:index]:
            raise ValueError(f"names {one} twice")
    return value


def _wanted(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    written = text(value).strip(" \t")
    if written.startswith("~"):
        if written == "~":
            raise ValueError("has no regular expression behind ~")
        patterns.compile_pattern(written[1:])
    return written


def _field_names(value: dict[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, wanted in value.items():
        if not header_rules.is_token(name):
            raise ValueError(f"names {name!r}, which is not a valid name of a header field")
        lower = name.lower()
        if lower == "host":
            raise ValueError("names Host: `host` of the service chooses by it")
        if lower in _UNMATCHED:
            raise ValueError(f"names {name}, which belongs to one connection, or frames the message")
        if lower in _WRITTEN or lower.startswith("x-forwarded-"):
            raise ValueError(f"names {name}, which Terraster itself writes; for the client's address there is `clients`")
        if lower == "cookie":
            raise ValueError("names Cookie: write `cookies`")
        if lower in found:
            raise ValueError(f"names {name} twice")
        found[lower] = wanted
    return found


def _cookie_names(value: dict[str, str]) -> dict[str, str]:
    for name in value:
        if not header_rules.is_token(name):
            raise ValueError(f"names {name!r}, which is not a valid name of a cookie")
    return value


_SCHEMA = {"type": ["string", "number", "boolean"]}
Wanted = Annotated[str, BeforeValidator(_wanted), WithJsonSchema(_SCHEMA)]
Fields = Annotated[dict[str, Wanted], AfterValidator(_some), AfterValidator(_field_names)]
Cookies = Annotated[dict[str, Wanted], AfterValidator(_some), AfterValidator(_cookie_names)]
Parameters = Annotated[dict[str, Wanted], AfterValidator(_some)]
Methods = Annotated[Names, AfterValidator(_some), AfterValidator(_methods)]
Clients = Annotated[Peers, AfterValidator(_some), AfterValidator(_once)]


class MatchSettings(Model):
    """Conditions beside `path`: all must hold. A value is `true` (there is one), `false` (there is none), `~` and a regular expression (RE2)
    for a whole value, or a value."""

    path: Literal["exact", "prefix"] = Field(
        "prefix", description="`exact`: `path` is the only path that is served here; `prefix`: the paths below it are served too."
    )
    path_regex: Annotated[str, BeforeValidator(_pattern)] | None = Field(
        None, description="Regular expression (RE2) for the whole canonical path, beside the prefix `path`. Default: any path."
    )
    methods: Methods | None = Field(
        None,
        description="Methods, in capitals; HEAD is not GET. A CORS preflight that `cors` answers has the method it asks about. Default: all.",
    )
    headers: Fields | None = Field(
        None, description="Fields of the request by name, each with its value. Of several fields one is enough."
    )
    query: Parameters | None = Field(
        None,
        description="Parameters of the query by name, percent-decoded, each with its value. Of several of one name one is enough.",
    )
    cookies: Cookies | None = Field(None, description="Cookies by name, each with its value. Of several of one name one is enough.")
    clients: Clients | None = Field(
        None,
        description="Addresses and networks (CIDR) of clients, behind `trusted_proxies` those that they report; `unix`: clients of unix "
        "sockets. Default: all.",
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("is empty: write a condition, or leave it out")
        if self.path == "exact" and self.path_regex is not None:
            raise ValueError("has `path: exact` and `path_regex`: keep one")
        return self

    def frozen(self) -> Match | None:
        """The conditions as a value; None if there are none."""
        made = Match(
            exact=self.path == "exact",
            path_regex=self.path_regex or "",
            methods=tuple(sorted(self.methods or ())),
            headers=_conditions(self.headers),
            query=_conditions(self.query),
            cookies=_conditions(self.cookies),
            clients=tuple(sorted(self.clients or ())),
        )
        return made if made.exact or made.selects else None


def _conditions(written: dict[str, str] | None) -> Conditions:
    return tuple(sorted((written or {}).items()))
