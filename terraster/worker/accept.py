"""Accepting connections: one `Acceptor` per listening socket and worker.

A client wakes each worker that sleeps, and all but one come in vain. To accept in vain costs 2.8 µs, to ask how many wait 0.3
(2026-11-29), so a worker asks first.

The workers share the master's sockets, and the first worker to wake up could accept every waiting connection. So each worker looks at
the shared table before it accepts. A worker that holds clearly more connections than its share leaves new ones to the others for a
moment (`terraster.policy.accept`). A socket per worker (SO_REUSEPORT) would distribute connections by chance, and lose those that wait
in the queue of a worker that dies.

TCP_DEFER_ACCEPT is not set. It leaves a connection with the kernel until its first octets arrive, which saves 2 of 45 µs for a connection
with one request (2026-11-29). But such a connection is not in the queue that `Acceptor.close` empties: a client that has connected and asks
a moment later would be reset at a stop or a reload. Silent clients would also be hidden from limits and counters for a second.
"""

from __future__ import annotations

import _socket
from collections.abc import Callable
from socket import AF_UNIX, IPPROTO_TCP, TCP_INFO
from struct import Struct
from typing import Any

from terraster.config.snapshot import Listener
from terraster.net.reactor import Reactor
from terraster.plan import Plan

__all__ = ["Acceptor"]

_own: Callable[[int, int, int, int], tuple[Any, str, int] | None] | None
"""The compiled way to accept, None: this Terraster is not compiled."""

_own_waiting: Callable[[int], int] | None
"""The compiled way to ask how many wait."""

try:
    from terraster.net import accepted

    _own, _own_waiting = accepted.accept, accepted.waiting
except ImportError:
    _own = _own_waiting = None

_BATCH = 16
"""Connections accepted in one turn of the event loop: enough to keep up with a burst, few enough to keep the workers balanced."""

_QUEUED = Struct("=24x2I")
"""The fields of `struct tcp_info` that have, for a listening socket, the number of connections that wait, and the most that may wait. Both
are 0 where a kernel does not say (gVisor's)."""

_QUEUE = 65536
"""Connections accepted at most from a socket that is given up: more than a kernel's queue has."""

_YIELD = 0.002
"""Seconds that a worker with more than its share leaves new connections to the others. After that it accepts them itself."""

_FULL = 0.01
"""Seconds between two checks of a worker at its limit of connections. Meanwhile new connections wait in the kernel's queue."""

_EXHAUSTED = 0.5
"""Seconds without accepting after an error that the next try would meet again."""


class Acceptor:
    """Accepts connections from one listening socket.

    address, port, proxy_protocol, tls, slot: the listener's (port 0 on a unix socket)
    lease:      serial number of the lease of ``slot``
    closed:     True when it no longer listens; its connections should end
    last_plan:  the last plan that had this listener, once a reload has removed it; its connections still get an answer. Else None
    welcome:    called on the hub with (socket, peer address, peer port, acceptor) for each connection
    room:       the number of connections that this worker may accept before it is at its limit
    share:      the number of connections that this worker should accept now, rather than another worker
    not_accepted: called with an error of accept(2); True if the next try may succeed
    """

    __slots__ = (
        "address",
        "port",
        "proxy_protocol",
        "tls",
        "slot",
        "lease",
        "closed",
        "last_plan",
        "_listening",
        "_kind",
        "_descriptor",
        "_not_accepted",
        "_reactor",
        "_rest",
        "_room",
        "_share",
        "_socket",
        "_turn",
        "_watcher",
        "_welcome",
        "_yielded",
    )

    def __init__(
        self,
        reactor: Reactor,
        listener: Listener,
        listening: Any,
        welcome: Callable[[Any, str, int, Acceptor], None],
        room: Callable[[], int],
        share: Callable[[], int],
        not_accepted: Callable[[OSError], bool],
        lease: int = 0,
    ) -> None:
        self.address = listener.address
        self.proxy_protocol = listener.proxy_protocol
        self.tls = listener.tls
        self.slot = listener.slot
        self.lease = lease
        self.port = 0 if listening.family == AF_UNIX else listening.getsockname()[1]
        self._reactor = reactor
        self._use(listening)
        self._welcome = welcome
        self._room = room
        self._share = share
        self._not_accepted = not_accepted
        self._rest = reactor.loop.timer(_YIELD)
        self._turn = 0  # number of the last turn of the loop at which clients waited, whose number the kernel does not say
        self._yielded = False
        self._listening = False
        self.closed = False
        self.last_plan: Plan | None = None

    def _use(self, listening: Any) -> None:
        self._socket = listening
        # Each of these properties makes a member of an enumeration, which costs a microsecond or more.
        self._kind = int(listening.family), int(listening.type), listening.proto
        self._descriptor = listening.fileno() if isinstance(listening, _socket.socket) else -1
        self._watcher = self._reactor.loop.io(listening.fileno(), 1)

    @property
    def socket(self) -> Any:
        """The listening socket. It belongs to the acceptor."""
        return self._socket

    def start(self) -> None:
        self._listening = True
        self._watcher.start(self._ready)

    def stop(self) -> None:
        """Stop accepting. Idempotent. The socket stays open, because other processes share it."""
        self._listening = False
        self._watcher.stop()
        self._rest.stop()

    def move(self, listening: Any) -> None:
        """Accept on another socket of the same address from now on, and close this process's copy of the old one. Open connections
        stay. Called on the hub."""
        self.stop()
        self._accept(_QUEUE)
        self._watcher.close()
        self._socket.close()
        self._use(listening)
        self.start()

    def close(self, last: bool = False) -> None:
        """Stop and close this process's copy of the listening socket. Called on the hub.

        last: no other process will accept the connections that wait in the kernel's queue, which resets them when the last copy is
              closed. So this one accepts them first, also beyond its limit of connections.
        """
        self.stop()
        self.closed = True
        if last:
            self._accept(_QUEUE)
        self._watcher.close()
        self._rest.close()
        self._descriptor = -1  # the kernel may give the number to another file
        self._socket.close()

    def _ready(self) -> None:
        room = self._room()
        if room <= 0:
            self._pause(_FULL)
            return
        share = self._share()
        if share <= 0 and not self._yielded:
            self._yielded = True
            self._pause(_YIELD)
            return
        self._yielded = False
        waiting = self._waiting()
        if waiting:
            self._accept(min(_BATCH, room, max(1, share), waiting))

    def _waiting(self) -> int:
        """The number of connections to accept now, as far as is known."""
        family, _, _ = self._kind
        if family == AF_UNIX:
            return self._guess()
        if _own_waiting is not None and self._descriptor >= 0:
            count = _own_waiting(self._descriptor)
            return count if count >= 0 else self._guess()
        try:
            count, most = _QUEUED.unpack(self._socket.getsockopt(IPPROTO_TCP, TCP_INFO, _QUEUED.size))
        except OSError:
            return self._guess()
        return count if most else self._guess()

    def _guess(self) -> int:
        """The same if the kernel does not say: one, as to ask for a second one in vain costs 5 µs; many if one waited at the turn before."""
        turn = self._watcher.loop.iteration
        crowd = turn == self._turn + 1
        self._turn = turn
        return _BATCH if crowd else 1

    def _accept(self, most: int) -> None:
        """Accept up to this many connections."""
        family, kind, proto = self._kind
        own = None if self._descriptor < 0 else _own
        accept = self._socket._accept  # the public accept() makes a Python socket and asks the kernel four more things
        for _ in range(most):
            try:
                taken: Any = accept() if own is None else own(self._descriptor, family, kind, proto)
            except BlockingIOError:
                return
            except OSError as error:
                if self._not_accepted(error):
                    continue
                if self._listening:
                    self._pause(_EXHAUSTED)
                return
            if taken is None:
                return
            if own is not None:
                sock, ip, port = taken
                self._welcome(sock, ip, port, self)
                continue
            descriptor, peer = taken
            sock = _socket.socket(family, kind, proto, descriptor)
            sock.setblocking(False)
            if family == AF_UNIX:
                self._welcome(sock, "unix", 0, self)
            else:
                self._welcome(sock, peer[0].removeprefix("::ffff:"), peer[1], self)

    def _pause(self, seconds: float) -> None:
        self._watcher.stop()
        self._rest.close()
        self._rest = self._watcher.loop.timer(seconds)
        self._rest.start(self._resume)

    def _resume(self) -> None:
        if self._listening:
            self._watcher.start(self._ready)
