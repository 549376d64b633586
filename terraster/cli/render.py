"""The document of `terrasterctl status` as text for somebody who was woken up: what is wrong comes first, then everything else.

Pure: JSON values in, lines out. Plain ASCII; colours only if asked for. Nothing is wider than asked for: problems are wrapped (but a URL
is never broken there), URLs and names in tables lose their middle. Reasons stand with the problems, once, not in the tables.
"""

from __future__ import annotations

import math
import os
import textwrap
import time
from collections.abc import Iterable, Sequence
from typing import Any

from .output import WIDTH

__all__ = ["age", "backends", "changed", "count", "explained", "status"]

MANY = 60  # backends; of larger configurations only what has problems is shown

_RED, _GREEN, _BOLD, _DIM, _PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[1m", "\x1b[2m", "\x1b[0m"


class _Cell(str):
    """A table cell; `colour` is put around it after it was padded."""

    __slots__ = ("colour",)
    colour: str

    def __new__(cls, text: str, colour: str = "") -> _Cell:
        cell = super().__new__(cls, text)
        cell.colour = colour
        return cell


def status(document: dict[str, Any], *, colour: bool = False, everything: bool = False, width: int = WIDTH) -> str:
    """The whole account.

    width:      columns there are; of less than about 80 more are used
    everything: show every service even of a large configuration
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
    """Only the backends, and what operators changed."""
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
    up, total = 0, 0
    for service in document["services"]:
        for location in service["locations"]:
            total += len(location["backends"])
            up += sum(backend["up"] for backend in location["backends"])
    warnings = len(document["warnings"])
    proxies = sum(worker["role"] == "proxy" and not worker["draining"] for worker in document["workers"])
    running = age(document["now"] - document["started"]) if document["started"] else "?"
    words = [
        f"Terraster {document['version']}, pid {document['pid']}, up {running}, generation {document['generation']}",
        f"{up} of {total} backends up, {proxies} of {document['wanted_workers']} workers serving",
    ]
    if warnings:
        words[1] += f", {warnings} warning{'s' * (warnings > 1)} of the configuration (terraster --check)"
    last = document["last_reload"]
    if last and last["ok"]:
        words[0] += f" (reloaded {age(document['now'] - last['when'])} ago)"
    return [[_Cell(words[0], _BOLD)], [_Cell(words[1], _GREEN if up == total and not document["problems"] else "")]]


def _problems(problems: Sequence[dict[str, Any]], now: float, width: int) -> list[list[_Cell]]:
    if not problems:
        return [[_Cell("no problems", _GREEN)]]
    rows = [[_Cell(f"{len(problems)} problem{'s' if len(problems) != 1 else ''}:", _RED)]]
    for problem in problems:
        place = f"{problem['service']} {problem['location']}" if problem["service"] else "Terraster"
        since = f" for {age(now - problem['since'])}" if problem["since"] else ""
        if problem["kind"] == "reload-failed":
            what = f"the last reload failed{since and since.replace(' for', '')}{since and ' ago'}"
        elif problem["kind"] == "circuit-half-open":
            what = f"{problem['backend']} is being tried"
        elif problem["kind"] in _STATES:
            what = f"{problem['backend']} {_STATES[problem['kind']]}{since}{_until(problem['until'], now)}"
        else:
            what = problem["backend"] or ""
        rows += _sentence(place, ": ".join(part for part in (what, problem["text"]) if part), width, _RED)
    return rows


_STATES = {"backend-down": "is down", "backend-ejected": "is ejected", "circuit-open": "has an open circuit"}


def _sentence(place: str, rest: str, width: int, colour: str = "") -> list[list[_Cell]]:
    """One thing to say of one place, on a line or on several."""
    if len(place) + len(rest) + 4 <= width:
        return [[_Cell(f"  {place}: {rest}", colour)]]
    fill = textwrap.TextWrapper(
        width, initial_indent="    ", subsequent_indent="      ", break_long_words=False, break_on_hyphens=False
    )
    return [[_Cell(f"  {place}:", colour)], *([_Cell(line, colour)] for line in fill.wrap(rest))]


def _overrides(document: dict[str, Any], now: float, width: int) -> list[list[_Cell]]:
    """What operators changed above the configuration, and is so now."""
    rows: list[list[_Cell]] = []
    seen = set()
    for service in document["services"]:
        for location in service["locations"]:
            for backend in location["backends"]:
                place = f"{service['name']} {location['path']}"
                if (place, backend["url"]) in seen:
                    continue  # another address of the same name
                seen.add((place, backend["url"]))
                for words in _touched(backend, backend["configured_weight"], now):
                    rows += _sentence(place, f"{backend['url']}: {words}", width)
    for orphan in document["orphans"]:
        for words in _touched(orphan, None, now):
            rows += _sentence(orphan["backend"], f"{words}; not configured any more, kept for a day", width)
    return [[_Cell("Changed by operators:", _BOLD)], *rows] if rows else []


def _touched(one: dict[str, Any], configured: int | None, now: float) -> list[str]:
    """An order and a weight in words, each if there is one."""
    order, weight = one["order"], one["weight_override"]
    found = [f"{_IN_WORDS[order['what']]} {_circumstances(order, one.get('order_after', []), now)}"] if order else []
    if weight:
        file = "" if configured is None else f" (the file says {configured})"
        found.append(f"weight {weight['weight']}{file} {_circumstances(weight, one.get('weight_after', []), now)}")
    return found


def _circumstances(touch: dict[str, Any], after: Sequence[dict[str, Any]], now: float) -> str:
    """How long it is so, until when and what then, by whom and why."""
    words = f"for {age(now - touch['when'])}"
    if touch["until"]:
        words += _until(touch["until"], now) + _then(after, now)
    words += f", by {touch['by']}" if touch["by"] else ""
    return f"{words}: {touch['reason']}" if touch["reason"] else words


def _then(after: Sequence[dict[str, Any]], now: float) -> str:
    """What holds again when something ends."""
    words = ""
    for touch in after:
        words += f", then {_IN_WORDS.get(touch['what']) or 'weight ' + str(touch['weight'])} again"
        words += f" until {moment(touch['until'], now)}" if touch["until"] else ""
    return words


def _then_ordered(backend: dict[str, Any], now: float) -> str:
    return _then(backend.get("order_after", []), now) if backend["state"] in ("draining", "maintenance") else ""


def changed(backend: dict[str, Any], now: float) -> list[str]:
    """What a backend is after somebody changed it, in one line or two. backend: `Steering.backend` has it."""
    until = _until(backend["until"], now).removeprefix(",") + _then_ordered(backend, now)
    words = f"{backend['service']}{backend['path']} {backend['url']} is {_IN_WORDS.get(backend['state'], backend['state'])}{until}"
    if backend["weight_override"]:
        weight = backend["weight_override"]
        words += f", weight {weight['weight']}"
        words += "" if backend["configured_weight"] is None else f" (the file says {backend['configured_weight']})"
        words += f" until {moment(weight['until'], now)}" if weight["until"] else ""
        words += _then(backend.get("weight_after", []), now)
    lines = [words]
    if backend["state"] in ("draining", "maintenance") and backend["active"]:
        lines.append(f"it still has {backend['active']} open request{'s' * (backend['active'] > 1)}")
    return lines


_IN_WORDS = {"maintenance": "in maintenance", "drain": "draining"}


def explained(backend: dict[str, Any], now: float, width: int = WIDTH) -> str:
    """All that is known of a backend, for people. backend: an item of the answer to "why"."""
    lines = []
    state = _IN_WORDS.get(backend["state"], backend["state"])
    since = f" for {age(now - backend['since'])}" if backend["since"] else ""
    until = _until(backend["until"], now) + _then_ordered(backend, now)
    by = f", by {backend['by']}" if backend["by"] else ""
    reason = f": {backend['why']}" if backend["why"] else ""
    lines.append(f"{backend['service']}{backend['path']} {backend['url']} is {state}{since}{until}{by}{reason}")
    said = {**backend, "order": None} if backend["state"] in ("draining", "maintenance") else backend
    lines += [f"  {words}" for words in _touched(said, backend["configured_weight"], now)]
    for endpoint in backend["endpoints"]:
        lines += _endpoint(endpoint, backend, now)
    if backend["history"]:
        lines.append("  who touched it, the last first:")
        lines += [f"    {moment(touch['when'], now)}  {_touch(touch, now)}" for touch in backend["history"]]
    return "\n".join(lines) + "\n"


def _endpoint(endpoint: dict[str, Any], backend: dict[str, Any], now: float) -> list[str]:
    lines = []
    if endpoint["address"]:
        lines.append(
            f"  address {endpoint['address']} is {endpoint.get('state', 'not known')}: {endpoint.get('why', '')}".rstrip(": ")
        )
    lines += [
        f"  {_many(endpoint['active'], 'open request')}, {_many(endpoint['open'], 'connection')} ({endpoint['idle']} idle); "
        f"{_many(endpoint['requests'], 'attempt')}, {endpoint['failed']} failed "
        f"({endpoint['connect_errors']} without a connection), {_many(endpoint['bad_statuses'], 'bad status', 'es')}",
        f"  circuit {endpoint['circuit']}, opened {_many(endpoint['circuit_openings'], 'time')}; "
        f"ejected {_many(endpoint['ejections'], 'time')}",
    ]
    if endpoint.get("admit") in ("none", "trial", "ramping") and endpoint.get("state") == "up":
        lines.append(f"  new work: {endpoint['admit']}")
    if endpoint["probes"]:
        lines.append("  health checks, the last first:")
        for probe in endpoint["probes"]:
            how = "passed" if probe["ok"] else "FAILED"
            lines.append(f"    {moment(probe['when'], now)}  {how}  {_milliseconds(probe['seconds'])}  {probe['reason']}")
    else:
        lines.append("  no health checks were made")
    if endpoint["failures"]:
        lines.append("  failures that traffic saw, the last first:")
        for failure in endpoint["failures"]:
            status = f" {failure['status']}" if failure["status"] else ""
            lines.append(f"    {moment(failure['when'], now)}  {failure['kind']}{status}: {failure['text']}")
    else:
        lines.append("  traffic saw no failures")
    return lines


def _many(number: int, word: str, plural: str = "s") -> str:
    return f"{number} {word}{plural * (number != 1)}"


def _touch(touch: dict[str, Any], now: float) -> str:
    what = f"weight {touch['weight']}" if touch["what"] == "weight" else touch["what"]
    until = f" until {moment(touch['until'], now)}" if touch["until"] else ""
    reason = f": {touch['reason']}" if touch["reason"] else ""
    return f"{what}{until}{', by ' + touch['by'] if touch['by'] else ''}{reason}"


def _until(seconds: float | None, now: float) -> str:
    return f", until {moment(seconds, now)} (in {age(math.ceil(seconds - now))})" if seconds else ""


def moment(seconds: float, now: float) -> str:
    """A moment in local time; with its date only if that is another than today's."""
    form = "%H:%M:%S" if time.localtime(seconds)[:3] == time.localtime(now)[:3] else "%Y-%m-%d %H:%M:%S"
    return time.strftime(form, time.localtime(seconds))


_COLUMNS = ("STATE", "SINCE", "WEIGHT", "ACTIVE", "REQUESTS", "FAILED", "LATENCY")
_LEAST = 20  # columns that a URL gets in any case


def _services(services: Iterable[dict[str, Any]], now: float, width: int) -> list[list[_Cell]]:
    """A line for each location, its backends indented below it."""
    services = list(services)
    shares = any(one["share"] is not None for service in services for place in service["locations"] for one in place["backends"])
    columns = (*_COLUMNS, "SHARE") if shares else _COLUMNS
    rows = [[_Cell("SERVICE, BACKENDS", _DIM), *(_Cell(word, _DIM) for word in columns)]]
    groups: list[tuple[int, int]] = []  # where the backends of a location begin, and how many there are
    for service in services:
        for location in service["locations"]:
            rows.append([_Cell(_short(f"{service['name']} {location['path']}", width, width // 2), _BOLD)])
            if not location["backends"]:
                target = f"  -> {location['redirect']}" if location["redirect"] else "  -> https"
                rest = len(columns) - 5
                rows.append([_Cell(target), *[_Cell("-")] * 4, _Cell(count(location["requests"])), *[_Cell("-")] * rest])
            elif words := _queue(location):
                rows.append([_Cell(f"  {words}", _RED)])
            groups.append((len(rows), len(location["backends"])))
            rows += [_backend(backend, now)[: len(columns) + 1] for backend in location["backends"]]
    whole = [row for row in rows if len(row) > 1]
    others = sum(max(len(row[at]) for row in whole) + 2 for at in range(1, len(columns) + 1))
    room = max(_LEAST, width - others)
    for start, number in groups:
        group = rows[start : start + number] if number else rows[start - 1 : start]  # a location without: its redirect
        for row, text in zip(group, _apart([row[0] for row in group], room), strict=True):
            row[0] = _Cell(text, row[0].colour)
    return rows if len(rows) > 1 else []


def _queue(location: dict[str, Any]) -> str:
    """What came of requests that waited for a backend with room, "" if nothing is to be said."""
    refused, late = location["queue_refused"], location["queue_timeouts"]
    words = [f"{count(location['queued'])} of {location['queue']} wait"] if location["queued"] else []
    words += [f"{count(refused)} refused{' as it was full' * (location['queue'] > 0)}"] if refused else []
    words += [f"{count(late)} waited for nothing"] if late else []
    return f"queue: {', '.join(words)}" if words else ""


def _apart(texts: Sequence[str], room: int) -> list[str]:
    """Texts that fit, all cut at the same places, so that those that differ still do if there is a way."""
    half = (room - 3) // 2
    for tail in (half, half // 2, 0, room - 5):
        cut = [_short(text, room, tail) for text in texts]
        if len(set(cut)) == len(set(texts)):
            return cut
    start = max(0, len(os.path.commonprefix(texts)) - half)  # what they have in common is long: show where they part
    return [text if len(text) <= room else f"  ...{_short(text[start:], room - 5, 0)}" for text in texts]


def _short(text: str, room: int, tail: int) -> str:
    """The text, without its middle if it is too long; `tail`: how much of its end is kept."""
    return text if len(text) <= room else f"{text[: room - 3 - tail]}...{text[len(text) - tail :]}"


def _backend(backend: dict[str, Any], now: float) -> list[_Cell]:
    colour = {"up": _GREEN, "draining": _BOLD, "maintenance": _BOLD}.get(backend["state"], _RED)
    most = f"/{backend['max_connections']}" if backend["max_connections"] else ""
    place = backend.get("endpoint") or backend["address"]
    return [
        _Cell(f"  {backend['url']}{' ' + place if place else ''}", colour if colour == _RED else ""),
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
    """Rows as aligned columns: numbers to the right, words to the left. A row of one cell stands across. Ends with a newline."""
    count = max(map(len, rows))
    columns = list(zip(*(row for row in rows if len(row) == count), strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [count > 1 and all(_numeric(cell) for cell in column[1:]) for column in columns]
    lines = []
    for row in rows:
        line = ""
        for place, cell in enumerate(row):
            padded = cell.rjust(widths[place]) if right[place] else cell.ljust(widths[place])
            if place == len(row) - 1 and not right[place]:
                padded = str(cell)
            line += f"{cell.colour}{padded}{_PLAIN}" if colour and cell.colour else padded
            line += "  " if place < len(row) - 1 else ""
        lines.append(line.rstrip())
    return "\n".join(lines) + "\n"


def _numeric(text: str) -> bool:
    return text == "-" or text[:1].isdigit()
