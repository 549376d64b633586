"""When an OCSP response is fetched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.policy.stapling import Fetched, is_current, next_fetch

DAY = 86400.0
NOW = 1000 * DAY


def of(begun: float, lasts: float, came: float, **more: float) -> Fetched:
    """A response that began so many seconds ago, lasts so many from now on, and came so many ago."""
    return Fetched(NOW - begun, NOW + lasts, NOW - came, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("known", "seconds"),
    [
        (Fetched(), 0.0),
        (of(0, 8 * DAY, 0), 4 * DAY),
        (of(3 * DAY, 5 * DAY, 3 * DAY), 1 * DAY),
        (of(5 * DAY, 3 * DAY, 0), 1.5 * DAY),  # the responder has none that is newer
        (of(7 * DAY, 100, 0), 60.0),
        (of(7 * DAY, 100, 60), 20.0),
        (of(0, 8, 0), 4.0),
        (of(7, 1, 0), 2.0),
        (of(9 * DAY, -1 * DAY, 9 * DAY), -5 * DAY),
        (Fetched(failures=1, failed_at=NOW), 60.0),
        (Fetched(failures=3, failed_at=NOW), 240.0),
        (Fetched(failures=99, failed_at=NOW - 600), 3000.0),
        (of(0, 8 * DAY, 0, failures=1, failed_at=NOW), 60.0),
        (Fetched(failures=1, failed_at=NOW + 5 * DAY), 60.0),  # the clock was set back
        (of(0, 8 * DAY, 0, chance=0.0), 3.6 * DAY),
        (of(0, 8 * DAY, 0, chance=1.0), 4.4 * DAY),
        (Fetched(failures=1, failed_at=NOW, chance=1.0), 66.0),
    ],
)
def test_next_fetch(known: Fetched, seconds: float) -> None:
    assert next_fetch(known, NOW) - NOW == pytest.approx(seconds, abs=1e-3)


@given(
    begun=st.floats(0, 100 * DAY),
    lasts=st.floats(1, 100 * DAY),
    came=st.floats(0, DAY),
    failures=st.integers(0, 50),
    chance=st.floats(0, 1),
)
def test_a_responder_is_never_hammered(begun: float, lasts: float, came: float, failures: int, chance: float) -> None:
    """Right after a try, good or not, the next one is a while off."""
    failed = of(begun, lasts, came, failures=failures + 1, failed_at=NOW, chance=chance)
    assert next_fetch(failed, NOW) >= NOW + 54
    fetched = of(begun, lasts, 0, chance=chance)
    assert next_fetch(fetched, NOW) >= NOW + min(60.0, (begun + lasts) / 4) - 1e-6


@pytest.mark.parametrize(
    ("begin", "end", "current"),
    [(-1, 1, True), (-1, 0, False), (-2, -1, False), (299, 999, True), (301, 999, False)],
)
def test_a_response_is_sent_up_to_its_end(begin: float, end: float, current: bool) -> None:
    assert is_current(NOW + begin, NOW + end, NOW) is current
