"""Which passwords users may choose. Pure; the comparison with earlier passwords needs bcrypt and is made by the caller.

`reasons` names every broken rule at once, in words that follow "it …".
"""

from __future__ import annotations

import secrets
import string
import unicodedata
from typing import NamedTuple

from .well_known import WORDS

__all__ = ["DAY", "MOST_OCTETS", "REUSED", "Policy", "expires", "generate", "normal", "reasons", "rules"]

MOST_OCTETS = 72
"""bcrypt sees no more octets of a password, so a longer one is refused rather than cut."""

DAY = 86_400
_MOST_EQUAL = 3
_SEQUENCE = 3
_NAME_COUNTS = 3  # a shorter name is in many good passwords
_GENERATED = 20
_SPECIALS = "!#%+-./:=?@_~"
_LEET = (str.maketrans("4@8369105$7+!|", "aabeggiossttii"), str.maketrans("4@8369105$7+!|", "aabegglosstt" + "ll"))
REUSED = "is one of your last {many} passwords"


class Policy(NamedTuple):
    """min_length: characters. history: how many of the last passwords, the current one included, may not be used again. expiry_days: 0 for
    never."""

    min_length: int = 12
    history: int = 5
    expiry_days: int = 0


def normal(password: str) -> str:
    """The password as it is compared: NFC (RFC 8265, section 4.2), so that two keyboards that write one letter differently agree."""
    return unicodedata.normalize("NFC", password)


def rules(policy: Policy) -> tuple[str, ...]:
    """The rules, for a person who is about to choose a password."""
    found = [
        f"at least {policy.min_length} characters",
        f"at most {MOST_OCTETS} octets in UTF-8",
        "an upper-case letter, a lower-case letter, a digit and a special character",
        f"no more than {_MOST_EQUAL} equal characters in a row",
        "no sequences such as abc or 321",
        "not the user name",
        "not a well-known password, whatever digits and special characters are added to it",
    ]
    if policy.history:
        found.append(f"none of the last {policy.history} passwords")
    if policy.expiry_days:
        found.append(f"a new one every {policy.expiry_days} days")
    return tuple(found)


def reasons(password: str, name: str, policy: Policy) -> tuple[str, ...]:
    """Every rule that a password breaks. password: as `normal` returns it. name: of the user."""
    found = []
    if len(password) < policy.min_length:
        found.append(f"must have at least {policy.min_length} characters")
    if len(password.encode("utf-8", "surrogatepass")) > MOST_OCTETS:
        found.append(f"must have at most {MOST_OCTETS} octets in UTF-8")
    if any(unicodedata.category(one) in ("Cc", "Cs") for one in password):
        found.append("must not contain control characters")
    for missing, there in (
        ("an upper-case letter", any(one.isupper() for one in password)),
        ("a lower-case letter", any(one.islower() for one in password)),
        ("a digit", any(one.isdigit() for one in password)),
        ("a special character", any(not one.isalnum() and not one.isspace() for one in password)),
    ):
        if not there:
            found.append(f"must contain {missing}")
    if _longest_run(password) > _MOST_EQUAL:
        found.append(f"must not contain more than {_MOST_EQUAL} equal characters in a row")
    if sequence := _sequence(password):
        found.append(f"must not contain a sequence such as {sequence}")
    if _names(password, name):
        found.append("must not contain the user name")
    if _well_known(password):
        found.append("must not be a well-known password with digits or special characters added")
    return tuple(found)


def expires(changed: int, policy: Policy) -> int:
    """When a password of that age must be changed, in seconds since 1970; 0: never."""
    return changed + policy.expiry_days * DAY if policy.expiry_days else 0


def generate(policy: Policy, name: str = "") -> str:
    """A random password that keeps the rules: some 120 bits."""
    length = max(_GENERATED, policy.min_length)
    letters = string.ascii_letters + string.digits + _SPECIALS
    while True:
        made = "".join(secrets.choice(letters) for _ in range(length))
        if not reasons(made, name, policy):
            return made


def _longest_run(password: str) -> int:
    longest = run = 0
    before = ""
    for one in password:
        run = run + 1 if one == before else 1
        longest = max(longest, run)
        before = one
    return longest


def _sequence(password: str) -> str:
    """The first three neighbours of the alphabet or of the digits, up or down; "" if there are none."""
    lowered = password.lower()
    for at in range(len(lowered) - _SEQUENCE + 1):
        part = lowered[at : at + _SEQUENCE]
        if not (part.isascii() and (part.isalpha() or part.isdigit())):
            continue
        steps = {ord(after) - ord(before) for before, after in zip(part, part[1:], strict=False)}
        if steps in ({1}, {-1}):
            return part
    return ""


def _readings(password: str) -> set[str]:
    """The letters of a password: those written, and those that digits and specials look like, with and without the ends that only decorate."""
    lowered = password.lower()
    bare = lowered.strip(string.digits + string.punctuation + string.whitespace)
    found = {lowered, bare, *(text.translate(table) for table in _LEET for text in (lowered, bare))}
    return {"".join(one for one in text if one.isalpha()) for text in found}


def _names(password: str, name: str) -> bool:
    letters = "".join(one for one in name if one.isalpha())
    if name and (name in password.lower() if len(name) >= _NAME_COUNTS else name == password.lower()):
        return True
    return any((letters in one) if len(letters) > _NAME_COUNTS else (letters and letters == one) for one in _readings(password))


def _well_known(password: str) -> bool:
    return any(_is_word(one) or _is_word(one[::-1]) for one in _readings(password) if one)


def _is_word(letters: str) -> bool:
    """True if it is a well-known word, or two or more of them in a row."""
    reachable = [False] * (len(letters) + 1)
    reachable[0] = True
    for end in range(1, len(letters) + 1):
        reachable[end] = any(reachable[start] and letters[start:end] in WORDS for start in range(end))
    return reachable[-1]
