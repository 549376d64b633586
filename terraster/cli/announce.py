"""The advice of `terraster --demo`, printed once Terraster serves. Before that the start might still fail.

The admin worker prints it, because it knows when proxy workers accept connections. A replaced admin worker does not print it again.
"""

from __future__ import annotations

import mmap

import gevent

from ..admin import seat_readings
from ..admin.worker import AdminWorker

__all__ = ["announcing"]

_LOOK = 0.05  # seconds between two checks


def announcing(text: str, kind: type[AdminWorker]) -> type[AdminWorker]:
    """An admin worker of this kind that prints the text on standard output as soon as a client can connect. Called before the fork."""
    printed = mmap.mmap(-1, 1)  # shared with all processes forked from now on

    class Announcing(kind):  # type: ignore[valid-type, misc]
        def start(self) -> None:
            super().start()
            gevent.spawn(self._announce)

        def _announce(self) -> None:
            while not any(seat.serves for seat in seat_readings.seats(self.view.table)):
                gevent.sleep(_LOOK)
            if not printed[0]:
                printed[0] = 1
                print(text, flush=True)

    return Announcing
