"""`buffer`: what is read ahead, and what cannot be meant."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from terraster.errors import ConfigError
from terraster.exchange import Exchange
from terraster.filters.buffer import Buffer, BufferSettings
from terraster.filters.contract import Place, cells
from terraster.state.table import Table
from terraster.state.view import SeatView
from terraster.wire.edits import Edits
from terraster.wire.http1 import parse_request, parse_response


def buffer(**settings: Any) -> Buffer:
    view = SeatView(Table(1, 1, 1))
    return Buffer(BufferSettings(**settings), Place(None, None, view, cells([Buffer])["buffer"]), view)


def exchange(*fields: str) -> Exchange:
    head = parse_request("\r\n".join(["POST / HTTP/1.1", "Host: a.test", *fields, "", ""]).encode(), 9999, 99)
    return Exchange(0.0, 0.0, "1.2.3.4", "9.9.9.9", "http", head)


@pytest.mark.parametrize(
    ("fields", "settings", "taken"),
    [
        ("", {}, True),
        ("", {"response": False}, False),
        ("Content-Type: text/event-stream", {}, False),
        ("content-type: Text/Event-Stream; charset=utf-8", {}, False),
        ("Content-Type: text/event-streams", {}, True),
        ("X-Accel-Buffering: no", {}, False),
        ("x-accel-buffering: NO", {}, False),
        ("X-Accel-Buffering: yes", {}, True),
    ],
)
def test_which_responses(fields: str, settings: dict[str, Any], taken: bool) -> None:
    one = exchange()
    buffer(**settings).on_request(one)
    head = parse_response(
        f"HTTP/1.1 200 OK\r\nX-A: 1\r\n{fields}{chr(13) + chr(10) if fields else ''}\r\n".encode(), b"GET", 9999, 99
    )
    assert one.buffering.takes(head) is taken


def test_upgrades_and_grpc_are_left_alone() -> None:
    made = buffer()
    upgrade = exchange("Connection: Upgrade", "Upgrade: websocket")
    call = exchange()
    call.grpc = SimpleNamespace()
    for one in (upgrade, call):
        made.on_request(one)
        assert one.buffering is None


def test_the_client_was_told_to_send() -> None:
    made, edits = buffer(), Edits()
    one = exchange("Expect: 100-continue")
    made.on_upstream(one, edits)
    one.body = SimpleNamespace(spool=None)
    made.on_upstream(one, edits)
    assert not edits.drop
    one.body.spool = object()
    made.on_upstream(one, edits)
    assert edits.drop == {b"expect"}


def test_a_missing_directory_is_refused_unless_no_disk_is_used() -> None:
    with pytest.raises(ConfigError, match="there: /nowhere"):
        buffer(directory="/nowhere")
    buffer(directory="/nowhere", disk=0)
