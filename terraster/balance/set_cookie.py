"""The attributes of cookies that Terraster sets."""

from __future__ import annotations

from ..config.snapshot import Sticky

__all__ = ["attributes"]


def attributes(cookie: Sticky, path: str) -> tuple[bytes, bytes]:
    """The rest of a Set-Cookie line behind name and value, with its CRLF: for a client that came by http, and for one that came by https.
    path: of the location."""
    rest = f"; Path={cookie.path or _cookie_path(path)}"
    if cookie.domain:
        rest += f"; Domain={cookie.domain}"
    if cookie.ttl:
        rest += f"; Max-Age={max(1, int(cookie.ttl))}"
    tail = "; HttpOnly" + (f"; SameSite={cookie.same_site.capitalize()}" if cookie.same_site else "")
    plain, secure = (f"{rest}{word}{tail}\r\n".encode("ascii") for word in ("", "; Secure"))
    return secure if cookie.secure == "always" else plain, plain if cookie.secure == "never" else secure


def _cookie_path(path: str) -> str:
    """A location's path as the attribute of a cookie, which ends at a semicolon: the directory above that then."""
    before, semicolon, _ = path.partition(";")
    return path if not semicolon else before[: before.rindex("/") + 1]
