"""The ways in which TLS with a backend fails, as errors with words for an operator: from the error of the library to `ConnectFailed`.

The RFC 9209 types: ``tls_certificate_error`` if we refuse the backend's certificate, ``tls_alert_received`` with its number if the backend
refuses us, ``tls_protocol_error`` for the rest. The words name neither host nor file, because clients may see them.
"""

from __future__ import annotations

import re
import ssl

from terraster.errors import ConnectFailed

__all__ = ["ALERTS", "REFUSED", "alert_of", "refuses_us", "tls_fault"]

REFUSED = "the backend's certificate "
"""How the words begin if we refuse the backend's certificate."""

ALERTS = {
    "UNEXPECTED_MESSAGE": 10,
    "BAD_RECORD_MAC": 20,
    "DECRYPTION_FAILED": 21,
    "RECORD_OVERFLOW": 22,
    "DECOMPRESSION_FAILURE": 30,
    "HANDSHAKE_FAILURE": 40,
    "NO_CERTIFICATE": 41,
    "BAD_CERTIFICATE": 42,
    "UNSUPPORTED_CERTIFICATE": 43,
    "CERTIFICATE_REVOKED": 44,
    "CERTIFICATE_EXPIRED": 45,
    "CERTIFICATE_UNKNOWN": 46,
    "ILLEGAL_PARAMETER": 47,
    "UNKNOWN_CA": 48,
    "ACCESS_DENIED": 49,
    "DECODE_ERROR": 50,
    "DECRYPT_ERROR": 51,
    "EXPORT_RESTRICTION": 60,
    "PROTOCOL_VERSION": 70,
    "INSUFFICIENT_SECURITY": 71,
    "INTERNAL_ERROR": 80,
    "INAPPROPRIATE_FALLBACK": 86,
    "USER_CANCELLED": 90,
    "NO_RENEGOTIATION": 100,
    "MISSING_EXTENSION": 109,
    "UNSUPPORTED_EXTENSION": 110,
    "CERTIFICATE_UNOBTAINABLE": 111,
    "UNRECOGNIZED_NAME": 112,
    "BAD_CERTIFICATE_STATUS_RESPONSE": 113,
    "BAD_CERTIFICATE_HASH_VALUE": 114,
    "UNKNOWN_PSK_IDENTITY": 115,
    "CERTIFICATE_REQUIRED": 116,
    "NO_APPLICATION_PROTOCOL": 120,
}
"""The numbers of alerts (IANA's registry "TLS Alerts") by the names that OpenSSL has for them."""

_SAID = re.compile(r"\b(?:SSLV3|TLSV13?)[_ ](?:ALERT[_ ])?([A-Z_ ]*[A-Z])", re.IGNORECASE)
"""The name of an alert in the library's words, which it has in two spellings: some have a `reason`, others only a text."""

_ABOUT_US = frozenset((41, 42, 43, 44, 45, 46, 48, 49, 116))
"""Alerts by which a server refuses a client's certificate, or that there is none. In TLS 1.3 they come when the client's handshake is over."""

_CERTIFICATE = {
    2: "comes from an unknown authority",
    9: "is not valid yet",
    10: "has expired",
    18: "is self-signed, and not trusted",
    19: "comes from an unknown authority",
    20: "comes from an unknown authority, or with half a chain",
    21: "comes from an unknown authority, or with half a chain",
    62: "is not for this server name (`sni`, else the URL's host)",
    64: "is not for the address in the URL",
}
"""By the codes of X509_verify_cert_error_string(3)."""

_PROTOCOL = {
    "WRONG_VERSION_NUMBER": "the backend does not answer in TLS: does it speak plain HTTP on this port?",
    "HTTP_REQUEST": "the backend does not answer in TLS: does it speak plain HTTP on this port?",
    "UNSUPPORTED_PROTOCOL": "the backend speaks no version of TLS that is allowed: 1.2 is the oldest one",
    "VERSION_TOO_LOW": "the backend speaks no version of TLS that is allowed: 1.2 is the oldest one",
    "DH_KEY_TOO_SMALL": "the backend's key is too short for TLS (DH key too small)",
    "EE_KEY_TOO_SMALL": "the backend's certificate has a key that is too short",
}


def tls_fault(error: ssl.SSLError) -> ConnectFailed:
    """The error of a handshake that the library gave up."""
    if isinstance(error, ssl.SSLCertVerificationError):
        words = _CERTIFICATE.get(error.verify_code) or f"is not valid: {error.verify_message}"
        return ConnectFailed(f"{REFUSED}{words}", reason="tls_certificate_error", lasting=True)
    alert = alert_of(error)
    if alert:
        return ConnectFailed(f"the backend refused the TLS handshake{_because(alert)}", reason="tls_alert_received", alert=alert)
    words = _PROTOCOL.get(_text(error)) or f"TLS with the backend failed: {_plain(_text(error))}"
    return ConnectFailed(words, reason="tls_protocol_error")


def alert_of(error: ssl.SSLError) -> int:
    """The number of the alert that the backend sent, 0 if the error is not about one."""
    said = _SAID.search(_text(error))
    return ALERTS.get(said[1].upper().replace(" ", "_"), 0) if said is not None else 0


def refuses_us(error: ssl.SSLError) -> bool:
    """True if the backend refused our certificate, or that we have none. It has not looked at a request then: RFC 8446, section 4.4.2.4."""
    return alert_of(error) in _ABOUT_US


def _text(error: ssl.SSLError) -> str:
    return getattr(error, "reason", None) or str(error)


def _because(alert: int) -> str:
    name = _NAMES[alert]
    if alert in (116, 41):
        return f" (alert {alert}, {name}): it wants a client certificate (`client_cert`)"
    if alert == 40:
        return f" (alert {alert}, {name}): it has no suite in common with us, or wants a client certificate (`client_cert`)"
    if alert == 48:
        return f" (alert {alert}, {name}): it does not trust the authority of our client certificate (`client_cert`)"
    if alert == 70:
        return f" (alert {alert}, {name}): it speaks neither TLS 1.2 nor 1.3"
    if alert == 112:
        return f" (alert {alert}, {name}): it does not know the server name (`sni`, else the URL's host)"
    return f" (alert {alert}, {name})"


_NAMES = {number: name.replace("_", " ").lower() for name, number in ALERTS.items()}


def _plain(words: str) -> str:
    return words.replace("_", " ").lower()
