"""The trace of one request: its ids, what goes to the backend in `traceparent`, and what its attempts leave for spans.

A request has a `Trace` in `Exchange.facts` from its first attempt on, or else from its end. Spans are made of it when the request is over
(`terraster.logs.spans`), so nothing is written meanwhile. A location that is not traced has no hook and no attempt of this kind.
"""

from __future__ import annotations

from random import getrandbits

from ..config.tracing import Sampling
from ..exchange import Exchange
from ..policy import trace_context
from ..wire.edits import Edits

__all__ = ["TRACE", "AttemptTrace", "Propagation", "Trace", "trace_of"]

TRACE = "trace"
"""The key of a request's `Trace` in `Exchange.facts`."""

_FIELDS = frozenset((b"traceparent", b"tracestate"))
_TRACES, _SPANS = 128, 64  # bits of ids


class AttemptTrace:
    """The facts of one attempt for its span. The attempt writes them. Times: monotonic seconds, 0.0: it did not come to that

    backend:  `terraster.config.snapshot.Backend`. resend: how many attempts came before
    ended_at, head_at: of the attempt, and of the response head
    kept:     True if it had a connection that carried requests before
    status:   of the response, 0: there was none. error: the RFC 9209 error type, "": it did not fail
    outcome:  one of `terraster.phases.attempt`
    spent:    seconds that it waited for room or a connection, connected, and did a TLS handshake; -1.0: none, or not known
    """

    __slots__ = ("backend", "began_at", "ended_at", "error", "head_at", "kept", "outcome", "resend", "span_id", "spent", "status")

    def __init__(self, backend: object, began_at: float, resend: int) -> None:
        self.span_id = _span_id()
        self.backend = backend
        self.began_at = began_at
        self.resend = resend
        self.ended_at = self.head_at = 0.0
        self.kept = False
        self.status = self.outcome = 0
        self.error = ""
        self.spent = (-1.0, -1.0, -1.0)


class Trace:
    """trace_id, span_id: of the request's span. parent_id: of the client's, b"": it began the trace. state: the client's tracestate. flags: for
    `traceparent`. attempts: in the order in which they began; of a request that is not recorded none. asking: the id for the next head.
    theirs: True if the client sent one of the two fields"""

    __slots__ = ("asking", "attempts", "flags", "parent_id", "sampled", "span_id", "state", "theirs", "trace_id")

    def __init__(self, trace_id: bytes, parent_id: bytes, state: bytes, flags: int, sampled: bool, theirs: bool) -> None:
        self.trace_id = trace_id
        self.span_id = self.asking = _span_id()
        self.parent_id = parent_id
        self.state = state
        self.flags = flags
        self.sampled = sampled
        self.theirs = theirs
        self.attempts: list[AttemptTrace] = []


def trace_of(exchange: Exchange, sampling: Sampling) -> Trace:
    """The trace of a request. It begins with the first call: the client's is taken over if its `traceparent` is valid."""
    facts = exchange.facts
    if facts is None:
        facts = exchange.facts = {}
    trace: Trace | None = facts.get(TRACE)
    if trace is None:
        trace = facts[TRACE] = _begin(exchange, sampling)
    return trace


def _begin(exchange: Exchange, sampling: Sampling) -> Trace:
    above = None
    found = 0
    states: list[bytes] = []
    if exchange.head is not None:
        for name, value in exchange.head.fields:
            size = len(name)
            if size == 11 and name.lower() == b"traceparent":
                found += 1
                above = trace_context.parent(value) if found == 1 else None
            elif size == 10 and name.lower() == b"tracestate":
                states.append(value)
    if above is None:
        trace_id, flags, parent_id, state = b"%032x" % (getrandbits(_TRACES) or 1), 0, b"", b""
    else:
        trace_id, flags, parent_id = above.trace_id, above.flags, above.span_id
        state = trace_context.tracestate(states) if states else b""
    recorded = trace_context.sampled(sampling.sampler, sampling.ratio, trace_id, above)
    return Trace(trace_id, parent_id, state, flags | 1 if recorded else flags & ~1, recorded, bool(found or states))


def _span_id() -> bytes:
    return b"%016x" % (getrandbits(_SPANS) or 1)


class Propagation:
    """The hook that writes `traceparent` and `tracestate` for backends."""

    __slots__ = ("_sampling",)

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling

    def on_upstream(self, exchange: Exchange, edits: Edits) -> None:
        """See `terraster.filters.contract`. It comes first, so that rules for headers have the last word."""
        trace = trace_of(exchange, self._sampling)
        if trace.theirs:
            edits.drop |= _FIELDS
        edits.extra += b"traceparent: %b\r\n" % trace_context.traceparent(trace.trace_id, trace.asking, trace.flags)
        if trace.state:
            edits.extra += b"tracestate: %b\r\n" % trace.state
