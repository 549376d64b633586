"""Messages to another program: a syslog daemon or systemd's journal, on a socket. Nothing here waits for it.

- Messages are sent as they come. Those that the receiver does not take at once are kept, up to `BACKLOG` octets, and tried again; further
  ones are lost. Lost ones are counted, and a warning says so when the first is lost, once a minute while more are, and when it is over.
- A receiver that has gone is looked for again once in `AGAIN` seconds, a name of a host is resolved again then. Messages wait meanwhile.
- A connection that breaks in the middle of a message gets the whole message again after it is made anew. Messages that TCP had taken, and
  the receiver had not, are lost without a word; so are datagrams on their way. That is the nature of both.
- A datagram that is too long for the receiver is lost. To the journal it goes as a file in memory instead (its native protocol).

Source: RFC 5424 (messages), RFC 6587, section 3.4.1 (octet counting), systemd's Native Journal Protocol.
"""

from __future__ import annotations

import _socket
import array
import errno
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable

import gevent

from ..config.log_targets import Remote
from .losses import Losses
from .target import writable

__all__ = ["AGAIN", "BACKLOG", "Receiver"]

BACKLOG = 1 << 20  # octets kept for a receiver that is slow or away
AGAIN = 1.0  # seconds between two attempts to reach it
PATIENCE = 5.0  # seconds for a connection to be made
WARN_EVERY = 60.0  # seconds
CALM = 5.0  # seconds without a loss after which messages count as being taken again
LAST_WAIT = 0.5  # seconds that `close` waits

_MESSAGE = 4096  # octets of a message that counts as long
_AT_ONCE = 256  # messages that one call sends, about 2 ms
_SLOW = (errno.EAGAIN, errno.ENOBUFS)
_UNFINISHED = (errno.EINPROGRESS, errno.EAGAIN)


class Receiver:
    """One receiver. Used by one greenlet of one process at a time.

    warn:   called with one line of text about lost messages
    clock:  monotonic seconds
    losses: counts the lost messages, those of others too if they share it
    """

    __slots__ = (
        "losses",
        "_address",
        "_began",
        "_begun",
        "_clock",
        "_last_loss",
        "_lost",
        "_name",
        "_octets",
        "_pending",
        "_queue",
        "_remote",
        "_reported",
        "_since",
        "_socket",
        "_stream",
        "_tried",
        "_warn",
        "_warned",
        "_why",
    )

    def __init__(
        self,
        remote: Remote,
        warn: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
        losses: Losses | None = None,
    ) -> None:
        self.losses = Losses() if losses is None else losses
        self._remote = remote
        self._name = remote.shown()
        self._warn = warn
        self._clock = clock
        self._address: tuple[int, tuple[str, int] | str] | None = (
            (socket.AF_UNIX, remote.host) if remote.transport == "unix" else None
        )
        self._queue: deque[bytes] = deque()
        self._octets = 0
        self._begun = 0  # octets of the first message that a stream has taken
        self._socket: _socket.socket | None = None
        self._stream = remote.transport == "tcp"
        self._pending = False  # a connection is being made
        self._since = self._began = self._last_loss = 0.0
        self._tried = clock() - AGAIN
        self._warned = clock() - WARN_EVERY
        self._lost = self._reported = 0
        self._why = 0

    @property
    def waiting(self) -> bool:
        """True if messages wait for a receiver that is there, and slow."""
        return bool(self._queue) and self._socket is not None and not self._pending

    @property
    def pending(self) -> bool:
        """True if messages wait."""
        return bool(self._queue)

    def has_room(self) -> bool:
        """True if another message can be kept, after those that wait were tried again."""
        if self._octets + _MESSAGE > BACKLOG:
            self.pump()
        return self._octets + _MESSAGE <= BACKLOG

    def refuse(self, count: int) -> None:
        """Lose messages for which there is no room, so that nobody has to make them."""
        self._lose(count, 0)

    def send(self, messages: Iterable[bytes]) -> None:
        """Send messages, after those that wait. Never raises, and never waits."""
        for message in messages:
            if self._octets + len(message) > BACKLOG:
                self._lose(1, 0)
            else:
                self._queue.append(message)
                self._octets += len(message)
        self.pump()

    def pump(self) -> None:
        """Send what waits, as far as it is taken at once."""
        if not self._queue or not self._reached():
            return
        sock = self._socket
        assert sock is not None
        for _ in range(min(_AT_ONCE, len(self._queue))):
            message = self._framed(self._queue[0])
            try:
                sent = sock.send(message[self._begun :] if self._begun else message, socket.MSG_NOSIGNAL)
            except OSError as error:
                if error.errno in _SLOW:
                    return
                if not self._refused(sock, message, error):
                    return
                sent = len(message)
            if self._stream and self._begun + sent < len(message):
                self._begun += sent
                return
            self._drop()

    def _framed(self, message: bytes) -> bytes:
        """A message as it is sent. Only a connection shows if a socket in the file system is a stream."""
        if not self._stream:
            return message
        return b"%d %b" % (len(message), message) if self._remote.transport == "tcp" else message + b"\n"

    def tend(self, now: float) -> None:
        """The work of a few times a second. now: monotonic seconds"""
        self.pump()
        if not self._lost:
            return
        if now - self._last_loss >= CALM and not self._queue:
            self._report(f"messages are taken again; {_lines(self._lost)} lost in {self._last_loss - self._began:.0f} s")
            self._lost = self._reported = 0
        elif self._lost > self._reported and now - self._warned >= WARN_EVERY:
            self._report(f"{_lines(self._lost)} lost so far: {self._reason()}")

    def reopen(self) -> None:
        """There is no file; does nothing."""

    def close(self) -> None:
        """Send the rest, waiting at most `LAST_WAIT` seconds for the receiver, and close."""
        deadline = self._clock() + LAST_WAIT
        self.pump()
        while self._queue and self._socket is not None and (left := deadline - self._clock()) > 0:
            if not writable(self._socket.fileno(), max(1, int(left * 1000))):
                break
            self.pump()
        if self._queue:
            self._lose(len(self._queue), self._why)
            self._queue.clear()
            self._octets = self._begun = 0
        if self._lost > self._reported:
            self._report(f"{_lines(self._lost)} lost: {self._reason()}")
        self._shut()

    def forget(self) -> None:
        """Called after a fork in the child: the parent sends what waits, on its own connection."""
        self._queue.clear()
        self._octets = self._begun = self._lost = self._reported = 0
        self._shut()
        self._tried = self._clock() - AGAIN

    def _reached(self) -> bool:
        """True if there is a connection. Begins to make one if there is none."""
        now = self._clock()
        if self._socket is None:
            if now - self._tried < AGAIN:
                return False
            self._tried = now
            if self._address is None:
                gevent.spawn(self._look_up)
                return False
            return self._connect(now)
        if not self._pending:
            return True
        if writable(self._socket.fileno(), 0):
            number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                self._away(number)
                return False
            self._pending = False
            return True
        if now - self._since >= PATIENCE:
            self._away(errno.ETIMEDOUT)
        return False

    def _look_up(self) -> None:
        """Resolve the name of the host. In a greenlet of its own."""
        kind = socket.SOCK_STREAM if self._stream else socket.SOCK_DGRAM
        try:
            family, _, _, _, address = socket.getaddrinfo(self._remote.host, self._remote.port, type=kind)[0]
        except OSError:
            self._why = errno.EHOSTUNREACH
            return
        self._address = family, (str(address[0]), int(address[1]))
        self._tried = self._clock() - AGAIN
        self.pump()

    def _connect(self, now: float) -> bool:
        assert self._address is not None
        family, address = self._address
        kinds = (socket.SOCK_STREAM,) if self._remote.transport == "tcp" else (socket.SOCK_DGRAM, socket.SOCK_STREAM)
        number = 0
        for kind in kinds if family == socket.AF_UNIX else kinds[:1]:
            sock = _socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
            number = sock.connect_ex(address)
            if number in (0, *_UNFINISHED):
                self._socket, self._pending, self._since, self._begun = sock, number != 0, now, 0
                self._stream = kind == socket.SOCK_STREAM
                return not self._pending
            sock.close()
            if number != errno.EPROTOTYPE:
                break
        self._away(number)
        return False

    def _refused(self, sock: _socket.socket, message: bytes, error: OSError) -> bool:
        """True if the first message is done with, sent in another way or lost."""
        number = error.errno or errno.EIO
        if number == errno.EMSGSIZE:
            if self._remote.kind == "journald" and _sent_as_a_file(sock, message):
                return True
            self._lose(1, number)
            return True
        if number == errno.ECONNREFUSED and self._remote.transport == "udp":  # about the datagram before
            self._lose(1, number)
            return False
        self._away(number)
        return False

    def _away(self, number: int) -> None:
        """The receiver cannot be reached. number: errno"""
        self._why = number
        self._shut()
        if self._remote.transport != "unix":
            self._address = None

    def _shut(self) -> None:
        self._begun = 0
        self._pending = False
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _drop(self) -> None:
        self._octets -= len(self._queue.popleft())
        self._begun = 0

    def _lose(self, count: int, number: int) -> None:
        now = self._clock()
        self._why = number or self._why
        self.losses.add(count, self._why)
        if not self._lost:
            self._began = now
        self._lost += count
        self._last_loss = now
        if now - self._warned >= WARN_EVERY:
            self._report(f"{_lines(self._lost)} lost so far: {self._reason()}")

    def _reason(self) -> str:
        return os.strerror(self._why) if self._why else "the receiver is too slow"

    def _report(self, text: str) -> None:
        self._warned = self._clock()
        self._reported = self._lost
        self._warn(f"log {self._name}: {text}")


def _sent_as_a_file(sock: _socket.socket, message: bytes) -> bool:
    """Hand the journal a message that is too long for a datagram as a sealed file in memory."""
    import fcntl

    fd = os.memfd_create("terraster-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.write(fd, message)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL)
        sock.sendmsg([b""], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))], socket.MSG_NOSIGNAL)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _lines(count: int) -> str:
    return f"{count} line{'s' * (count != 1)}"
