"""A request body that has not arrived yet. A greenlet of its own carries it to the backend while that of the request waits for the answer.

So a backend may answer before it has read the body, ask for more with 100 (Continue), or answer and read at the same time, in any order.
"""

from __future__ import annotations

from greenlet import getcurrent, greenlet

from terraster.config.snapshot import Timeouts
from terraster.errors import BACKEND, HttpError

from .body import Carrier, Inlet, RequestBody, send_request_body
from .runners import Runners

__all__ = ["BodySender"]


class BodySender:
    """Carries one request body.

    done:     True if the whole body has been sent
    ended:    True if it has stopped, for any reason; ended_at: monotonic time of that

    The greenlet that waits for the response makes it. An error of the client (too slow, too large, malformed, gone) is thrown into that
    greenlet. A backend that stops reading may still answer; the greenlet then waits for a response at most ``patience`` seconds
    (0 = no limit).
    """

    __slots__ = (
        "done",
        "ended",
        "ended_at",
        "_body",
        "_carrier",
        "_inlet",
        "_main",
        "_patience",
        "_reactor",
        "_stopped",
        "_timeouts",
        "_told",
        "_upstream",
    )

    def __init__(
        self, runners: Runners, inlet: Inlet, upstream: Carrier, body: RequestBody, timeouts: Timeouts, patience: float
    ) -> None:
        self.done = False
        self.ended = False
        self.ended_at = 0.0
        self._patience = patience
        self._reactor = runners.reactor
        self._inlet = inlet
        self._upstream = upstream
        self._body = body
        self._told = body.octets
        self._timeouts = timeouts
        self._stopped = False
        self._main: greenlet = getcurrent()
        self._carrier: greenlet | None = None  # while it carries; after that it may do another job
        self._reactor.loop.run_callback(runners.start, BodySender._carry, self)

    def _carry(self) -> None:
        if self._stopped:  # before its first turn: the greenlet that waits for the client now must not lose its place
            return
        self._carrier = getcurrent()
        try:
            self._relay()
        finally:
            self._carrier = None

    def _relay(self) -> None:
        timeouts = self._timeouts
        try:
            send_request_body(self._inlet, self._upstream, self._body, timeouts.client_body, timeouts.read)
        except HttpError as error:
            self.ended = True
            if error.blame != BACKEND:
                self._reactor.loop.run_callback(self._fail, error)
                return
        except Exception as error:  # a defect: report it in the request
            self.ended = True
            self._reactor.loop.run_callback(self._fail, error)
            return
        else:
            self.done = self.ended = True
        self.ended_at = self._reactor.clock()
        self._upstream.phase = "response"
        self._upstream.stream.wait_no_longer_than(self._patience)

    def _fail(self, error: Exception) -> None:
        if not self._stopped:
            self._main.throw(error)

    def _kill(self) -> None:
        if self._carrier is not None:
            self._carrier.throw()

    def stop(self) -> int:
        """Stop. Returns the number of body octets read since the sender was made, or since the last call."""
        if not self._stopped:
            self._stopped = True
            if self._carrier is not None:
                self._inlet.abandon(self._carrier)
                self._reactor.loop.run_callback(self._kill)
        told, self._told = self._told, self._body.octets
        return self._told - told
