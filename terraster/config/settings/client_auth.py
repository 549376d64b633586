"""Certificates of clients: which a service demands, and who must have issued them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import FilePath, Model, Whole

__all__ = ["ClientAuthSettings"]


class ClientAuthSettings(Model):
    """Certificates that clients of a service authenticate with."""

    mode: Literal["request", "require"] = Field(
        "require",
        description="`require` refuses clients without a certificate, `request` serves them too. Both refuse a certificate that is not valid.",
    )
    ca_file: FilePath = Field(description="PEM file with the authorities whose certificates are accepted.")
    crl_file: FilePath | None = Field(
        None, description="PEM file with a list of revoked certificates (CRL) of each authority. Default: none is revoked."
    )
    verify_depth: Whole | None = Field(
        None, ge=0, le=100, description="Most certificates between a client's own and one of `ca_file`. Default: 100."
    )
