"""The errors that Terraster raises on purpose. Each is data: the status to answer, whose fault it was, and what may be tried next.

There is one root and a dozen classes at most. A foreign error (of a socket, a parser, a file) is translated into one of these where it
arises. Errors become answers in one place (docs/principles.md, "Errors are facts"). That place reads the fields and never asks
``isinstance``.

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
    "Unanswered",
    "Unplaced",
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
    """The root. Any other exception that reaches a top level is a defect."""


class Problem:
    """One mistake in a configuration, with its file, line and column.

    ``line`` and ``column`` count from 1. Line 0 means the whole file. ``str()`` gives ``FILE:LINE:COL: message``.
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


class Unplaced(Problem):
    """A problem of settings that is found where their place in the files is not known; `terraster.config.places` finds it.

    service, location: the name and the label of what has the settings, "" outside. kind, entry: the kind of the filter, and the name of its
    entry, "" if it has none. keys: of the filter; the problem is where the narrowest level writes one of them.
    """

    __slots__ = ("entry", "keys", "kind", "location", "service")

    def __init__(self, where: str, message: str, service: str, location: str, kind: str, entry: str, keys: tuple[str, ...]) -> None:
        super().__init__(where, 0, 0, message)
        self.service = service
        self.location = location
        self.kind = kind
        self.entry = entry
        self.keys = keys


class ConfigError(TerrasterError):
    """The configuration cannot be used. ``problems`` has every `Problem` that was found, not only the first."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class StartError(TerrasterError):
    """Terraster cannot start or cannot apply a configuration. The reason lies outside the file: a port in use, a missing permission."""


class Unanswered(TerrasterError):
    """Another process ended before it answered: it may have done what it was asked for."""


class HttpError(TerrasterError):
    """A request ends with an answer that Terraster makes itself.

    status:      the HTTP status to answer, 100..599 (499 is only logged: the client has gone)
    blame:       `CLIENT`, `BACKEND` or `US`; only `BACKEND` counts against a backend
    retryable:   True if the error itself allows another attempt, at another backend or on a fresh connection
    unsent:      True if it is certain that no octet of the request reached the backend, so that even a POST may be sent again
    unconnected: True if no connection to the backend was made
    ended:       True if the backend's connection ended
    form:        True if only the form of a response is at fault, so that another backend is unlikely to do better
    lasting:     True if the same backend would fail in the same way at once: its certificate is not accepted
    retry_after: value of the Retry-After field in seconds; 0 leaves the field out
    reason:      the RFC 9209 error type, shown in ``Proxy-Status``
    alert:       the number of the TLS alert that the backend sent, 0 if it sent none; shown there too (``alert-id``)
    detail:      one sentence for the log and the client; never an address, a path on disk or a name of a backend
    close:       True if the client's connection must end with this answer
    fields:      further (name, value) pairs of the answer, such as WWW-Authenticate
    """

    status = 500
    blame = US
    retryable = False
    unsent = False
    unconnected = False
    ended = False
    form = False
    lasting = False
    retry_after = 0
    reason = "proxy_internal_error"
    alert = 0
    close = False
    fields: tuple[tuple[bytes, bytes], ...] = ()

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        reason: str | None = None,
        close: bool | None = None,
        blame: str | None = None,
        retry_after: int = 0,
        alert: int = 0,
        lasting: bool = False,
        fields: tuple[tuple[bytes, bytes], ...] = (),
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
        if alert:
            self.alert = alert
        if lasting:
            self.lasting = True
        if fields:
            self.fields = fields

    @property
    def proxy_status(self) -> str:
        """The error type with the parameter that alerts have (RFC 9209, section 2.3.15)."""
        return f"{self.reason}; alert-id={self.alert}" if self.alert else self.reason


class BadRequest(HttpError):
    """The client's request cannot be forwarded. Its connection ends, because Terraster cannot tell where the next request starts."""

    status = 400
    blame = CLIENT
    reason = "http_request_error"
    close = True


class BadResponse(HttpError):
    """The backend's answer is not one unambiguous HTTP/1.1 response."""

    status = 502
    blame = BACKEND
    retryable = True
    form = True
    reason = "http_protocol_error"


class ClientGone(HttpError):
    """The client left before its answer was complete. It is logged as 499 and counts against no backend."""

    status = 499
    blame = CLIENT
    reason = "connection_terminated"
    close = True


class ConnectFailed(HttpError):
    """No connection to the backend was made, so nothing was sent. Another backend may always be tried."""

    status = 502
    blame = BACKEND
    retryable = True
    unsent = True
    unconnected = True
    reason = "connection_refused"


class ConnectionLost(HttpError):
    """The backend's connection ended before its response head was complete, or in the middle of its response."""

    status = 502
    blame = BACKEND
    ended = True
    retryable = True
    reason = "connection_terminated"


class TimedOut(HttpError):
    """A wait exceeded its timeout: 408 for a wait for the client, 504 for a wait for the backend.

    Only a 504 may lead to another attempt: `terraster.policy.retry` looks at ``blame``.
    """

    status = 504
    blame = BACKEND
    retryable = True
    reason = "connection_read_timeout"
