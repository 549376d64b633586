"""Trace context: `traceparent` and `tracestate` as W3C Trace Context has them, and which traces are recorded."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from terraster.policy.trace_context import MOST_MEMBERS, MOST_OCTETS, Parent, parent, sampled, traceparent, tracestate

TRACE, SPAN = b"0af7651916cd43dd8448eb211c80319c", b"b7ad6b7169203331"
BASE = b"%b-%b" % (TRACE, SPAN)


@pytest.mark.parametrize(
    ("value", "flags"),
    [
        (b"00-" + BASE + b"-00", 0),
        (b"00-" + BASE + b"-01", 1),
        (b" \t00-" + BASE + b"-01 ", 1),
        (b"00-" + BASE + b"-03", 3),
        (b"00-" + BASE + b"-ff", 3),  # flags of which nobody knows the meaning are not passed on
        (b"01-" + BASE + b"-01", 1),
        (b"cc-" + BASE + b"-01-what-the-future-brings", 1),
        (b"fe-" + BASE + b"-00-", 0),
    ],
)
def test_a_valid_parent_is_taken_over(value: bytes, flags: int) -> None:
    assert parent(value) == Parent(TRACE, SPAN, flags)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"00",
        b"00-" + BASE,
        b"00-" + BASE + b"-1",
        b"00-" + BASE + b"-01-more",
        b"00-" + BASE + b"-01-",
        b"00-" + BASE + b"-0g",
        b"ff-" + BASE + b"-01",
        b"cc-" + BASE + b"-01.more",
        b"0-" + BASE + b"-01",
        b"00-" + BASE.upper() + b"-01",
        b"00-" + b"0" * 32 + b"-" + SPAN + b"-01",
        b"00-" + TRACE + b"-" + b"0" * 16 + b"-01",
        b"00-" + TRACE[1:] + b"-" + SPAN + b"-01",
        b"00_" + BASE + b"-01",
        b"00-" + BASE + b"-01,00-" + BASE + b"-01",
    ],
)
def test_any_other_value_begins_a_new_trace(value: bytes) -> None:
    assert parent(value) is None


@given(st.binary(max_size=70) | st.from_regex(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.{0,5})?", fullmatch=True))
def test_a_parent_that_is_taken_over_can_be_written_again(value: bytes) -> None:
    found = parent(value)
    if found is not None:
        again = traceparent(found.trace_id, found.span_id, found.flags)
        assert parent(again) == found and len(again) == 55
        seen = TraceContextTextMapPropagator().extract({"traceparent": again.decode()})
        assert len(seen) == 1, "another library takes what is written"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], b""),
        ([b""], b""),
        ([b"a=1"], b"a=1"),
        ([b"a=1 , b=2,,\tc=3"], b"a=1,b=2,c=3"),
        ([b"a=1", b"b=2"], b"a=1,b=2"),
        ([b"t@v=x", b"0a_-*/=y"], b"t@v=x,0a_-*/=y"),
        ([b"a=1,a=2"], b""),
        ([b"a"], b""),
        ([b"A=1"], b""),
        ([b"a=1=2"], b""),
        ([b"a=\x01"], b""),
        ([b"a="], b""),
        ([b",".join(b"a%d=1" % number for number in range(MOST_MEMBERS))], b",".join(b"a%d=1" % number for number in range(32))),
        ([b",".join(b"a%d=1" % number for number in range(MOST_MEMBERS + 1))], b""),
        ([b"a=1,l=" + b"x" * 250 + b",m=" + b"y" * 250 + b",b=2"], b"a=1,l=" + b"x" * 250 + b",b=2"),
        (
            [b",".join(b"k%d=" % number + b"x" * 96 for number in range(6))],
            b",".join(b"k%d=" % number + b"x" * 96 for number in range(5)),
        ),
    ],
)
def test_the_state_goes_on_within_its_bounds(values: list[bytes], expected: bytes) -> None:
    assert tracestate(values) == expected


@given(st.lists(st.binary(max_size=40) | st.from_regex(rb"[a-z]{1,9}=[!-+]{1,250}", fullmatch=True), max_size=40))
def test_a_state_is_never_longer_than_its_bounds_and_stays_what_it_is(values: list[bytes]) -> None:
    state = tracestate(values)
    assert len(state) <= MOST_OCTETS and state.count(b",") < MOST_MEMBERS
    assert not set(state) & set(b"\r\n\0")
    assert tracestate([state]) == state


ABOVE = {None: None, True: Parent(TRACE, SPAN, 1), False: Parent(TRACE, SPAN, 0)}


@pytest.mark.parametrize(
    ("sampler", "alone", "recorded", "unrecorded"),
    [
        ("always_on", True, True, True),
        ("always_off", False, False, False),
        ("parentbased_always_on", True, True, False),
        ("parentbased_always_off", False, True, False),
        ("parentbased_traceidratio", False, True, False),
        ("traceidratio", False, False, False),
    ],
)
def test_a_sampler_decides(sampler: str, alone: bool, recorded: bool, unrecorded: bool) -> None:
    assert [sampled(sampler, 0.0, TRACE, ABOVE[one]) for one in (None, True, False)] == [alone, recorded, unrecorded]


@given(st.integers(1, (1 << 128) - 1), st.floats(0, 1))
@example(1 << 64, 1e-38)
def test_a_ratio_chooses_the_traces_that_opentelemetry_chooses(number: int, ratio: float) -> None:
    theirs = TraceIdRatioBased(ratio).should_sample(None, number, "x").decision is Decision.RECORD_AND_SAMPLE
    assert sampled("traceidratio", ratio, b"%032x" % number, None) is theirs
