"""The beginning of the answer to a probe: kept if the probe fails, fit to be shown, and without a say in the verdict."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from terraster.config.snapshot import HealthCheck
from terraster.errors import HttpError
from terraster.master.backends.heard import KEPT, Heard
from terraster.master.backends.probe import Aim, Probing

SANITIZER = Heard.sanitizer(("session_key",), "****")


def ask(answer: bytes, keep: bool = False, **check: object) -> tuple[object, Heard]:
    """The verdict on an answer (or the error, in words), and what is kept of it."""
    ours, theirs = socket.socketpair()
    heard = Heard(keep)
    with ours, theirs:
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        aim = Aim("http", "10.0.0.1", 80, "10.0.0.1", "", True, HealthCheck(**check))  # type: ignore[arg-type]
        try:
            return Probing()._ask(heard, aim, ours), heard
        except HttpError as error:
            return error.detail, heard


@pytest.mark.parametrize(
    ("answer", "keep", "check", "verdict", "status", "shown"),
    [
        (
            b"HTTP/1.1 503 No\r\nContent-Length: 17\r\n\r\nthe database\nis gone, and more",
            False,
            {},
            (False, "status 503"),
            503,
            "the database is g",
        ),
        (
            b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nlate\r\n0\r\n\r\n",
            False,
            {},
            (False, "status 503"),
            503,
            "late",
        ),
        (b"HTTP/1.1 503 No\r\nContent-Length: 99\r\n\r\ncut off", False, {}, (False, "status 503"), 503, "cut off"),
        (b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", False, {}, (False, "status 503"), 503, ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", False, {}, (True, "status 200"), 200, ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", True, {}, (True, "status 200"), 200, "ok"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsick",
            False,
            {"body": "well"},
            (False, "status 200, but without the expected text"),
            200,
            "sick",
        ),
        (b"HTTP/1.1 204 No\r\n\r\n", True, {}, (True, "status 204"), 204, ""),
    ],
)
def test_the_answer_and_the_verdict(
    answer: bytes, keep: bool, check: dict[str, object], verdict: tuple[bool, str], status: int, shown: str
) -> None:
    found, heard = ask(answer, keep, **check)
    assert (found, heard.status, heard.text(SANITIZER)) == (verdict, status, shown)


def test_what_is_no_response_is_kept_too() -> None:
    error, heard = ask(b"SSH-2.0-OpenSSH_9.2p1\r\n")
    assert "SSH-2.0" in str(error) and (heard.status, heard.text(SANITIZER)) == (0, "SSH-2.0-OpenSSH_9.2p1")


@pytest.mark.parametrize("left", [17, 20, 30])
def test_a_password_that_is_cut_off_is_not_shown(left: int) -> None:
    heard = Heard(True)
    url = b"postgres://ann:hunter2-hunter2@db/shop"
    heard.octets = (b"no connection to ".rjust(KEPT - left, b".") + url)[:KEPT]
    assert "hu" not in heard.text(Heard.sanitizer((), "***"))


@pytest.mark.parametrize(
    ("octets", "shown"),
    [
        (b"a\r\n\tb\x00c\x1b[31md\xff", "a b\N{REPLACEMENT CHARACTER}c\N{REPLACEMENT CHARACTER}[31md\N{REPLACEMENT CHARACTER}"),
        (b'{"password": "hunter2", "user": "ann"}', '{"password": "****", "user": "ann"}'),
        (b"Set-Cookie: sid=abcdef\r\nX", "Set-Cookie: **** X"),
        (b"db=postgres://app:hunter2@db/shop", "db=postgres://****@db/shop"),
        (b"session_key=abc&x=1", "session_key=****&x=1"),
        (b"Authorization: Bearer abc.def", "Authorization: ****"),
        (b"x" * 1000, "x" * KEPT),
        ("ä\u202e".encode(), "ä\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_it_is_fit_to_be_shown(octets: bytes, shown: str) -> None:
    heard = Heard(False)
    heard.octets = octets
    assert heard.text(SANITIZER) == shown


_STALLED = """
from terraster.master import patching
patching.patch()
import gevent
from gevent import socket
from terraster.config.snapshot import Backend, HealthCheck
from terraster.master.backends.probe import Aim, Probing

listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen()
held = []

def serve():
    while True:
        held.append(listener.accept()[0])
        held[-1].recv(4096)
        held[-1].sendall(b"HTTP/1.1 503 No\\r\\nContent-Length: 99\\r\\n\\r\\nthe beginning")

gevent.spawn(serve)
check = HealthCheck(timeout=1.0)
result = Probing().probe(Aim.of(Backend("x", "", "http", "127.0.0.1", listener.getsockname()[1], health=check)))
print(result.ok, result.reason, result.status, result.answer, sep="; ")
"""


def test_a_body_that_does_not_come_changes_no_verdict() -> None:
    run = subprocess.run([sys.executable, "-c", _STALLED], capture_output=True, text=True, timeout=30)
    assert (run.stdout, run.stderr) == ("False; status 503; 503; the beginning\n", "")
