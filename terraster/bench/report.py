"""The result of a load as text for people. Pure."""

from __future__ import annotations

from .histogram import Histogram
from .result import Result

__all__ = ["QUANTILES", "octets", "report", "span"]

QUANTILES = ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"))

_WIDTH = 22


def report(result: Result) -> str:
    """The text, with a line end at its end."""
    load, total = result.load, result.total
    lines = [
        _line("URL", load.url),
        _line("Concurrency level", f"{load.connections * load.streams} ({_how(result)})"),
        _line("Time taken", f"{result.seconds:.3f} s"),
        _line("Complete requests", f"{total.complete:,}"),
        _line("Failed requests", f"{total.failed:,}" + _apart(result)),
        _line("Requests per second", f"{result.rate:,.1f}" + (f" (asked for: {load.rate:,.10g})" if load.rate else "")),
        _line("Received", f"{octets(total.received)} ({octets(result.octets_rate)} a second)"),
        _line("Sent", octets(total.sent)),
    ]
    if total.complete > result.within:
        lines.append(_line("Ended after the time", f"{total.complete - result.within:,} requests, not in the requests per second"))
    times = total.latencies
    if times.total:
        lines += ["", _line("Latency mean", f"{span(times.mean)} (standard deviation {span(times.deviation)})")]
        lines.append(_line("Latency min", span(times.least)))
        lines += [_line(f"Latency {name}", span(times.quantile(share))) for share, name in QUANTILES]
        lines.append(_line("Latency max", span(times.greatest)))
    if total.statuses:
        lines += ["", *(_line(f"Status {status}", f"{total.statuses[status]:,}") for status in sorted(total.statuses))]
    if total.errors:
        lines += [
            "",
            *(_line(f"Error: {kind}", f"{count:,}: {total.texts.get(kind, '')}") for kind, count in sorted(total.errors.items())),
        ]
    return "\n".join([*lines, "", *_generator(result)]) + "\n"


def _generator(result: Result) -> list[str]:
    """About the load generator itself."""
    total, lines = result.total, []
    if total.connects.total:
        lines.append(_line("Connections opened", f"{total.connects.total:,}, {_times(total.connects)}"))
    if result.load.rate:
        late = f"{_times(total.lateness)} late" if total.lateness.total else "none sent on time"
        lines.append(_line("Generator's lateness", late))
    busiest = result.busiest
    if busiest is not None:
        waited = busiest.busy - busiest.used
        words = f"{busiest.used:.0%} of a core" + (f", waited for one {waited:.0%} of the time" if waited >= 0.01 else "")
        lines.append(_line("Generator's CPU", words + (" (busiest process)" if result.processes > 1 else "")))
    lines += [f"Note: {text}." for text in (*result.limits(), *result.faults)]
    return lines


def _how(result: Result) -> str:
    load = result.load
    words = [_many(load.connections, "connection")]
    if load.streams > 1:
        words.append(f"{_many(load.streams, 'stream')} each")
    words.append("HTTP/2" if load.http2 else "HTTP/1.1" if load.keepalive else "HTTP/1.1, one for each request")
    words.append(_many(result.processes, "process", "es"))
    return ", ".join(words)


def _apart(result: Result) -> str:
    total = result.total
    parts = []
    if total.unanswered:
        parts.append(f"{total.unanswered:,} without a complete answer")
    if total.refused:
        parts.append(f"{total.refused:,} with a status of 400 or more")
    return f" ({', '.join(parts)})" if parts else ""


def _times(times: Histogram) -> str:
    return f"mean {span(times.mean)}, p99 {span(times.quantile(0.99))}, max {span(times.greatest)}"


def _line(name: str, value: str) -> str:
    return f"{name + ':':<{_WIDTH}} {value}"


def _many(count: int, word: str, plural: str = "s") -> str:
    return f"{count:,} {word}{'' if count == 1 else plural}"


def span(seconds: float) -> str:
    """A time, with three digits: "1.23 ms"."""
    value, unit = (seconds, "s") if seconds >= 1.0 else (seconds * 1e3, "ms") if seconds >= 1e-3 else (seconds * 1e6, "us")
    return f"{value:.{_decimals(value)}f} {unit}"


def octets(count: float) -> str:
    """A size, with three digits: "1.23 MiB"."""
    power = 0
    while count >= 1024 and power < 4:
        count, power = count / 1024, power + 1
    return f"{count:.{_decimals(count) if power else 0}f} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"


def _decimals(value: float) -> int:
    return 0 if value >= 100 else 1 if value >= 10 else 2
