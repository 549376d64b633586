"""Hashed passwords in the formats of Apache's htpasswd: bcrypt, ``$apr1$`` (salted MD5), ``{SHA}`` (unsalted SHA-1).

    name:$2y$05$…      bcrypt; `htpasswd -B`
    name:$apr1$…       1,000 rounds of MD5; htpasswd's default
    name:{SHA}…        base64 of one SHA-1; `htpasswd -s`

Lines that are empty or begin with ``#`` are left out. A plain password is refused, and so is crypt(3), which Python no longer has.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable

__all__ = ["MOST_COST", "Hashed", "basic", "check", "is_slow", "matches", "read", "table"]

MOST_COST = 15
"""The highest cost of a bcrypt hash: a password then takes some 2 s of a core. Each step above doubles that."""

_BCRYPT_OCTETS = 72  # bcrypt sees no more of a password; htpasswd cuts there
_BCRYPT = re.compile(rb"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_APR1 = re.compile(rb"\$apr1\$([./A-Za-z0-9]{1,8})\$([./A-Za-z0-9]{22})")
_SHA = re.compile(rb"\{SHA\}([A-Za-z0-9+/]{27}=)")
_DIGITS = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ROUNDS = 1000
_CONTROLS = bytes((*range(32), 127))

Hashed = bytes
"""A hashed password as written."""


def read(octets: bytes) -> dict[bytes, Hashed]:
    """The users of an htpasswd file. ValueError, with the number of the line, for a line that cannot be used, and for a file without an octet:
    it is about to be written. A comment alone says that nobody may come in."""
    if not octets:
        raise ValueError("is empty; write a comment (#) into it if nobody may come in")
    pairs = []
    for number, line in enumerate(octets.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith(b"#"):
            continue
        name, colon, hashed = line.strip().partition(b":")
        try:
            if not colon:
                raise ValueError("has no `:`")
            pairs.append((name, check(hashed.partition(b":")[0])))
        except ValueError as error:
            raise ValueError(f"line {number} {error}") from None
        if not name:
            raise ValueError(f"line {number} has no user name")
    return table(pairs)


def table(pairs: Iterable[tuple[bytes, Hashed]]) -> dict[bytes, Hashed]:
    """The users by name. ValueError if one is named twice."""
    found: dict[bytes, Hashed] = {}
    for name, hashed in pairs:
        if name in found:
            raise ValueError(f"names the user {name.decode('utf-8', 'replace')!r} twice")
        found[name] = hashed
    return found


def check(hashed: Hashed) -> Hashed:
    """The hash, if `matches` can use it. ValueError, which does not repeat it, if not."""
    found = _BCRYPT.fullmatch(hashed)
    if found is not None:
        if not 4 <= int(found[1]) <= MOST_COST:
            raise ValueError(f"has a bcrypt hash of cost {int(found[1])}; from 4 to {MOST_COST} are used")
        return hashed
    if _APR1.fullmatch(hashed) or _SHA.fullmatch(hashed):
        return hashed
    raise ValueError("has a password that is hashed neither with bcrypt nor as $apr1$ or {SHA}; `htpasswd -nB NAME` makes a hash")


def is_slow(hashed: Hashed) -> bool:
    """True if a comparison takes so long that other requests must not wait for it."""
    return not hashed.startswith(b"{SHA}")


def matches(hashed: Hashed, password: bytes) -> bool:
    """True if it is the password. hashed: as `check` returned it. The time does not depend on how much of the password is right."""
    if hashed.startswith(b"$2"):
        import bcrypt  # only here: most processes compare no passwords

        return bcrypt.checkpw(password[:_BCRYPT_OCTETS], hashed)
    if hashed.startswith(b"$apr1$"):
        made = _apr1(password, hashed.split(b"$")[2])
    else:
        made = b"{SHA}" + base64.b64encode(hashlib.sha1(password, usedforsecurity=False).digest())
    return hmac.compare_digest(made, hashed)


def _apr1(password: bytes, salt: bytes) -> Hashed:
    """``$apr1$``: the algorithm of apr_md5_encode in APR-util, which is the MD5 of crypt(3) with another mark."""
    inner = _md5(password + salt + password)
    text = password + b"$apr1$" + salt
    for left in range(len(password), 0, -16):
        text += inner[: min(left, 16)]
    bits = len(password)
    while bits:
        text += b"\0" if bits & 1 else password[:1]
        bits >>= 1
    digest = _md5(text)
    for turn in range(_ROUNDS):
        odd = turn & 1
        text = password if odd else digest
        if turn % 3:
            text += salt
        if turn % 7:
            text += password
        digest = _md5(text + (digest if odd else password))
    out = bytearray()
    for first, second, third in ((0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)):
        out += _digits(digest[first] << 16 | digest[second] << 8 | digest[third], 4)
    return b"$apr1$%b$%b" % (salt, bytes(out + _digits(digest[11], 2)))


def _digits(value: int, many: int) -> bytes:
    return bytes([_DIGITS[value >> 6 * place & 63] for place in range(many)])


def _md5(octets: bytes) -> bytes:
    return hashlib.md5(octets, usedforsecurity=False).digest()


def basic(value: bytes) -> tuple[bytes, bytes] | None:
    """The user name and the password of an Authorization field (RFC 7617, section 2); None if it has another scheme or is malformed."""
    scheme, _, encoded = value.strip(b" \t").partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(b" "), validate=True)
    except (binascii.Error, ValueError):
        return None
    name, colon, password = decoded.partition(b":")
    if not colon or decoded.translate(None, _CONTROLS) != decoded:
        return None
    return name, password
