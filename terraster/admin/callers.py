"""The callers of the management port: users with a session's token or cookie, and programs with an API token."""

from __future__ import annotations

from ..api.call import Caller, Credentials, Role
from ..api.cookie import check_origin, cookie
from ..api.identity import FIRST
from ..api.problem import Refused
from ..users.access import Access
from ..users.faults import Busy, Denied
from ..users.identity import TOKEN, Identity

__all__ = ["UserIdentity"]


class UserIdentity:
    """Knows users by the token or cookie of a request. A token is looked at before a cookie."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def identify(self, credentials: Credentials) -> Caller | None:
        """See `terraster.api.identity.Identity`."""
        browser = "" if credentials.bearer else cookie(credentials)
        try:
            if credentials.bearer:
                return _caller(self._access.identify(credentials.bearer), credentials.address)
            if browser:
                check_origin(credentials)
                return _caller(self._access.identify_cookie(browser), credentials.address)
        except Denied as denied:
            raise Refused(
                401, str(denied), headers=[("WWW-Authenticate", 'Bearer realm="terraster", error="invalid_token"')]
            ) from None
        except Busy as busy:
            raise Refused(429, str(busy), headers=[("Retry-After", str(busy.retry_after))]) from None
        return None

    def hint(self) -> str:
        """See `terraster.api.identity.Identity`."""
        if not self._access.any_user():
            return FIRST
        return "log in (POST /api/auth/login), and send the token of the answer as Authorization: Bearer TOKEN"


def _caller(identity: Identity, address: str) -> Caller:
    return Caller(
        identity.name,
        Role[identity.role.upper()],
        "token" if identity.how == TOKEN else "session",
        address,
        identity.session,
        identity.user,
        identity.must_change,
        frozenset(identity.scopes),
    )
