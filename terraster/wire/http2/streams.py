"""A stream of HTTP/2 (RFC 9113, section 5), as both sides of a connection keep it."""

from __future__ import annotations

from math import inf

__all__ = ["Lingering", "Stream"]


class Stream:
    """One request and its response. A subclass may add what it likes; the session reads and writes the facts below.

    id: its number; odd, as clients open all of them.
    window: octets that may be sent on it; negative after the peer made its windows smaller (section 6.9.2); 0 once a reset ended the stream.
    credit: octets that the peer may send on it.
    taken: octets that the receiver has consumed, and the peer does not know that yet.
    unread: octets of payload that were handed out and not consumed.
    expected: octets of the peer's body by its content-length, -1 without.
    got: octets of the peer's body so far.
    receiving: True until the peer has ended its side. sending: True until this side has ended. A reset ends both.
    answered: True if this side ended by END_STREAM, and not by a reset.
    connect: True if it is a tunnel (CONNECT), on which only DATA may follow the head (section 8.5).
    abandoned: True if nobody works for it any longer; what still arrives is thrown away.
    method, headed, interims: only of a request to a backend: its method, True once the response head has come, interim responses so far.
    head_size: octets of the client's head, as they count for `Limits.head_octets`.
    urgency: 0 (first) to 7, 3 without a signal. incremental: True if its response is of use in parts (RFC 9218, section 4).
    """

    __slots__ = (
        "id",
        "window",
        "credit",
        "taken",
        "unread",
        "expected",
        "got",
        "receiving",
        "sending",
        "answered",
        "connect",
        "abandoned",
        "head_size",
        "urgency",
        "incremental",
        "method",
        "headed",
        "interims",
    )

    method: bytes
    headed: bool
    interims: int

    def __init__(self, number: int, window: int) -> None:
        """window: octets that may be sent on it. `credit` is set by the session."""
        self.id = number
        self.window = window
        self.credit = 0
        self.taken = 0
        self.unread = 0
        self.expected = -1
        self.got = 0
        self.receiving = True
        self.sending = True
        self.answered = False
        self.connect = False
        self.abandoned = False
        self.head_size = 0
        self.urgency = 3
        self.incremental = False


class Lingering:
    """A stream whose answer is complete while the peer still sends.

    octets: that were thrown away. until: when the stream is reset, inf before the first `sweep`.
    """

    __slots__ = ("stream", "octets", "until")

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.octets = 0
        self.until = inf
