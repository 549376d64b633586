"""The status of Terraster as text for an operator who was woken up: problems come first, then everything else.

Pure: JSON values in, lines out. The text is plain ASCII, with colours only on request, and no line exceeds the requested width. Problems
are wrapped, but a URL in a problem is never broken. A URL that does not fit beside its figures is above them, and a file is below them;
only what is wider than the terminal loses its middle. Each reason is given once, with its problem, and not in the tables.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from ..compiled import Rooms
from .output import WIDTH
from .phrases import IN_WORDS, age, called, count, many, milliseconds, overrides, until_when
from .table import BOLD, DIM, GREEN, RED, Cell, lay_out, sentence, short

__all__ = ["backends", "status"]

_LATE = 0.1  # seconds by which an event loop is late that are worth a line

MANY = 60  # backends; of a larger configuration only services with problems are shown


def status(document: dict[str, Any], *, colour: bool = False, everything: bool = False, width: int = WIDTH) -> str:
    """The whole document as text.

    width:      columns of the terminal; below about 80 the text is wider than the terminal
    everything: True: show every service, even of a large configuration
    """
    now = document["now"]
    blocks = [
        _headline(document),
        _upgrade(document, width),
        _problems(document["problems"], now, width),
        _overrides(document, now, width),
    ]
    services = document["services"]
    total = sum(len(location["backends"]) for service in services for location in service["locations"])
    troubled = {problem["service"] for problem in document["problems"]}
    if None in troubled and any(
        problem["locations"] for problem in document["problems"]
    ):  # of several services: they are not listed there
        troubled |= {service["name"] for service in services if _is_short(service)}
    shown = services if everything or total <= MANY else [service for service in services if service["name"] in troubled]
    blocks.append(_services(shown, now, width))
    if len(shown) < len(services):
        blocks.append([[Cell(f"{len(services) - len(shown)} services without problems are not shown; --all shows them", DIM)]])
    blocks.append(_unrouted(document["unrouted"]))
    blocks.append(_saturation(document["saturation"]))
    blocks.append(_workers(document))
    return "\n".join(lay_out(block, colour) for block in blocks if block)


def backends(document: dict[str, Any], *, colour: bool = False, width: int = WIDTH) -> str:
    """Only the backends, and the changes by operators."""
    now = document["now"]
    blocks = [_services(document["services"], now, width), _overrides(document, now, width)]
    return "\n".join(lay_out(block, colour) for block in blocks if block)


def _headline(document: dict[str, Any]) -> list[list[Cell]]:
    states = Counter(
        backend["state"]
        for service in document["services"]
        for location in service["locations"]
        for backend in location["backends"]
    )
    total, up = states.total(), states.pop("up", 0)
    others = f" ({', '.join(f'{number} {IN_WORDS.get(state, state)}' for state, number in states.most_common())})" if states else ""
    warnings = len(document["warnings"])
    proxies = sum(
        worker["role"] == "proxy" and worker["responding"] and not worker["draining"] and worker["master"] == document["pid"]
        for worker in document["workers"]
    )
    running = age(document["now"] - document["started"]) if document["started"] else "?"
    words = [
        f"Terraster {document['version']}{_speed(document)}, pid {document['pid']}, up {running}, generation {document['generation']}",
        f"{up} of {total} backends up{others}, {proxies} of {many(document['wanted_workers'], 'worker')} serving",
    ]
    if warnings:
        words[1] += f", {many(warnings, 'configuration warning')} (see terraster --check)"
    last = document["last_reload"]
    if last and last["ok"]:
        made_this = last["changes"] and last["generation"] == document["generation"]  # new certificates make generations, too
        words[0] += f" ({'reloaded' if made_this else 'last reload'} {age(document['now'] - last['when'])} ago)"
    return [[Cell(words[0], BOLD)], [Cell(words[1], GREEN if up == total and not document["problems"] else "")]]


def _speed(document: dict[str, Any]) -> str:
    """How it runs, in brackets. Nothing if a master of an earlier version does not say it."""
    found = document.get("rooms")
    return f" ({Rooms.from_dict(found)})" if found else ""


def _upgrade(document: dict[str, Any], width: int) -> list[list[Cell]]:
    """An upgrade that is under way, and what ends it."""
    if not document["upgrade"]:
        return []
    old, new = document["upgrade"]["old"], document["upgrade"]["new"]
    if new["draining"] and not old["draining"]:
        words = f"the new master {new['pid']} leaves, and the old master {old['pid']} goes on; {_left('new', new)}"
    elif old["draining"] or not old["serving"]:
        words = f"the new master {new['pid']} takes over from the old master {old['pid']}; {_left('old', old)}"
    elif not new["serving"]:
        words = f"the new master {new['pid']} starts; the old master {old['pid']} serves until then"
    else:
        words = (
            f"the new master {new['pid']} and the old master {old['pid']} both serve, with {many(new['serving'], 'worker')} and "
            f"{many(old['serving'], 'worker')}; TERM to {old['pid']} ends the old one, to {new['pid']} the new one"
        )
    return sentence("upgrade in progress", words, width, BOLD)


def _left(which: str, master: dict[str, Any]) -> str:
    drain = f"{many(master['draining'], f'{which} worker')} {'drains' if master['draining'] == 1 else 'drain'}"
    return f"{drain}, with {many(master['connections'], 'connection')} left"


def _problems(problems: Sequence[dict[str, Any]], now: float, width: int) -> list[list[Cell]]:
    if not problems:
        return [[Cell("no problems", GREEN)]]
    rows = [[Cell(f"{len(problems)} problem{'s' if len(problems) != 1 else ''}:", RED)]]
    for problem in problems:
        place = f"{problem['service']}{problem['location'] or ''}" if problem["service"] else "Terraster"
        if not problem["service"] and problem["locations"]:
            place = "several services"
        since = f" for {age(now - problem['since'])}" if problem["since"] else ""
        backend = called({"url": problem["backend"] or "", "name": problem.get("backend_name")})
        if problem["kind"] == "reload-failed":
            what = f"the last reload failed{since and since.replace(' for', '')}{since and ' ago'}"
        elif problem["kind"] == "circuit-half-open":
            what = f"{backend} is being tried"
        elif problem["kind"] in _STATES:
            what = f"{backend} {_STATES[problem['kind']][bool(since)]}{since}{until_when(problem['until'], now)}"
        else:
            what = backend
        rows += sentence(place, ": ".join(part for part in (what, problem["text"]) if part), width, RED)
    return rows


def _is_short(service: dict[str, Any]) -> bool:
    """True if a backend of a service gets no new requests."""
    every = (backend for location in service["locations"] for backend in location["backends"])
    return any(backend["state"] != "up" or not backend["weight"] for backend in every)


_STATES = {
    "backend-down": ("is down", "has been down"),
    "backend-ejected": ("is ejected", "has been ejected"),
    "circuit-open": ("has an open circuit", "has had an open circuit"),
}


def _overrides(document: dict[str, Any], now: float, width: int) -> list[list[Cell]]:
    """The changes by operators that are in effect now."""
    rows: list[list[Cell]] = []
    seen = set()
    for service in document["services"]:
        for location in service["locations"]:
            for backend in location["backends"]:
                place = f"{service['name']}{location['path']}"
                if (place, backend["url"]) not in seen:  # else it is another address of the same name
                    seen.add((place, backend["url"]))
                    for words in overrides(backend, backend["configured_weight"], now):
                        rows += sentence(place, f"{called(backend)}: {words}", width)
                if left := backend.get("left"):
                    at = f"@{backend['address']}" if backend["address"] else ""
                    may = "may be stopped" if left["safe"] else "must not be stopped yet"
                    rows += sentence(place, f"{called(backend)}{at} {may}: {left['words']}", width)
    for orphan in document["orphans"]:
        for words in overrides(orphan, None, now):
            place = f"{orphan['service']}{orphan['location']}"
            rows += sentence(place, f"{orphan['backend']}: {words}; no longer configured, kept for a day", width)
    for edit in document.get("edits", ()):
        why = f"; has no effect: {edit['dormant']}" if edit["dormant"] else ""
        reason = f" ({edit['reason']})" if edit["reason"] else ""
        words = f"{edit['words']} by {edit['by'] or 'an operator'}{until_when(edit['until'], now)}{reason}{why}"
        rows += sentence(f"edit {edit['number']}", words, width)
    return [[Cell("Changed by operators:", BOLD)], *rows] if rows else []


_COLUMNS = ("STATE", "FOR", "WEIGHT", "ACTIVE", "ATTEMPTS", "FAILED", "5XX", "LATENCY")
_LEAST = 20  # columns that a URL beside its figures always gets


def _services(services: Iterable[dict[str, Any]], now: float, width: int) -> list[list[Cell]]:
    """A line for each location, with its backends indented below it."""
    services = list(services)
    shares = any(one["share"] is not None for service in services for place in service["locations"] for one in place["backends"])
    columns = (*_COLUMNS, "SHARE") if shares else _COLUMNS
    rows = [[Cell("SERVICE, BACKENDS", DIM), *(Cell(word, DIM) for word in columns)]]
    groups: list[tuple[int, int]] = []  # first row and number of the backends of each location
    for service in services:
        for location in service["locations"]:
            rows.append([Cell(short(f"{service['name']}{location['path']}", width, width // 2), BOLD)])
            if words := _answers(location):
                rows.append([Cell(short(f"  {words}", width, width // 2))])
            if words := _queue(location):
                rows.append([Cell(f"  {words}", RED)])
            groups.append((len(rows), len(location["backends"])))
            rows += [_backend(backend, now)[: len(columns) + 1] for backend in location["backends"]]
    whole = [row for row in rows if len(row) > 1]
    others = sum(max(len(row[at]) for row in whole) + 2 for at in range(1, len(columns) + 1))
    room = max(_LEAST, width - others)
    for start, number in reversed(groups):
        group = rows[start : start + number]
        for at, (row, text) in reversed(list(enumerate(zip(group, _apart([row[0] for row in group], width), strict=True), start))):
            if len(row[0]) > room:  # the URL gets a line of its own, above its figures
                rows.insert(at, [Cell(text, row[0].colour)])
                row[0] = Cell("")
    return rows if len(rows) > 1 else []


def _answers(location: dict[str, Any]) -> str:
    """The requests of a location without backends, and all that filters counted; "" if there is nothing to say."""
    counted = []
    for kind, counters in location["filters"].items():
        found = [f"{count(number)} {_counted(name, number)}" for name, number in counters.items() if number >= 1]
        if found:
            counted.append(f"{kind}: {', '.join(found)}")
    if location["backends"]:
        return "; ".join(counted)
    requests = f"{count(location['requests'])} request{'s' * (location['requests'] != 1)}"
    if location["redirect"]:
        return f"-> {location['redirect']}, {requests}"
    if location["split"]:
        return "; ".join([f"arms: {', '.join(f'{arm} {weight}' for arm, weight in location['split'].items())}", *counted])
    return "; ".join([requests, *counted])


def _counted(name: str, number: float) -> str:
    """The name of a counter, in the singular if there is one."""
    return name[:-1] if number == 1 and name.endswith("s") and not name.startswith("no_") else name


def _queue(location: dict[str, Any]) -> str:
    """The counts of requests that waited for a backend with room, "" if all are 0."""
    refused, late = location["queue_refused"], location["queue_timeouts"]
    words = [f"{count(location['queued'])} of {location['queue']} waiting"] if location["queued"] else []
    words += [f"{count(refused)} refused{' (queue full)' * (location['queue'] > 0)}"] if refused else []
    words += [f"{count(late)} timed out"] if late else []
    return f"queue: {', '.join(words)}" if words else ""


def _saturation(saturation: dict[str, Any]) -> list[list[Cell]]:
    """How near the limits it is, and what was lost for want of room, in one sentence."""
    words = []
    known = [one for one in saturation["descriptors"] if one["limit"]]
    if known:
        most = max(known, key=lambda one: one["open"] / one["limit"])
        words.append(f"{most['open']} of {most['limit']} file descriptors open in {most['process']}")
    words += [
        f"{count(saturation[key])} {text}"
        for key, text in (
            ("queued", "queued"),
            ("idle_clients_ended", "idle clients ended"),
            ("accept_errors", "accept errors"),
            ("log_lines_lost", "log lines lost"),
        )
        if saturation[key]
    ]
    return [[Cell(f"Saturation: {', '.join(words)}")]] if words else []


def _unrouted(unrouted: dict[str, Any]) -> list[list[Cell]]:
    """The requests that no location took, with their statuses; nothing if there are none."""
    if not unrouted["requests"]:
        return []
    most = sorted(unrouted["codes"].items(), key=lambda one: -one[1])
    return [[Cell(f"Requests without a location: {', '.join(f'{count(number)} answered {code}' for code, number in most)}")]]


def _apart(texts: Sequence[str], room: int) -> list[str]:
    """The texts cut to ``room``, all at the same places, so that different texts stay different if possible."""
    half = (room - 3) // 2
    for tail in (half, half // 2, 0, room - 5):
        cut = [short(text, room, tail) for text in texts]
        if len(set(cut)) == len(set(texts)):
            return cut
    start = max(0, len(os.path.commonprefix(texts)) - half)  # their common start is long: show the part where they differ
    return [text if len(text) <= room else f"  ...{short(text[start:], room - 5, 0)}" for text in texts]


def _backend(backend: dict[str, Any], now: float) -> list[Cell]:
    colour = {"up": GREEN, "draining": BOLD, "maintenance": BOLD}.get(backend["state"], RED)
    most = f"/{backend['max_connections']}" if backend["max_connections"] else ""
    address = backend.get("endpoint") or backend["address"]
    url = f"{backend['url']}@{address}" if address else backend["url"]  # as `terrasterctl backend` takes it
    errors = backend["responses"].get("5xx", 0)
    return [
        Cell(
            f"  {' '.join(word for word in (backend.get('name'), url) if word)}",
            colour if colour == RED else "",
        ),
        Cell(backend["state"].upper() if colour == RED else backend["state"].replace("maintenance", "maint"), colour),
        Cell(age(now - backend["since"]) if backend["since"] else "-"),
        Cell(f"{backend['weight']}{'*' * (backend['weight_override'] is not None)}"),
        Cell(f"{backend['active']}{most}"),
        Cell(count(backend["requests"])),
        Cell(count(backend["failures"]), RED if backend["failures"] else ""),
        Cell(count(errors), RED if errors else ""),
        Cell(milliseconds(backend["latency"] if backend["recent_latency"] is None else backend["recent_latency"])),
        Cell("-" if backend["share"] is None else f"{backend['share'] * 100:.0f}%"),
    ]


def _workers(document: dict[str, Any]) -> list[list[Cell]]:
    rows = [[Cell(word, DIM) for word in ("PROCESS", "PID", "STATE", "AGE", "GENERATION", "CONNECTIONS", "ACCEPTED", "REQUESTS")]]
    for worker in document["workers"]:
        proxy = worker["role"] == "proxy"
        other = worker["master"] != document["pid"]
        behind = worker["generation"] != document["generation"] and not other
        of = f" (master {worker['master']})" if other else ""
        rows.append(
            [
                Cell(f"{worker['role']}-{worker['seat']}" if proxy else worker["role"]),
                Cell(str(worker["pid"])),
                Cell(f"{worker['state']}{of}")
                if worker["responding"]
                else Cell(f"not responding for {age(worker['silent'])}", RED),
                Cell(age(worker["age"])),
                Cell(str(worker["generation"]), RED if behind and not worker["draining"] else ""),
                Cell(count(worker["connections"]) if proxy else "-"),
                Cell(count(worker["accepted"]) if proxy else "-"),
                Cell(count(worker["requests"]) if proxy else "-"),
            ]
        )
        if (worker["lag"] or 0.0) >= _LATE:
            text = f"  its event loop was held: requests waited up to {milliseconds(worker['lag'])} within the last minute"
            rows.append([Cell(text, RED)])
        if old := worker["old_generations"]:
            rows.append([Cell("  old generations: " + ", ".join(map(_old_generation, old)))])
    return rows


def _old_generation(old: dict[str, Any]) -> str:
    many = old["connections"]
    return f"{old['generation']} with {many} connection{'s' * (many != 1)}"
