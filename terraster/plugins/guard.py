"""The guard: calls a hook, and cuts it off when its time is over, even if it never yields.

A timer signal (`setitimer`) comes every `TICK` while hooks are being called. Its handler runs in whatever greenlet runs at that moment, so it
raises only if that greenlet is in a hook whose time is over; anywhere else an exception would end a bystander, or the hub. It does not raise
in the frame of `Guard.call` either, where the hook has ended already, or has not begun. A hook that waits on the hub is found by a timer
of the loop, which throws into it.

A busy machine may stop the whole worker within a hook for longer than the hook has. The hook is not at fault then: it is cut off only if it has
run for a while since the handler saw it first, or if it is late by `GRACE`, as in a call that waits in the kernel.

One standing timer costs a call less than a timer for each call: 0.28 µs (bench/plugins.py) against 1.2 µs.

Code of plugins may take or block the signal, or stop the timer, for all of its process. It may take a signal that the worker needs, such as
SIGTERM, as libraries with a main function do, or set the limit of recursion. The timer of the loop notices it and puts back what was there.

The guard notes in cells of shared memory which hook runs, and which ones wait, so that the master knows what a worker was in when it died.

A hook may fork. The child ends where the hook ends: it has the sockets of the worker, and would serve as a second one.

No signal ends a call into C that neither returns nor waits for the kernel. The handler runs when it returns. Until then the worker
stands still, and the master replaces it when it gives no sign of life (`terraster.master.children`).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from time import monotonic, thread_time
from types import FrameType
from typing import Any

from gevent import get_hub
from greenlet import getcurrent, greenlet

from ..state.cells import Seat

__all__ = ["GRACE", "TICK", "Guard", "Overrun"]

TICK = 0.01
"""Seconds between two looks at what is running."""

GRACE = 0.2
"""Seconds that a hook may take longer if it does not run, because it waits in the kernel, or because the machine is busy."""

_RUN = TICK / 2  # seconds of CPU time that a hook must have used since it was seen first
_FIXED = {signal.SIGALRM, signal.SIGKILL, signal.SIGSTOP}
_IDLE = 100  # ticks without a call after which the timers stop: an idle worker is not woken


class Overrun(BaseException):
    """The time of a hook is over. Not an `Exception`, so that a hook which handles all of these does not handle this.

    running: True if the hook was running, so that nothing else could run; False if it waited
    """

    def __init__(self, running: bool = True) -> None:
        super().__init__()
        self.running = running


class Guard:
    """Guards the hooks of one process. Made in its main thread; `close` stops it.

    active: greenlet → the monotonic time at which its hook has to be over, and its mark
    cells: of shared memory: the mark of the hook that runs, and `Seat.MOST_WAITING_HOOKS` marks of hooks that wait
    """

    __slots__ = (
        "_cells",
        "_depth",
        "_handlers",
        "_idle",
        "_seen",
        "_timer",
        "_used",
        "_wakeup",
        "active",
        "ticking",
    )

    def __init__(self, cells: Any = None) -> None:
        self._cells: Any = memoryview(bytearray(8 * (1 + Seat.MOST_WAITING_HOOKS))).cast("Q") if cells is None else cells
        self.active: dict[greenlet, tuple[float, int]] = {}
        self.ticking = False
        self._idle = 0
        self._seen = 0.0  # the end of the time of the hook that ran at the last signal
        self._used = 0.0  # the CPU time when it was seen first
        self._timer: Any = None
        handlers = [(number, signal.getsignal(number)) for number in sorted(signal.valid_signals() - _FIXED)]
        self._handlers = [(number, handler) for number, handler in handlers if handler not in (None, signal.SIG_DFL)]
        self._depth = sys.getrecursionlimit()
        self._wakeup = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        _guards.append(self)

    def call(self, mark: int, seconds: float, hook: Callable[..., Any], *arguments: Any) -> Any:
        """Call the hook. Raises whatever it raises, and `Overrun` if it was cut off. mark: names the hook in the cells, not 0"""
        if not self.ticking:
            self._start()
        active, me, cells = self.active, getcurrent(), self._cells
        active[me] = monotonic() + seconds, mark
        cells[0] = mark
        try:
            return hook(*arguments)
        finally:
            if active.pop(me, None) is None:
                os._exit(0)  # in a child that the hook forked
            cells[0] = 0

    def close(self) -> None:
        """Stop the timers."""
        if self in _guards:
            _guards.remove(self)
        if self.ticking:
            self._stop()

    def _start(self) -> None:
        self.ticking = True
        self._idle = 0
        self._take_signal()
        self._timer = get_hub().loop.timer(TICK, TICK)
        self._timer.start(self._look)

    def _take_signal(self) -> None:
        signal.signal(signal.SIGALRM, self._tick)
        signal.siginterrupt(signal.SIGALRM, True)
        signal.setitimer(signal.ITIMER_REAL, TICK, TICK)

    def _stop(self) -> None:
        self.ticking = False
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        self._timer.stop()
        self._timer.close()
        self._note_waiting()

    def _restore(self) -> None:
        """Have our signal come through, all others handled as they were when the guard was made, and calls as deep."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGALRM,))
        if sys.getrecursionlimit() != self._depth:
            sys.setrecursionlimit(self._depth)
        for number, handler in self._handlers:
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)

    def _note_waiting(self) -> None:
        """Put the marks of the hooks that wait into the cells. On the hub, where no hook runs."""
        cells = self._cells
        marks = list({mark >> 8: mark for _, mark in self.active.values()}.values())[: Seat.MOST_WAITING_HOOKS]
        cells[0] = 0
        for number in range(Seat.MOST_WAITING_HOOKS):
            cells[1 + number] = marks[number] if number < len(marks) else 0

    def _tick(self, number: int, frame: FrameType | None) -> None:
        """The handler of the signal: cut off the hook that runs, if its time is over."""
        found = self.active.get(getcurrent())
        if found is None:
            return
        until, self._cells[0] = found
        if until != self._seen:
            self._seen = until
            self._used = thread_time()
            return
        late = monotonic() - until
        if late > 0 and (late > GRACE or thread_time() - self._used > _RUN) and frame is not None and frame.f_code is not _CALL:
            raise Overrun(True)

    def _look(self) -> None:
        """Cut off the hooks that wait although their time is over. On the hub."""
        if signal.getsignal(signal.SIGALRM) != self._tick or signal.getitimer(signal.ITIMER_REAL)[1] != TICK:
            self._take_signal()
        self._restore()
        self._note_waiting()
        if not self.active:
            self._idle += 1
            if self._idle >= _IDLE:
                self._stop()
            return
        self._idle = 0
        now = monotonic()
        for one, entry in list(self.active.items()):
            if now > entry[0] and self.active.get(one) == entry:
                one.throw(Overrun(False))


_CALL = Guard.call.__code__
_guards: list[Guard] = []


def _in_child() -> None:
    """Called in a child after a fork: no hook of the parent returns here."""
    me = getcurrent()
    for guard in _guards:
        if me in guard.active:
            guard.active.clear()


os.register_at_fork(after_in_child=_in_child)
