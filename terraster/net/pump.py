"""A request body that has not arrived yet, carried to the backend by a greenlet of its own while the request's greenlet waits for the answer.

So a backend may answer before it has read everything, ask for more with 100 (Continue), or answer and read at the same time, and nobody
has to foresee which.
"""

from __future__ import annotations

from greenlet import getcurrent, greenlet

from terraster.config.snapshot import Timeouts
from terraster.errors import BACKEND, HttpError
from terraster.wire.http1 import RequestHead

from .downstream import Downstream
from .relay import relay_request
from .upstream import Upstream

__all__ = ["Pump"]


class Pump:
    """Carries one request body. done: all of it has been sent. ended: it carries no more, whatever the reason.

    Made by the greenlet that waits for the response; an error of the client's (too slow, too large, malformed, gone) is thrown into it.
    A backend that stops reading may still answer: the greenlet then waits for that as long as for any response, and no longer.
    """

    __slots__ = ("done", "ended", "octets", "_carrier", "_client", "_head", "_limit", "_main", "_stopped", "_timeouts", "_upstream")

    def __init__(self, client: Downstream, upstream: Upstream, head: RequestHead, limit: int, timeouts: Timeouts) -> None:
        self.done = False
        self.ended = False
        self.octets = 0
        self._client = client
        self._upstream = upstream
        self._head = head
        self._limit = limit
        self._timeouts = timeouts
        self._stopped = False
        self._main: greenlet = getcurrent()
        self._carrier = client.reactor.spawn(self._carry)

    def _carry(self) -> None:
        length = -1 if self._head.chunked else self._head.content_length
        timeouts = self._timeouts
        try:
            self.octets = relay_request(self._client, self._upstream, length, self._limit, timeouts.client_body, timeouts.read)
        except HttpError as error:
            self.ended = True
            if error.blame != BACKEND:
                self._client.reactor.loop.run_callback(self._fail, error)
                return
        else:
            self.done = self.ended = True
        self._upstream.phase = "response"
        self._upstream.wait_no_longer_than(timeouts.response)

    def _fail(self, error: HttpError) -> None:
        if not self._stopped:
            self._main.throw(error)

    def stop(self) -> int:
        """Carry no more. Returns the octets of the body that were read, once."""
        if self._stopped:
            return 0
        self._stopped = True
        self._client.reactor.kill(self._carrier)
        return self.octets
