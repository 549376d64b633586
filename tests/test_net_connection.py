"""`Connection`: what is left of a client's connection once it is over."""

from __future__ import annotations

import gc

import pytest

from terraster.net.connection import Connection
from terraster.net.stream import Stream

from .playbook.stage import Stage, config
from .playbook.world import Connection as Wire

ASK = b"GET / HTTP/1.1\r\nHost: site\r\n\r\n"


@pytest.mark.parametrize("octets", (b"", ASK, b"nonsense\r\n\r\n"), ids=("silent", "answered", "refused"))
def test_a_connection_that_is_over_is_freed_without_the_collector(octets: bytes) -> None:
    """A TLS engine hangs on each of them. Until the collector runs, its memory would be missing to those that come next."""
    stage = Stage(config(location="respond: {status: 200, body: here}"))
    gc.collect()
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
        assert not [one for one in gc.get_objects() if type(one) in (Connection, Stream)]
    finally:
        gc.enable()
        stage.hub.end()
