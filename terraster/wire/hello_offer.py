"""The parts of a ClientHello that decide which of several certificates an engine chooses (RFC 8446, sections 4.2.1, 4.2.3 and 4.2.7).

Read only where that matters: the parts that every handshake needs are read by `terraster.wire.client_hello`.
"""

from __future__ import annotations

__all__ = ["Offer", "offer"]

_STATUS_REQUEST, _GROUPS, _SIGNATURES, _VERSIONS, _SIGNATURES_IN_CERTIFICATES = 5, 10, 13, 43, 50
_TLS13 = 0x0304


class Offer:
    """The numbers that a client offers.

    wants_status: it asks for an OCSP response
    tls13:        it speaks TLS 1.3
    signatures:   schemes that it verifies in a handshake
    signatures_in_certificates: those that it verifies in certificates; None: it does not say
    """

    __slots__ = ("groups", "signatures", "signatures_in_certificates", "suites", "tls13", "wants_status")

    def __init__(
        self,
        wants_status: bool = False,
        tls13: bool = False,
        suites: frozenset[int] = frozenset(),
        groups: frozenset[int] = frozenset(),
        signatures: frozenset[int] = frozenset(),
        signatures_in_certificates: frozenset[int] | None = None,
    ) -> None:
        self.wants_status = wants_status
        self.tls13 = tls13
        self.suites = suites
        self.groups = groups
        self.signatures = signatures
        self.signatures_in_certificates = signatures_in_certificates


def offer(message: bytes) -> Offer:
    """message: a whole ClientHello with its header of 4 octets, which `HelloReader` took"""
    at = 4 + 2 + 32  # legacy_version, random
    at += 1 + message[at]  # legacy_session_id
    end = at + 2 + int.from_bytes(message[at : at + 2], "big")
    suites = _numbers(message[at + 2 : end])
    at = end + 1 + message[end]  # legacy_compression_methods
    length = 4 + int.from_bytes(message[1:4], "big")
    found: dict[int, bytes] = {}
    at += 2
    while at + 4 <= length:
        end = at + 4 + int.from_bytes(message[at + 2 : at + 4], "big")
        found[int.from_bytes(message[at : at + 2], "big")] = message[at + 4 : end]
        at = end
    in_certificates = found.get(_SIGNATURES_IN_CERTIFICATES)
    return Offer(
        wants_status=_STATUS_REQUEST in found,
        tls13=_TLS13 in _numbers(found.get(_VERSIONS, b"")[1:]),
        suites=suites,
        groups=_numbers(found.get(_GROUPS, b"")[2:]),
        signatures=_numbers(found.get(_SIGNATURES, b"")[2:]),
        signatures_in_certificates=None if in_certificates is None else _numbers(in_certificates[2:]),
    )


def _numbers(octets: bytes) -> frozenset[int]:
    """The numbers of two octets in a list of them."""
    return frozenset([int.from_bytes(octets[at : at + 2], "big") for at in range(0, len(octets) - 1, 2)])
