"""Failures of the room of users as refusals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...users.faults import Busy, Conflict, Denied, Forbidden, LockedOut, NotFound, UserError, Weak
from ..problem import Mistake, Refused

__all__ = ["translated"]

_STATUS: dict[type[UserError], int] = {
    Denied: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    Weak: 422,
    Busy: 429,
    LockedOut: 429,
}


@contextmanager
def translated(target: str = "", prefix: str = "", denied: int = 401) -> Iterator[None]:
    """Raise `Refused` for what is raised within. target: for the audit. prefix: of the member of the body with the password that is
    too weak. denied: the status for credentials that are wrong"""
    try:
        yield
    except (Busy, LockedOut) as error:
        raise Refused(429, str(error), headers=[("Retry-After", str(error.retry_after))], target=target) from None
    except Weak as error:
        errors = [Mistake(pointer=f"/{prefix}{_MEMBER.get(error.field, error.field)}", detail=f"it {why}") for why in error.reasons]
        raise Refused(422, str(error), errors, target=target) from None
    except Denied as error:
        headers = [("WWW-Authenticate", 'Bearer realm="terraster"')] if denied == 401 else []
        raise Refused(denied, str(error), headers=headers, target=target) from None
    except (Forbidden, NotFound, Conflict) as error:
        raise Refused(_STATUS[type(error)], str(error), target=target) from None


_MEMBER = {"name": "username"}
