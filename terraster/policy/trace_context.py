"""Trace context: which trace a request belongs to, and if it is recorded.

Sources: W3C Trace Context (the fields `traceparent` and `tracestate`), and the samplers of OpenTelemetry's trace SDK. Pure.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["MOST_MEMBERS", "MOST_OCTETS", "Parent", "parent", "sampled", "traceparent", "tracestate"]

MOST_MEMBERS = 32
"""Members of a tracestate; one with more is discarded whole."""

MOST_OCTETS = 512
"""Octets of a tracestate that are passed on; of a longer one the longest members go, then the last ones."""

_LONG = 128
"""Members of more octets go first (section 3.3.1.5)."""

_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_NO_TRACE, _NO_SPAN = b"0" * 32, b"0" * 16
_KEY = rb"[a-z0-9][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13}"
_MEMBER = re.compile(rb"(?:(" + _KEY + rb")=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e])?")
_SAMPLED, _RANDOM = 1, 2
_LAST_BITS = 2.0**64


class Parent(NamedTuple):
    """The span of another program that a request came from. trace_id, span_id: 32 and 16 hexadecimal digits. flags: those of which the meaning
    is known: 1 it is recorded, 2 the trace id is random"""

    trace_id: bytes
    span_id: bytes
    flags: int

    @property
    def sampled(self) -> bool:
        """True if its own program records it."""
        return bool(self.flags & _SAMPLED)


def parent(value: bytes) -> Parent | None:
    """The parent that a `traceparent` names, None if it is not valid: then a new trace begins (section 4.3).

    A version above 00 is read as 00, and may have more behind it (section 3.2.4); ff is not valid."""
    match = _PARENT.fullmatch(value.strip(b" \t"))
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == b"ff" or trace_id == _NO_TRACE or span_id == _NO_SPAN or (more is not None and version == b"00"):
        return None
    return Parent(trace_id, span_id, int(flags, 16) & (_SAMPLED | _RANDOM))


def tracestate(values: list[bytes]) -> bytes:
    """The members of these fields in one value, within the bounds; b"" if there are none, or if one of them is not valid.

    Nothing is added: this program has no member of its own."""
    members: list[bytes] = []
    keys: set[bytes] = set()
    for value in values:
        for written in value.split(b","):
            member = written.strip(b" \t")
            match = _MEMBER.fullmatch(member)
            if match is None or match[1] in keys:
                return b""
            if member:
                keys.add(match[1])
                members.append(member)
    if len(members) > MOST_MEMBERS:
        return b""
    joined = b",".join(members)
    if len(joined) <= MOST_OCTETS:
        return joined
    members = _shorter(members)
    return b",".join(members)


def _shorter(members: list[bytes]) -> list[bytes]:
    octets = sum(map(len, members)) + len(members) - 1
    left = list(members)
    for member in reversed(members):
        if octets > MOST_OCTETS and len(member) > _LONG:
            left.remove(member)
            octets -= len(member) + 1
    while octets > MOST_OCTETS:
        octets -= len(left.pop()) + 1
    return left


def traceparent(trace_id: bytes, span_id: bytes, flags: int) -> bytes:
    """The value of the field, in version 00."""
    return b"00-%b-%b-%02x" % (trace_id, span_id, flags)


def sampled(sampler: str, ratio: float, trace_id: bytes, above: Parent | None) -> bool:
    """True if a request is recorded. sampler: one of `terraster.config.tracing.SAMPLERS`. ratio: of the traces, for those that have one.

    The same ratio chooses the same traces as OpenTelemetry's own sampler: by the last 64 bits of the trace id."""
    if sampler.startswith("parentbased_"):
        if above is not None:
            return above.sampled
        sampler = sampler[12:]
    if sampler == "traceidratio":
        return int(trace_id[16:], 16) < round(ratio * _LAST_BITS)
    return sampler == "always_on"
