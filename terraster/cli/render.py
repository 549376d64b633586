"""The answers of `terrasterctl` as text for an operator who was woken up: problems come first, then everything else.

Pure: JSON values in, lines out. The text is plain ASCII, with colours only on request, and no line exceeds the requested width. Problems
are wrapped, but a URL in a problem is never broken. In tables, a long URL or name loses its middle. Each reason is given once, with its
problem, and not in the tables.
"""

from __future__ import annotations

import math
import os
import textwrap
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from .output import WIDTH

__all__ = ["age", "backends", "changed", "count", "explained", "status"]

MANY = 60  # backends; of a larger configuration only services with problems are shown

_RED, _GREEN, _BOLD, _DIM, _PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[1m", "\x1b[2m", "\x1b[0m"


class _Cell(str):
    """A table cell. Its `colour` is put around the padded text."""

    __slots__ = ("colour",)
    colour: str

    def __new__(cls, text: str, colour: str = "") -> _Cell:
        cell = super().__new__(cls, text)
        cell.colour = colour
        return cell


def status(document: dict[str, Any], *, colour: bool = False, everything: bool = False, width: int = WIDTH) -> str:
    """The whole document as text.

    width:      columns of the terminal; below about 80 the text is wider than the terminal
    everything: True: show every service, even of a large configuration
    """
    now = document["now"]
    blocks = [_headline(document), _problems(document["problems"], now, width), _overrides(document, now, width)]
    services = document["services"]
    total = sum(len(location["backends"]) for service in services for location in service["locations"])
    troubled = {problem["service"] for problem in document["problems"]}
    shown = services if everything or total <= MANY else [service for service in services if service["name"] in troubled]
    blocks.append(_services(shown, now, width))
    if len(shown) < len(services):
        blocks.append([[_Cell(f"{len(services) - len(shown)} services without problems are not shown; --all shows them", _DIM)]])
    blocks.append(_workers(document))
    return "\n".join(_lay_out(block, colour) for block in blocks if block)


def backends(document: dict[str, Any], *, colour: bool = False, width: int = WIDTH) -> str:
    """Only the backends, and the changes by operators."""
    now = document["now"]
    blocks = [_services(document["services"], now, width), _overrides(document, now, width)]
    return "\n".join(_lay_out(block, colour) for block in blocks if block)


def age(seconds: float | None) -> str:
    """A time span in its one or two largest units: 45s, 12m, 3h05m, 4d."""
    if seconds is None:
        return "-"
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole}s"
    if whole < 7200:
        return f"{whole // 60}m"
    if whole < 172800:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d"


def count(number: float) -> str:
    """A number in at most six characters: 12345, 123k, 4.5M."""
    if number < 100_000:
        return str(int(number))
    for unit in ("k", "M", "G", "T"):
        number /= 1000
        if number < 10:
            return f"{number:.1f}{unit}"
        if number < 1000 or unit == "T":
            return f"{number:.0f}{unit}"
    raise AssertionError


def _milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.1f}ms" if seconds < 0.1 else f"{seconds * 1000:.0f}ms" if seconds < 10 else f"{seconds:.0f}s"


def _headline(document: dict[str, Any]) -> list[list[_Cell]]:
    states = Counter(
        backend["state"]
        for service in document["services"]
        for location in service["locations"]
        for backend in location["backends"]
    )
    total, up = states.total(), states.pop("up", 0)
    others = (
        f" ({', '.join(f'{number} {_IN_WORDS.get(state, state)}' for state, number in states.most_common())})" if states else ""
    )
    warnings = len(document["warnings"])
    proxies = sum(worker["role"] == "proxy" and not worker["draining"] for worker in document["workers"])
    running = age(document["now"] - document["started"]) if document["started"] else "?"
    words = [
        f"Terraster {document['version']}, pid {document['pid']}, up {running}, generation {document['generation']}",
        f"{up} of {total} backends up{others}, {proxies} of {document['wanted_workers']} workers serving",
    ]
    if warnings:
        words[1] += f", {_many(warnings, 'configuration warning')} (see terraster --check)"
    last = document["last_reload"]
    if last and last["ok"]:
        words[0] += f" (reloaded {age(document['now'] - last['when'])} ago)"
    return [[_Cell(words[0], _BOLD)], [_Cell(words[1], _GREEN if up == total and not document["problems"] else "")]]


def _problems(problems: Sequence[dict[str, Any]], now: float, width: int) -> list[list[_Cell]]:
    if not problems:
        return [[_Cell("no problems", _GREEN)]]
    rows = [[_Cell(f"{len(problems)} problem{'s' if len(problems) != 1 else ''}:", _RED)]]
    for problem in problems:
        place = f"{problem['service']}{problem['location']}" if problem["service"] else "Terraster"
        since = f" for {age(now - problem['since'])}" if problem["since"] else ""
        if problem["kind"] == "reload-failed":
            what = f"the last reload failed{since and since.replace(' for', '')}{since and ' ago'}"
        elif problem["kind"] == "circuit-half-open":
            what = f"{problem['backend']} is being tried"
        elif problem["kind"] in _STATES:
            what = f"{problem['backend']} {_STATES[problem['kind']][bool(since)]}{since}{_until(problem['until'], now)}"
        else:
            what = problem["backend"] or ""
        rows += _sentence(place, ": ".join(part for part in (what, problem["text"]) if part), width, _RED)
    return rows


_STATES = {
    "backend-down": ("is down", "has been down"),
    "backend-ejected": ("is ejected", "has been ejected"),
    "circuit-open": ("has an open circuit", "has had an open circuit"),
}


def _sentence(place: str, rest: str, width: int, colour: str = "") -> list[list[_Cell]]:
    """One sentence about one place, on one line or on several."""
    if len(place) + len(rest) + 4 <= width:
        return [[_Cell(f"  {place}: {rest}", colour)]]
    fill = textwrap.TextWrapper(
        width, initial_indent="    ", subsequent_indent="      ", break_long_words=False, break_on_hyphens=False
    )
    return [[_Cell(f"  {place}:", colour)], *([_Cell(line, colour)] for line in fill.wrap(rest))]


def _overrides(document: dict[str, Any], now: float, width: int) -> list[list[_Cell]]:
    """The changes by operators that are in effect now."""
    rows: list[list[_Cell]] = []
    seen = set()
    for service in document["services"]:
        for location in service["locations"]:
            for backend in location["backends"]:
                place = f"{service['name']}{location['path']}"
                if (place, backend["url"]) in seen:
                    continue  # another address of the same name
                seen.add((place, backend["url"]))
                for words in _touched(backend, backend["configured_weight"], now):
                    rows += _sentence(place, f"{backend['url']}: {words}", width)
    for orphan in document["orphans"]:
        for words in _touched(orphan, None, now):
            rows += _sentence(orphan["backend"], f"{words}; no longer configured, kept for a day", width)
    return [[_Cell("Changed by operators:", _BOLD)], *rows] if rows else []


def _touched(one: dict[str, Any], configured: int | None, now: float) -> list[str]:
    """The operator's order and weight in words, each if there is one."""
    order, weight = one["order"], one["weight_override"]
    found = [f"{_IN_WORDS[order['what']]}{_circumstances(order, one.get('order_after', []), now)}"] if order else []
    if weight:
        file = "" if configured is None else f" (configured: {configured})"
        found.append(f"weight {weight['weight']}{file}{_circumstances(weight, one.get('weight_after', []), now)}")
    return found


def _circumstances(touch: dict[str, Any], after: Sequence[dict[str, Any]], now: float) -> str:
    """The time, operator, end and reason of a change, and the state after its end."""
    words = _set(touch["when"], touch["by"], now)
    if touch["until"]:
        words += _until(touch["until"], now) + _then(after, now)
    return f"{words}: {touch['reason']}" if touch["reason"] else words


def _set(when: float, by: str, now: float) -> str:
    return f", set {age(now - when)} ago{f' by {by}' if by else ''}"


def _then(after: Sequence[dict[str, Any]], now: float) -> str:
    """The order or weight that applies again after the current one ends."""
    words = ""
    for touch in after:
        words += f", then {_IN_WORDS.get(touch['what']) or 'weight ' + str(touch['weight'])} again"
        words += f" until {moment(touch['until'], now)}" if touch["until"] else ""
    return words


def _then_ordered(backend: dict[str, Any], now: float) -> str:
    return _then(backend.get("order_after", []), now) if backend["state"] in ("draining", "maintenance") else ""


def changed(backend: dict[str, Any], now: float) -> list[str]:
    """The state of a backend after an operator changed it, in one line or two. backend: the answer to "backend"."""
    until = _until(backend["until"], now).removeprefix(",") + _then_ordered(backend, now)
    words = f"{backend['service']}{backend['path']} {backend['url']} is {_IN_WORDS.get(backend['state'], backend['state'])}{until}"
    if backend["weight_override"]:
        weight = backend["weight_override"]
        words += f", weight {weight['weight']}"
        words += "" if backend["configured_weight"] is None else f" (configured: {backend['configured_weight']})"
        words += f" until {moment(weight['until'], now)}" if weight["until"] else ""
        words += _then(backend.get("weight_after", []), now)
    lines = [words]
    if backend["state"] in ("draining", "maintenance") and backend["active"]:
        lines.append(f"{_many(backend['active'], 'request')} still open at this backend")
    return lines


_IN_WORDS = {"maintenance": "in maintenance", "drain": "draining"}


def explained(backend: dict[str, Any], now: float, width: int = WIDTH) -> str:
    """Everything that is known about a backend, as text. backend: an item of the answer to "why"."""
    state = _IN_WORDS.get(backend["state"], backend["state"])
    ordered = backend["state"] in ("draining", "maintenance")
    until = _until(backend["until"], now) + _then_ordered(backend, now)
    reason = f": {backend['why']}" if backend["why"] else ""
    words = f"is {state}"
    if backend["since"]:
        words = (
            words + _set(backend["since"], backend["by"], now) if ordered else f"has been {state} for {age(now - backend['since'])}"
        )
    lines = [f"{backend['service']}{backend['path']} {backend['url']} {words}{until}{reason}"]
    shown = {**backend, "order": None} if ordered else backend
    lines += [f"  {words}" for words in _touched(shown, backend["configured_weight"], now)]
    for endpoint in backend["endpoints"]:
        lines += _endpoint(endpoint, backend, now)
    if backend["history"]:
        lines.append("  changes by operators, newest first:")
        lines += [f"    {moment(touch['when'], now)}  {_touch(touch, now)}" for touch in backend["history"]]
    return "\n".join(lines) + "\n"


def _endpoint(endpoint: dict[str, Any], backend: dict[str, Any], now: float) -> list[str]:
    lines = []
    if endpoint["address"]:
        lines.append(
            f"  address {endpoint['address']} is {endpoint.get('state', 'not known')}: {endpoint.get('why', '')}".rstrip(": ")
        )
    lines += [
        f"  open:      {_many(endpoint['active'], 'request')}, {_many(endpoint['open'], 'connection')} ({endpoint['idle']} idle)",
        f"  attempts:  {endpoint['requests']}, {endpoint['failed']} failed ({endpoint['connect_errors']} without a connection), "
        f"{endpoint['bad_statuses']} with a bad status",
        f"  circuit:   {endpoint['circuit']}, opened {_many(endpoint['circuit_openings'], 'time')}",
        f"  ejections: {endpoint['ejections']}",
    ]
    if endpoint.get("admit") in ("none", "trial", "ramping") and endpoint.get("state") == "up":
        lines.append(f"  new work:  {endpoint['admit']}")
    if endpoint["probes"]:
        lines.append("  health checks, newest first:")
        times = [_milliseconds(probe["seconds"]) for probe in endpoint["probes"]]
        widest = max(map(len, times))
        for probe, took in zip(endpoint["probes"], times, strict=True):
            how = "passed" if probe["ok"] else "FAILED"
            lines.append(f"    {moment(probe['when'], now)}  {how}  {took.rjust(widest)}  {probe['reason']}")
    else:
        lines.append("  no health checks yet")
    if endpoint["failures"]:
        lines.append("  failures in traffic, newest first:")
        for failure in endpoint["failures"]:
            status = f" {failure['status']}" if failure["status"] else ""
            lines.append(f"    {moment(failure['when'], now)}  {failure['kind']}{status}: {failure['text']}")
    else:
        lines.append("  no failures in traffic")
    return lines


def _many(number: int, word: str, plural: str = "s") -> str:
    return f"{number} {word}{plural * (number != 1)}"


def _touch(touch: dict[str, Any], now: float) -> str:
    what = f"weight {touch['weight']}" if touch["what"] == "weight" else touch["what"]
    until = f" until {moment(touch['until'], now)}" if touch["until"] else ""
    reason = f": {touch['reason']}" if touch["reason"] else ""
    return f"{what}{until}{', by ' + touch['by'] if touch['by'] else ''}{reason}"


def _until(seconds: float | None, now: float) -> str:
    """An end and the time until then. From two minutes on that time is rounded to minutes: 9m58s are called 10m, not 9m."""
    if not seconds:
        return ""
    left = math.ceil(seconds - now)
    return f", until {moment(seconds, now)} (in {age(left if left < 120 else left + 30)})"


def moment(seconds: float, now: float) -> str:
    """A time of day in local time, with the date if it is not today's."""
    form = "%H:%M:%S" if time.localtime(seconds)[:3] == time.localtime(now)[:3] else "%Y-%m-%d %H:%M:%S"
    return time.strftime(form, time.localtime(seconds))


_COLUMNS = ("STATE", "FOR", "WEIGHT", "ACTIVE", "ATTEMPTS", "FAILED", "LATENCY")
_LEAST = 20  # columns that a URL always gets


def _services(services: Iterable[dict[str, Any]], now: float, width: int) -> list[list[_Cell]]:
    """A line for each location, with its backends indented below it."""
    services = list(services)
    shares = any(one["share"] is not None for service in services for place in service["locations"] for one in place["backends"])
    columns = (*_COLUMNS, "SHARE") if shares else _COLUMNS
    rows = [[_Cell("SERVICE, BACKENDS", _DIM), *(_Cell(word, _DIM) for word in columns)]]
    groups: list[tuple[int, int]] = []  # first row and number of the backends of each location
    for service in services:
        for location in service["locations"]:
            rows.append([_Cell(_short(f"{service['name']}{location['path']}", width, width // 2), _BOLD)])
            if not location["backends"]:
                words = f"  -> {location['redirect'] or 'https'}, {count(location['requests'])} request{'s' * (location['requests'] != 1)}"
                rows.append([_Cell(_short(words, width, width // 2))])
            elif words := _queue(location):
                rows.append([_Cell(f"  {words}", _RED)])
            groups.append((len(rows), len(location["backends"])))
            rows += [_backend(backend, now)[: len(columns) + 1] for backend in location["backends"]]
    whole = [row for row in rows if len(row) > 1]
    others = sum(max(len(row[at]) for row in whole) + 2 for at in range(1, len(columns) + 1))
    room = max(_LEAST, width - others)
    for start, number in groups:
        group = rows[start : start + number]
        for row, text in zip(group, _apart([row[0] for row in group], room), strict=True):
            row[0] = _Cell(text, row[0].colour)
    return rows if len(rows) > 1 else []


def _queue(location: dict[str, Any]) -> str:
    """The counts of requests that waited for a backend with room, "" if all are 0."""
    refused, late = location["queue_refused"], location["queue_timeouts"]
    words = [f"{count(location['queued'])} of {location['queue']} waiting"] if location["queued"] else []
    words += [f"{count(refused)} refused{' (queue full)' * (location['queue'] > 0)}"] if refused else []
    words += [f"{count(late)} timed out"] if late else []
    return f"queue: {', '.join(words)}" if words else ""


def _apart(texts: Sequence[str], room: int) -> list[str]:
    """The texts cut to ``room``, all at the same places, so that different texts stay different if possible."""
    half = (room - 3) // 2
    for tail in (half, half // 2, 0, room - 5):
        cut = [_short(text, room, tail) for text in texts]
        if len(set(cut)) == len(set(texts)):
            return cut
    start = max(0, len(os.path.commonprefix(texts)) - half)  # their common start is long: show the part where they differ
    return [text if len(text) <= room else f"  ...{_short(text[start:], room - 5, 0)}" for text in texts]


def _short(text: str, room: int, tail: int) -> str:
    """The text, without its middle if it is too long. ``tail``: characters of its end that are kept."""
    return text if len(text) <= room else f"{text[: room - 3 - tail]}...{text[len(text) - tail :]}"


def _backend(backend: dict[str, Any], now: float) -> list[_Cell]:
    colour = {"up": _GREEN, "draining": _BOLD, "maintenance": _BOLD}.get(backend["state"], _RED)
    most = f"/{backend['max_connections']}" if backend["max_connections"] else ""
    address = backend.get("endpoint") or backend["address"]
    return [
        _Cell(f"  {backend['url']}{' ' + address if address else ''}", colour if colour == _RED else ""),
        _Cell(backend["state"].upper() if colour == _RED else backend["state"].replace("maintenance", "maint"), colour),
        _Cell(age(now - backend["since"]) if backend["since"] else "-"),
        _Cell(f"{backend['weight']}{'*' * (backend['weight_override'] is not None)}"),
        _Cell(f"{backend['active']}{most}"),
        _Cell(count(backend["requests"])),
        _Cell(count(backend["failures"]), _RED if backend["failures"] else ""),
        _Cell(_milliseconds(backend["latency"] if backend["recent_latency"] is None else backend["recent_latency"])),
        _Cell("-" if backend["share"] is None else f"{backend['share'] * 100:.0f}%"),
    ]


def _workers(document: dict[str, Any]) -> list[list[_Cell]]:
    rows = [[_Cell(word, _DIM) for word in ("PROCESS", "PID", "STATE", "AGE", "GENERATION", "CONNECTIONS", "ACCEPTED", "REQUESTS")]]
    for worker in document["workers"]:
        proxy = worker["role"] == "proxy"
        behind = worker["generation"] != document["generation"]
        rows.append(
            [
                _Cell(f"{worker['role']}-{worker['seat']}" if proxy else worker["role"]),
                _Cell(str(worker["pid"])),
                _Cell(worker["state"]),
                _Cell(age(worker["age"])),
                _Cell(str(worker["generation"]), _RED if behind and not worker["draining"] else ""),
                _Cell(count(worker["connections"]) if proxy else "-"),
                _Cell(count(worker["accepted"]) if proxy else "-"),
                _Cell(count(worker["requests"]) if proxy else "-"),
            ]
        )
    return rows


def _lay_out(rows: list[list[_Cell]], colour: bool) -> str:
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
            line += f"{cell.colour}{padded}{_PLAIN}" if colour and cell.colour else padded
            line += "  " if at < len(row) - 1 else ""
        lines.append(line.rstrip())
    return "\n".join(lines) + "\n"


def _numeric(text: str) -> bool:
    return text == "-" or text[:1].isdigit()
