"""The secrets of session tickets: made here, changed from time to time, and the same in every worker.

They live in memory only: in this process, in its workers, and in a descriptor without a file that an upgrade inherits.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, MutableMapping

from terraster.certs.libssl import refusal
from terraster.certs.tickets import TicketSecrets
from terraster.logs.program import ProgramLog

from .agenda import Agenda, Entry
from .participant import Participant, Proposal

__all__ = ["TicketKeys", "inherited"]

HANDED_OVER = "TERRASTER_TICKET_KEYS"  # from an old master to the new one: its pid, and the descriptor of a memfd


class TicketKeys(Participant):
    """tell: gives secrets to all workers, those that are forked later included"""

    name = "tickets"

    def __init__(
        self, log: ProgramLog, agenda: Agenda, tell: Callable[[TicketSecrets], None], inherited: TicketSecrets | None
    ) -> None:
        self._log = log
        self._agenda = agenda
        self._tell = tell
        self._secrets = inherited or TicketSecrets.new()
        self._lifetime = 0.0
        self._next: Entry | None = None
        self._warned = False
        tell(self._secrets)

    def commit(self, new: Proposal) -> None:
        if not self._warned and any(service.tls is not None and service.tls.tickets for service in new.snapshot.services):
            self._warned = True
            if why := refusal():
                self._log.warning(
                    "TLS sessions are resumed only at the worker that began them, because ticket keys cannot be set: %s", why
                )
        if self._lifetime != new.snapshot.ticket_key_lifetime:
            self._lifetime = new.snapshot.ticket_key_lifetime
            if new.old is None:
                self._plan()
            else:
                self._rotate()

    def _plan(self) -> None:
        if self._next is not None:
            self._next.cancel()
        self._next = self._agenda.after(self._lifetime, self._rotate)

    def _rotate(self) -> None:
        self._secrets = self._secrets.rotated()
        self._tell(self._secrets)
        self._plan()

    def hand_over(self, environ: MutableMapping[str, str]) -> None:
        """Put the secrets where a successor finds them. Called in the process that will exec."""
        descriptor = os.memfd_create("terraster-tickets", 0)
        with os.fdopen(os.dup(descriptor), "wb") as stream:
            pickle.dump((self._secrets.current, self._secrets.next, self._secrets.old), stream)
        environ[HANDED_OVER] = f"{os.getppid()} {descriptor}"


def inherited(environ: MutableMapping[str, str], predecessor: int) -> TicketSecrets | None:
    """The secrets of the master that started this one. None if it gave none, as versions without tickets do."""
    parent, *descriptor = environ.pop(HANDED_OVER, "0").split()
    if not predecessor or parent != str(predecessor) or len(descriptor) != 1:
        return None
    with os.fdopen(int(descriptor[0]), "rb") as stream:
        stream.seek(0)
        return TicketSecrets(*pickle.load(stream))
