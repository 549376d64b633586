"""`tls.ocsp`: where OCSP responses come from."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, ValidationInfo, WithJsonSchema

from .. import scalars
from .base import file_path, text
from .switches import OFF_SCHEMA

__all__ = ["FETCH", "OcspSource"]

FETCH = "fetch"
"""The responder that a certificate names is asked."""


def _source(value: object, info: ValidationInfo) -> str:
    if scalars.is_off(value) or value == "":
        return ""
    if scalars.truth(value):
        raise ValueError("must be `off`, `fetch` or the name of a file")
    written = text(value)
    if written == FETCH:
        return FETCH
    if "/" not in written and "." not in written:  # a typing error would be a file that is missing, and that is only a warning
        raise ValueError(f"has {written!r}, which is not `off`, `fetch` or a file; a file of this name is ./{written}")
    return file_path(written, info)


OcspSource = Annotated[str, BeforeValidator(_source), WithJsonSchema({"anyOf": [{"type": "string"}, OFF_SCHEMA]})]
"""`FETCH`, an absolute file name, or "" for none."""
