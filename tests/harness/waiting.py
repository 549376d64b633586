"""Waiting for what no event announces: by looking again and again, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["DEADLINE", "wait_until"]

T = TypeVar("T")

DEADLINE = 20.0  # seconds for any single wait: what does not come at all fails either way, and a busy machine is not at fault


def wait_until(
    truth: Callable[[], T],
    what: str | Callable[[], str] = "",
    deadline: float = DEADLINE,
    *,
    tolerate: tuple[type[Exception], ...] = (),
    pause: Callable[[float], object] = time.sleep,
) -> T:
    """The value of ``truth()``, as soon as it holds; fails when it does not within ``deadline`` seconds.

    what: what is waited for, or a function that tells how far it came, for the failure. tolerate: errors of ``truth`` that mean "not yet".
    pause: how to let time pass; `gevent.sleep` where greenlets of this process have to run meanwhile.
    """
    end = time.monotonic() + deadline
    while True:
        error: Exception | None = None
        try:
            if value := truth():
                return value
        except tolerate as failed:
            error = failed
        if time.monotonic() >= end:
            told = what() if callable(what) else what
            raise AssertionError(f"not within {deadline} s: {told or truth}" + (f" ({error!r})" if error else ""))
        pause(0.005)
