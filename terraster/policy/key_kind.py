"""Which of a service's certificates an engine must choose for a client, where that is certain.

Certificates with keys of two kinds stand side by side in one engine, and it chooses during the handshake. An OCSP response belongs to one
certificate, and the engine must have it before. So if it is certain that a client can use one kind, the engine gets this one alone, with
its response. If it is not certain, the engine has both and chooses, and the client gets no response: it can do without one.

Pure. The rules are those of RFC 8446, section 4.4.2.2, and RFC 8422, section 5.1.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from terraster.wire.hello_offer import Offer

__all__ = ["certain_kind"]

_OF_CURVE = {"secp256r1": (0x0403, 23), "secp384r1": (0x0503, 24), "secp521r1": (0x0603, 25)}
"""Signature scheme and group of the curve of an ECDSA key, by the curve's name."""

_ECDSA_SUITES = {
    0xC02B: "ECDHE-ECDSA-AES128-GCM-SHA256",
    0xC02C: "ECDHE-ECDSA-AES256-GCM-SHA384",
    0xCCA9: "ECDHE-ECDSA-CHACHA20-POLY1305",
}
"""Suites of TLS 1.2 for ECDSA keys that are in use by default."""

_ECDSA_SCHEME = 3  # the second octet of the schemes of ECDSA with named curves


def certain_kind(keys: Mapping[str, str], client: Offer, suites: Collection[str]) -> str:
    """The kind of key that the client surely can use, the kind that the engine would choose too; "" if it is not certain.

    keys:   the kinds of the certificates ("ECDSA", "RSA"), each with its curve, "" for none
    suites: those of TLS 1.2 that are in use, OpenSSL's names
    """
    in_certificates = client.signatures_in_certificates
    if keys.keys() != {"ECDSA", "RSA"} or (in_certificates is not None and not in_certificates >= client.signatures):
        return ""
    if not any(scheme & 0xFF == _ECDSA_SCHEME for scheme in client.signatures):
        return "RSA" if client.signatures else ""
    scheme, group = _OF_CURVE.get(keys["ECDSA"], (0, 0))
    if scheme not in client.signatures:
        return ""
    if client.tls13:
        return "ECDSA"
    usable = any(number in client.suites and name in suites for number, name in _ECDSA_SUITES.items())
    if usable and group in client.groups:
        return "ECDSA"
    if not usable and suites and all(name in _ECDSA_SUITES.values() or "ECDSA" not in name for name in suites):
        return "RSA"
    return ""
