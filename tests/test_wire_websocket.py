"""Where frames end, however the octets are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.wire.websocket import GOING_AWAY, Frames, close_frame


def frame(size: int, masked: bool, first: int = 0x82) -> bytes:
    mask = 0x80 if masked else 0
    if size < 126:
        head = bytes([first, mask | size])
    elif size < 65536:
        head = bytes([first, mask | 126]) + size.to_bytes(2)
    else:
        head = bytes([first, mask | 127]) + size.to_bytes(8)
    return head + (b"mask" if masked else b"") + b"\x7f" * size


SIZES = (0, 1, 125, 126, 127, 65535, 65536)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_each_cut_of_two_frames(size: int, masked: bool) -> None:
    one = frame(size, masked)
    whole = one + frame(3, masked)
    ends = {0, len(one), len(whole)}
    cuts = [*range(20), *range(len(one) - 2, len(whole) + 1)]
    for cut in cuts:
        frames = Frames()
        frames.feed(whole[:cut])
        assert frames.between == (min(cut, len(whole)) in ends), cut
        frames.feed(whole[cut:])
        assert frames.between and not frames.closed


@given(st.lists(st.tuples(st.sampled_from([0, 2, 125, 126, 300]), st.booleans()), max_size=6), st.lists(st.integers(1, 9)))
def test_any_cuts(sizes: list[tuple[int, bool]], steps: list[int]) -> None:
    octets = b"".join(frame(size, masked) for size, masked in sizes)
    frames, at = Frames(), 0
    for step in steps:
        frames.feed(octets[at : at + step])
        at += step
    frames.feed(octets[at:])
    assert frames.between


def test_a_close_frame_is_noticed() -> None:
    frames = Frames()
    frames.feed(frame(5, True))
    assert not frames.closed
    frames.feed(b"\x88")
    assert not frames.between
    frames.feed(b"\x80mask")
    assert frames.closed and frames.between


def test_a_close_frame_is_made() -> None:
    assert close_frame(GOING_AWAY, False) == b"\x88\x02\x03\xe9"
    masked = close_frame(GOING_AWAY, True)
    assert masked[:2] == b"\x88\x82"
    assert bytes(octet ^ masked[2 + at] for at, octet in enumerate(masked[6:])) == b"\x03\xe9"
    frames = Frames()
    frames.feed(masked)
    assert frames.closed and frames.between
