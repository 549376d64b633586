"""The corpus of responses: what a backend must not say becomes a 502, and its connection is not used again.

Backends are read leniently unless the configuration says otherwise, so a case has two outcomes.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..harness.backends import Backend, Peer, always, ok
from ..harness.corpus import Case, load_cases
from ..harness.terraster_process import Terraster, service

CASES = [case for case in load_cases("responses") if case.limits == (32768, 100)]
REFUSED = [case for case in CASES if case.lenient[0] == "502" and case.stage != "body" and "forward" not in case.lenient]
BROKEN = [case for case in CASES if case.lenient == ("502",) and case.stage == "body"]
FORWARDED = [case for case in CASES if case.lenient == ("forward",) and (case.fact("status") or b"2")[:1] != b"1"]
REFUSED_IF_STRICT = [case for case in FORWARDED if not case.forwards]


class Reciter:
    """A backend script that recites one case for each request, and ends the connection where the case's answer says so."""

    case: Case

    def __call__(self, peer: Peer) -> None:
        while peer.request():
            peer.send(self.case.data)
            if "incomplete" in self.case.expect or self.case.fact("keep-alive") == b"no":
                return


@pytest.fixture(scope="module")
def reciter() -> Reciter:
    return Reciter()


@pytest.fixture(scope="module")
def origin(reciter: Reciter) -> Iterator[Backend]:
    with Backend(reciter) as backend:
        yield backend


@pytest.fixture(scope="module")
def proxy(origin: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraster]:
    with Terraster(tmp_path_factory.mktemp("responses"), service(origin.url)) as terraster:
        yield terraster


@pytest.fixture(scope="module")
def strict(origin: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraster]:
    with Terraster(tmp_path_factory.mktemp("strict"), service(origin.url, strict_responses=True)) as terraster:
        yield terraster


@pytest.mark.parametrize("case", REFUSED_IF_STRICT, ids=lambda case: case.name)
def test_refused_where_responses_must_be_in_order(strict: Terraster, reciter: Reciter, case: Case) -> None:
    reciter.case = case
    with strict.connect() as client:
        answer = client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").rest()
    if case.stage == "body":  # its head was on its way
        assert not answer.endswith(b"0\r\n\r\n"), "passed off as whole"
    else:
        assert answer.startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_refused(proxy: Terraster, origin: Backend, reciter: Reciter, case: Case) -> None:
    reciter.case = case
    count = len(origin.peers)
    with proxy.connect() as client:
        answer = client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n").response("POST")
    assert answer.status == 502, case.what
    assert "http_protocol_error" in (answer.get("proxy-status") or "") or "connection_" in (answer.get("proxy-status") or "")
    assert len(origin.peers) == count + 1
    assert origin.wait_peer(count).ended.wait(10), "the connection was kept"


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.name)
def test_broken_off(proxy: Terraster, origin: Backend, reciter: Reciter, case: Case) -> None:
    """Its head was fine, so it may be on its way when the body goes wrong: then all that is right is to break off."""
    reciter.case = case
    count = len(origin.peers)
    with proxy.connect() as client:
        answer = client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").rest()
    assert answer.startswith((b"HTTP/1.1 502 ", b"HTTP/1.1 200 ")) or answer == b""
    if answer.startswith(b"HTTP/1.1 200 "):
        assert not answer.endswith(b"0\r\n\r\n"), "passed off as whole"
    assert origin.wait_peer(count).ended.wait(10), "the connection was kept"


@pytest.mark.parametrize("case", FORWARDED, ids=lambda case: case.name)
def test_forwarded(proxy: Terraster, reciter: Reciter, case: Case) -> None:
    reciter.case = case
    method = (case.fact("method") or b"GET").decode()
    with proxy.connect() as client:
        answer = client.send(f"{method} / HTTP/1.1\r\nHost: a.test\r\n\r\n".encode()).response(method)
        assert answer.status == int(case.fact("status") or answer.status)
        assert answer.body == (case.fact("body") or b"")
        assert answer.trailers == [(name.lower(), value) for name, value in case.pairs("trailer")]
        for name, value in case.pairs("field"):
            assert value.decode("latin-1") in answer.all(name.decode())
        assert client.is_open(), "a backend's closing is not the client's affair"


def test_a_large_head_is_refused(terraster, backend) -> None:
    origin = backend(always(ok(fields=b"".join(b"X-%d: %b\r\n" % (number, b"y" * 1000) for number in range(200)))))
    with terraster(origin).connect() as client:
        assert client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").response().status == 502


def test_a_head_that_never_ends_is_refused(terraster, backend) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            peer.send(b"X-A: " + b"a" * 1000 + b"\r\n")

    with terraster(backend(script)).connect() as client:
        assert client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").response().status == 502
