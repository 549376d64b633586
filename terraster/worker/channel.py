"""The control channel between the master and one child: a socket pair made before the fork, carrying pickled messages.

    frame     length (4 octets, big-endian) | number of descriptors (1 octet) | pickle of ``length`` octets
    message   a tuple whose first item is its name; both ends come from the same fork, so pickle is as safe as memory

Descriptors travel as SCM_RIGHTS with the five octets of a frame's head. The kernel takes at most 253 of them in one message. More
descriptors are sent ahead in empty frames, and the next frame that has a body owns them all.

The ends are plain descriptors until after the fork. A gevent socket belongs to the hub under which it was made, and a child does not
share its master's hub.
"""

from __future__ import annotations

import _socket
import array
import os
import pickle
import struct
from typing import Any

from gevent import socket
from gevent.lock import RLock

from terraster.errors import TerrasterError

__all__ = ["Channel", "ChannelClosed", "pair"]

_HEAD = struct.Struct("!IB")
_MOST_DESCRIPTORS = 200
_CHUNK = 65536


class ChannelClosed(TerrasterError):
    """The process at the other end has ended or has closed its end."""


def pair() -> tuple[int, int]:
    """Two connected descriptors, closed on exec: the master's end and the child's end."""
    near, far = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    return near.detach(), far.detach()


class Channel:
    """One end of a channel. Any greenlet may `send`; one greenlet at a time may `receive`. Waits are cooperative.

    fd: the descriptor of this end; the channel owns it from now on
    """

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=fd)
        self._sending = RLock()

    def fileno(self) -> int:
        fd: int = self._socket.fileno()
        return fd

    def send(self, message: tuple[Any, ...], descriptors: list[int] | None = None) -> None:
        """Send one message and duplicates of the descriptors. Raises `ChannelClosed`."""
        self.send_pickled([pickle.dumps(message, pickle.HIGHEST_PROTOCOL)], descriptors)

    def send_pickled(self, bodies: list[bytes], descriptors: list[int] | None = None) -> None:
        """Send messages that were pickled before, so that a message to many children is pickled only once.

        No other message comes between them. The descriptors go with the first message.
        """
        waiting = list(descriptors or ())
        try:
            with self._sending:
                while len(waiting) > _MOST_DESCRIPTORS:
                    self._send_head(0, waiting[:_MOST_DESCRIPTORS])
                    del waiting[:_MOST_DESCRIPTORS]
                for body in bodies:
                    self._send_head(len(body), waiting)
                    self._socket.sendall(body)
                    waiting = []
        except OSError as error:
            raise ChannelClosed(f"the control channel is closed: {error.strerror or error}") from error

    def _send_head(self, length: int, descriptors: list[int]) -> None:
        head = _HEAD.pack(length, len(descriptors))
        ancillary = []
        if descriptors:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        sent = self._socket.sendmsg([head], ancillary)
        if sent < len(head):
            self._socket.sendall(head[sent:])

    def receive(self) -> tuple[Any, list[int]]:
        """Wait for one message. Returns it with its descriptors, which the caller owns. Raises `ChannelClosed` at the end.

        If it raises, for whatever reason, no descriptor is left open.
        """
        descriptors: list[int] = []
        try:
            while True:
                length, _count = _HEAD.unpack(self._receive_head(descriptors))
                if length:
                    return pickle.loads(self._receive_exactly(length)), descriptors
        except BaseException as error:
            for descriptor in descriptors:
                os.close(descriptor)
            if isinstance(error, OSError):
                raise ChannelClosed(f"the control channel is closed: {error.strerror or error}") from error
            raise

    def _receive_head(self, descriptors: list[int]) -> bytes:
        room = socket.CMSG_LEN(_MOST_DESCRIPTORS * array.array("i").itemsize)
        head, ancillary, _flags, _address = self._socket.recvmsg(_HEAD.size, room, socket.MSG_CMSG_CLOEXEC)
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received = array.array("i")
                received.frombytes(data[: len(data) - len(data) % received.itemsize])
                descriptors.extend(received)
        if not head:
            raise ChannelClosed("the process at the other end has gone")
        return bytes(head) + self._receive_exactly(_HEAD.size - len(head))

    def _receive_exactly(self, count: int) -> bytes:
        parts: list[bytes] = []
        while count:
            part = self._socket.recv(min(count, _CHUNK))
            if not part:
                raise ChannelClosed("the process at the other end ended in the middle of a message")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Close this end. The other process then reads the end of the channel."""
        self._socket.close()

    def abandon(self) -> None:
        """Close an end that was inherited over a fork. The hub under which it was made does not run here, so it is not used."""
        fd = self._socket.detach()
        if fd >= 0:
            os.close(fd)
