"""What `terraster --demo` has to say is said when Terraster serves, not before: by then nothing can stop the start any more.

The admin worker says it, as it sees when proxy workers accept connections. Once, also if it is replaced.
"""

from __future__ import annotations

import mmap

import gevent

from ..admin.worker import AdminWorker

__all__ = ["announcing"]

_LOOK = 0.05  # seconds between two looks


def announcing(text: str) -> type[AdminWorker]:
    """An admin worker that prints the text on standard output as soon as a client can come in. Called in the future master."""
    said = mmap.mmap(-1, 1)  # shared by all that are forked from here on

    class Announcing(AdminWorker):
        def start(self) -> None:
            super().start()
            gevent.spawn(self._announce)

        def _announce(self) -> None:
            while not self.ready():
                gevent.sleep(_LOOK)
            if not said[0]:
                said[0] = 1
                print(text, flush=True)

    return Announcing
