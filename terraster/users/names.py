"""Names of users. A name has one spelling: ``Alice``, ``ALICE`` and `` alice `` are the user ``alice``, also where failed logins are counted.

A name is ASCII on purpose: letters of other alphabets that look alike would make two users that an operator cannot tell apart.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["MOST", "altered", "broken", "canonical", "tried"]

MOST = 64
"""Characters of a name."""

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._@-]{0,62}[a-z0-9])?")


def canonical(written: str) -> str:
    """The one spelling of a name, which need not be valid: NFKC, lower case, without blanks and invisible characters around it."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", written).casefold())
    return "".join(one for one in folded if unicodedata.category(one) not in ("Cc", "Cf", "Zs", "Zl", "Zp"))


def tried(written: str) -> str:
    """The name of a login that failed, as a log may have it: "***" if it may be a password that was typed in the wrong field, which is any text
    that cannot be a name, or that has 8 characters and three kinds of them."""
    name = canonical(written)
    kinds = sum(any(map(kind, written)) for kind in (str.islower, str.isupper, str.isdigit, _is_sign))
    return "***" if broken(name) or (len(written) >= 8 and kinds >= 3) else name


def _is_sign(character: str) -> bool:
    return not (character.isalnum() or character in "._-@")


def altered(written: str) -> tuple[str, ...]:
    """The reason why a new name cannot be written like this, in words that follow "it …": it would become another one. () if it can. Case and
    blanks around it do not count."""
    name = canonical(written)
    if len(name) < len(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", written).casefold()).strip()):
        return (f"has a blank or an invisible character within; without it, it would be {name}",)
    return ()


def broken(name: str) -> tuple[str, ...]:
    """The reasons why a canonical name cannot be that of a user, in words that follow "it …"; () if it can."""
    if not _NAME.fullmatch(name):
        return (f"must have 1 to {MOST} characters: letters a-z, digits and . _ - @, the first and the last one a letter or digit",)
    return ()
