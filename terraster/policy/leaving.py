"""The work that is left at a backend which takes no new work, and whether its process may be stopped. Pure.

Requests, tunnels and connections are counted. Sessions are not: a session is a cookie in a client's hands, and the same for all clients of a
backend. Only their requests are seen. So a backend with sticky sessions may be stopped once none has come for `QUIET`
seconds, although a client may still hold its cookie: its next request goes to another backend then.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["QUIET", "Left", "left"]

QUIET = 50.0
"""Seconds without a request after which sessions count as gone. Requests are counted over a minute, in steps of ten seconds."""


class Left(NamedTuple):
    """The work that is left.

    requests:    under way, tunnels included
    tunnels:     of these, WebSockets and other tunnels
    connections: open to the backend, idle ones included
    attempts:    begun in the last ``seconds``
    sessions:    True if the clients of sticky sessions still come here
    safe:        True if the backend may be stopped now
    words:       the reason, a clause
    """

    requests: int
    tunnels: int
    connections: int
    attempts: int
    seconds: float
    sessions: bool
    safe: bool
    words: str


def left(state: str, requests: int, tunnels: int, connections: int, attempts: int, seconds: float, sticky: bool) -> Left | None:
    """The work that is left at a backend, None if it is neither draining nor in maintenance.

    attempts, seconds: those that were begun lately, and the time over which they were counted
    sticky: True if its location has sticky sessions
    """
    if state not in ("draining", "maintenance"):
        return None
    sessions = sticky and state == "draining"
    if requests:
        of_them = f", {_many(tunnels, 'tunnel')} among them" if tunnels else ""
        safe, words = False, f"{_many(requests, 'request')} still open{of_them}"
    elif not sessions:
        safe, words = True, "nothing is open, and nothing new comes"
    elif attempts:
        safe, words = False, f"{_many(attempts, 'request')} came in the last {seconds:.0f} s: sticky sessions still come here"
    elif seconds < QUIET:
        safe, words = (
            False,
            f"sticky sessions may still come: requests are counted for {seconds:.0f} s only, not yet for {QUIET:.0f} s",
        )
    else:
        safe, words = True, f"no sticky session has come for {seconds:.0f} s"
    return Left(requests, tunnels, connections, attempts, seconds, sessions, safe, words)


def _many(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"
