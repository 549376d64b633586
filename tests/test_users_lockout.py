"""When failed logins lock, and for how long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.users.lockout import ACCOUNT, ADDRESS, NONE, Record, Rule, failed, left, network, open_tries

NOW = 1_800_000_000


def after(rule: Rule, *moments: int) -> Record:
    record = NONE
    for moment in moments:
        record = failed(record, rule, NOW + moment)
    return record


@pytest.mark.parametrize(
    ("moments", "now", "seconds"),
    [
        ((0, 1, 2, 3), 3, 0),
        ((0, 1, 2, 3, 4), 4, 900),
        ((0, 1, 2, 3, 4), 903, 1),
        ((0, 1, 2, 3, 4), 904, 0),
        ((0, 1, 2, 3, 4, 100, 200), 200, 704),  # failures do not make a lock longer
        ((0, 1, 2, 3, 904), 904, 0),  # the first four are forgotten
        ((0, 1, 2, 3, 903), 903, 900),
        ((0, 1, 2, 3, 4, 904), 904, 0),  # after a lock the count begins anew
        ((0, 1, 2, 3, 4, 904, 905, 906, 907, 908), 908, 900),
    ],
)
def test_five_failures_lock_an_account_for_a_quarter_of_an_hour(moments: tuple[int, ...], now: int, seconds: int) -> None:
    assert left(after(ACCOUNT, *moments), NOW + now) == seconds


def test_fifty_failures_lock_an_address() -> None:
    assert left(after(ADDRESS, *range(49)), NOW + 49) == 0
    assert left(after(ADDRESS, *range(50)), NOW + 49) == 900


@pytest.mark.parametrize(
    ("failures", "pending", "open_"), [(0, 4, True), (0, 5, False), (4, 0, True), (4, 1, False), (2, 3, False)]
)
def test_attempts_under_way_count_as_if_they_had_failed(failures: int, pending: int, open_: bool) -> None:
    assert open_tries(after(ACCOUNT, *range(failures)), ACCOUNT, pending, NOW + failures) is open_


def test_a_clock_that_was_set_back_locks_nobody_for_a_day() -> None:
    assert left(after(ACCOUNT, *range(5)), NOW - 86_400) == 0


@given(st.lists(st.integers(0, 400), max_size=30))
def test_a_lock_never_lasts_longer_than_its_time(gaps: list[int]) -> None:
    now, record = NOW, NONE
    for gap in gaps:
        now += gap
        record = failed(record, ACCOUNT, now)
        assert 0 <= left(record, now) <= ACCOUNT.locked


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:0:0:2", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix", "unix"),
    ],
)
def test_an_ipv6_client_is_its_network(address: str, counted: str) -> None:
    assert network(address) == counted
