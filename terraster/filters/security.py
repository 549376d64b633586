"""`security`: fields that tell browsers to be careful with a response.

Strict-Transport-Security goes out over https only, because a browser must not believe it in clear (RFC 6797, section 7.2). A field of the
backend is replaced, or with `override: false` stands.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from ..config import scalars
from ..config.settings.base import Duration, Text, text
from ..config.settings.kinds import TOP, FilterSettings, Level
from ..exchange import Exchange
from ..state.view import SeatView
from ..wire.edits import Edits
from .contract import Filter, Place

__all__ = ["Security", "SecuritySettings"]

_YEAR = 31_536_000.0
_POLICIES = (
    "no-referrer",
    "no-referrer-when-downgrade",
    "origin",
    "origin-when-cross-origin",
    "same-origin",
    "strict-origin",
    "strict-origin-when-cross-origin",
    "unsafe-url",
)


def _chosen(words: tuple[str, ...], several: bool = False, upper: bool = False) -> Any:
    """A validator for `off` ("") or one of these words, with parameters behind a semicolon. several: or a list with commas."""

    def check(written: object) -> str:
        if scalars.is_off(written):
            return ""
        said = text(written).strip()
        named, semicolon, rest = said.partition(";")
        for word in named.split(",") if several else (named,):
            if word.strip().lower() not in words:
                raise ValueError(
                    f"must be one of {', '.join(word.upper() if upper else word for word in words)}, or off, not {word.strip()!r}"
                )
        return f"{named.upper() if upper else named.lower()}{semicolon}{rest}"

    return BeforeValidator(check)


def _or_off(written: object) -> object:
    return "" if scalars.is_off(written) else text(written).strip()


def _or_text(value: object) -> object:
    said = scalars.truth(value)
    return value if said is None else said


_Value = Annotated[Text, BeforeValidator(_or_off)]


class SecuritySettings(FilterSettings):
    """Fields that tell browsers to be careful."""

    enabled: bool = Field(True, description="False: none of these fields. `security: off` is short for that.")
    hsts: bool = Field(
        False,
        description="Strict-Transport-Security over https: browsers then use https alone for this host, until `hsts_max_age` is over.",
    )
    hsts_max_age: Duration = Field(_YEAR, description="How long, in whole seconds; 0 makes browsers forget it.")
    hsts_include_subdomains: bool = Field(False, description="For all hosts below this one as well.")
    hsts_preload: bool = Field(
        False,
        description="Let browsers have this host in the list that they ship with; the list also wants `hsts_include_subdomains` and a year.",
    )
    frame_options: Annotated[Text, _chosen(("deny", "sameorigin"), upper=True)] = Field(
        "", description="X-Frame-Options, which pages may show this one in a frame: DENY, SAMEORIGIN, or `off`. Default: off."
    )
    content_type_options: bool = Field(
        False, description="X-Content-Type-Options: nosniff. Browsers then take the Content-Type as it is."
    )
    xss_protection: Annotated[bool | Text, BeforeValidator(_or_text)] = Field(
        False, description="X-XSS-Protection: true for `1; mode=block`, or a value. Only old browsers read it."
    )
    content_security_policy: _Value = Field(
        "", description="Content-Security-Policy, what a page may load and run: a value, or `off`. Default: off."
    )
    content_security_policy_report_only: _Value = Field(
        "", description="Content-Security-Policy-Report-Only, a policy on trial: a value, or `off`. Default: off."
    )
    referrer_policy: Annotated[Text, _chosen(_POLICIES, several=True)] = Field(
        "",
        description="Referrer-Policy, how much of the URL other sites see: a policy, as in `strict-origin`, or `off`. Default: off.",
    )
    permissions_policy: _Value = Field(
        "", description="Permissions-Policy, features that a page may use, as in `camera=()`: a value, or `off`. Default: off."
    )
    cross_origin_opener_policy: Annotated[
        Text, _chosen(("unsafe-none", "same-origin-allow-popups", "same-origin", "noopener-allow-popups"))
    ] = Field("", description="Cross-Origin-Opener-Policy: a policy, as in `same-origin`, or `off`. Default: off.")
    cross_origin_embedder_policy: Annotated[Text, _chosen(("unsafe-none", "require-corp", "credentialless"))] = Field(
        "", description="Cross-Origin-Embedder-Policy: a policy, as in `require-corp`, or `off`. Default: off."
    )
    cross_origin_resource_policy: Annotated[Text, _chosen(("same-site", "same-origin", "cross-origin"))] = Field(
        "", description="Cross-Origin-Resource-Policy: a policy, as in `same-origin`, or `off`. Default: off."
    )
    override: bool = Field(True, description="Replace these fields of the backend. False: the backend's stand where it sends them.")

    def idle(self, beside: Collection[str]) -> Iterator[tuple[str, str]]:
        if not self.hsts:
            for key in ("hsts_max_age", "hsts_include_subdomains", "hsts_preload"):
                yield key, "has no effect without `hsts: true`"
        elif self.hsts_preload and not (self.hsts_include_subdomains and self.hsts_max_age >= _YEAR):
            yield (
                "hsts_preload",
                "has no effect: browsers' list wants `hsts_include_subdomains` and a `hsts_max_age` of a year as well",
            )
        said = [key for _, key in _FIELDS if getattr(self, key)]
        if not (said or self.hsts or self.content_type_options or self.xss_protection):
            yield "", "names no field, so it adds none"


_FIELDS = (
    (b"X-Frame-Options", "frame_options"),
    (b"Content-Security-Policy", "content_security_policy"),
    (b"Content-Security-Policy-Report-Only", "content_security_policy_report_only"),
    (b"Referrer-Policy", "referrer_policy"),
    (b"Permissions-Policy", "permissions_policy"),
    (b"Cross-Origin-Opener-Policy", "cross_origin_opener_policy"),
    (b"Cross-Origin-Embedder-Policy", "cross_origin_embedder_policy"),
    (b"Cross-Origin-Resource-Policy", "cross_origin_resource_policy"),
)
"""Fields whose value is that of a key."""


class _Lines:
    """Field lines: by name, and all together. names: in lower case."""

    __slots__ = ("by_name", "names", "together")

    def __init__(self, fields: Iterable[tuple[bytes, bytes]]) -> None:
        self.by_name = tuple((name.lower(), b"%b: %b\r\n" % (name, value)) for name, value in fields)
        self.names = frozenset(name for name, _ in self.by_name)
        self.together = b"".join([line for _, line in self.by_name])


class Security(Filter):
    """Adds the fields to every response but interim ones."""

    __slots__ = ("_clear", "_override", "_secure")

    name: ClassVar[str] = "security"
    settings: ClassVar[type[FilterSettings]] = SecuritySettings
    shorthand: ClassVar[tuple[Level, ...]] = (TOP,)

    def __init__(self, settings: SecuritySettings, place: Place, view: SeatView) -> None:
        fields = [(name, getattr(settings, key).encode("utf-8")) for name, key in _FIELDS if getattr(settings, key)]
        if settings.content_type_options:
            fields.append((b"X-Content-Type-Options", b"nosniff"))
        if settings.xss_protection:
            value = settings.xss_protection
            fields.append((b"X-XSS-Protection", b"1; mode=block" if value is True else str(value).encode("utf-8")))
        self._override = settings.override
        self._clear = _Lines(fields)
        if settings.hsts:
            hsts = b"max-age=%d" % settings.hsts_max_age
            if settings.hsts_include_subdomains:
                hsts += b"; includeSubDomains"
            if settings.hsts_preload:
                hsts += b"; preload"
            fields.append((b"Strict-Transport-Security", hsts))
        self._secure = _Lines(fields)

    def needs(self, hook: str) -> bool:
        return bool(self._secure.names)

    def on_response(self, exchange: Exchange, edits: Edits) -> None:
        if edits.status < 200:
            return
        lines = self._secure if exchange.scheme == "https" else self._clear
        if self._override:
            edits.drop |= lines.names
            edits.extra += lines.together
            return
        there = edits.values(lines.names)
        if not there:
            edits.extra += lines.together
            return
        for name, line in lines.by_name:
            if name not in there:
                edits.extra += line
