"""The two ways in which a field block is refused."""

from __future__ import annotations

from terraster.errors import TerrasterError

from .static_table import Field

__all__ = ["HpackError", "Oversized"]


class HpackError(TerrasterError):
    """The octets are not a field block. The tables of the two sides may differ from now on, so the connection must end with
    COMPRESSION_ERROR (RFC 9113, section 4.3)."""

    __slots__ = ()


class Oversized(TerrasterError):
    """The list of fields is larger than the limit. The block was read to its end, so the connection can go on; one stream is refused.

    fields: those before the limit
    """

    __slots__ = ("fields",)

    def __init__(self, fields: list[Field]) -> None:
        super().__init__("list of fields too large")
        self.fields = fields
