"""The certificates in use and those that are ordered, as text: `terrasterctl certificates`.

Pure, with the rules of `terraster.cli.render`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from .output import WIDTH
from .phrases import age
from .table import DIM, GREEN, RED, Cell, lay_out, sentence, short

__all__ = ["certificates"]


_FILE = 7  # column


def certificates(document: dict[str, Any], *, colour: bool = False, width: int = WIDTH) -> str:
    """A line for each certificate, those that end soonest first, and below it why its renewal, or an OCSP response, cannot be used.
    Then a line for each certificate that is ordered by ACME. Responses have a column if a certificate has one, or should have one."""
    table = _certificates(document["certificates"], width) if document["certificates"] else [[Cell("no service has a certificate")]]
    orders = _orders(document["certificate_orders"], document["now"], width)
    return "\n".join(lay_out(block, colour) for block in (table, orders) if block)


def _certificates(certificates: Sequence[dict[str, Any]], width: int) -> list[list[Cell]]:
    heads = ["NAME", "EXPIRES", "DAYS", "STATE", "KEY", "ISSUER", "NAMES", "FILE"]
    stapled = any(_wants_response(one) for one in certificates)
    rows = [[Cell(word, DIM) for word in (*heads, *["OCSP"] * stapled)]]
    for one in certificates:
        day = time.strftime("%Y-%m-%d", time.gmtime(one["expires"]))
        bad = one["state"] != "valid"
        words = (one["state"].upper() if bad else "valid", RED if bad else GREEN)
        days = Cell(f"{one['days_left']:.0f}" if one["days_left"] >= 10 else f"{one['days_left']:.1f}", words[1] if bad else "")
        rows.append(
            [Cell(one["name"]), Cell(day), days, Cell(*words), Cell(one["kind"])]
            + [Cell(text) for text in (one["issuer"], _first(one["names"]), one["file"])]
            + [_response(one)] * stapled
        )
    folded = _over(rows, width) > 0
    files = [row.pop(_FILE) for row in rows] if folded else []
    _fit(rows, width)
    for at, one in reversed(list(enumerate(certificates, 1))):
        below = sentence("renewal", one["problem"], width, RED) if one["problem"] else []
        below += sentence("OCSP response", one["ocsp_problem"], width, RED) if one["ocsp_problem"] else []
        rows[at + 1 : at + 1] = [[Cell(f"  {files[at]}")], *below] if folded else below
    return rows


def _wants_response(one: dict[str, Any]) -> bool:
    """True for a certificate with an OCSP response, or without one that it should have."""
    return bool(one["must_staple"] or one["ocsp"] != "off")


def _response(one: dict[str, Any]) -> Cell:
    """The state of a certificate's OCSP response."""
    if one["ocsp"] == "good":
        until = time.strftime("%Y-%m-%d", time.gmtime(one["ocsp_until"]))
        return Cell(f"until {until}", RED if one["ocsp_problem"] else GREEN)
    bad = one["must_staple"] or one["ocsp_problem"] or one["ocsp"] in ("expired", "revoked")
    return Cell(one["ocsp"].upper() if bad else one["ocsp"], RED if bad else "")


def _orders(orders: Sequence[dict[str, Any]], now: float, width: int) -> list[list[Cell]]:
    """A line for each service whose certificate is ordered, and below it why the last order failed; nothing if there are none."""
    rows = [[Cell(word, DIM) for word in ("ORDER FOR", "STATE", "NEXT", "FAILURES", "CHALLENGE", "AUTHORITY")]]
    for one in orders:
        bad = one["state"] == "failing"
        rows.append(
            [
                Cell(short(f"{one['service']} ({_first(one['names'])})", 40, 12)),
                Cell(one["state"].upper() if bad else one["state"], RED if bad else GREEN if one["state"] == "obtained" else ""),
                Cell(_when(one, now)),
                Cell(str(one["failures"])),
                Cell(one["challenge"]),
                Cell(one["authority"].removeprefix("https://")),
            ]
        )
    for row in rows:
        row[5] = Cell(short(row[5], max(20, width - 96), 8), row[5].colour)
    for at, one in reversed(list(enumerate(orders, 1))):
        if one["last_error"]:
            rows[at + 1 : at + 1] = sentence("last error", one["last_error"], width, RED)
    return rows if orders else []


def _when(order: dict[str, Any], now: float) -> str:
    """When an order is made next."""
    if order["state"] == "ordering":
        return "under way"
    if order["next"] is None:
        return "unknown"
    return f"in {age(order['next'] - now)}" if order["next"] > now else "now"


def _first(names: Sequence[str]) -> str:
    """The first name, and the number of the others."""
    return "-" if not names else names[0] if len(names) == 1 else f"{names[0]} +{len(names) - 1}"


def _over(rows: list[list[Cell]], width: int) -> int:
    """Columns by which a table is too wide; negative if it is not."""
    return sum(max(map(len, column)) + 2 for column in zip(*rows, strict=True)) - 2 - width


def _fit(rows: list[list[Cell]], width: int) -> None:
    """Shorten the texts of a table of certificates until it has the width. Files are whole: they have lines of their own."""
    for at, least in ((5, 10), (6, 16), (0, 16)):
        over = _over(rows, width)
        if over > 0:
            room = max(least, max(len(row[at]) for row in rows) - over)
            for row in rows:
                row[at] = Cell(short(row[at], room, 3), row[at].colour)
