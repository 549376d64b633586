"""The callers of the API: the contract between the router and what knows users, tokens and the control socket."""

from __future__ import annotations

from typing import Protocol

from .call import Caller, Credentials, Effect

__all__ = ["FIRST", "Identity", "Recorder"]

FIRST = "there are no users yet; make the first one on the host: terrasterctl user add NAME --role admin"
"""For callers that are not known while nobody can be."""


class Identity(Protocol):
    """Knows callers by what their requests show."""

    def identify(self, credentials: Credentials) -> Caller | None:
        """The caller; None if it is not known. May wait. Raises `Refused` for one that is known and yet must not go on, such as a request
        with a cookie from another origin (403)."""
        ...

    def hint(self) -> str:
        """The words for a caller that is not known: how to get in."""
        ...


class Recorder(Protocol):
    """Keeps what unsafe operations did. The router calls `record` once for each, also for a refused one."""

    def begin(self, caller: Caller, operation: str, request_id: str, credentials: Credentials) -> str:
        """Note that a call of a known caller begins, so that it has a row even if this process is killed within it. Returns a token for
        `record`. May wait; must not raise."""
        ...

    def record(
        self,
        caller: Caller | None,
        operation: str,
        effect: Effect,
        request_id: str,
        status: int,
        credentials: Credentials,
        token: str = "",
    ) -> None:
        """status: of the answer. token: of `begin`, "" if it was not called. May wait; must not raise."""
        ...
