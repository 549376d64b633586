"""What the backends of the tests share: a listener whose connections are served in threads of their own, and whose failures are raised at the
end."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any, TypeVar

__all__ = ["Acceptor"]

Own = TypeVar("Own", bound="Acceptor")


class Acceptor:
    """A server that is used as a context.

    peers: the connections, each with `close`. failures: what went wrong in threads; the first is raised where the context ends. changed:
    notified whenever a connection or a request comes
    """

    def __init__(self, listener: socket.socket) -> None:
        """listener: is listening"""
        self.listener = listener
        self.peers: list[Any] = []
        self.failures: list[BaseException] = []
        self.changed = threading.Condition()
        self._closing = False
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self: Own) -> Own:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()
        if kind is None and self.failures:
            raise self.failures[0]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._accepted(sock)

    def _accepted(self, sock: socket.socket) -> None:
        """Begin to serve a connection. On the thread that accepts; must not wait."""
        raise NotImplementedError

    def _add(self, peer: Any) -> None:
        """A connection is there."""
        with self.changed:
            self.peers.append(peer)
            self.changed.notify_all()

    def close(self) -> None:
        """Stop listening and end every connection."""
        self._closing = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for peer in list(self.peers):
            peer.close()
