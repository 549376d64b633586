"""Kinds of middleware that the language has and Terraster does not: rate limit, security headers, compression. They are checked and
kept, and earn a warning. A filter of the same name takes the place of one of them (`terraster.filters.registry`)."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, Field

from .. import scalars
from .base import Duration, Text, Whole
from .kinds import LAY_OVER, SERVICE, TOP, FilterSettings, Inherit, Level

__all__ = ["ANNOUNCED", "Announced", "RateLimit"]


class RateLimit(FilterSettings):
    """How many requests one client may send."""

    requests_per_second: Annotated[float, Field(gt=0)] = Field(description="Requests per second, lasting.")
    burst: Annotated[Whole, Field(ge=1)] | None = Field(
        None, description="Requests at once above that. Default: one second's worth."
    )


def _or_text(value: object) -> object:
    said = scalars.truth(value)
    return value if said is None else said


class Security(FilterSettings):
    """Headers that tell browsers to be careful."""

    hsts: bool = Field(False, description="Send Strict-Transport-Security over https.")
    hsts_max_age: Duration | None = Field(None, description="Its max-age; seconds.")
    hsts_include_subdomains: bool = Field(False, description="Its includeSubDomains.")
    hsts_preload: bool = Field(False, description="Its preload.")
    frame_options: Text | None = Field(None, description="X-Frame-Options: DENY or SAMEORIGIN.")
    content_type_options: bool = Field(False, description="Send X-Content-Type-Options: nosniff.")
    xss_protection: Annotated[bool | Text, BeforeValidator(_or_text)] | None = Field(
        None, description="Send X-XSS-Protection: true, or its value."
    )


class Compression(FilterSettings):
    """Compressed answers."""

    enabled: bool = Field(True, description="Compress answers.")


class Announced(NamedTuple):
    """A kind without a filter; see `terraster.config.settings.kinds.Kind`."""

    name: str
    settings: type[FilterSettings]
    levels: tuple[Level, ...] = (TOP, SERVICE)
    shorthand: tuple[Level, ...] = (TOP,)
    inherit: Inherit = LAY_OVER
    answers: bool = False


ANNOUNCED = (
    Announced("rate_limit", RateLimit),
    Announced("security", Security),
    Announced("compression", Compression),
)
