"""An upgrade that is under way, as the status tells it: which master takes over from which, and whose workers serve or drain.

Pure: rows of the status document go in, plain JSON values come out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["under_way"]


def under_way(masters: Mapping[str, int] | None, workers: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """None if there is one master.

    masters: pids of the ``old`` and the ``new`` master (`terraster.master.control`)
    workers: rows of the status document
    """
    if not masters:
        return None
    return {which: {"pid": pid, **_counts(pid, workers)} for which, pid in masters.items()}


def _counts(master: int, workers: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    proxies = [worker for worker in workers if worker["role"] == "proxy" and worker["master"] == master]
    return {
        "serving": sum(worker["state"] == "serving" and not worker["draining"] for worker in proxies),
        "draining": sum(worker["draining"] for worker in proxies),
        "connections": sum(worker["connections"] for worker in proxies),
    }
