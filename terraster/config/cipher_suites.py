"""Names of cipher suites for TLS 1.2: configurations have those of OpenSSL, and those of IANA, which Go's library uses as well."""

from __future__ import annotations

import difflib

__all__ = ["is_of_tls13", "suites", "suits_http2"]

_KNOWN = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256": "ECDHE-ECDSA-AES128-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": "ECDHE-RSA-AES128-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA256": "AES128-SHA256",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
}
_KNOWN |= {  # as Go's library spelt them first
    f"TLS_ECDHE_{key}_WITH_CHACHA20_POLY1305": f"ECDHE-{key}-CHACHA20-POLY1305" for key in ("ECDSA", "RSA")
}
_OPENSSL = frozenset(_KNOWN.values())
_OF_TLS13 = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")


def is_of_tls13(name: str) -> bool:
    """True for a suite of TLS 1.3, of which all are always in use: the library has no way to choose."""
    return name in _OF_TLS13


def suits_http2(name: str) -> bool:
    """True for a suite of TLS 1.2 that HTTP/2 allows (RFC 9113, section 9.2.2). name: OpenSSL's"""
    return name.startswith("ECDHE-") and ("-GCM-" in name or "-CHACHA20-" in name)


def suites(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names that OpenSSL has for these; those of TLS 1.3 stay. Raises ValueError for a name that is not known."""
    found = []
    for name in names:
        upper = name.upper()
        if upper in _OPENSSL or is_of_tls13(upper):
            found.append(upper)
        elif upper in _KNOWN:
            found.append(_KNOWN[upper])
        else:
            near = difflib.get_close_matches(upper, (*_OPENSSL, *_KNOWN, *_OF_TLS13), 1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            raise ValueError(f"{name!r} is not a known cipher suite{hint}")
    return tuple(dict.fromkeys(found))
