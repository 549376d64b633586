"""Sentences of `terrasterctl` about one backend, and how it words times, numbers and changes by operators.

Pure: JSON values in, text out. Plain ASCII; `terraster.cli.render` puts such texts into tables and colours.
"""

from __future__ import annotations

import math
import textwrap
import time
from collections.abc import Sequence
from typing import Any

from .output import WIDTH

__all__ = [
    "IN_WORDS",
    "age",
    "called",
    "changed",
    "count",
    "explained",
    "many",
    "milliseconds",
    "moment",
    "overrides",
    "until_when",
    "wrapped",
]

IN_WORDS = {
    "maintenance": "in maintenance",
    "drain": "draining",
    "removed": "no longer configured",
    "paused up": "up with health checks paused",
    "paused down": "down with health checks paused",
    "forced up": "forced up",
    "forced down": "forced down",
}


def called(backend: dict[str, Any]) -> str:
    """A backend's URL, after its name if it has one."""
    return f"{backend['name']} ({backend['url']})" if backend.get("name") else str(backend["url"])


def changed(backend: dict[str, Any], now: float) -> list[str]:
    """The state of a backend after an operator changed it, in one line or two. backend: the answer to "backend"."""
    until = until_when(backend["until"], now).removeprefix(",") + _then_ordered(backend, now)
    words = (
        f"{backend['service']}{backend['location']} {called(backend)} is {IN_WORDS.get(backend['state'], backend['state'])}{until}"
    )
    if backend.get("forced") and backend["state"] in ("up", "down"):
        words += f": {IN_WORDS[backend['forced']['what']]}"
    if backend["weight_override"]:
        weight = backend["weight_override"]
        words += f", weight {weight['weight']}"
        words += "" if backend["configured_weight"] is None else f" (configured: {backend['configured_weight']})"
        words += f" until {moment(weight['until'], now)}" if weight["until"] else ""
        words += _then(backend.get("weight_after", []), now)
    lines = [words]
    order = backend.get("order")
    if backend["state"] in ("draining", "maintenance"):
        if backend["active"]:
            lines.append(f"{many(backend['active'], 'request')} still open at this backend")
    elif order and order["what"] in ("drain", "maintenance"):
        lines.append(f"its {order['what']} holds{until_when(order['until'], now).removeprefix(',')}, also when it is up again")
    return lines


def explained(backend: dict[str, Any], now: float, width: int = WIDTH) -> str:
    """Everything that is known about a backend, as text. backend: an item of the answer to "why". width: columns of the terminal"""
    state = IN_WORDS.get(backend["state"], backend["state"])
    ordered = backend["state"] in ("draining", "maintenance")
    until = until_when(backend["until"], now) + _then_ordered(backend, now)
    reason = f": {backend['reason']}" if backend["reason"] else ""
    words = f"is {state}"
    if backend["since"]:
        words = (
            words + _set(backend["since"], backend["by"], now) if ordered else f"has been {state} for {age(now - backend['since'])}"
        )
    lines = [f"{backend['service']}{backend['location']} {called(backend)} {words}{until}{reason}"]
    shown = {**backend, "order": None} if ordered else backend
    lines += [f"  {words}" for words in overrides(shown, backend["configured_weight"], now)]
    for endpoint in backend["endpoints"]:
        lines += _endpoint(endpoint, now)
    lines += _day(backend["day"], now) if "day" in backend else []  # another host does not tell it
    if backend["history"]:
        lines.append("  changes by operators, newest first:")
        lines += [f"    {moment(action['when'], now)}  {_action(action, now)}" for action in backend["history"]]
    return "".join(f"{part}\n" for line in lines for part in wrapped(line, width))


def _day(day: dict[str, Any] | None, now: float) -> list[str]:
    """The last day of a backend: how much was asked of it, the minutes with failures, the changes of its state."""
    if day is None:
        return ["  in the last day: the history cannot be read"]
    lines = [f"  in the last day: {many(day['attempts'], 'attempt')}, {day['failures']} failed, {day['errors']} answered with 5xx"]
    if day["minutes"]:
        lines.append("  minutes with failures or 5xx, newest first:")
        lines += [
            f"    {moment(one['when'], now)}  {many(one['attempts'], 'attempt')}, {one['failures']} failed, {one['errors']} 5xx"
            for one in day["minutes"]
        ]
    if day["changes"]:
        lines.append("  states, newest first:")
        lines += [f"    {moment(one['when'], now)}  {one['text']}{_answered(one)}" for one in day["changes"]]
    return lines


def wrapped(line: str, width: int) -> list[str]:
    """The line in as many lines as it needs, the further ones indented. A word that is too long, such as a URL, stays whole."""
    if len(line) <= width:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _endpoint(endpoint: dict[str, Any], now: float) -> list[str]:
    lines = []
    address = endpoint["endpoint"] or endpoint["address"]
    if address:
        lines.append(f"  address {address} is {endpoint['state']}: {endpoint['reason']}".rstrip(": "))
    lines += [
        f"  open:      {many(endpoint['active'], 'request')}, {many(endpoint['open'], 'connection')} ({endpoint['idle']} idle)",
        f"  attempts:  {endpoint['requests']}, {endpoint['failures']} failed ({endpoint['connect_errors']} without a connection), "
        f"{endpoint['bad_statuses']} with a bad status",
        f"  responses: {_responses(endpoint['responses'])}",
        f"  circuit:   {endpoint['circuit']}, opened {many(endpoint['circuit_openings'], 'time')}",
        f"  ejections: {endpoint['ejections']}",
    ]
    if endpoint["admit"] in ("none", "trial", "ramping") and endpoint["state"] == "up":
        lines.append(f"  new work:  {endpoint['admit']}")
    if endpoint["last_probes"]:
        lines.append("  health checks, newest first:")
        times = [milliseconds(probe["seconds"]) for probe in endpoint["last_probes"]]
        widest = max(map(len, times))
        for probe, took in zip(endpoint["last_probes"], times, strict=True):
            how = "passed" if probe["ok"] else "FAILED"
            lines.append(f"    {moment(probe['when'], now)}  {how}  {took.rjust(widest)}  {probe['reason']}{_answered(probe)}")
    else:
        lines.append("  no health checks yet")
    if endpoint["last_failures"]:
        lines.append("  failures in traffic, newest first:")
        for failure in endpoint["last_failures"]:
            status = f" {failure['status']}" if failure["status"] else ""
            lines.append(f"    {moment(failure['when'], now)}  {failure['kind']}{status}: {failure['text']}")
    else:
        lines.append("  no failures in traffic")
    return lines


def _answered(one: dict[str, Any]) -> str:
    """The beginning of the answer to a health check, if it is known."""
    return f"; it answered: {one['answer']}" if one.get("answer") else ""


def _responses(classes: dict[str, int]) -> str:
    """Counts by class; attempts without a response come last."""
    words = [f"{number} {name}" for name, number in classes.items() if name != "none"]
    words += [f"{many(classes['none'], 'attempt')} without a response"] if "none" in classes else []
    return ", ".join(words) or "none yet"


def _action(action: dict[str, Any], now: float) -> str:
    what = f"weight {action['weight']}" if action["what"] == "weight" else action["what"]
    until = f" until {moment(action['until'], now)}" if action["until"] else ""
    reason = f": {action['reason']}" if action["reason"] else ""
    return f"{what}{until}{', by ' + action['by'] if action['by'] else ''}{reason}"


def overrides(one: dict[str, Any], configured: int | None, now: float) -> list[str]:
    """The operator's order and weight in words, each if there is one."""
    order, weight = one["order"], one["weight_override"]
    found = [f"{IN_WORDS[order['what']]}{_circumstances(order, one.get('order_after', []), now)}"] if order else []
    if forced := one.get("forced"):
        found.append(f"{IN_WORDS[forced['what']]}{_circumstances(forced, one.get('forced_after', []), now)}")
    if weight:
        file = "" if configured is None else f" (configured: {configured})"
        found.append(f"weight {weight['weight']}{file}{_circumstances(weight, one.get('weight_after', []), now)}")
    return found


def _circumstances(action: dict[str, Any], after: Sequence[dict[str, Any]], now: float) -> str:
    """The time, operator, end and reason of a change, and the state after its end."""
    words = _set(action["when"], action["by"], now)
    if action["until"]:
        words += until_when(action["until"], now) + _then(after, now)
    return f"{words}: {action['reason']}" if action["reason"] else words


def _set(when: float, by: str, now: float) -> str:
    return f", set {age(now - when)} ago{f' by {by}' if by else ''}"


def _then(after: Sequence[dict[str, Any]], now: float) -> str:
    """The order or weight that applies again after the current one ends."""
    words = ""
    for action in after:
        words += f", then {IN_WORDS.get(action['what']) or 'weight ' + str(action['weight'])} again"
        words += f" until {moment(action['until'], now)}" if action["until"] else ""
    return words


def _then_ordered(backend: dict[str, Any], now: float) -> str:
    return _then(backend.get("order_after", []), now) if backend["state"] in ("draining", "maintenance") else ""


def until_when(seconds: float | None, now: float) -> str:
    """An end and the time until then. From two minutes on that time is rounded to minutes: 9m58s are called 10m, not 9m."""
    if not seconds:
        return ""
    left = math.ceil(seconds - now)
    return f", until {moment(seconds, now)} (in {age(left if left < 120 else left + 30)})"


def moment(seconds: float, now: float) -> str:
    """A time of day in local time, with the date if it is not today's."""
    form = "%H:%M:%S" if time.localtime(seconds)[:3] == time.localtime(now)[:3] else "%Y-%m-%d %H:%M:%S"
    return time.strftime(form, time.localtime(seconds))


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


def milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.1f}ms" if seconds < 0.1 else f"{seconds * 1000:.0f}ms" if seconds < 10 else f"{seconds:.0f}s"


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


def many(number: int, word: str, plural: str = "s") -> str:
    return f"{number} {word}{plural * (number != 1)}"
