"""Splits: the requests of a location, divided among groups of backends by clients."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from ..hash_on import selector, token
from .backend import BackendSetting
from .base import Algorithm, Model, Text, Whole
from .cookies import CookieSettings

__all__ = ["ArmSettings", "SplitSettings"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _arm_name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(f"must be 1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or a digit, not {value!r}")
    return value


def _by(value: object) -> str:
    if isinstance(value, str) and value.strip().lower() == "cookie":
        return "cookie"
    chosen = _selected(value, "cookie, client-ip, header:NAME, cookie:NAME or query:NAME")
    if chosen == "path":
        raise ValueError(
            "must be cookie, client-ip, header:NAME, cookie:NAME or query:NAME, not path: a client asks for many paths"
        )
    return chosen


def _named(value: object) -> str:
    chosen = _selected(value, "header:NAME, cookie:NAME or query:NAME")
    if ":" not in chosen:
        raise ValueError(f"must be header:NAME, cookie:NAME or query:NAME, not {chosen!r}")
    return chosen


def _selected(value: object, choices: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be {choices}")
    return selector(value)


ArmName = Annotated[Text, AfterValidator(_arm_name)]
SplitBy = Annotated[
    str,
    BeforeValidator(_by),
    WithJsonSchema({"type": "string", "pattern": r"^\s*(cookie|client[-_]ip|(header|cookie|query):.+)\s*$"}),
]
Override = Annotated[str, BeforeValidator(_named), WithJsonSchema({"type": "string", "pattern": "^(header|cookie|query):.+$"})]


class ArmSettings(Model):
    """One arm of a split."""

    name: ArmName | None = Field(
        None,
        description="Name of the arm, by which it keeps its clients; 1 to 64 letters, digits, `.`, `_`, `-`. Default: its position, from 1.",
    )
    weight: Annotated[Whole, Field(ge=0, le=1_000_000)] = Field(
        description="Share of the clients relative to the other arms; 0: no clients, except by `override`."
    )
    lb_policy: Algorithm | None = Field(None, description="How a backend of the arm is chosen. Default: the location's.")
    backends: tuple[BackendSetting, ...] = Field(description="Servers of the arm, as a location's `backends`.")


class SplitSettings(CookieSettings):
    """Divides the clients of a location among arms, each with backends of its own; in place of `backends`."""

    by: SplitBy = Field(
        "cookie",
        description="The mark of a client: `cookie`, which Terraster sets; or client-ip, header:NAME, cookie:NAME (another's cookie), "
        "query:NAME. Without that value it is the client's address.",
    )
    name: Annotated[Text, AfterValidator(token)] | None = Field(
        None,
        description="Name of the cookie. Splits of one name assign a client alike, if their arms are alike. Default: a word of the location's "
        "own.",
    )
    ipv6_prefix: Annotated[Whole, Field(ge=1, le=128)] = Field(
        64, description="Bits of an IPv6 address that count, 1 to 128: a network has the rest to itself."
    )
    fallback: bool = Field(
        False, description="Clients of an arm of which no backend is up go to the other arms meanwhile. False: they get 503."
    )
    override: Override | None = Field(
        None,
        description="header:NAME, cookie:NAME or query:NAME with the name of an arm: the request goes there, also at weight 0. Default: none.",
    )
    to: tuple[ArmSettings, ...] = Field(description="The arms, two or more.")

    @model_validator(mode="after")
    def _browsers_keep_it(self) -> Self:
        if self.same_site == "none" and self.secure == "never":
            raise ValueError("has `same_site: none` with `secure: false`: browsers refuse such a cookie")
        return self
