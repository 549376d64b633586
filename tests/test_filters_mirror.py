"""`mirror`: what may be written, which requests are copied, and what a copy is."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from terraster.config.resolve import resolve
from terraster.errors import BadResponse, ConfigError, ConnectFailed, HttpError, TimedOut
from terraster.exchange import Exchange
from terraster.filters.contract import Place, cells
from terraster.filters.copies import Copy
from terraster.filters.mirror import Mirror, MirrorSettings
from terraster.filters.runtime import Runtime
from terraster.state.cells import SeatLocation
from terraster.state.table import Table
from terraster.state.view import SeatView
from terraster.wire.edits import Edits
from terraster.wire.http1 import parse_request, parse_response

from .harness.configuration import load

CELLS = cells([Mirror])["mirror"]
TO = "http://10.0.0.9:9000"


class House:
    """One mirror, and a runtime that remembers what is handed to it."""

    def __init__(self, *draws: float, room: bool = True, queue: bool = True, **written: Any) -> None:
        self.view = SeatView(Table(1, 1, 1))
        self.runtime = Runtime()
        self.runtime.mirrors = self
        self.runtime.draw = iter(draws).__next__ if draws else lambda: 0.0
        self.held, self.sent, self.room, self.queue = 0, [], room, queue
        location = SimpleNamespace(slot=0, path="/", label="/")
        place = Place(SimpleNamespace(name="site"), location, self.view, CELLS, self.runtime)  # type: ignore[arg-type]
        settings = MirrorSettings.model_validate({"to": TO} | written)
        self.filter = Mirror(settings, place, self.view)

    def hold(self, octets: int, most: int) -> bool:
        self.held += octets if self.room else 0
        return self.room

    def release(self, octets: int) -> None:
        self.held -= octets

    def send(self, copy: Copy) -> str:
        if self.queue:
            self.sent.append(copy)
        return "" if self.queue else "queue_full"

    def ask(self, method: str = "GET", *fields: str, content: bytes = b"") -> Exchange:
        lines = [f"{method} /a?b=c HTTP/1.1", "Host: a.test", *fields, *([f"Content-Length: {len(content)}"] if content else [])]
        head = parse_request("\r\n".join([*lines, "", ""]).encode(), 9999, 99)
        one = Exchange(1.0, 2.0, "192.0.2.1", "192.0.2.1", "https", head)
        one.host, one.path, one.query, one.request_id = b"a.test", b"/a", b"b=c", b"77"
        one.location = SimpleNamespace(passthrough=True)
        one.content = content
        one.connection = SimpleNamespace()
        self.filter.on_request(one)
        return one

    def pass_on(self, one: Exchange, *lines: str, drop: tuple[bytes, ...] = ()) -> None:
        edits = Edits()
        edits.drop |= set(drop)
        edits.extra = "".join([f"{line}\r\n" for line in lines]).encode()
        self.filter.on_upstream(one, edits)

    @property
    def counted(self) -> dict[str, int]:
        return {name: count for name, cell in CELLS.items() if (count := self.view.q[self.view.locations + cell])}


assert max(CELLS.values()) < SeatLocation.CELLS


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"to": "10.0.0.9:9000"}, "must be a URL like"),
        ({"to": []}, "must not be an empty list"),
        ({"to": [TO, TO]}, "names a server twice"),
        ({"to": "srv+http://mirror.test"}, "must have URLs that start with http://"),
        ({"percent": 101}, "must be a number from 0 to 100"),
        ({"percent": "-1"}, "must be a number from 0 to 100"),
        ({"percent": True}, "must be a number from 0 to 100"),
        ({"percent": "some"}, "must be a number from 0 to 100"),
        ({"methods": ["get"]}, "must have methods in capitals"),
        ({"methods": ["CONNECT"]}, "must have methods in capitals"),
        ({"methods": ["GET", "all"]}, "must have methods in capitals"),
        ({"host": "a b"}, "must be a host name"),
        ({"host": "ä.test"}, "must be a host name"),
        ({"timeout": 0}, "must be"),
        ({"concurrency": 0}, "must be"),
        ({"body_size": "2M", "memory": "1M"}, "`body_size` above `memory`"),
    ],
)
def test_what_cannot_be_meant(tmp_path, written: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, {"to": TO} | written)
    assert words in str(error.value), error.value


def loaded(folder, mirror: dict[str, Any]) -> Any:
    location = {"path": "/", "backends": ["http://10.0.0.1"], "middleware": [{"mirror": mirror}]}
    file = folder / "terraster.yaml"
    file.write_text(json.dumps({"port": 80, "services": [{"name": "site", "host": "*", "locations": [location]}]}))
    return load(str(file))


@pytest.mark.parametrize(
    ("written", "warnings"),
    [
        ({"compare": "all", "slower_by": "1s", "ignore_headers": ["X-A"]}, []),
        ({"slower_by": "1s"}, ["`slower_by` has no effect unless `compare` has `latency`"]),
        ({"compare": "body", "ignore_headers": []}, ["`ignore_headers` has no effect unless `compare` has `headers`"]),
        ({"percent": 0}, ["`percent` is 0, so nothing is copied"]),
        ({"to": [TO, "http://10.0.0.1/new"]}, ["sends copies to http://10.0.0.1/new, which is a backend of the same location"]),
    ],
)
def test_what_can_hardly_be_meant(tmp_path, written: dict[str, Any], warnings: list[str]) -> None:
    found = loaded(tmp_path, {"to": TO} | written).warnings
    assert len(found) == len(warnings)
    assert all(words in one for one, words in zip(found, warnings, strict=True)), found


def test_some_level_must_say_where() -> None:
    with pytest.raises(ConfigError, match="says nothing of `to`"):
        House(to=None)
    with pytest.raises(ConfigError, match="`body_size` above `memory`"):
        House(body_size="20M")


@pytest.mark.parametrize(("percent", "share"), [(0.5, 0.005), ("12.5", 0.125), ("0.01 %", 0.0001), (100, 1.0)])
def test_percent_has_fractions(percent: Any, share: float) -> None:
    below, above = House(share - 1e-9, percent=percent), House(share, percent=percent)
    assert below.ask().facts is not None
    assert above.ask().facts is None and above.counted == {}, "chance is no reason to count"


def test_without_a_share_it_costs_nothing() -> None:
    assert not House(percent=0).filter.needs("on_request")
    assert MirrorSettings.model_validate({"to": TO, "percent": 0}).calls() == ()


def test_the_servers_become_a_location_with_a_pool_of_its_own(tmp_path) -> None:
    snapshot = resolve(loaded(tmp_path, {"to": [TO, "https://shadow.test/v2"], "http2": True}), 1)
    (_, called) = sorted(snapshot.services[0].locations, key=lambda one: len(one.path))
    assert called.path == f"@mirror+http2:{TO},https://shadow.test/v2"
    assert [(one.scheme, one.host, one.port, one.base_path, one.http2) for one in called.backends] == [
        ("http", "10.0.0.9", 9000, "", True),
        ("https", "shadow.test", 443, "/v2", True),
    ]
    assert called.retry.attempts == 1 and called.outlier is None


def test_a_copy_is_what_the_backend_got() -> None:
    house = House()
    one = house.ask("GET", "Accept: x")
    house.pass_on(one, "X-In: 1", drop=(b"x-out",))
    assert house.held == one.head.size
    house.filter.on_log(one)
    (copy,) = house.sent
    sub = copy.exchange
    assert (sub.head, sub.path, sub.query, sub.host, sub.request_id) == (one.head, b"/a", b"b=c", b"a.test", b"77")
    assert (sub.content, sub.idempotent, sub.client_ip, sub.scheme) == (b"", True, "192.0.2.1", "https")
    assert copy.extra == b"X-In: 1\r\nX-Terraster-Mirror: 1\r\n"
    assert copy.drop == {b"x-out", b"expect", b"trailer", b"x-terraster-mirror"}
    assert one.facts == {} and house.held == copy.held, "its memory is given back by who sends it"


@pytest.mark.parametrize(
    ("settings", "method", "fields", "why"),
    [
        ({}, "POST", (), "method"),
        ({}, "PUT", (), "method"),
        ({"methods": ["POST"]}, "GET", (), "method"),
        ({"methods": "all"}, "CONNECT", (), "kind"),
        ({}, "GET", ("Connection: Upgrade", "Upgrade: websocket"), "kind"),
        ({}, "GET", ("X-TERRASTER-mirror: 1",), "kind"),
        ({"body_size": 4}, "GET", ("Content-Length: 5",), "body_too_large"),
    ],
)
def test_what_is_not_copied(settings: dict[str, Any], method: str, fields: tuple[str, ...], why: str) -> None:
    house = House(**settings)
    assert house.ask(method, *fields).facts is None
    assert house.counted == {f"skipped_{why}": 1} and house.held == 0


def test_no_call_of_grpc() -> None:
    house = House(methods="all")
    one = house.ask("POST")
    one.facts, one.grpc = None, SimpleNamespace()
    house.filter.on_request(one)
    assert one.facts is None and house.counted == {"skipped_kind": 1}


def test_no_memory_and_no_place_in_the_queue() -> None:
    full = House(room=False)
    assert full.ask().facts is None and full.counted == {"skipped_queue_full": 1}
    busy = House(queue=False)
    one = busy.ask()
    busy.pass_on(one)
    busy.filter.on_log(one)
    assert busy.counted == {"skipped_queue_full": 1} and busy.held == 0


def test_the_end_of_a_request_gives_its_memory_back_whatever_happened() -> None:
    house = House()
    house.filter.on_log(house.ask())
    assert house.counted == {"skipped_incomplete": 1} and house.held == 0, "no backend got it"
    one = house.ask()
    house.pass_on(one)
    head = parse_response(b"HTTP/1.1 200 OK\r\nContent-Type: TEXT/event-stream;a=b\r\n\r\n", b"GET", 999, 9)
    house.filter.on_response(one, Edits(200, False, head))
    assert house.counted["skipped_kind"] == 1 and house.held == 0 and one.facts == {}
    house.filter.on_log(one)
    assert house.sent == []


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ConnectFailed("no"), "connect"),
        (TimedOut("late"), "timeout"),
        (HttpError("the exchange took too long", status=504), "timeout"),
        (BadResponse("bad"), "response"),
    ],
)
def test_why_a_copy_failed(error: HttpError, why: str) -> None:
    house = House()
    house.filter.failed(error)
    assert house.counted == {f"failed_{why}": 1}
