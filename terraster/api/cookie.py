"""The cookie of a browser's session, and the check that a request with it came from our own pages.

Over TLS its name begins with ``__Host-`` (RFC 6265bis, section 4.1.3.2): a browser takes such a cookie only from this host, for all paths and
with Secure. In clear, on loopback, it cannot have that.
"""

from __future__ import annotations

from .call import Credentials
from .problem import Refused

__all__ = ["LIFE", "NAME", "check_origin", "cookie", "ended", "field"]

NAME = "terraster"
LIFE = 7 * 86_400


def cookie(credentials: Credentials) -> str:
    """The value that a request has, "" if it has none."""
    return credentials.cookies.get(_name(credentials.secure), "")


def field(value: str, credentials: Credentials) -> tuple[str, str]:
    """The header field that sets it."""
    return _set(f"{value}; Max-Age={LIFE}", credentials)


def ended(credentials: Credentials) -> tuple[str, str]:
    """The header field that removes it."""
    return _set("; Max-Age=0", credentials)


def check_origin(credentials: Credentials) -> None:
    """Raises `Refused` for an unsafe method that another origin's page may have sent (RFC 6454). Browsers name the origin of each of them."""
    if credentials.method in ("GET", "HEAD"):
        return
    own = f"{'https' if credentials.secure else 'http'}://{credentials.host}"
    if not credentials.host or credentials.origin.lower() != own.lower():
        raise Refused(403, "a request with a cookie that changes something must come from a page of this port (Origin)")


def _name(secure: bool) -> str:
    return f"__Host-{NAME}" if secure else NAME


def _set(value: str, credentials: Credentials) -> tuple[str, str]:
    end = "; Secure" if credentials.secure else ""
    return "Set-Cookie", f"{_name(credentials.secure)}={value}; Path=/; HttpOnly; SameSite=Strict{end}"
