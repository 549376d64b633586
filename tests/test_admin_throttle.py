"""The rate limit of the management port."""

from __future__ import annotations

import pytest

from terraster.admin.site import Refusal
from terraster.admin.throttle import Throttle
from terraster.config.snapshot import Snapshot
from terraster.state.cells import Seat
from terraster.state.table import Table
from terraster.state.view import SeatView

SECOND = 1_000_000_000


class House:
    """The admin worker's view, a clock, and the configuration."""

    def __init__(self, rate: tuple[float, int] | None) -> None:
        self.snapshot = Snapshot(1, (), (), admin_rate=rate)
        self.now = 100 * SECOND
        table = Table(1, 1, 17)
        table.q[table.seat(1) + Seat.PID], table.q[table.seat(1) + Seat.ROLE] = 1, Seat.ADMIN
        view = SeatView(table)
        view.sit(1)
        self.throttle = Throttle(view, lambda: self.snapshot, lambda: self.now)

    def asks(self, address: str = "192.0.2.1", path: str = "/metrics") -> str:
        """ "" if the request passes, else Retry-After."""
        try:
            self.throttle({"REMOTE_ADDR": address, "PATH_INFO": path})
        except Refusal as refusal:
            assert refusal.status == 429
            return dict(refusal.headers)["Retry-After"]
        return ""


def test_without_a_limit_all_pass() -> None:
    house = House(None)
    assert [house.asks() for _ in range(100)] == [""] * 100


def test_each_client_has_its_rate() -> None:
    house = House((0.5, 2))
    assert [house.asks() for _ in range(3)] == ["", "", "2"]
    assert house.asks("192.0.2.2") == ""
    assert [house.asks(f"2001:db8::{host}") for host in (1, 2, 3)] == ["", "", "2"]
    house.now += 2 * SECOND
    assert [house.asks() for _ in range(2)] == ["", "2"]
    house.now += SECOND // 2
    assert house.asks() == "2"


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_of_health_are_never_refused(path: str) -> None:
    house = House((0.5, 1))
    assert [house.asks(path=path) for _ in range(10)] == [""] * 10
    assert [house.asks(path="/") for _ in range(2)] == ["", "2"]


def test_a_reload_changes_the_rate() -> None:
    house = House((0.5, 1))
    assert [house.asks() for _ in range(2)] == ["", "2"]
    house.snapshot = Snapshot(2, (), (), admin_rate=None)
    assert house.asks() == ""
