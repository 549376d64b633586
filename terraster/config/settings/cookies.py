"""Cookies that Terraster sets: their names and attributes (RFC 6265bis, section 4.1)."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from .. import scalars
from ..hash_on import token
from ..snapshot import Sticky
from .base import Duration, Model, Text, text
from .switches import OFF_SCHEMA

__all__ = ["CookieSettings"]

_STICKY = Sticky()
_DOMAIN = re.compile(r"\.?[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_SECURE = {"auto": "auto", "always": "always", "never": "never"}


def _cookie_path(value: object) -> str:
    path = text(value)
    if not path.startswith("/") or ";" in path or not path.isascii() or not path.isprintable():
        raise ValueError('must start with "/" and contain no semicolon')
    return path


def _cookie_domain(value: object) -> str:
    domain = text(value)
    if not _DOMAIN.fullmatch(domain) or ".." in domain:
        raise ValueError(f"must be a domain like example.com, not {domain!r}")
    return domain.lower().removeprefix(".")  # RFC 6265, 5.2.3


def _secure(value: object) -> object:
    said = scalars.truth(value)
    word = _SECURE.get(str(value).strip().lower()) if said is None else "always" if said else "never"
    if word is None:
        raise ValueError("must be `auto`, `true` or `false`")
    return word


def _same_site(value: object) -> object:
    word = "" if scalars.is_off(value) else str(value).strip().lower()
    if word not in ("", "lax", "strict", "none"):
        raise ValueError("must be `lax`, `strict`, `none` or `off`")
    return word


class CookieSettings(Model):
    """A cookie that Terraster sets."""

    name: Annotated[Text, AfterValidator(token)] | None = Field(
        None, description="Name of the cookie. Default: `terraster-` and a word of the location's own."
    )
    path: Annotated[str, BeforeValidator(_cookie_path), WithJsonSchema({"type": "string", "pattern": "^/"})] | None = Field(
        None, description="Path of the cookie. Default: the location's."
    )
    domain: Annotated[str, BeforeValidator(_cookie_domain), WithJsonSchema({"type": "string"})] | None = Field(
        None, description="Domain of the cookie, for its subdomains too. Default: none: only the host that was asked."
    )
    ttl: Duration = Field(_STICKY.ttl, description="Max-Age of the cookie; 0: until the browser is closed.")
    secure: Annotated[
        Literal["auto", "always", "never"],
        BeforeValidator(_secure),
        WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "string", "enum": ["auto"]}]}),
    ] = Field(_STICKY.secure, description="Mark the cookie as Secure; auto: if the client came by https.")
    same_site: Annotated[
        Literal["lax", "strict", "none", ""],
        BeforeValidator(_same_site),
        WithJsonSchema({"anyOf": [{"type": "string", "enum": ["lax", "strict", "none", "off"]}, OFF_SCHEMA]}),
    ] = Field(_STICKY.same_site, description="SameSite of the cookie: lax, strict, none, or off for not at all.")

    @model_validator(mode="after")
    def _browsers_take_it(self) -> Self:
        if self.name is not None and self.name.startswith("__Host-") and (self.domain is not None or self.path not in (None, "/")):
            raise ValueError("has a `name` that begins with __Host-, which requires the `path` / and no `domain`")
        return self
