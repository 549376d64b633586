"""Every error Terraster raises on purpose, as data: what to answer, whose fault it was, what may be tried next.

One root, a dozen classes at most. An error is translated into one of these at the boundary where it arises (a socket, a parser, a file)
and answered in one place (`terraster.proxy`), so nobody downstream asks ``isinstance`` questions: the answer is in the fields.

Proxy-Status error types are those of RFC 9209, section 2.3.
"""

from __future__ import annotations

__all__ = [
    "CLIENT",
    "BACKEND",
    "US",
    "TerrasterError",
    "ConfigError",
    "Problem",
    "StartError",
    "HttpError",
    "BadRequest",
    "BadResponse",
    "ClientGone",
    "ConnectFailed",
    "ConnectionLost",
    "TimedOut",
]

CLIENT, BACKEND, US = "client", "backend", "us"


class TerrasterError(Exception):
    """The root. Whatever is not one of these is a defect."""


class Problem:
    """One thing wrong with a configuration, with its place.

    ``line`` and ``column`` count from 1; 0 means the whole file. ``str()`` gives ``FILE:LINE:COL: message``.
    """

    __slots__ = ("file", "line", "column", "message")

    def __init__(self, file: str, line: int, column: int, message: str) -> None:
        self.file = file
        self.line = line
        self.column = column
        self.message = message

    def __str__(self) -> str:
        if not self.line:
            return f"{self.file}: {self.message}"
        return f"{self.file}:{self.line}:{self.column}: {self.message}"

    def __repr__(self) -> str:
        return f"Problem({str(self)!r})"


class ConfigError(TerrasterError):
    """A configuration that cannot be used; carries every `Problem` found, never only the first."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class StartError(TerrasterError):
    """Terraster cannot start, or cannot apply a configuration, for a reason outside the file (a port in use, no permission)."""


class HttpError(TerrasterError):
    """A request that ends in an answer of our own.

    status:    the HTTP status to answer, 100..599 (499: log only, nobody is left to answer)
    blame:     `CLIENT`, `BACKEND` or `US`; only `BACKEND` counts against a backend
    retryable: whether another backend (or a fresh connection) may be tried, as far as the error itself goes
    unsent:    certain that no octet of the request reached the backend, so even a POST may be tried again
    unconnected: no connection to the backend came about
    retry_after: seconds after which the client may try again, 0: nothing is said of it
    reason:    the RFC 9209 error type, shown in ``Proxy-Status``
    detail:    one sentence for the log and the client; never an address, a path on disk or a name of a backend
    close:     whether the client's connection must end with this answer
    """

    status = 500
    blame = US
    retryable = False
    unsent = False
    unconnected = False
    retry_after = 0
    reason = "proxy_internal_error"
    close = False

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        reason: str | None = None,
        close: bool | None = None,
        blame: str | None = None,
        retry_after: int = 0,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        if status is not None:
            self.status = status
        if reason is not None:
            self.reason = reason
        if close is not None:
            self.close = close
        if blame is not None:
            self.blame = blame
        if retry_after:
            self.retry_after = retry_after


class BadRequest(HttpError):
    """What the client sent cannot be forwarded. The connection ends: where the next request starts is not known."""

    status = 400
    blame = CLIENT
    reason = "http_request_error"
    close = True


class BadResponse(HttpError):
    """The backend answered something that is not one unambiguous HTTP/1.1 response."""

    status = 502
    blame = BACKEND
    retryable = True
    reason = "http_protocol_error"


class ClientGone(HttpError):
    """The client left before its answer was complete. Logged as 499, held against nobody."""

    status = 499
    blame = CLIENT
    reason = "connection_terminated"
    close = True


class ConnectFailed(HttpError):
    """No connection to the backend came about, so nothing was sent: always safe to try elsewhere."""

    status = 502
    blame = BACKEND
    retryable = True
    unsent = True
    unconnected = True
    reason = "connection_refused"


class ConnectionLost(HttpError):
    """The backend's connection ended before a response head was complete, or within a response."""

    status = 502
    blame = BACKEND
    retryable = True
    reason = "connection_terminated"


class TimedOut(HttpError):
    """A wait lasted longer than its timeout: 408 while waiting for the client, 504 for the backend. The former is tried nowhere else:
    `terraster.policy.retry` asks whose fault it is."""

    status = 504
    blame = BACKEND
    retryable = True
    reason = "connection_read_timeout"
