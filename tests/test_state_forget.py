"""A client's debt is taken back: by each process what it has let the client spend, and no other client's."""

from __future__ import annotations

from terraster.filters.client_key import ClientKey
from terraster.state.buckets import Buckets
from terraster.state.cells import Seat
from terraster.state.clients import Clients
from terraster.state.table import Table
from terraster.state.view import SeatView


def views(count: int) -> list[SeatView]:
    table = Table(4, 4, 5)
    found = []
    for seat in range(1, count + 1):
        table.q[table.seat(seat) + Seat.PID] = 1000 + seat
        table.q[table.seat(seat) + Seat.ROLE] = Seat.PROXY
    for seat in range(1, count + 1):
        view = SeatView(table)
        view.sit(seat)
        found.append(view)
    return found


def test_the_debt_is_gone_once_all_have_forgotten() -> None:
    one, other = (Buckets(view, lambda: None) for view in views(2))
    key, neighbour, now, step, most = 7 << 32 | 5, 7 << 32 | 6, 10**12, 10**9, 3 * 10**9
    for buckets in (one, other, one):
        assert buckets.take(key, now, step, most) > 0
    assert one.take(neighbour, now, step, most) > 0
    assert other.take(key, now, step, most) < 0 and one.debt(key, now) == most
    one.forget(key)
    assert one.debt(key, now) == other.debt(key, now) == step, "the other process has not forgotten"
    other.forget(key)
    assert one.debt(key, now) == 0 and other.debt(neighbour, now) == step
    assert [other.take(key, now, step, most) > 0 for _ in range(4)] == [True, True, True, False]
    one.forget(99 << 32 | 1)  # nothing is known of it


def test_requests_under_way_are_added_up() -> None:
    one, other = (Clients(view) for view in views(2))
    for clients in (one, other, one):
        clients.enter(5, 10)
    assert one.active(5) == other.active(5) == 3 and one.active(6) == 0


def test_the_numbers_of_a_client_that_is_named() -> None:
    def numbers(key: str, said: str) -> int:
        return len(ClientKey(b"secret", "policy", key, 64).numbers(said))

    assert [numbers("client-ip", "10.0.0.1"), numbers("client-ip", "ann"), numbers("header:X", "ann")] == [1, 0, 1]
    assert [numbers("header:X", "10.0.0.1"), numbers("jwt:sub", "ann")] == [2, 1]
    made = ClientKey(b"secret", "policy", "client-ip", 64)
    assert made.numbers("2001:db8::1") == (made.of("2001:db8::2"),)
    assert ClientKey(b"secret", "policy", "jwt:sub", 64).numbers("ann") == (
        ClientKey(b"secret", "policy", "jwt:sub", 64).of(b'"ann"'),
    )


def test_a_name_that_no_request_can_have_is_no_error() -> None:
    assert len(ClientKey(b"secret", "policy", "header:X", 64).numbers("\ud800")) == 1
