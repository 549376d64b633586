"""Which secrets are fit to sign tokens of the management API. Pure."""

from __future__ import annotations

__all__ = ["LEAST", "fault"]

LEAST = 32
"""Octets, as RFC 7518, section 3.2, demands of a key for HS256."""

_DISTINCT = 8  # different characters: fewer are a pattern that is only repeated
_KNOWN = (
    "yoursecretkey",
    "mysecretkey",
    "changeme",
    "changethis",
    "replaceme",
    "replacethis",
    "256bitsecret",
    "jwtsecret",
    "supersecret",
    "topsecret",
    "secretkey",
    "examplesecret",
    "verysecret",
    "notsosecret",
    "insecure",
    "defaultsecret",
    "testsecret",
    "developmentsecret",
)
"""Placeholders that examples and manuals have in the place of a secret, in small letters without punctuation."""


def fault(secret: str) -> str:
    """Why a secret does not protect what it signs, in words that follow "it …"; "" if it does."""
    octets = len(secret.encode("utf-8", "surrogatepass"))
    letters = "".join(one for one in secret.lower() if one.isalnum())
    if any(known in letters for known in _KNOWN):
        return "is the placeholder of an example, which everyone knows"
    if octets < LEAST:
        return f"has {octets} octets, but at least {LEAST} are needed"
    if len(set(secret)) < _DISTINCT:
        return f"repeats fewer than {_DISTINCT} different characters"
    return ""
