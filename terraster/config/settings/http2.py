"""HTTP/2 towards clients. Each key is inherited by itself: service over top over default."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from terraster.wire.http2.limits import Limits

from .base import Model, Size, Whole
from .switches import OrWord, switched

__all__ = ["OVER_TLS", "Http2Setting", "Http2Settings"]

OVER_TLS = True
"""True if HTTP/2 is offered to TLS clients where no key says anything about it."""

_LIMITS = Limits()
_MOST = (1 << 31) - 1  # octets of a window: RFC 9113, section 6.9.1
_FIRST = 65535  # the window that a client has before it knows another one: section 6.9.2


class Http2Settings(Model):
    """HTTP/2 with clients, and the limits of each connection. Writing the block switches it on."""

    enabled: bool = Field(True, description="Speak HTTP/2 with clients.")
    max_streams: Annotated[Whole, Field(ge=1, le=10_000)] = Field(
        _LIMITS.max_streams, description="Requests at once; those beyond it are refused, and clients send them again."
    )
    header_list_size: Annotated[Size, Field(ge=1024, le=1 << 24)] | None = Field(
        None,
        description="Octets of a request's fields: names, values, and 32 for each field; beyond it 431. Default: `limits.header_size`, and 32 "
        "for each field of `limits.header_count`.",
    )
    header_count: Annotated[Whole, Field(ge=1, le=100_000)] | None = Field(
        None, description="Fields of a request; beyond it 431. Default: `limits.header_count`."
    )
    head_octets: Annotated[Size, Field(ge=1024, le=1 << 30)] = Field(
        _LIMITS.head_octets,
        description="Octets of the heads of all requests at once; a request that goes beyond it is refused, and clients send it again. One "
        "alone is never refused for that.",
    )
    resets_per_second: Annotated[Whole, Field(ge=1, le=1_000_000)] = Field(
        int(_LIMITS.resets_per_second),
        description="Requests that a client may cancel, or make Terraster cancel, per second in the long run; three times as many at once. "
        "One that was answered to its end makes up for one.",
    )
    window: Annotated[Size, Field(ge=_FIRST, le=_MOST)] = Field(
        _LIMITS.window, description="Octets of one request's body that a client may send before the backend takes them."
    )
    connection_window: Annotated[Size, Field(ge=_FIRST, le=_MOST)] = Field(
        _LIMITS.connection_window, description="Octets of all request bodies that a client may have under way."
    )
    buffered_octets: Annotated[Size, Field(ge=_FIRST, le=_MOST)] = Field(
        _LIMITS.buffered_octets,
        description="Octets of all request bodies that may wait for backends; beyond it the client has to wait.",
    )


Http2Setting = Annotated[Http2Settings, BeforeValidator(switched), OrWord()]
