"""Plots: one picture for each behaviour, one column for each algorithm, all on the same axes.

The upper row has the bad backend's share of the requests, the lower row the p99 of the requests sent in each second. The grey line in every
column is the first algorithm of the run, for comparison. Blue and orange are from the palette of Okabe and Ito. The two rows never share a
colour, so a reader need not tell colours apart.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
from bad_backends import Bad
from balance_figures import FAIR, Figures
from matplotlib import pyplot
from matplotlib.ticker import FixedLocator, FuncFormatter, MultipleLocator, NullLocator

__all__ = ["draw"]

BLUE, ORANGE, GREY, SHADE = "#0072B2", "#B84A00", "#9a9a9a", "#f1ecdf"
TIMES = [0.01, 0.03, 0.1, 0.3, 1, 3, 10]


def draw(file: Path, title: str, bad: Bad, rows: list[Figures]) -> None:
    """Write one picture. The file's name gives the format."""
    matplotlib.rcParams.update(
        {
            "svg.hashsalt": "terraster",
            "svg.fonttype": "none",
            "font.family": "sans-serif",
            "font.sans-serif": ["DejaVu Sans", "Arial"],
        }
    )
    figure, axes = pyplot.subplots(2, len(rows), sharex=True, sharey="row", figsize=(2.5 * len(rows) + 0.8, 4.6), squeeze=False)
    most = max(share for one in rows for _, share in one.shares)
    slowest = max(value for one in rows for _, value in one.p99s)
    for column, one in enumerate(rows):
        above, below = axes[0][column], axes[1][column]
        for panel in (above, below):
            panel.axvspan(bad.begin, bad.end, color=SHADE, linewidth=0)
            panel.grid(axis="y", color="#e0e0e0", linewidth=0.6)
            panel.spines[["top", "right"]].set_visible(False)
            panel.tick_params(labelsize=9)
            panel.xaxis.set_major_locator(MultipleLocator(5))
        if column:
            above.plot(*zip(*rows[0].shares, strict=True), color=GREY, linewidth=1)
            below.plot(*zip(*rows[0].p99s, strict=True), color=GREY, linewidth=1)
        above.axhline(FAIR, color="black", linewidth=0.7, linestyle=(0, (4, 3)))
        above.plot(*zip(*one.shares, strict=True), color=BLUE, linewidth=1.6)
        below.plot(*zip(*one.p99s, strict=True), color=ORANGE, linewidth=1.6)
        above.set_title(one.algorithm, fontsize=11, fontweight="bold")
        above.set_ylim(0, max(0.4, most * 1.05))
        above.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
        below.set_yscale("log")
        below.set_ylim(0.008, max(0.5, slowest * 1.3))
        below.yaxis.set_major_locator(FixedLocator(TIMES))
        below.yaxis.set_minor_locator(NullLocator())
        below.yaxis.set_major_formatter(FuncFormatter(_time))
        below.set_xlabel("seconds", fontsize=9)
    axes[0][0].set_ylabel("share of the bad one", fontsize=10)
    axes[1][0].set_ylabel("p99 of each second", fontsize=10)
    last = axes[0][-1]
    last.text(last.get_xlim()[1], FAIR, " fair", va="center", fontsize=8)
    axes[0][0].text((bad.begin + bad.end) / 2, axes[0][0].get_ylim()[1] * 0.97, "bad", ha="center", va="top", fontsize=9)
    figure.suptitle(f"{title[0].upper()}{title[1:]}".replace("`", ""), fontsize=12, x=0.01, ha="left")
    if len(rows) > 1:
        figure.text(0.99, 0.955, f"grey: {rows[0].algorithm}", color="#6a6a6a", fontsize=9, ha="right")
    figure.tight_layout(rect=(0, 0, 1, 0.97))
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None, facecolor="white", dpi=100)
    pyplot.close(figure)


def _time(value: float, _: object) -> str:
    return f"{value:g} s" if value >= 1 else f"{value * 1e3:g} ms"
