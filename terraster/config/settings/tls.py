"""TLS towards clients, and the certificates for it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from .base import FilePath, Model, Names, Port, Secret, SomeTime, Text
from .switches import OrWord, switched

__all__ = ["Alerting", "CertManager", "TlsSetting", "TlsSettings"]


class TlsSettings(Model):
    """TLS on a listener. Writing the block switches it on; a service with it is never served in clear."""

    enabled: bool = Field(True, description="Require TLS from clients.")
    cert_file: FilePath | None = Field(None, description="PEM file with the certificate and its chain.")
    key_file: FilePath | None = Field(None, description="PEM file with the private key.")
    cipher_suites: Names = Field(
        (), description="Cipher suites for TLS 1.2, by their OpenSSL or IANA names. Default: the library's."
    )
    session_tickets_disabled: bool = Field(False, description="Hand out no session tickets.")
    next_protos: Names = Field((), description="ALPN protocols offered, best first. Default: h2 (with `http2`), http/1.1.")
    http2: bool | None = Field(None, description="Offer HTTP/2 to clients.")
    domains: Names = Field((), description="Names to obtain certificates for, with `auto_cert`.")
    cert_dir: FilePath | None = Field(None, description="Directory of certificates, found by name.")
    auto_cert: bool = Field(False, description="Obtain and renew certificates by ACME.")


TlsSetting = Annotated[TlsSettings, BeforeValidator(switched), OrWord()]


class Alerting(Model):
    """Mail before a certificate expires."""

    enabled: bool = Field(True, description="Send mail.")
    smtp_host: Text | None = Field(None, description="Mail server.")
    smtp_port: Port | None = Field(None, description="Its port. Default: 587.")
    from_email: Text | None = Field(None, description="Sender.")
    from_password: Secret | None = Field(None, description="The sender's password; `file:/path` reads it from a file.")
    to_emails: Names = Field((), description="Receivers.")


class CertManager(Model):
    """Watches certificates."""

    cert_dir: FilePath | None = Field(None, description="Directory of certificates.")
    check_interval: SomeTime | None = Field(None, description="Time between two looks.")
    expiration_threshold: SomeTime | None = Field(None, description="How long before its end a certificate counts as expiring.")
    alerting: Annotated[Alerting, BeforeValidator(switched), OrWord()] | None = Field(
        None, description="Mail before a certificate expires."
    )
