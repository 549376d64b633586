"""The certificates for which backends are refused, looked at once more for the operator: who issued them, for which names, until when.

A handshake that ends at the certificate leaves the engine no copy of it. So when an attempt or a probe failed for it, the master makes one
handshake that verifies nothing, reads the certificate, and closes. It sends no request. For each backend and reason it does so at most once
in `AGAIN` seconds, at most `AT_ONCE` at once, and no request or probe waits for it. The words are a line in the log when they change, and
part of the backend's problem in the status.

Master only; each look runs in a greenlet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Any

import gevent

from terraster.certs.shown import described
from terraster.config.snapshot import Backend
from terraster.logs.program import ProgramLog
from terraster.net.tls_faults import REFUSED

from .outliers import Report
from .probe import Aim, Probing
from .states import BackendStates

__all__ = ["AGAIN", "AT_ONCE", "KEPT", "ShownCertificates"]

AGAIN = 60.0  # seconds before the same fault of the same backend is looked at again
AT_ONCE = 4  # looks under way; further faults wait for their next report
KEPT = 600.0  # seconds for which words are kept after the last look
_TIMEOUT = 5.0  # seconds of a look


class _Seen:
    __slots__ = ("when", "words")

    def __init__(self, when: float) -> None:
        self.when = when
        self.words = ""


class ShownCertificates:
    """The looks of one master.

    states: know the backends
    chain:  see `Probing.chain`
    clock:  time.monotonic
    wall:   time.time
    """

    def __init__(
        self,
        states: BackendStates,
        log: ProgramLog,
        chain: Callable[[Aim, float], list[bytes]] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._states = states
        self._log = log
        self._probing = Probing()
        self._chain = chain or self._probing.chain
        self._clock = clock
        self._wall = wall
        self._seen: dict[tuple[str, str], _Seen] = {}  # by backend and reason
        self._looking = 0

    def attempted(self, reports: Iterable[Report]) -> None:
        """Take the reports of a worker: those that are about a certificate count."""
        for slot, _serial, kind, _status, text, _when in reports:
            if kind == "connect" and text.startswith(REFUSED) and (found := self._states.at(slot)) is not None:
                name, location = found
                for backend in location.backends:
                    if backend.id == name:
                        self._note(_aim(backend), (name,), text)

    def probed(self, aim: Aim, names: Collection[str], reason: str) -> None:
        """A probe of these backends failed."""
        if reason.startswith(REFUSED):
            self._note(aim, names, reason)

    def words(self) -> dict[str, dict[str, Any]]:
        """By id, of the backends that were looked at lately: ``words``, and ``when`` (seconds ago)."""
        now = self._clock()
        self._seen = {key: one for key, one in self._seen.items() if now - one.when < KEPT}
        found = sorted(self._seen.items(), key=lambda item: item[1].when)
        return {name: {"words": one.words, "when": now - one.when} for (name, _reason), one in found if one.words}

    def abandon(self) -> None:
        """In a forked child: close the descriptors of looks under way."""
        self._probing.abandon()

    def _note(self, aim: Aim, names: Collection[str], reason: str) -> None:
        now = self._clock()
        due = [name for name in names if (one := self._seen.get((name, reason))) is None or now - one.when >= AGAIN]
        if due and self._looking < AT_ONCE:
            for name in due:
                before = self._seen.get((name, reason))
                self._seen[name, reason] = seen = _Seen(now)
                seen.words = before.words if before is not None else ""
            self._looking += 1
            gevent.spawn(self._look, aim, due, reason)

    def _look(self, aim: Aim, names: list[str], reason: str) -> None:
        try:
            words = described(self._chain(aim, _TIMEOUT), reason, aim.sni, aim.credentials.ca_file, self._wall())
        except (OSError, ValueError, gevent.Timeout) as error:
            words = f"the certificate cannot be looked at: {str(error) or type(error).__name__}"
        except Exception:
            self._log.exception("the certificate of a backend cannot be described")
            return
        finally:
            self._looking -= 1
        news = []
        for name in names:
            seen = self._seen.get((name, reason))
            if seen is not None and seen.words != words:
                seen.words = words
                news.append(name)
        if news:
            more = f" and {len(news) - 1} more" if len(news) > 1 else ""
            self._log.warning("backend %s%s: %s: %s", news[0], more, reason, words)


def _aim(backend: Backend) -> Aim:
    """How requests connect to a backend, as an aim: the settings of its probes may be others."""
    return replace(
        Aim.of(backend),
        check=replace(backend.health, port=0),
        sni=backend.sni or backend.host,
        credentials=backend.credentials,
        send_proxy=backend.send_proxy,
    )
