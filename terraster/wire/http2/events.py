"""The kinds of events that a session of HTTP/2 reports, each as a tuple (kind, stream, value)."""

from __future__ import annotations

from typing import Any

from .streams import Stream

__all__ = ["DATA", "END", "FAILED", "GONE", "INTERIM", "PONG", "REQUEST", "RESET", "RESPONSE", "ROOM", "Event"]

Event = tuple[int, Stream | None, Any]

REQUEST, DATA, END, RESET, ROOM, FAILED, GONE, PONG, INTERIM, RESPONSE = range(10)
"""REQUEST: a client opened the stream. value: its `RequestHead`, or the `BadRequest` to answer. ``stream.receiving`` is False if no body
follows. ``stream.sending`` is False if octets behind it in the same `feed` ended the stream: then it must not be started, only be `done`.

INTERIM, RESPONSE: a server sent a head. value: the `ResponseHead`. ``stream.receiving`` is False if no body follows a RESPONSE. The value of
a RESPONSE is a `BadResponse` if its head is malformed; then RESET follows.

DATA: value: octets of the body, never empty. They count as unread until they are `consumed`.

END: the body is complete. value: its trailers. Those of a request are lines, each with its CRLF, b"" without. Those of a response are a
sequence of (name, value), () without.

RESET: the stream has ended, by the peer or by its fault. value: the error code. It is also reported if the peer's request or response was
complete.

ROOM: the window of the stream, or of the connection if stream is None, was exhausted and is not any longer. An event that follows may be the
end of the stream; its window is 0 then.

FAILED: the connection must end; its GOAWAY is in `out`. value: (error code, text for a log line). It is the last event of a session.

GONE: the peer sent GOAWAY. value: (error code, the last stream that it works on).

PONG: the peer answered a PING. value: its 8 octets."""
