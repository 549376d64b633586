"""How certificates are obtained by ACME."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from .base import FilePath, Model, Secret, SomeTime, Text

__all__ = ["AcmeSettings", "EabSettings"]


def _directory(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "https" or not parts.hostname:
        raise ValueError("must be the https URL of an ACME directory")
    return value


class EabSettings(Model):
    """The external account that an authority wants its ACME accounts to be bound to."""

    kid: Text = Field(description="The key identifier that the authority gave you.")
    hmac_key: Secret = Field(description="The key that it gave you, in base64url; `file:/path` reads it from a file.")


class AcmeSettings(Model):
    """Obtains the certificates of services with `tls.auto_cert`."""

    directory: Annotated[Text, AfterValidator(_directory)] = Field(
        "https://acme-v02.api.letsencrypt.org/directory", description="Directory URL of the authority."
    )
    email: Text | None = Field(None, description="Address that the authority may write to.")
    ca_file: FilePath | None = Field(
        None,
        description="PEM file with the roots that the authority's own server is verified against. Default: the well-known ones.",
    )
    challenge: Literal["http-01", "tls-alpn-01", "dns-01"] | None = Field(
        None,
        description="How the authority is shown that the names are yours. Default: tls-alpn-01 for a service with a TLS listener on port 443, "
        "else http-01.",
    )
    dns_hook: FilePath | None = Field(None, description="Program that makes and removes the records of dns-01.")
    eab: EabSettings | None = Field(None, description="External account binding.")
    key_type: Literal["ec256", "ec384", "rsa2048", "rsa3072", "rsa4096"] = Field(
        "ec256", description="Kind of the private keys of certificates; a change counts from the next order on."
    )
    renew_before: SomeTime | None = Field(
        None,
        description="Time before its end at which a certificate is renewed. Default: when the authority says (ARI), else after two thirds of "
        "its lifetime.",
    )
