"""The lines of an access log for another program: syslog messages, or entries of systemd's journal with fields."""

from __future__ import annotations

from collections.abc import Callable

from ..config.log_targets import Remote
from ..config.loggers import AccessLog
from ..exchange import Exchange
from .encoding import level_of
from .journal import priority
from .losses import Losses
from .messages import JournalMessages, SyslogMessages
from .receiver import Receiver
from .sanitizer import Sanitizer

__all__ = ["RemoteLog"]


class RemoteLog:
    """An access log at one receiver. config: says what is masked in the fields. warn, losses: as for `Receiver`"""

    __slots__ = ("_messages", "_masked", "_query", "_receiver")

    def __init__(self, remote: Remote, config: AccessLog, warn: Callable[[str], object], losses: Losses | None) -> None:
        self._receiver = Receiver(remote, warn, losses=losses)
        self._messages = SyslogMessages(remote.facility, "access") if remote.kind == "syslog" else JournalMessages()
        self._masked = Sanitizer(config.redact_query, config.mask).uri
        self._query = config.query is not False

    @property
    def waiting(self) -> bool:
        """True if lines wait for a receiver that is there, and slow."""
        return self._receiver.waiting

    def send(self, exchanges: list[Exchange], lines: list[str]) -> None:
        """Send the lines of these exchanges. Never raises, and never waits."""
        if not self._receiver.has_room():
            self._receiver.refuse(len(lines))
            return
        made: list[bytes] = []
        messages = self._messages
        for x, line in zip(exchanges, lines, strict=True):
            text = line.rstrip("\r\n")
            level = priority(level_of(x.status))
            if isinstance(messages, SyslogMessages):
                made.append(messages.message(text, level, x.wall))
            else:
                made.append(messages.message(text, level, self._fields(x)))
        self._receiver.send(made)

    def pump(self) -> None:
        """Send what waits, as far as it is taken at once."""
        self._receiver.pump()

    def tend(self, now: float) -> None:
        """The work of a few times a second. now: monotonic seconds"""
        self._receiver.tend(now)

    def close(self) -> None:
        """Wait half a second for the receiver, and close."""
        self._receiver.close()

    def _fields(self, x: Exchange) -> list[tuple[str, str]]:
        uri = _text(x.target)
        found = (
            ("SERVICE", "" if x.service is None else x.service.name),
            ("LOCATION", "" if x.location is None else x.location.label),
            ("CLIENT", x.client_ip),
            ("METHOD", _text(x.method)),
            ("HOST", _text(x.host)),
            ("URI", self._masked(uri if self._query else uri.partition("?")[0])),
            ("STATUS", str(x.status)),
            ("DURATION", f"{x.duration:.6f}"),
            ("UPSTREAM", "" if x.backend is None else x.backend.backend.label),
            ("REQUEST_ID", _text(x.request_id)),
            ("ERROR", x.error),
        )
        return [(f"TERRASTER_{name}", value) for name, value in found if value]


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "backslashreplace")
