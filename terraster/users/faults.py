"""The failures of calls about users, as classes that a caller tells apart. A message is for the operator or for the user who asked."""

from __future__ import annotations

from terraster.errors import TerrasterError

__all__ = [
    "Busy",
    "Conflict",
    "Denied",
    "Forbidden",
    "LockedOut",
    "NotFound",
    "Unavailable",
    "UserError",
    "Weak",
]


class UserError(TerrasterError):
    """The root of these."""


class Unavailable(UserError):
    """The database cannot be used. Traffic and all else go on."""


class Busy(UserError):
    """Too much is under way. ``retry_after``: seconds"""

    def __init__(self, detail: str, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Denied(UserError):
    """The credentials are wrong, or a token is not valid (any longer). The message does not say which part was wrong."""


class LockedOut(UserError):
    """Too many failed logins. ``retry_after``: seconds until the next attempt counts"""

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Forbidden(UserError):
    """The caller is known, but may not do this."""


class NotFound(UserError):
    """There is no such user, session or token."""


class Conflict(UserError):
    """The name is taken, or the last administrator would go."""


class Weak(UserError):
    """A new password or a name breaks rules. ``field``: "password" or "name"; ``reasons``: each broken rule"""

    def __init__(self, field: str, reasons: tuple[str, ...]) -> None:
        super().__init__(f"the {field} cannot be used: it {'; it '.join(reasons)}")
        self.field = field
        self.reasons = reasons
