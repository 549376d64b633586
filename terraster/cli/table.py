"""Tables for a terminal: cells with a colour, laid out as aligned columns, and sentences that are wrapped."""

from __future__ import annotations

import textwrap

__all__ = ["BOLD", "DIM", "GREEN", "RED", "Cell", "lay_out", "sentence", "short"]

RED, GREEN, BOLD, DIM, PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[1m", "\x1b[2m", "\x1b[0m"


class Cell(str):
    """A table cell. Its `colour` is put around the padded text."""

    __slots__ = ("colour",)
    colour: str

    def __new__(cls, text: str, colour: str = "") -> Cell:
        cell = super().__new__(cls, text)
        cell.colour = colour
        return cell


def sentence(place: str, rest: str, width: int, colour: str = "") -> list[list[Cell]]:
    """One sentence about one place, on one line or on several."""
    if len(place) + len(rest) + 4 <= width:
        return [[Cell(f"  {place}: {rest}", colour)]]
    fill = textwrap.TextWrapper(
        width, initial_indent="    ", subsequent_indent="      ", break_long_words=False, break_on_hyphens=False
    )
    return [[Cell(f"  {place}:", colour)], *([Cell(line, colour)] for line in fill.wrap(rest))]


def short(text: str, room: int, tail: int) -> str:
    """The text, without its middle if it is too long. ``tail``: characters of its end that are kept."""
    return text if len(text) <= room else f"{text[: room - 3 - tail]}...{text[len(text) - tail :]}"


def lay_out(rows: list[list[Cell]], colour: bool) -> str:
    """Rows as aligned columns, numbers to the right and words to the left, with a newline at the end. A row of one cell spans all
    columns."""
    count = max(map(len, rows))
    columns = list(zip(*(row for row in rows if len(row) == count), strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [count > 1 and all(_numeric(cell) for cell in column[1:]) for column in columns]
    lines = []
    for row in rows:
        line = ""
        for at, cell in enumerate(row):
            padded = cell.rjust(widths[at]) if right[at] else cell.ljust(widths[at])
            if at == len(row) - 1 and not right[at]:
                padded = str(cell)
            line += f"{cell.colour}{padded}{PLAIN}" if colour and cell.colour else padded
            line += "  " if at < len(row) - 1 else ""
        lines.append(line.rstrip())
    return "\n".join(lines) + "\n"


def _numeric(text: str) -> bool:
    return text == "-" or text[:1].isdigit()
