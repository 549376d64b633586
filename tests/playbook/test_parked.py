"""A connection that is silent between two requests has no greenlet, and is treated as if it had one."""

from __future__ import annotations

from terraster.net.parked import PARK

from .lines import answered, asked, ok, refused, req
from .play import FIN, GONE, RST, Row, Scene, Step, after, b1, b2, client, do, drain, log, reload, row, table, whole
from .stage import Stage, config
from .world import Connection

GET = req("GET /a")
ASKED = asked("GET /a")
OK = answered("200 OK", body="one")
SERVED = (client >> GET, b1 << ASKED, b1 >> ok("one"), client << OK, log(200, b1))
AGAIN = (
    client >> req("GET /b"),
    b1 << asked("GET /b", n=2),
    b1 >> ok("two"),
    client << answered("200 OK", body="two"),
    log(200, b1),
)
LAST = (*AGAIN[:3], client << answered("200 OK", "Connection: close", body="two"), client << FIN, log(200, b1))


def _has_no_greenlet(scene: Scene) -> None:
    assert not scene.stage.hub.greenlets, scene.stage.hub.greenlets


def _has_one(scene: Scene) -> None:
    assert len(scene.stage.hub.greenlets) == 1, scene.stage.hub.greenlets


parked = do(_has_no_greenlet, "no greenlet carries it")
carried = do(_has_one, "a greenlet carries it")
SOON = after(PARK + 0.4)


def at_rest(name: str, *steps: Step, before: tuple[Step, ...] = SERVED, **keys: object) -> Row:
    """A client that was served is silent, and then this happens."""
    return row(name, *before, SOON, parked, *steps, **keys)  # type: ignore[arg-type]


test_parked = table(
    at_rest(
        "the next request is answered, and the one behind the next rest", *AGAIN, after(3), parked, client >> GONE, client << FIN
    ),
    row(
        "a client that goes on within a moment keeps its greenlet",
        *SERVED,
        after(PARK / 2),
        carried,
        *AGAIN,
        after(PARK / 2),
        carried,
    ),
    at_rest("so is the first one of a client that was slow to ask", *SERVED, client >> GONE, client << FIN, before=(client >> "",)),
    at_rest(
        "a head in pieces is waited for",
        client >> whole(b"GET /b HTT"),
        after(3),
        carried,
        client >> whole(b"P/1.1\r\nHost: site.test\r\n\r\n"),
        b1 << asked("GET /b", n=2, host="site.test"),
        b1 >> ok("two"),
        client << answered("200 OK", body="two"),
        log(200, b1),
    ),
    at_rest(
        "and not for ever",
        client >> whole(b"GET /b HTT"),
        after(10.4),
        client.still_open(),
        after(0.4),
        client << refused(408, "http_request_error", n=2, close=True),
        client << FIN,
        client >> GONE,
        log(408, error="http_request_error"),
        top="timeouts: {client_header: 10500ms}",
    ),
    at_rest(
        "requests that come together are answered in order",
        client >> whole(req("GET /b") + req("GET /c")),
        b1 << asked("GET /b", n=2),
        b1 >> ok("two"),
        client << answered("200 OK", body="two"),
        log(200, b1),
        b1 << asked("GET /c", n=3),
        b1 >> ok("three"),
        client << answered("200 OK", body="three"),
        log(200, b1),
    ),
    at_rest(
        "an empty line is no request, and the one behind it is answered",
        client >> "\r\n",
        after(2),
        carried,
        *AGAIN,
    ),
    *[
        at_rest(f"it ends when its client {how}", client >> end, *([] if end is RST else [client << FIN]))
        for how, end in (("ends its octets", FIN), ("closes", GONE), ("resets", RST))
    ],
    at_rest(
        "it ends when its time is over", after(3.0), client.still_open(), after(0.5), client << FIN, top="timeouts: {keepalive: 4s}"
    ),
    at_rest(
        "the time of a first request is over no later",
        after(9.0),
        client.still_open(),
        after(0.5),
        client << FIN,
        before=(client >> "",),
        top="timeouts: {client_header: 10s}",
    ),
    at_rest(
        "it stays as long as its client likes",
        after(100_000),
        b1 << FIN,
        client >> req("GET /b"),
        b1[2] << asked("GET /b", n=2),
        b1[2] >> ok("two"),
        client << answered("200 OK", body="two"),
        log(200, b1),
        top="timeouts: {keepalive: 0s}",
    ),
    at_rest("a drain gives it a moment", drain(), after(1.9), client.still_open(), after(0.5), client << FIN),
    at_rest("a request within this moment is answered", drain(), after(1.5), *LAST),
    at_rest(
        "so does a reload that takes its listener away",
        reload(service="listen: '127.0.0.1:81'"),
        after(1.9),
        client.still_open(),
        after(0.5),
        client << FIN,
    ),
    row("a connection that has only a moment left is not parked", *SERVED, drain(), SOON, carried, after(1.6), client << FIN),
    at_rest(
        "after a reload it asks the new backends",
        reload(locations="- path: /\n  backends: [{url: 'http://10.0.0.2:8000'}]"),
        b1 << FIN,
        client >> req("GET /b"),
        b2 << asked("GET /b", n=2),
        b2 >> ok("two"),
        client << answered("200 OK", body="two"),
        log(200, b2),
    ),
)


def test_idle_clients_have_no_greenlets_however_many_they_are() -> None:
    stage = Stage(config(location="respond: {status: 200, body: here}"))
    try:
        wires = [Connection(f"client {number}") for number in range(1500)]
        for number, wire in enumerate(wires):
            stage.accept(wire, "10.9.9.9", 10_000 + number, "127.0.0.1:80")
            wire.deliver(req("GET /"))
        stage.hub.settle()
        assert all(wire.sent.endswith(b"here") for wire in wires)
        assert len(stage.hub.greenlets) == len(wires)
        stage.hub.advance(PARK + 1.2)
        assert not stage.hub.greenlets and len(stage.clients) == len(wires)
        for wire in wires[::3]:
            wire.sent.clear()
            wire.deliver(req("GET /"))
        stage.hub.settle()
        assert all(wire.sent.endswith(b"here") for wire in wires)
        assert len(stage.hub.greenlets) == 500
        for connection in [client.connection for client in stage.clients]:
            connection.end_idle()
        stage.hub.advance(0.3)
        assert not stage.clients and not stage.hub.greenlets
    finally:
        stage.hub.end()


def test_a_client_at_rest_makes_room_unless_it_has_asked_meanwhile() -> None:
    stage = Stage(config(location="respond: {status: 200, body: here}"))
    try:
        wire = Connection("client")
        stage.accept(wire, "10.9.9.9", 10_000, "127.0.0.1:80")
        stage.hub.advance(PARK + 0.4)
        (connection,) = [client.connection for client in stage.clients]
        assert connection.parked and connection.idle_since
        wire.deliver(req("GET /"))
        assert not connection.end_idle()
        stage.hub.settle()
        assert wire.sent.endswith(b"here") and not wire.ended
        stage.hub.advance(PARK + 0.4)
        assert connection.parked and connection.end_idle()
        stage.hub.settle()
        assert wire.ended == "FIN" and not stage.clients
    finally:
        stage.hub.end()
