"""The last requests of a worker that came to a bad end, with the reason of each. Three kinds are kept apart, so that a flood of one does not
push out the others:

    refused   Terraster answered 4xx: a limit, authentication, a bad request, a filter that answers so
    failed    the answer was 5xx, of Terraster or of a backend, or was broken off
    aborted   the client left before it had the answer

The place where a request comes to its bad end calls `note`, which only keeps the exchange; no other request pays for it. `gather`, a few
times a second, makes summaries of those that are over, `EACH` of a kind at a time: that bounds what a flood costs. In a flood the oldest
are forgotten before they are looked at; the newest `MOST` of each kind are always there.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from ..exchange import Exchange
from .summary import FIELDS, Summaries

__all__ = ["ABORTED", "BACKEND_STATUS", "EACH", "FAILED", "KINDS", "MOST", "REFUSED", "Failures"]

MOST = 200
"""Requests of each kind that are kept. A summary has at most some 2,500 octets."""

EACH = 40

KINDS = REFUSED, FAILED, ABORTED = "refused", "failed", "aborted"

BACKEND_STATUS = "backend_status"
"""The reason of a request whose backend answered 5xx: Terraster itself found nothing wrong."""


class _Kept:
    """Those of one kind. fresh: noted since the last `gather`, with what is the reason if the exchange names none. over: the summaries"""

    __slots__ = ("fresh", "over")

    def __init__(self) -> None:
        self.fresh: deque[tuple[Exchange, str]] = deque(maxlen=MOST)
        self.over: deque[tuple[Any, ...]] = deque(maxlen=MOST)


class Failures:
    """Those of one worker."""

    __slots__ = ("_kinds", "_summaries")

    def __init__(self) -> None:
        self._kinds = {kind: _Kept() for kind in KINDS}
        self._summaries = Summaries()

    def note(self, exchange: Exchange, status: int, reason: str = "") -> None:
        """Keep a request that has come to a bad end, but need not be over. One whose answer was noted and then broken off is kept once.

        status: of the answer, or of the error that broke it off; 499: the client has gone. reason: if the exchange has no error
        """
        if exchange.error and exchange.status:
            self._forget(exchange)
        kind = ABORTED if status == 499 else FAILED if status >= 500 else REFUSED
        self._kinds[kind].fresh.append((exchange, reason))

    def _forget(self, exchange: Exchange) -> None:
        for kept in self._kinds.values():
            noted = [one for one in kept.fresh if one[0] is exchange]
            for one in noted:
                kept.fresh.remove(one)

    def gather(self, most: int = EACH) -> None:
        """Make summaries of those that are over, of at most so many of each kind."""
        for kept in self._kinds.values():
            if kept.fresh:
                rest = []
                left = most
                for one in kept.fresh:
                    if left and one[0].client is None:
                        left -= 1
                        kept.over.append(self._summaries.of(*one))
                    else:
                        rest.append(one)
                kept.fresh.clear()
                kept.fresh.extend(rest)

    def told(self, kind: str, service: str, least: int, most: int, limit: int) -> list[dict[str, Any]]:
        """The newest ones first, as the fields of their summaries and ``kind``. kind, service: "": all. least, most: of the status. limit: of
        their number"""
        self.gather(MOST)
        found = [
            {"kind": one, **dict(zip(FIELDS, row, strict=True))}
            for one, kept in self._kinds.items()
            if kind in ("", one)
            for row in kept.over
            if service in ("", row[_SERVICE]) and least <= row[_STATUS] <= most
        ]
        found.sort(key=_when, reverse=True)
        return found[:limit]


_SERVICE, _STATUS = FIELDS.index("service"), FIELDS.index("status")


def _when(row: dict[str, Any]) -> float:
    when: float = row["when"]
    return when
