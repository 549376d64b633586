"""`maintenance`: who is answered, and with what."""

from __future__ import annotations

from typing import Any

import pytest

from terraster.errors import HttpError
from terraster.exchange import Exchange
from terraster.filters.contract import HOOKS, Place
from terraster.filters.maintenance import Maintenance, MaintenanceSettings
from terraster.state.table import Table
from terraster.state.view import SeatView


class Head:
    method, target, size, content_length, chunked, fields = b"GET", b"/", 0, 0, False, ()


def made(contents: dict[str, bytes] | None = None, **written: Any) -> Maintenance:
    view = SeatView(Table(1, 1, 1))
    settings = MaintenanceSettings(**written).with_contents(contents or {})
    return Maintenance(settings, Place(None, None, view, {"answers": 112}), view)


def refusal(one: Maintenance, client: str = "192.0.2.1") -> HttpError | None:
    exchange = Exchange(0.0, 0.0, client, client, "http", Head())
    try:
        assert one.on_request(exchange) is None
    except HttpError as error:
        return error
    return None


def test_everybody_is_answered_but_those_who_may_bypass_it() -> None:
    one = made(bypass=["10.0.0.0/8", "unix"])
    error = refusal(one)
    assert error is not None and (error.status, error.reason, error.retry_after) == (503, "destination_unavailable", 60)
    assert [refusal(one, address) for address in ("10.1.2.3", "::ffff:10.1.2.3", "unix")] == [None] * 3


@pytest.mark.parametrize("written, seconds", [("90s", 90), (0, 0), ("500ms", 1)])
def test_when_to_try_again(written: Any, seconds: int) -> None:
    error = refusal(made(retry_after=written))
    assert error is not None and error.retry_after == seconds


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("/a/page.HTML", b"text/html; charset=utf-8"),
        ("/a/page.json", b"application/json"),
        ("/a/page", b"text/plain; charset=utf-8"),
    ],
)
def test_a_page(file: str, kind: bytes) -> None:
    one = made({file: b"<p>soon"}, page=file)
    error = refusal(one)
    assert error is not None
    exchange = Exchange(0.0, 0.0, "192.0.2.1", "192.0.2.1", "http", Head())
    answer = one.on_error(exchange, error)
    assert answer is not None and (answer.status, answer.body) == (503, b"<p>soon")
    fields = dict(answer.headers)
    assert (fields[b"Content-Type"], fields[b"Retry-After"], fields[b"Cache-Control"]) == (kind, b"60", b"no-store")
    assert fields[b"Proxy-Status"].startswith(b"terraster; error=destination_unavailable")
    assert one.on_error(exchange, HttpError("another", status=503)) is None


def test_the_hooks_that_are_needed() -> None:
    def needed(one: Maintenance) -> list[str]:
        return [hook for hook in HOOKS if hasattr(one, hook) and one.needs(hook)]

    assert needed(made()) == ["on_request"]
    assert needed(made({"/p": b"x"}, page="/p")) == ["on_request", "on_error"]
    off = MaintenanceSettings(enabled=False, page="/p").with_contents({"/p": b"x"})
    view = SeatView(Table(1, 1, 1))
    place = Place(None, None, view, {"answers": 112})
    assert needed(Maintenance(off, place, view)) == []
    assert needed(Maintenance(off.switched_on(), place, view)) == ["on_request", "on_error"]
