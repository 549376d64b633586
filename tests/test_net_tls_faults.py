"""The words and the RFC 9209 type for each way in which TLS with a backend fails."""

from __future__ import annotations

import ssl

import pytest

from terraster.net.tls_faults import ALERTS, alert_of, refuses_us, tls_fault


def broken(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] words (_ssl.c:1)")
    error.reason = reason
    return error


def unverified(code: int, message: str = "words of the library") -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.reason = "CERTIFICATE_VERIFY_FAILED"
    error.verify_code, error.verify_message = code, message
    return error


CERTIFICATE, ALERT, PROTOCOL = "tls_certificate_error", "tls_alert_received", "tls_protocol_error"


@pytest.mark.parametrize(
    "error, reason, alert, words",
    [
        (unverified(10), CERTIFICATE, 0, "the backend's certificate has expired"),
        (unverified(9), CERTIFICATE, 0, "is not valid yet"),
        (unverified(18), CERTIFICATE, 0, "is self-signed, and not trusted"),
        (unverified(20), CERTIFICATE, 0, "comes from an unknown authority"),
        (unverified(19), CERTIFICATE, 0, "comes from an unknown authority"),
        (unverified(62), CERTIFICATE, 0, "is not for this server name"),
        (unverified(64), CERTIFICATE, 0, "is not for the address in the URL"),
        (unverified(26, "unsuitable certificate purpose"), CERTIFICATE, 0, "is not valid: unsuitable certificate purpose"),
        (broken("TLSV13_ALERT_CERTIFICATE_REQUIRED"), ALERT, 116, "it wants a client certificate (`client_cert`)"),
        (broken("TLSV1_ALERT_UNKNOWN_CA"), ALERT, 48, "(alert 48, unknown ca): it does not trust the authority"),
        (broken("SSLV3_ALERT_HANDSHAKE_FAILURE"), ALERT, 40, "(alert 40, handshake failure)"),
        (broken("TLSV1_ALERT_PROTOCOL_VERSION"), ALERT, 70, "it speaks neither TLS 1.2 nor 1.3"),
        (broken("TLSV1_UNRECOGNIZED_NAME"), ALERT, 112, "it does not know the server name"),
        (broken("TLSV1_ALERT_OF_TOMORROW"), PROTOCOL, 0, "tlsv1 alert of tomorrow"),
        (broken("WRONG_VERSION_NUMBER"), PROTOCOL, 0, "does it speak plain HTTP on this port?"),
        (broken("UNSUPPORTED_PROTOCOL"), PROTOCOL, 0, "1.2 is the oldest one"),
        (broken("NO_PROTOCOLS_AVAILABLE"), PROTOCOL, 0, "TLS with the backend failed: no protocols available"),
        (ssl.SSLError("odd"), PROTOCOL, 0, "TLS with the backend failed: "),
    ],
)
def test_words(error: ssl.SSLError, reason: str, alert: int, words: str) -> None:
    fault = tls_fault(error)
    assert (fault.reason, fault.alert) == (reason, alert)
    assert words in fault.detail
    assert fault.unsent and fault.retryable
    assert fault.lasting == (reason == CERTIFICATE)


def test_which_alerts_are_about_our_certificate() -> None:
    about_us = {name for name in ALERTS if refuses_us(broken(f"TLSV1_ALERT_{name}"))}
    assert about_us == {
        "NO_CERTIFICATE",
        "BAD_CERTIFICATE",
        "UNSUPPORTED_CERTIFICATE",
        "CERTIFICATE_REVOKED",
        "CERTIFICATE_EXPIRED",
        "CERTIFICATE_UNKNOWN",
        "UNKNOWN_CA",
        "ACCESS_DENIED",
        "CERTIFICATE_REQUIRED",
    }
    assert not refuses_us(broken("WRONG_VERSION_NUMBER"))


@pytest.mark.parametrize("number", sorted(ALERTS.values()))
def test_alerts_as_the_library_reports_them(number: int) -> None:
    incoming = ssl.MemoryBIO()
    engine = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(incoming, ssl.MemoryBIO(), server_hostname="a.test")
    incoming.write(b"\x15\x03\x03\x00\x02\x02" + bytes((number,)))
    with pytest.raises(ssl.SSLError) as caught:
        engine.do_handshake()
    assert alert_of(caught.value) == number
