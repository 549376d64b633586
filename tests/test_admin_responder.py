"""One question to an OCSP responder: what is sent, and how long and how much is waited for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from terraster.admin.responder import ask
from terraster.certs.ocsp import OcspError, Question

from .harness.ocsp_responder import OcspResponder, hangs, status


@pytest.fixture
def responder() -> Iterator[OcspResponder]:
    with OcspResponder() as responder:
        yield responder


def test_a_short_question_may_be_kept_by_caches_and_a_long_one_is_posted(responder: OcspResponder) -> None:
    responder.answers["x"] = b"answer"
    short, long = bytes(range(256))[:100], bytes(300)
    for request in (short, long):
        assert ask(Question(responder.url("x"), request)) == b"answer"
    assert responder.requests == [("GET", "x", short), ("POST", "x", long)]


def test_a_redirect_is_not_followed(responder: OcspResponder) -> None:
    responder.answers.update(x=status(302, Location=responder.url("y")), y=b"answer")
    with pytest.raises(OcspError, match="answers 302"):
        ask(Question(responder.url("x"), b"1"))
    assert [name for _, name, _ in responder.requests] == ["x"]


def nonsense(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"\x15\x03\x01\n\n")


@pytest.mark.parametrize(
    ("answer", "why"),
    [(status(500), "answers 500"), (bytes(65537), "more than 64 KiB"), (nonsense, "cannot be asked"), (hangs, "cannot be asked")],
)
def test_answers_that_are_none(responder: OcspResponder, answer: object, why: str) -> None:
    responder.answers["x"] = answer  # type: ignore[assignment]
    with pytest.raises(OcspError, match=why):
        ask(Question(responder.url("x"), b"1"), 0.3 if answer is hangs else 10.0)


def test_nobody_listens() -> None:
    with OcspResponder() as responder:
        place = responder.url("x")
    with pytest.raises(OcspError, match="Connection refused"):
        ask(Question(place, b"1"))


@pytest.mark.parametrize("place", ["http://", "http://a:b/", "http://[::1/"])
def test_no_address(place: str) -> None:
    with pytest.raises(OcspError, match="cannot be an address"):
        ask(Question(place, b"1"))


DRIP = """
from gevent import monkey; monkey.patch_all()
import gevent, socket, sys
from terraster.admin.responder import ask
from terraster.certs.ocsp import OcspError, Question
server = socket.create_server(("127.0.0.1", 0))
def drip():
    one = server.accept()[0]
    one.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 99999\\r\\n\\r\\n")
    while True:
        one.sendall(b"x")
        gevent.sleep(0.02)
gevent.spawn(drip)
try:
    ask(Question(f"http://127.0.0.1:{server.getsockname()[1]}/x", b"1"), 0.3)
except OcspError as error:
    print(error)
"""


def test_the_whole_answer_has_to_come_in_time() -> None:
    done = subprocess.run([sys.executable, "-c", DRIP], capture_output=True, text=True, timeout=30, check=True)
    assert "no answer within 0.3 s" in done.stdout
