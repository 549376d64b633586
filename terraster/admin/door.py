"""TLS of the management port: the handshake of each new connection, in the connection's own greenlet.

A handshake may take `HANDSHAKE_SECONDS`, and at most `HANDSHAKES` are under way: of more the oldest end, as those are a flood's. So the
admin worker answers others meanwhile. A client that speaks plain HTTP gets one clear answer. Failures are logged once in `QUIET`
seconds.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from gevent import Timeout
from gevent import socket as gevent_socket
from gevent.ssl import SSLSocket

from ..certs.contexts import Contexts
from ..config.management import NAME
from ..config.snapshot import Tls

__all__ = ["Door"]

HANDSHAKE_SECONDS = 10.0
HANDSHAKES = 32
QUIET = 60.0

_HANDSHAKE = b"\x16"  # the first octet of a client that speaks TLS
_PLAIN = b"this port speaks TLS: use https://\n"


class Door:
    """The settings that are in effect, and the handshakes under way.

    tls: the settings; None: the port speaks plain HTTP
    """

    def __init__(self, log: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self.tls: Tls | None = None
        self._log = log
        self._clock = clock
        self._contexts = Contexts(2)
        self._under_way: dict[Any, None] = {}  # sockets, the oldest first
        self._quiet_until = 0.0
        self._more = 0  # failures that were not logged

    def use(self, tls: Tls | None) -> None:
        """Have these settings and certificates for connections from now on."""
        self.tls = tls

    def open(self, sock: Any, client: str) -> Any:
        """The connection after its handshake; the same if the port speaks plain HTTP; None if the client is not let in. It is closed then.
        client: its address, for the log"""
        if self.tls is None:
            return sock
        self._begin(sock)
        try:
            return self._shake(sock, self.tls)
        except Timeout:
            self._failed(client, f"no handshake within {HANDSHAKE_SECONDS:g} s")
        except (ssl.SSLError, OSError) as error:
            self._failed(client, getattr(error, "reason", None) or error.strerror or str(error))
        finally:
            self._under_way.pop(sock, None)
        sock.close()
        return None

    def _begin(self, sock: Any) -> None:
        self._under_way[sock] = None
        if len(self._under_way) > HANDSHAKES:
            oldest = next(iter(self._under_way))
            del self._under_way[oldest]
            with suppress(OSError):
                oldest.shutdown(gevent_socket.SHUT_RDWR)  # its greenlet sees the end

    def _shake(self, sock: Any, tls: Tls) -> Any:
        """Raises OSError, ssl.SSLError or Timeout."""
        with Timeout(HANDSHAKE_SECONDS):
            first = sock.recv(1, gevent_socket.MSG_PEEK)
            if first and first != _HANDSHAKE:
                head = f"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: {len(_PLAIN)}\r\n\r\n"
                sock.sendall(head.encode() + _PLAIN)
                sock.shutdown(gevent_socket.SHUT_WR)
                while sock.recv(65536):  # so that the answer is not lost by a reset
                    pass
                raise ConnectionAbortedError(0, "the client speaks no TLS")
            if not first:
                raise ConnectionAbortedError(0, "the client left")
            engine = SSLSocket(sock, server_side=True, do_handshake_on_connect=False, _context=self._contexts.get(NAME, tls))
            self._under_way.pop(sock, None)  # it has given its descriptor away
            self._under_way[engine] = None
            try:
                engine.do_handshake()
            except BaseException:
                engine.close()
                raise
            finally:
                self._under_way.pop(engine, None)
            return engine

    def _failed(self, client: str, why: str) -> None:
        now = self._clock()
        if now < self._quiet_until:
            self._more += 1
            return
        more = f"; {self._more} more failed since the last line" if self._more else ""
        self._quiet_until, self._more = now + QUIET, 0
        self._log.info("management API: TLS handshake failed: %s (client %s)%s", why, client or "unknown", more)
