"""`Connection`: what is left of a client's connection once it is over."""

from __future__ import annotations

import gc

import pytest

from terraster.net.connection import Connection
from terraster.net.http2.request import Request
from terraster.net.http2.session import Session
from terraster.net.stream import Stream
from terraster.net.upstream import Upstream
from terraster.wire.http2.server import ServerSession

from .harness.http2_client import HEADERS, PREFACE, RST_STREAM, SETTINGS, frame
from .playbook.lines import answered, asked, req, resp
from .playbook.play import FIN, Scene, b1, client, do, log, play, row
from .playbook.stage import Stage, config
from .playbook.world import Connection as Wire

ASK = b"GET / HTTP/1.1\r\nHost: site\r\n\r\n"


class Alive:
    """Objects of some types that come to life from now on, as other tests may keep theirs."""

    def __init__(self, *kinds: type) -> None:
        gc.collect()
        self._kinds = kinds
        self._before = self._all()

    def _all(self) -> list[object]:
        return [one for one in gc.get_objects() if type(one) in self._kinds]

    def new(self) -> list[object]:
        """Those that live now and did not then."""
        before = {id(one) for one in self._before}
        return [one for one in self._all() if id(one) not in before]


@pytest.mark.parametrize("octets", (b"", ASK, b"nonsense\r\n\r\n"), ids=("silent", "answered", "refused"))
def test_a_connection_that_is_over_is_freed_without_the_collector(octets: bytes) -> None:
    """A TLS engine hangs on each of them. Until the collector runs, its memory would be missing to those that come next."""
    stage = Stage(config(location="respond: {status: 200, body: here}"))
    alive = Alive(Connection, Stream)
    gc.disable()
    try:
        wire = Wire("client")
        stage.accept(wire, "10.9.9.9", 40000, "127.0.0.1:80")
        stage.hub.settle()
        (client,) = stage.clients
        assert isinstance(client.connection, Connection)
        del client
        wire.deliver(octets)
        stage.hub.settle()
        if not wire.ended:
            wire.leave()
        stage.hub.advance(5)
        assert wire.ended and not stage.clients
        stage.logged.clear()
        stage.all_logged.clear()
        assert not alive.new()
    finally:
        gc.enable()
        stage.hub.end()


def test_a_connection_to_a_backend_that_is_over_is_freed_without_the_collector() -> None:
    alive = Alive(Upstream)

    def begin(scene: Scene) -> None:
        gc.collect()
        gc.disable()

    def look(scene: Scene) -> None:
        assert not alive.new()

    try:
        play(
            row(
                "over",
                do(begin, "no collector"),
                client >> req("GET /a"),
                b1 << asked("GET /a"),
                b1 >> resp("200 OK", "Connection: close", body="one"),
                client << answered("200 OK", body="one"),
                b1 << FIN,
                log(200, b1),
                do(look, "nothing is left"),
            )
        )
    finally:
        gc.enable()


_GET = bytes.fromhex("828684410173")  # GET http / for s
_POST = bytes.fromhex("838684410173")


@pytest.mark.parametrize(
    "frames",
    (
        b"",
        frame(HEADERS, 5, 1, _GET),
        frame(HEADERS, 4, 1, _POST),  # its body has not come when it is answered
        frame(HEADERS, 4, 1, _POST) + frame(RST_STREAM, 0, 1, bytes(4)),
        frame(HEADERS, 5, 2, _GET),
    ),
    ids=("silent", "answered", "answered early", "reset", "broken"),
)
def test_a_connection_of_http2_is_freed_without_the_collector(frames: bytes) -> None:
    stage = Stage(config(location="respond: {status: 200, body: here}", top="http2: true"))
    alive = Alive(Connection, Stream, Session, ServerSession, Request)
    gc.disable()
    try:
        wire = Wire("client")
        stage.accept(wire, "10.9.9.9", 40000, "127.0.0.1:80")
        stage.hub.settle()
        wire.deliver(PREFACE + frame(SETTINGS) + frames)
        stage.hub.settle()
        wire.leave()
        stage.hub.advance(15)
        assert not stage.clients
        stage.logged.clear()
        stage.all_logged.clear()
        assert not alive.new()
    finally:
        gc.enable()
        stage.hub.end()


def test_octets_that_come_before_http2_begins_are_not_taken_for_the_end() -> None:
    """A session begins in a callback, and the loop may look at the sockets in between."""
    stage = Stage(config(location="respond: {status: 200, body: here}", top="http2: true"), backwards=True)
    try:
        wire = Wire("client")
        stage.accept(wire, "10.9.9.9", 40000, "127.0.0.1:80")
        stage.hub.settle()
        wire.deliver(PREFACE)
        rest = frame(SETTINGS) + frame(HEADERS, 5, 1, _GET)
        stage.loop.timer(0).start(
            stage.loop.run_callback, wire.deliver, rest
        )  # it comes before the callback in which the session begins
        stage.hub.settle()
        assert not wire.ended and wire.sent.endswith(b"here")
    finally:
        stage.hub.end()


def test_a_defect_within_a_connection_of_http2_ends_it_alone() -> None:
    """The frames are read on the hub, where no greenlet would report the error, and the client would wait for ever."""
    stage = Stage(config(location="respond: {status: 200, body: here}", top="http2: true"))
    try:
        wires = [Wire("client"), Wire("other")]
        for wire in wires:
            stage.accept(wire, "10.9.9.9", 40000, "127.0.0.1:80")
            wire.deliver(PREFACE + frame(SETTINGS))
        stage.hub.settle()
        codec = next(iter(stage.clients)).connection.session.codec
        codec._make = lambda *_: 1 / 0
        wires[0].deliver(frame(HEADERS, 5, 1, _GET))
        stage.hub.settle()
        assert stage.defects == ["a connection ended by a defect: ZeroDivisionError: division by zero"]
        assert wires[0].ended and b"internal error" in wires[0].sent
        wires[1].deliver(frame(HEADERS, 5, 1, _GET))
        stage.hub.settle()
        assert not wires[1].ended and wires[1].sent.endswith(b"here")
        stage.defects.clear()
        wires[1].leave()
        stage.hub.advance(15)
        assert not stage.clients
    finally:
        stage.hub.end()
