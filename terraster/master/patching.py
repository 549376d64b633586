"""The patches that must come before any other import in the process that becomes the master.

The master lives on a gevent hub: probes, control channels and waiting must be cooperative there. So a few modules of the
standard library are patched, and no others: never `os`, `signal`, `threading` or `subprocess` (the master forks, handles
signals itself and has no threads). Children inherit the patched modules; the data plane takes the originals
(`gevent.monkey.get_original`).

`ssl` must be patched before gunicorn imports it, hence a module of its own that imports nothing but gevent.
"""

from __future__ import annotations

import gevent
from gevent import events, monkey

__all__ = ["patch"]


def patch() -> None:
    """Make this process fit to be the master. Called once, by the entry point, before gunicorn and the workers are
    imported.

    Names are resolved by c-ares on the hub, whatever ``GEVENT_RESOLVER`` says: gevent's default would start threads, and a process with
    threads must not fork.
    """
    gevent.config.resolver = "ares"
    told = events.notify_and_call_entry_points
    events.notify_and_call_entry_points = events.notify  # or it reads what every installed package says of itself, eight times
    try:
        monkey.patch_socket()
        monkey.patch_ssl()
        monkey.patch_select()
        monkey.patch_time()
    finally:
        events.notify_and_call_entry_points = told
