"""Sticky sessions: a cookie names the backend that a client has been given, and it stays with it.

    Set-Cookie: terraster-5f0c21d9=pS5X…; Path=/shop; Secure; HttpOnly; SameSite=Lax

The value is ``base64url(HMAC-SHA256(key, location id NUL backend id))``, its first `_LENGTH` characters (132 bits): the client learns
nothing of the backend from it, and nobody can make up one for a backend without the key. As a location has few backends, their
values are worked out when the plan is compiled, and one look into a dictionary is the whole check: whatever is not in there (forged,
from another location, of a backend that is gone) is ignored. The key is the host's own, so cookies outlive reloads and restarts.

A client without a (good) cookie gets a backend by the algorithm underneath. One that has one goes to its backend as long as that may
have sessions: also where it is draining or its weight is 0, and at any point of a slow start. Where it may not, or is full or tried,
the client gets another, and the answer names that one.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Collection, Sequence
from hashlib import blake2b
from hmac import digest
from typing import ClassVar

from ..config.snapshot import Location
from ..exchange import Exchange
from ..wire.edits import Edits
from .contract import Balancer, Member
from .keys import cookies
from .set_cookie import attributes

__all__ = ["StickySession", "cookie_name", "token"]

_LENGTH = 22


def token(key: bytes, location: str, backend: str) -> bytes:
    """The value of the cookie for a backend of a location (their ids)."""
    return urlsafe_b64encode(digest(key, f"{location}\0{backend}".encode(), "sha256"))[:_LENGTH]


def cookie_name(location: Location) -> str:
    """The name of a location's cookie: its own by default, so that two locations with overlapping paths do not share one."""
    return location.sticky.name or "terraster-" + blake2b(location.id.encode(), digest_size=4).hexdigest()


class StickySession(Balancer):
    """See above. ``inner`` chooses for those who come new; it has the same members."""

    __slots__ = ("measures", "_inner", "_name", "_members", "_pairs", "_lines", "_https")

    name: ClassVar[str] = "sticky-session"
    cookie: ClassVar[bool] = True

    def __init__(self, members: Sequence[Member], location: Location, inner: Balancer) -> None:
        super().__init__(members)
        self._inner = inner
        self.measures = inner.measures
        sticky = location.sticky
        self._name = cookie_name(location).encode("ascii")
        values = [token(sticky.key, location.id, member.backend.id) for member in members]
        self._members = dict(zip(values, members, strict=True))
        self._pairs = {member: b"%b=%b" % (self._name, value) for value, member in self._members.items()}
        self._lines, self._https = attributes(sticky, location.path)

    def pick(self, exchange: Exchange | None, tried: Collection[Member], now: float) -> Member | None:
        if exchange is not None:
            for value in cookies(exchange, self._name):
                member = self._members.get(value)
                if member is not None and member.keeps_sessions() and member not in tried and member.take(False):
                    return member
        return self._inner.pick(exchange, tried, now)

    def keeps(self, exchange: Exchange) -> bool:
        """True if the client has a session at a backend that still takes its sessions."""
        for value in cookies(exchange, self._name):
            member = self._members.get(value)
            if member is not None and member.keeps_sessions():
                return True
        return False

    def answered(self, member: Member, seconds: float, now: float) -> None:
        self._inner.answered(member, seconds, now)

    def done(self, member: Member, failed: bool, now: float) -> None:
        self._inner.done(member, failed, now)

    def on_response(self, exchange: Exchange, edits: Edits) -> None:
        if not edits.own and (edits.status >= 200 or edits.status == 101):
            edits.extra += self.set_cookie(exchange)

    def set_cookie(self, exchange: Exchange) -> bytes:
        """The field line that keeps the client at ``exchange.backend``, with its CRLF; b"" if it keeps to it already."""
        pair = self._pairs.get(exchange.backend)
        if pair is None:  # of a plan that has been replaced
            return b""
        for value in cookies(exchange, self._name):
            member = self._members.get(value)
            if member is not None:  # the next request uses the first cookie that means something, whichever others there are
                if member is exchange.backend:
                    return b""
                break
        return b"Set-Cookie: %b%b" % (pair, self._https if exchange.scheme == "https" else self._lines)

    def parts(self) -> tuple[Balancer, ...]:
        return self._inner.parts()

    def prepare(self) -> None:
        self._inner.prepare()
