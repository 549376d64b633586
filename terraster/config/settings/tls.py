"""TLS towards clients, and the certificates for it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ..cipher_suites import suites
from .base import FilePath, Hosts, Model, Names, Port, Secret, SomeTime, Text
from .client_auth import ClientAuthSettings
from .ocsp import OcspSource
from .switches import OrWord, switched

__all__ = ["Alerting", "CertManager", "CertificateFiles", "TlsSetting", "TlsSettings"]


class CertificateFiles(Model):
    """One certificate and its key."""

    cert_file: FilePath = Field(description="PEM file with the certificate and its chain.")
    key_file: FilePath | None = Field(None, description="PEM file with the private key. Default: `cert_file`, which then has both.")


Suites = Annotated[Names, AfterValidator(suites)]


class TlsSettings(Model):
    """TLS on a listener. Writing the block switches it on; a service with it is never served in clear."""

    enabled: bool = Field(True, description="Require TLS from clients.")
    cert_file: FilePath | None = Field(None, description="PEM file with the certificate and its chain.")
    key_file: FilePath | None = Field(None, description="PEM file with the private key. Default: `cert_file`, which then has both.")
    certificates: tuple[CertificateFiles, ...] = Field(
        (), description="More certificates for the same names, with keys of another kind: ECDSA and RSA side by side."
    )
    min_version: Literal["1.2", "1.3"] = Field("1.2", description="Oldest version of TLS that clients may speak.")
    cipher_suites: Suites = Field(
        (),
        description="Cipher suites for TLS 1.2, by their OpenSSL, IANA or Go names, best first. Those of TLS 1.3 are always all in use. "
        'Default: those of Mozilla\'s "intermediate" configuration.',
    )
    session_tickets_disabled: bool = Field(False, description="Resume no sessions: hand out no tickets.")
    next_protos: Names = Field(
        (),
        description="ALPN protocols offered, best first. A list with h2 switches HTTP/2 on, one without it off, unless `http2` beside it "
        "says otherwise. Default: h2 where HTTP/2 is on, and http/1.1.",
    )
    default: bool = Field(False, description="Serve clients whose server name no service on the listener has, or that send none.")
    client_auth: ClientAuthSettings | None = Field(None, description="Certificates that clients authenticate with.")
    http2: bool | None = Field(None, description="Offer HTTP/2 by ALPN. Default: as `http2` says.")
    cert_dir: FilePath | None = Field(
        None,
        description="Directory of certificates, which are found by the names in them; for hosts that the files above do not cover.",
    )
    auto_cert: bool = Field(False, description="Obtain and renew the certificate by ACME, as `acme` says.")
    domains: Hosts = Field((), description="Names of that certificate. Default: the service's exact hosts.")
    ocsp: OcspSource = Field(
        "",
        description="OCSP responses that clients get with the certificate: `fetch` asks the responder that the certificate names; or a "
        "file with a response in DER, which something else renews. One that is missing or has expired is not sent, and keeps nothing from "
        "running. Default: off.",
    )

    @model_validator(mode="after")
    def _has_its_certificate(self) -> TlsSettings:
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("has `key_file` without `cert_file`")
        if self.auto_cert and self.files():
            raise ValueError("has both `auto_cert` and `cert_file`: keep one")
        return self

    def files(self) -> tuple[tuple[str, str], ...]:
        """Certificate and key of each pair, in the order of the file."""
        pairs = [(self.cert_file, self.key_file)] if self.cert_file is not None else []
        pairs += [(one.cert_file, one.key_file) for one in self.certificates]
        return tuple((certificate, key or certificate) for certificate, key in pairs)


TlsSetting = Annotated[TlsSettings, BeforeValidator(switched), OrWord()]


class Alerting(Model):
    """Mail before a certificate expires."""

    enabled: bool = Field(True, description="Send mail.")
    smtp_host: Text | None = Field(None, description="Mail server. Required.")
    smtp_port: Port | None = Field(None, description="Its port; on 465 the connection begins with TLS. Default: 587.")
    starttls: Literal["required", "optional", "off"] = Field(
        "required",
        description="`required`: send nothing without TLS and a certificate that can be verified; `optional`: use TLS if the server "
        "offers it, whatever its certificate is, but send no password without a certificate that can be verified; `off`: never use it.",
    )
    ca_file: FilePath | None = Field(None, description="PEM file with the authorities of the mail server. Default: the system's.")
    from_email: Text | None = Field(
        None, description="Sender, also the name for the login. Default: `terraster@` and the name of the host."
    )
    from_password: Secret | None = Field(
        None, description="The sender's password; `file:/path` reads it from a file. Default: no login."
    )
    to_emails: Names = Field((), description="Receivers. At least one.")

    @model_validator(mode="after")
    def _can_be_sent(self) -> Alerting:
        if self.enabled and not (self.smtp_host and self.to_emails):
            raise ValueError("needs `smtp_host` and `to_emails`")
        if self.from_password is not None and self.from_email is None:
            raise ValueError("has `from_password` without `from_email`")
        for address in (*self.to_emails, *(() if self.from_email is None else (self.from_email,))):
            if not _ADDRESS.fullmatch(address):
                raise ValueError(f"has {address!r}, which is not a mail address")
        return self


_ADDRESS = re.compile(r"[^\s@<>,;]+@[^\s@<>,;]+")


class CertManager(Model):
    """Watches certificates."""

    cert_dir: FilePath | None = Field(
        None, description="Directory of certificates for all services with `tls`, searched after their own files and directories."
    )
    check_interval: SomeTime = Field(
        30.0, description="Time between two looks at the files of certificates. Changed ones are taken without a reload."
    )
    expiration_threshold: SomeTime = Field(
        30 * 86400.0,
        description="How long before its end a certificate counts as expiring; at most a third of its lifetime.",
    )
    ticket_key_lifetime: SomeTime = Field(
        43200.0,
        description="Time after which workers write session tickets with another key. Tickets of the key before are read for as long again. "
        "A reload that changes this value changes the key at once.",
    )
    alerting: Annotated[Alerting, BeforeValidator(switched), OrWord()] | None = Field(
        None, description="Mail before a certificate expires."
    )
