"""Calls of the management API by commands of `terrasterctl`, over the control socket."""

from __future__ import annotations

import os
from typing import Any

from .control import FAILED, UNKNOWN, Away, Control, Refused

__all__ = ["api"]


def api(control: Control, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """The JSON of one call. Behind sudo the name of the calling user goes with it. Raises `Refused`."""
    control.ask("GET", "/healthz")  # waits for an admin worker that is being replaced
    head = {"X-Terraster-By": os.environ["SUDO_USER"]} if os.environ.get("SUDO_USER") else {}
    if method in ("PUT", "PATCH", "DELETE"):
        head["If-Match"] = "*"
    try:
        status, value = control.exchange(method, path, body, head)
    except Away as away:
        code = FAILED if method == "GET" else UNKNOWN
        raise Refused(f"the admin worker ended before it answered, so the outcome is unknown: {away}", code) from None
    if status >= 400:
        raise Refused(_told(value))
    return value


def _told(problem: dict[str, Any]) -> str:
    """The detail of a problem, and the parameters that are wrong."""
    further = [one for one in problem.get("errors", ()) if one["detail"] not in problem["detail"]]
    return "; ".join([problem["detail"], *(f"{one['pointer'].lstrip('/')}: {one['detail']}".removeprefix(": ") for one in further)])
