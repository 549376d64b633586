"""A world for the data plane without a kernel: an event loop with its own clock, and sockets that do what a script says.

The loop follows libev as gevent uses it: callbacks first, then timers, then ready sockets, level-triggered. A watcher that was stopped in
the same turn is not called. Nothing here takes time: the clock moves only in `Hub.advance` and `Hub.jump`. So every run of a script is the
same, and a script that cannot go on fails at once instead of after a timeout.

The sockets follow Linux: octets that arrived before a reset can still be read; a close with unread octets sends a reset; a write to a peer
that has closed brings a reset back.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from select import POLLIN, POLLRDHUP
from socket import AF_INET, MSG_PEEK, SHUT_WR, SO_ERROR, SO_LINGER, SOL_SOCKET
from struct import unpack
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet, settrace

__all__ = ["Connection", "Hub", "Loop", "Network", "Restless"]

START = 1000.0
"""The monotonic time at which every world begins, seconds."""

_TURNS = 100_000
"""Turns of the loop without a pause after which something runs in circles."""


class Restless(AssertionError):
    """The loop does not come to rest though no time passes: something is called again and again."""


class _Callback:
    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.function: Callable[..., Any] | None = function
        self.args = args

    @property
    def pending(self) -> bool:
        return self.function is not None

    def stop(self) -> None:
        self.function = None

    close = stop


class _Watcher:
    """What timers and io watchers have in common. ``starts``: changes whenever it is started or stopped."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.active = False
        self.starts = 0
        self._closed = False
        self._callback: Callable[..., Any] | None = None
        self._args: tuple[Any, ...] = ()

    def start(self, callback: Callable[..., Any], *args: Any, update: object = None) -> None:
        assert not self._closed, "a watcher was started after it had been closed"
        self._callback, self._args = callback, args
        if not self.active:
            self.starts += 1
            self.active = True
            self._begin()

    def stop(self) -> None:
        if self.active:
            self.starts += 1
            self.active = False
            self._end()

    def close(self) -> None:
        self.stop()
        self._closed = True
        self._callback, self._args = None, ()

    def call(self) -> None:
        assert self._callback is not None
        self.loop.call(self._callback, self._args)

    def _begin(self) -> None: ...

    def _end(self) -> None: ...


class _Timer(_Watcher):
    def __init__(self, loop: Loop, after: float, repeat: float) -> None:
        super().__init__(loop)
        self._after, self._repeat = after, repeat
        self.at = 0.0

    def _begin(self) -> None:
        self.at = self.loop.now + self._after
        self.loop.timers[self] = None

    def _end(self) -> None:
        self.loop.timers.pop(self, None)

    def call(self) -> None:
        if self._repeat:
            self.at = max(self.at + self._repeat, self.loop.now)
        else:
            self.active = False
            self._end()
        super().call()

    def __repr__(self) -> str:
        return f"a timer at {self.at - START:.3f} for {_name(self._callback)}"


class _Check(_Watcher):
    def _begin(self) -> None:
        self.loop.checks[self] = None

    def _end(self) -> None:
        self.loop.checks.pop(self, None)


class _Io(_Watcher):
    def __init__(self, loop: Loop, descriptor: int, events: int) -> None:
        super().__init__(loop)
        self.descriptor, self.events = descriptor, events

    def _begin(self) -> None:
        self.loop.watchers[self] = None

    def _end(self) -> None:
        self.loop.watchers.pop(self, None)

    def __repr__(self) -> str:
        return f"{self.loop.name(self.descriptor)} to be {'readable' if self.events == 1 else 'writable'}"


def _name(callback: Any) -> str:
    owner = getattr(callback, "__self__", None)
    return f"{type(owner).__name__}.{getattr(callback, '__name__', callback)}"


class Loop:
    """MINPRI: the lowest priority. now: monotonic seconds. errors: what callbacks and greenlets raised.
    backwards: look at the sockets in the opposite order, and after each callback, as gevent's loop does once callbacks have taken 5 ms.

    is_ready, name: of a descriptor; set by the network.
    """

    MINPRI = -2

    def __init__(self, backwards: bool = False) -> None:
        self.now = START
        self.errors: list[BaseException] = []
        self.timers: dict[_Timer, None] = {}
        self.watchers: dict[_Io, None] = {}
        self.checks: dict[_Check, None] = {}
        self.is_ready: Callable[[int, int], bool] = lambda descriptor, events: False
        self.name: Callable[[int], str] = str
        self._callbacks: deque[_Callback] = deque()
        self._backwards = backwards

    # ------------------------------------------------------------------------------------------------- what the data plane calls

    def io(self, descriptor: int, events: int) -> _Io:
        return _Io(self, descriptor, events)

    def timer(self, after: float, repeat: float = 0.0) -> _Timer:
        return _Timer(self, after, repeat)

    def check(self, ref: bool = True, priority: int = 0) -> _Check:
        """A watcher that is called after the others of each turn."""
        return _Check(self)

    def run_callback(self, function: Callable[..., Any], *args: Any) -> _Callback:
        callback = _Callback(function, args)
        self._callbacks.append(callback)
        return callback

    def update_now(self) -> None:
        """Time passes only when a script says so."""

    def clock(self) -> float:
        return self.now

    # -------------------------------------------------------------------------------------------------------- what the hub calls

    def call(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            function(*args)
        except GreenletExit:
            pass
        except BaseException as error:  # noqa: BLE001  gevent's loop reports it and goes on
            self.errors.append(error)

    def settle(self) -> None:
        """Run until nothing is left to be done at this moment."""
        for _ in range(_TURNS):
            if not self._turn():
                return
        raise Restless(f"it does not come to rest; {self.waiting()}")

    def _turn(self) -> bool:
        """True if anything was to be done."""
        if self._callbacks:
            for _ in range(1 if self._backwards else len(self._callbacks)):
                callback = self._callbacks.popleft()
                if (function := callback.function) is not None:
                    callback.stop()
                    self.call(function, callback.args)
            if not self._backwards:
                return True
        now, is_ready = self.now, self.is_ready
        due: list[_Watcher] = [timer for timer in self.timers if timer.at <= now]
        if len(due) > 1:
            due.sort(key=lambda timer: timer.at)  # type: ignore[attr-defined]
        ready = [watcher for watcher in self.watchers if is_ready(watcher.descriptor, watcher.events)]
        if len(ready) > 1:
            ready.sort(key=lambda watcher: (watcher.descriptor, watcher.events), reverse=self._backwards)
        due += ready
        for watcher, starts in [(watcher, watcher.starts) for watcher in due]:
            if watcher.active and watcher.starts == starts:
                watcher.call()
        for check in list(self.checks):
            check.call()
        return bool(due or self._callbacks)

    def waiting(self) -> str:
        """Who waits for what."""
        what = [repr(one) for one in (*self.watchers, *self.timers)]
        return f"at {self.now - START:.3f} there is waited for " + ("; ".join(what) or "nothing")


class Hub(greenlet):
    """The greenlet that runs the loop. greenlets: those that ran and have not ended."""

    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self.loop = loop
        self.greenlets: set[greenlet] = set()
        self._script = getcurrent()
        self._restless: Restless | None = None

    def run(self) -> None:
        while True:
            try:
                self.loop.settle()
            except Restless as error:
                self._restless = error
            self._script.switch()

    def settle(self) -> None:
        """Let everybody run until nothing is left to be done at this moment. Raises `Restless`. For the script."""
        before = settrace(self._trace)
        try:
            self._run()
        finally:
            settrace(before)
        self.greenlets = {one for one in self.greenlets if not one.dead}

    def _run(self) -> None:
        self.switch()
        if self._restless is not None:
            raise self._restless

    def _trace(self, event: str, ends: tuple[greenlet, greenlet]) -> None:
        target = ends[1]
        if target is not self and target is not self._script:
            self.greenlets.add(target)

    def advance(self, seconds: float) -> None:
        """Let time pass; everything that is due on the way happens when it is due."""
        loop = self.loop
        end = loop.now + seconds
        before = settrace(self._trace)
        try:
            while loop.timers and (at := min([timer.at for timer in loop.timers])) <= end:
                loop.now = max(loop.now, at)
                self._run()
        finally:
            settrace(before)
        loop.now = end
        self.settle()

    def jump(self, seconds: float) -> None:
        """Let time pass at once: everything that is due meanwhile is late."""
        self.loop.now += seconds
        self.settle()

    def end(self) -> None:
        """Free what still waits, so that nothing of this world is left."""
        for one in self.greenlets:
            if not one.dead:
                one.parent = getcurrent()
                one.throw()
        self.throw()


class Connection:
    """A TCP connection between Terraster, which has a `Socket`, and a party of the script, which uses the methods here.

    sent: octets that Terraster wrote and the script has not looked at. sends: calls that wrote some. ended: how Terraster ended it: "", "FIN"
    or "RST". told: the script has looked at that. may_end: it may be ended at any time. room: octets that Terraster may still write before its
    socket is full, None = any.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.sent = bytearray()
        self.sends = 0
        self.written = 0
        self.received = 0
        self.ended = ""
        self.told = False
        self.may_end = False
        self.room: int | None = None
        self.inbox = bytearray()  # for Terraster
        self.finished = False  # the party sends nothing more
        self.gone = False  # the party has closed: it reads nothing more either
        self.reset = False
        self.doomed = False  # what is written next is answered by a reset
        self.broken = False  # nothing can be written any more, which shows only then
        self.complained = False
        self.framed = False  # it is one of HTTP/2, so octets on it are more than those of requests and answers

    def deliver(self, octets: bytes) -> None:
        assert not (self.finished or self.reset), f"{self.name} has ended and cannot send"
        self.inbox += octets
        self.received += len(octets)

    def finish(self) -> None:
        """The party says that it sends nothing more; it reads on."""
        self.finished = True

    def leave(self) -> None:
        """The party closes."""
        self.finished = self.gone = True

    def break_off(self) -> None:
        """The party sends a reset."""
        self.reset = True

    @property
    def readable(self) -> bool:
        return bool(self.inbox) or self.finished or self.reset

    @property
    def writable(self) -> bool:
        return self.reset or self.room is None or self.room > 0


class Socket:
    """Terraster's end of a connection: the part of `socket.socket` that the data plane uses."""

    family = AF_INET

    def __init__(self, network: Network, connection: Connection | None) -> None:
        self._network = network
        self._descriptor = network.register(self)
        self.connection = connection
        self._error = 0
        self._connecting = False
        self._shut = False
        self._closed = False
        self._reset_on_close = False
        self.silent_at = ""  # the address that it is being connected to, where nobody answers

    def __repr__(self) -> str:
        return f"socket {self._descriptor}" if self.connection is None else self.connection.name

    def fileno(self) -> int:
        return self._descriptor

    def _open(self) -> Connection:
        if self._closed:
            raise AssertionError(f"{self!r} is used after it was closed")
        if self.connection is None:
            raise OSError(errno.ENOTCONN, "not connected")
        return self.connection

    def _complain(self, connection: Connection) -> None:
        """A reset is told once; after that it is an end, or nobody to write to."""
        if not connection.complained:
            connection.complained = True
            raise ConnectionResetError(errno.ECONNRESET, "reset")

    def getsockname(self) -> tuple[str, int]:
        return ("198.51.100.1", 80)

    def recv(self, size: int, flags: int = 0) -> bytes:
        connection = self._open()
        if connection.inbox:
            data = bytes(connection.inbox[:size])
            if not flags & MSG_PEEK:
                del connection.inbox[:size]
            return data
        if connection.reset:
            self._complain(connection)
            return b""
        if connection.finished:
            return b""
        raise BlockingIOError(errno.EAGAIN, "nothing there")

    def recv_into(self, buffer: memoryview) -> int:
        data = self.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def send(self, data: bytes | memoryview, flags: int = 0) -> int:
        connection = self._open()
        assert not self._shut, f"{self!r} is written to after its end"
        if connection.reset:
            self._complain(connection)
            raise BrokenPipeError(errno.EPIPE, "nobody reads")
        if connection.broken:
            connection.reset = connection.complained = True
            raise BrokenPipeError(errno.EPIPE, "nobody reads")
        octets = bytes(data)
        if connection.gone or connection.doomed:
            connection.written += len(octets)
            connection.reset = True
            return len(octets)
        if connection.room is not None:
            if not connection.room:
                raise BlockingIOError(errno.EAGAIN, "full")
            octets = octets[: connection.room]
            connection.room -= len(octets)
        connection.sent += octets
        connection.sends += 1
        connection.written += len(octets)
        return len(octets)

    def connect(self, address: tuple[Any, ...]) -> None:
        self._network.connect(self, address)

    def begin(self, connection: Connection | None, error: int, at_once: bool) -> None:
        """A connection is being made: it will stand, or fail with ``error``, or (neither) there will be silence."""
        self.connection, self._error = connection, error
        self._connecting = connection is None and not error
        if not at_once:
            raise BlockingIOError(errno.EINPROGRESS, "under way")

    def getsockopt(self, level: int, option: int) -> int:
        assert (level, option) == (SOL_SOCKET, SO_ERROR)
        return self._error

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        assert not self._closed
        if (level, option) == (SOL_SOCKET, SO_LINGER):
            self._reset_on_close = unpack("ii", value) == (1, 0)

    def shutdown(self, how: int) -> None:
        connection = self._open()
        assert how == SHUT_WR
        if connection.reset:
            raise OSError(errno.ENOTCONN, "not connected")
        self._shut = True
        connection.ended = connection.ended or "FIN"

    def close(self) -> None:
        assert not self._closed, f"{self!r} is closed twice"
        self._closed = True
        self._network.forget(self)
        connection = self.connection
        if connection is None or connection.reset:
            return
        if self._reset_on_close or connection.inbox:
            connection.ended = "RST"
            connection.told = False
        else:
            connection.ended = connection.ended or "FIN"

    def is_ready(self, events: int) -> bool:
        if self.connection is None:
            return bool(self._error)
        return self.connection.readable if events == 1 else self.connection.writable


class Network:
    """What Terraster can connect to, and all of its sockets.

    parties: by IP address, those who get connections; each has a list of ``connections`` and a queue ``answers`` of what becomes of
    the next attempts: an errno, "at once", "silence", "unreachable", "broken" (it stands, but nothing can be written); where it is empty
    the connection stands after a turn.
    """

    def __init__(self, loop: Loop) -> None:
        self.sockets: dict[int, Socket] = {}
        self.parties: dict[str, Any] = {}
        self.attempts = 0
        self.exhausted = 0
        self._loop = loop
        self._next = 10
        loop.is_ready = lambda descriptor, events: self.sockets[descriptor].is_ready(events)
        loop.name = lambda descriptor: repr(self.sockets.get(descriptor, descriptor))

    def register(self, socket: Socket) -> int:
        self._next += 1
        self.sockets[self._next] = socket
        return self._next

    def forget(self, socket: Socket) -> None:
        watched = [one for one in self._loop.watchers if one.descriptor == socket.fileno()]
        assert not watched, f"{socket!r} is closed while there is a watcher for it"
        del self.sockets[socket.fileno()]

    def socket(self, family: int, kind: int) -> Socket:
        if self.exhausted:
            self.exhausted -= 1
            raise OSError(errno.EMFILE, "too many open files")
        return Socket(self, None)

    def poll(self) -> Any:
        return _Poll(self)

    def establish(self, address: str) -> None:
        """The connection to this address that has been made in silence stands now."""
        party = self.parties[address]
        (socket,) = [one for one in self.sockets.values() if one.silent_at == address]
        socket.silent_at = ""
        connection = Connection(f"{party.name}[{len(party.connections) + 1}]")
        party.connections.append(connection)
        with suppress(BlockingIOError):
            socket.begin(connection, 0, False)

    def connect(self, socket: Socket, address: tuple[Any, ...]) -> None:
        party = self.parties[address[0]]
        answer = party.answers.popleft() if party.answers else None
        party.attempts += 1
        if answer == "unreachable":
            raise OSError(errno.ENETUNREACH, "unreachable")
        if answer == "silence":
            socket.silent_at = address[0]
            socket.begin(None, 0, False)
        elif isinstance(answer, int):
            socket.begin(None, answer, False)
        else:
            connection = Connection(f"{party.name}[{len(party.connections) + 1}]")
            connection.broken = answer == "broken"
            party.connections.append(connection)
            socket.begin(connection, 0, answer == "at once")


class _Poll:
    def __init__(self, network: Network) -> None:
        self._network = network
        self._descriptor = -1
        self._events = 0

    def register(self, descriptor: int, events: int) -> None:
        assert events in (POLLIN, POLLRDHUP)
        self._descriptor = descriptor
        self._events = events

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        assert timeout == 0
        connection = self._network.sockets[self._descriptor].connection
        assert connection is not None
        happened = connection.readable if self._events == POLLIN else connection.finished or connection.reset
        return [(self._descriptor, self._events)] if happened else []
