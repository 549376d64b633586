"""The identity behind a token, a cookie or an API token, as it is at this moment."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["SESSION", "TOKEN", "Identity"]

SESSION, TOKEN = "session", "token"


class Identity(NamedTuple):
    """A user who was recognised.

    user, name: its number and its name
    role:       what it may do now; of an API token the lesser of the token's and the user's
    how:        `SESSION` or `TOKEN`
    session:    the id of the session, "" for an API token
    scopes:     what an API token is for, () for all that its role may
    must_change: True if the password has expired: then nothing is allowed but to change it
    """

    user: int
    name: str
    role: str
    how: str
    session: str = ""
    scopes: tuple[str, ...] = ()
    must_change: bool = False
