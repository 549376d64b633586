"""A clock that is wrong, that jumps, or that nothing keeps right. Certificates, tokens, logs and history depend on it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import NamedTuple

from .finding import Finding

__all__ = ["Kernel", "check", "kernel"]

_UNSYNCHRONISED = 0x40  # STA_UNSYNC
_ERROR = 5  # TIME_ERROR
_FAR = 10.0  # seconds that the clock may be off
_JUMP = 0.5  # seconds
_RELEASE = 1_760_000_000  # before this code was written


class Kernel(NamedTuple):
    """The kernel's own account of its clock (adjtimex(2)). state: its answer. error: seconds that it may be off at most"""

    state: int
    status: int
    error: float


class _Timex(ctypes.Structure):
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def kernel() -> Kernel | None:
    """None: it does not say."""
    try:
        own = _Timex()
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(own))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else Kernel(state, own.status, own.maxerror / 1e6)


def check(now: float, told: Kernel | None, jumped: float) -> Iterator[Finding]:
    """now: the clock, seconds since 1970. jumped: seconds by which it went otherwise than the monotonic clock while one looked"""
    if now < _RELEASE:
        yield Finding(
            "clock",
            "problem",
            "The clock says a time before this Terraster was made.",
            "Certificates count as not valid yet, and logins and tokens fail.",
            "Set the clock: `timedatectl set-ntp true`, or `chronyc makestep`.",
        )
    if abs(jumped) >= _JUMP:
        yield Finding(
            "clock",
            "warning",
            f"The clock jumped by {jumped:+.1f} s while this command looked.",
            "Moments in logs, in the history and in the audit log are out of order; tokens end too early or too late.",
            "See what sets it: two time services at once, or a virtual machine that was paused.",
        )
    if told is not None and (told.state == _ERROR or told.status & _UNSYNCHRONISED):
        yield Finding(
            "clock",
            "warning" if told.error >= _FAR else "note",
            "The kernel says that its clock is not synchronised.",
            "A clock that runs off makes certificates and tokens end too early or too late, and logs of several hosts do not match.",
            "Start a time service, such as chrony or systemd-timesyncd. In a virtual machine or container the host may keep the clock.",
        )
