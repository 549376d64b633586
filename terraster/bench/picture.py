"""The result of a load as a picture: an SVG, or a page of HTML with the same and the figures. Pure; it needs nothing from the network.

Four panels: latency by quantile, how many requests took how long, requests per second over the time of the load, and latency over that time.
Colours follow the reader's light or dark setting. Blue and orange are from the palette of Okabe and Ito.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import log10

from .axis import Axis, linear, logarithmic
from .report import report, span
from .result import Result

__all__ = ["html", "svg"]

_WIDTH, _PANEL, _TOP = 880, 230, 64
_LEFT, _RIGHT, _ABOVE, _BELOW = 78, 24, 34, 40
_BARS = 64
_URL = 72  # characters that are sure to fit

_STYLE = """
svg { background: #fff; color: #222; font: 13px system-ui, sans-serif; }
text { fill: currentColor; }
.head { font-size: 15px; font-weight: 600; } .name { font-weight: 600; } .small { fill: #666; font-size: 12px; }
.grid { stroke: #ddd; } .axis { stroke: #888; }
.a { stroke: #0072b2; fill: none; stroke-width: 2; } .b { stroke: #d55e00; fill: none; stroke-width: 2; }
.bar { fill: #0072b2; } .bad { fill: #d55e00; } .key-a { fill: #0072b2; } .key-b { fill: #d55e00; }
.mark { stroke: #888; stroke-dasharray: 3 3; } .over { paint-order: stroke; stroke: #fff; stroke-width: 3px; }
@media (prefers-color-scheme: dark) {
  svg { background: #16191d; color: #e6e6e6; }
  .small { fill: #aaa; } .over { stroke: #16191d; } .grid { stroke: #333; } .a { stroke: #56b4e9; } .b { stroke: #e69f00; }
  .bar { fill: #56b4e9; } .bad { fill: #e69f00; } .key-a { fill: #56b4e9; } .key-b { fill: #e69f00; }
}
"""

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ margin: 24px auto; max-width: 880px; padding: 0 12px; font: 15px system-ui, sans-serif; background: #fff; color: #222; }}
svg {{ width: 100%; height: auto; }}
pre {{ white-space: pre-wrap; font-size: 13px; line-height: 1.45; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #16191d; color: #e6e6e6; }} }}
</style>
{picture}
<pre>{text}</pre>
</html>
"""


class _Panel:
    """A part of the picture with two axes."""

    def __init__(self, top: float, name: str, across: Axis, up: Axis) -> None:
        self._top = top + _ABOVE
        self._height = _PANEL - _ABOVE - _BELOW
        self._across = across
        self._up = up
        self.parts = [f'<text class="name" x="{_LEFT}" y="{top + 20:.1f}">{escape(name)}</text>']

    def x(self, value: float) -> float:
        return _LEFT + self._across.share(value) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return self._top + (1.0 - self._up.share(value)) * self._height

    def axes(self, across: Sequence[tuple[float, str]], up: Sequence[tuple[float, str]], about: str) -> None:
        """Grid and ticks. across, up: values and their names. about: the unit or meaning of the lower axis; the panel's name says that of the
        other one"""
        bottom, right = self._top + self._height, _WIDTH - _RIGHT
        for value, name in up:
            y = self.y(value)
            self.parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            self.parts.append(f'<text class="small" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(name)}</text>')
        for value, name in across:
            x = self.x(value)
            self.parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom:.1f}" y2="{bottom + 4:.1f}"/>')
            self.parts.append(f'<text class="small" x="{x:.1f}" y="{bottom + 18:.1f}" text-anchor="middle">{escape(name)}</text>')
        self.parts.append(f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{bottom:.1f}" y2="{bottom:.1f}"/>')
        self.parts.append(f'<text class="small" x="{right}" y="{bottom + 33:.1f}" text-anchor="end">{escape(about)}</text>')

    def line(self, points: Sequence[tuple[float, float]], style: str) -> None:
        """A line through points; a single one is a dot."""
        if len(points) == 1:
            x, y = points[0]
            self.parts.append(f'<circle class="key-{style}" cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="3"/>')
        elif points:
            path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
            self.parts.append(f'<polyline class="{style}" points="{path}"/>')

    def bar(self, begin: float, end: float, low: float, high: float, style: str) -> None:
        """A bar over ``begin`` to ``end`` on the lower axis, from ``low`` to ``high``."""
        left, right, top, bottom = self.x(begin), self.x(end), self.y(high), self.y(low)
        if bottom - top >= 0.05:
            width = max(right - left - 0.6, 0.5)
            self.parts.append(
                f'<rect class="{style}" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{bottom - top:.1f}"/>'
            )

    def mark(self, value: float, name: str) -> None:
        """A vertical line with a name at its top."""
        x = self.x(value)
        self.parts.append(
            f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{self._top:.1f}" y2="{self._top + self._height:.1f}"/>'
        )
        x, anchor = (x + 4, "start") if x < _WIDTH - 80 else (x - 4, "end")
        self.parts.append(
            f'<text class="small over" x="{x:.1f}" y="{self._top + 11:.1f}" text-anchor="{anchor}">{escape(name)}</text>'
        )

    def key(self, names: Sequence[tuple[str, str]], left: float) -> None:
        """The names of lines, as (style, name)."""
        for at, (style, name) in enumerate(names):
            x = left + at * 90
            self.parts.append(f'<rect class="key-{style}" x="{x:.1f}" y="{self._top - 23:.1f}" width="12" height="10"/>')
            self.parts.append(f'<text class="small" x="{x + 17:.1f}" y="{self._top - 14:.1f}">{escape(name)}</text>')


def svg(result: Result) -> str:
    """The picture."""
    total = result.total
    failed = f", {total.failed:,} failed" if total.failed else ""
    answers = f"{total.complete:,} answer{'' if total.complete == 1 else 's'}"
    facts = f"{answers} in {span(result.seconds)}, {result.rate:,.1f} per second{failed}"
    asked = (
        f"{result.load.rate:,.10g} requests per second asked for"
        if result.load.rate
        else f"{result.load.connections:,} connections"
    )
    panels: list[_Panel] = []
    if total.latencies.total:
        panels += [_by_quantile(result, _TOP), _spread(result, _TOP + _PANEL)]
    if result.slots():
        panels.append(_rates(result, _TOP + _PANEL * len(panels)))
        if total.latencies.total:
            panels.append(_course(result, _TOP + _PANEL * len(panels)))
    height = _TOP + _PANEL * len(panels) + 8
    body = "\n".join(part for panel in panels for part in panel.parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" role="img">\n'
        f"<title>{escape(f'Load on {result.load.url}')}</title>\n"
        f"<style>{_STYLE}</style>\n"
        f'<text class="head" x="24" y="30">{escape(_short(result.load.url))}</text>\n'
        f'<text class="small" x="24" y="50">{escape(facts)}, {escape(asked)}</text>\n'
        f"{body}\n</svg>\n"
    )


def html(result: Result) -> str:
    """A page with the picture and the figures."""
    return _PAGE.format(title=escape(f"Load on {result.load.url}"), picture=svg(result), text=escape(report(result)))


def _short(url: str) -> str:
    return url if len(url) <= _URL else f"{url[: _URL - 1]}…"


def _by_quantile(result: Result, top: float) -> _Panel:
    times = result.total.latencies
    most = log10(max(times.total, 10))
    points = [(at * most / 200, times.quantile(1.0 - 10.0 ** -(at * most / 200))) for at in range(201)]
    up = _of_times(points[0][1], times.greatest)
    panel = _Panel(top, "Latency by quantile", Axis(0.0, most, [], False), up)
    marks = [
        (0.0, "least"),
        (log10(2), "p50"),
        *((float(power), f"p{100 - 10.0 ** (2 - power):.10g}") for power in range(1, int(most) + 1)),
    ]
    panel.axes(marks, _named(up), "share of requests that took no longer")
    panel.line(points, "a")
    return panel


def _spread(result: Result, top: float) -> _Panel:
    times = result.total.latencies
    across = _of_times(times.least, times.greatest)
    width = (across.high / across.low) ** (1 / _BARS)
    counts = [0.0] * _BARS
    for low, high, count in times.parts():
        counts[min(int(across.share((low * high) ** 0.5) * _BARS), _BARS - 1)] += count
    up = linear(max(counts) / times.total * 100)
    panel = _Panel(top, "Share of requests by latency", across, up)
    panel.axes(_named(across), [(tick, f"{tick:.3g} %") for tick in up.ticks], "latency")
    for at, some in enumerate(counts):
        begin = across.low * width**at
        panel.bar(begin, begin * width, 0.0, some / times.total * 100, "bar")
    panel.mark(times.quantile(0.5), "p50")
    if across.share(times.quantile(0.99)) - across.share(times.quantile(0.5)) > 0.04:
        panel.mark(times.quantile(0.99), "p99")
    return panel


def _rates(result: Result, top: float) -> _Panel:
    slots = result.slots()
    ends = _ends([slot.width for slot in slots])
    across = linear(ends[-1])
    up = linear(max((slot.record.complete + slot.record.unanswered) / slot.width for slot in slots))
    panel = _Panel(top, "Requests per second", Axis(0.0, ends[-1], across.ticks, False), up)
    panel.axes(_seconds(across, ends[-1]), [(tick, f"{tick:,.10g}") for tick in up.ticks], "seconds of the load")
    for slot, end in zip(slots, ends, strict=True):
        record = slot.record
        good = (record.complete - record.refused) / slot.width
        panel.bar(end - slot.width, end, 0.0, good, "bar")
        panel.bar(end - slot.width, end, good, good + record.failed / slot.width, "bad")
    _mark_end(panel, result, ends[-1])
    panel.key([("a", "answered"), ("b", "failed")], _LEFT + 190)
    return panel


def _course(result: Result, top: float) -> _Panel:
    slots = result.slots()
    ends = _ends([slot.width for slot in slots])
    across = linear(ends[-1])
    middles = [
        (end - slot.width / 2, slot.record.latencies) for slot, end in zip(slots, ends, strict=True) if slot.record.latencies.total
    ]
    middle, most = ([(at, times.quantile(share)) for at, times in middles] for share in (0.5, 0.99))
    up = _of_times(min([value for _, value in middle], default=1e-3), max([value for _, value in most], default=1e-2))
    panel = _Panel(top, "Latency over time", Axis(0.0, ends[-1], across.ticks, False), up)
    panel.axes(_seconds(across, ends[-1]), _named(up), "seconds of the load")
    panel.line(most, "b")
    panel.line(middle, "a")
    _mark_end(panel, result, ends[-1])
    panel.key([("a", "p50"), ("b", "p99")], _LEFT + 190)
    return panel


def _mark_end(panel: _Panel, result: Result, end: float) -> None:
    """Mark the end of the load's time, if requests ended long behind it."""
    if result.load.seconds and end > result.seconds * 1.05:
        panel.mark(result.seconds, "time over")


def _of_times(low: float, high: float) -> Axis:
    return logarithmic(max(low, 1e-6), max(high, 1e-6))


def _named(axis: Axis) -> list[tuple[float, str]]:
    return [(tick, _time(tick)) for tick in axis.ticks]


def _time(seconds: float) -> str:
    value, unit = span(seconds * 1.0000001).split()
    return f"{float(value):g} {unit}"


def _seconds(axis: Axis, end: float) -> list[tuple[float, str]]:
    return [(tick, f"{tick:.3g}") for tick in axis.ticks if tick <= end * 1.0001]


def _ends(widths: Sequence[float]) -> list[float]:
    ends, end = [], 0.0
    for width in widths:
        end += width
        ends.append(end)
    return ends
