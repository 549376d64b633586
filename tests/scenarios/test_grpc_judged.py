"""A backend is judged by the outcome of calls of gRPC that comes in trailers, as by a status of HTTP."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest

from ..harness.http2_backend import Asked, Http2Backend, Http2Peer
from ..harness.http2_client import Http2
from ..harness.terraster_process import service
from ..harness.waiting import wait_until

MESSAGE = b"\0\0\0\0\0"
CALL = [("content-type", "application/grpc"), ("te", "trailers")]


class Server:
    """Answers each call by a message, and by `status` in trailers. whole: True: in one piece; False: the trailers come with `end`."""

    def __init__(self, stack: ExitStack, status: int, whole: bool) -> None:
        self.status = status
        self.whole = whole
        self.backend = stack.enter_context(Http2Backend(self._answer))
        self.service = service({"url": self.backend.url, "http2": True, "health_check": "off"})

    def _answer(self, peer: Http2Peer, asked: Asked) -> None:
        head, trailers = [(":status", "200"), CALL[0]], [("grpc-status", str(self.status))]
        if self.whole:
            peer.codec.send_headers(asked.stream, head)
            peer.codec.send_data(asked.stream, MESSAGE)
            peer.codec.send_headers(asked.stream, trailers, end_stream=True)
        else:
            peer.head(asked, 200, CALL[:1])
            peer.send(asked, MESSAGE)

    def end(self) -> None:
        asked = self.backend.requests[-1]
        asked.peer.send(asked, b"", end=True, trailers=[("grpc-status", str(self.status))])


@pytest.fixture(params=[True, False], ids=["in one piece", "later"])
def server(request, stack) -> Any:
    return lambda status: Server(stack, status, request.param)


def call(proxy, server: Server) -> str | None:
    """The status of a call."""
    with Http2(proxy.connect()) as client:
        number = client.open("/t.T/M", method="POST", fields=CALL, body=MESSAGE)
        answer = client.answers[number]
        if not server.whole:
            client.until(lambda: answer.body)
            server.end()
        client.answer(number)
        return dict(answer.trailers or answer.fields).get("grpc-status")


def counted(proxy, name: str) -> dict[str, float]:
    """The samples of a counter of backends that are not 0, by class."""
    found = {}
    for sample, count in proxy.metrics().items():
        if sample.startswith(f"terraster_backend_{name}_total{{") and count:
            found[sample.partition('code="')[2].partition('"')[0]] = count
    return found


@pytest.mark.parametrize(("status", "kind", "bad"), [(0, "2xx", 0), (5, "4xx", 0), (13, "5xx", 1), (14, "5xx", 1)])
def test_responses_and_bad_ones_are_counted(terraster, server, status: int, kind: str, bad: int) -> None:
    one = server(status)
    proxy = terraster(one.service, http2=True, outlier={"bad_statuses": 100, "statuses": "500-599"})
    assert call(proxy, one) == str(status)
    wait_until(lambda: counted(proxy, "responses") == {kind: 1}, lambda: str(counted(proxy, "responses")))
    assert counted(proxy, "bad_statuses") == ({"": 1} if bad else {})


def test_a_circuit_opens(terraster, server) -> None:
    one = server(14)
    proxy = terraster(one.service, http2=True, middleware=[{"circuit_breaker": {"threshold": 2, "timeout": "20s"}}])
    for _ in range(2):
        assert call(proxy, one) == "14"
    wait_until(lambda: "open" in str(proxy.status()["services"][0]["locations"][0]["backends"][0]["circuit"]))
    with Http2(proxy.connect()) as client:
        answer = client.get("/t.T/M", method="POST", fields=CALL, body=MESSAGE)
    assert (answer.get("grpc-status"), len(one.backend.requests)) == ("14", 2)
    assert "destination_unavailable" in (answer.get("proxy-status") or "")


def test_bad_ones_at_the_same_time_are_in_a_row(terraster, stack) -> None:
    """The heads of some come between the ends of others, and are nothing good."""
    one, other = Server(stack, 14, False), Server(stack, 0, True)
    site = service(*(each.service["locations"][0]["backends"][0] for each in (one, other)))
    proxy = terraster(site, http2=True, outlier={"bad_statuses": 3, "statuses": "500-599"})
    with Http2(proxy.connect()) as client:
        numbers = [client.open("/t.T/M", method="POST", fields=CALL, body=MESSAGE) for _ in range(8)]
        client.until(lambda: all(client.answers[number].body for number in numbers))
        waiting = list(one.backend.requests)
        assert len(waiting) >= 3
        for asked in waiting:
            asked.peer.send(asked, b"", end=True, trailers=[("grpc-status", "14")])
        for number in numbers:
            client.answer(number)
    wait_until(lambda: "ejected" in str([each["state"] for each in proxy.status()["services"][0]["locations"][0]["backends"]]))


def test_a_client_that_leaves_a_stream(terraster, stack) -> None:
    """The head is all that is known: the response counts, and not against the backend."""
    one = Server(stack, 14, False)
    proxy = terraster(one.service, http2=True, outlier={"bad_statuses": 100, "statuses": "500-599"})
    with Http2(proxy.connect()) as client:
        answer = client.answers[client.open("/t.T/M", method="POST", fields=CALL, body=MESSAGE)]
        client.until(lambda: answer.body)
    wait_until(lambda: counted(proxy, "responses") == {"2xx": 1}, lambda: str(counted(proxy, "responses")))
    assert counted(proxy, "bad_statuses") == {}
