"""The facts of a certificate that a backend shows, and advice for the operator if it is refused. For the log and the status, never for clients:
the words name files and hosts."""

from __future__ import annotations

import time

from .certificate import common_name, subject_alternative_names
from .library import x509

__all__ = ["described"]

_NAMES = 5  # names of a certificate that are listed
_LONGEST = 100  # characters of a name: the backend wrote it


def described(chain: list[bytes], refusal: str, server_name: str, ca_file: str, now: float) -> str:
    """The certificate in a sentence, and a second one that says what to do. Raises ValueError if it cannot be read.

    chain:       in DER, as the backend sent it, its own certificate first
    refusal:     why it is refused: the words of `terraster.net.tls_faults`
    server_name: the name that it has to have
    ca_file:     the authorities that it is verified against; "" = the system's
    now:         time.time()
    """
    certificates = [x509.load_der_x509_certificate(one) for one in chain]
    first, last = certificates[0], certificates[-1]
    names = [_shown(one) for one in subject_alternative_names(first)]
    listed = ", ".join(names[:_NAMES]) + (f" and {len(names) - _NAMES} more" if len(names) > _NAMES else "")
    begin, end = _day(first.not_valid_before_utc.timestamp()), _day(first.not_valid_after_utc.timestamp())
    subject, issuer = _named(first.subject), _named(first.issuer)
    by = "itself" if first.subject == first.issuer else issuer
    facts = f"it shows the certificate of {subject}, issued by {by}, for {listed or 'no names'}, valid from {begin} to {end}"
    trusted = ca_file or "the system's authorities"
    if "self-signed" in refusal:
        advice = f"put this certificate into {ca_file}" if ca_file else "name a file with this certificate as `ca_file`"
    elif "unknown authority" in refusal:
        root = _named(last.issuer)
        advice = (
            f"add the certificate of {root} to {ca_file}" if ca_file else f"name a file with the certificate of {root} as `ca_file`"
        )
        if len(chain) == 1 and first.subject != first.issuer:
            advice += ", or, if that is an intermediate one, let the backend send it as well"
    elif "has expired" in refusal:
        advice = f"renew it at the backend: now is {_day(now)}"
        if first.not_valid_after_utc.timestamp() > now:
            advice = f"another one of the chain has expired (sent: {', '.join(_named(one.subject) for one in certificates[1:])})"
    elif "not valid yet" in refusal:
        advice = f"look at the clocks: here it is {_day(now)}"
    elif "server name" in refusal or "address in the URL" in refusal:
        advice = (
            f"{server_name} is not among its names: set `sni` to one that is, or give the backend a certificate for {server_name}"
        )
    else:
        return f"{facts}; it is verified against {trusted}"
    return f"{facts}; it is verified against {trusted}: {advice}"


def _named(name: x509.Name) -> str:
    return _shown(common_name(name)) or "nobody"


def _shown(text: str) -> str:
    plain = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text[: _LONGEST + 1])
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 1]}…"


def _day(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(moment))
