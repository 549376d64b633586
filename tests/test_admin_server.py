"""The admin worker's HTTP server and its sites: bounds, refusals, and who may steer."""

from __future__ import annotations

import json
import os
import pwd
import resource
from contextlib import contextmanager

import gevent
import gevent.event
import pytest
from gevent import socket, ssl

from terraster.admin import pages
from terraster.admin import server as server_module
from terraster.admin.door import Door
from terraster.admin.server import BODY_OCTETS, HEAD_OCTETS, PEER_UID, Server
from terraster.admin.site import Refusal, Response, Site, json_response, only_for_owner
from terraster.admin.worker import _operator
from terraster.certs.files import read_files
from terraster.config.snapshot import Tls
from terraster.errors import TerrasterError

from .harness.authority import Authority


class Log:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def exception(self, text: str, *values: object) -> None:
        self.lines.append(text % values)

    def write(self, text: str) -> None:
        self.lines.append(text)


def fails(query: dict[str, str]) -> Response:
    raise RuntimeError("the secret is 42")


def is_away(query: dict[str, str]) -> Response:
    raise TerrasterError("the master is away")


def refuses(query: dict[str, str]) -> Response:
    raise Refusal(409, "not now", ("Retry-After", "3"))


def problem(status: int, title: str, detail: str) -> dict[str, object]:
    return {"type": "about:blank", "title": title, "status": status, "detail": detail, "error": detail}


ROUTES = {
    **pages.routes(),
    "/echo": {"GET": json_response, "POST": lambda query: json_response({"posted": query})},
    "/pieces": {"GET": lambda query: Response(iter([b"a" * 100_000, b"b" * 100_000]))},
    "/fails": {"GET": fails},
    "/away": {"GET": is_away},
    "/refuses": {"GET": refuses},
}


@contextmanager
def serving(application, family=socket.AF_INET, path=""):
    """A server on loopback or a unix path; gives (address, log, server)."""
    listener = socket.socket(family)
    listener.bind(path or ("127.0.0.1", 0))
    listener.listen()
    log = Log()
    site = application(log)
    running = Server(listener, site, log)
    running.start()
    try:
        yield (path or listener.getsockname()), log, running
    finally:
        running.stop()
        listener.close()


def talk(address, data: bytes, family=socket.AF_INET) -> bytes:
    """Send octets, read until the other side closes."""
    with gevent.Timeout(10), socket.socket(family) as client:
        client.connect(address)
        client.sendall(data)
        return b"".join(iter(lambda: client.recv(65536), b""))


def ask(address, request: str, fields: str = "", family=socket.AF_INET) -> tuple[int, dict[str, str], bytes]:
    answer = talk(address, f"{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n".encode(), family)
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return int(status.split()[1]), dict(line.lower().split(": ", 1) for line in lines), body


@pytest.mark.parametrize(
    ("request_line", "status", "body"),
    [
        ("GET /echo?a=1&b=%20x&a=2", 200, {"a": "1", "b": " x"}),
        ("POST /echo?a=1", 200, {"posted": {"a": "1"}}),
        (
            "GET /nothing",
            404,
            problem(404, "Not Found", "this path does not exist; existing paths: /, /echo, /pieces, /fails, /away, /refuses"),
        ),
        ("DELETE /echo", 405, problem(405, "Method Not Allowed", "this path accepts only GET, POST")),
        ("GET /fails", 500, problem(500, "Internal Server Error", "internal error, see the log")),
        ("GET /away", 503, problem(503, "Service Unavailable", "the master is away")),
        ("GET /refuses", 409, problem(409, "Conflict", "not now")),
    ],
)
def test_answers(request_line, status, body):
    with serving(lambda log: Site(ROUTES, log)) as (address, log, _):
        found, fields, text = ask(address, request_line)
        assert (found, json.loads(text)) == (status, body)
        kind = "application/json" if status == 200 else "application/problem+json"
        assert fields["content-type"] == kind and fields["cache-control"] == "no-store"
        assert fields.get("allow", "").upper() == ("GET, POST" if status == 405 else "")
        assert fields.get("retry-after") == ("3" if status == 409 else None)
        assert log.lines == (["admin: GET /fails failed"] if status == 500 else [])


def test_a_path_that_is_not_there_is_told_of_those_beside_it():
    with serving(lambda log: Site({"/echo": {}}, log, beside=("/api/…",))) as (address, _, _):
        assert json.loads(ask(address, "GET /nothing")[2])["detail"].endswith("existing paths: /echo, /api/…")


def test_a_long_path_is_not_logged_whole():
    class Odd(dict):
        def get(self, key, default=None):
            raise RuntimeError

    with serving(lambda log: Site(Odd(), log)) as (address, log, _):
        assert ask(address, "GET /" + "x" * 8000)[0] == 500
        assert len(log.lines[0]) < 300


def test_a_page_pieces_and_heads():
    with serving(lambda log: Site(ROUTES, log)) as (address, _, running):
        status, fields, body = ask(address, "GET /")
        assert status == 200 and fields["content-type"].startswith("text/html") and b"<title>Terraster</title>" in body
        assert ask(address, "GET /pieces")[2].count(b"a") >= 100_000
        status, _, body = ask(address, "HEAD /")
        assert (status, body) == (200, b"")
        assert running.busy == 0


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 150 + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * HEAD_OCTETS, 400),
        (b"garbage\r\n\r\n", 400),
        (b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"POST /echo HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (BODY_OCTETS + 1), 413),
        (b"POST /echo HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /echo HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        *(
            (b"POST /echo HTTP/1.1\r\nContent-Length: %s\r\n\r\nabcdef" % text, 400)
            for text in (b"+5", b"1_0", b"5, 5", b"0x5", b"9" * 5000)
        ),
        (b"POST /echo HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nabcde", 400),
        (b"GET /echo HTTP/1.1\r\nHost: x\rX-Other: y\r\n\r\n", 400),
    ],
)
def test_what_is_too_much_or_no_http_is_refused(data, status):
    with serving(lambda log: Site(ROUTES, log)) as (address, log, _):
        head, _, body = talk(address, data).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert json.loads(body)["status"] == status
        assert not [line for line in log.lines if "Traceback" in line]


def test_a_head_that_never_ends_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(server_module, "HEAD_SECONDS", 0.2)
    with serving(lambda log: Site(ROUTES, log)) as (address, log, _):
        assert talk(address, b"GET / HTTP/1.1\r\nHost") == b""
        assert talk(address, b"") == b""
        assert log.lines == []


@pytest.mark.parametrize("path", ["/echo", "/fails"])
def test_a_body_that_never_ends_is_not_waited_for(monkeypatch, path):
    """Also where nobody reads it but to find the next request."""
    monkeypatch.setattr(server_module, "BODY_SECONDS", 0.2)
    with serving(lambda log: Site({"/echo": ROUTES["/echo"], "/fails": ROUTES["/refuses"]}, log)) as (address, log, _):
        answer = talk(address, f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc".encode())
        assert answer.startswith(b"HTTP/1.1 408 " if path == "/echo" else b"HTTP/1.1 405 ") and answer.count(b"HTTP/1.1 ") == 1
        if path == "/echo":
            assert b"took more than 0.2 s" in answer
        assert log.lines == []


def test_a_client_that_leaves_in_its_body_is_no_defect():
    with serving(lambda log: Site(ROUTES, log)) as (address, log, running), socket.socket() as client:
        client.connect(address)
        client.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
        client.shutdown(socket.SHUT_WR)
        assert b"".join(iter(lambda: client.recv(65536), b"")).startswith(b"HTTP/1.1 408 ")
        assert (log.lines, running.busy) == ([], 0)


def test_a_crowd_that_sends_nothing_keeps_nobody_out(monkeypatch):
    monkeypatch.setattr(server_module, "CONNECTIONS", 8)
    silent, slow_body = b"GET / HTTP/1.1\r\nHost", b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"
    answering = gevent.event.Event()

    def slowly(query):
        assert answering.wait(10)
        return json_response("answered")

    with serving(lambda log: Site({**ROUTES, "/slow": {"GET": slowly}}, log)) as (address, log, running):
        first = gevent.spawn(ask, address, "GET /slow")
        while not running.busy:
            gevent.sleep(0)
        crowd = [socket.create_connection(address) for _ in range(60)]
        for number, client in enumerate(crowd):
            client.sendall((silent, slow_body, b"")[number % 3])
        with gevent.Timeout(20):  # a silent client may keep its place for 30 s
            assert ask(address, "GET /echo")[0] == 200
            assert b"".join(iter(lambda: crowd[0].recv(65536), b"")) == b"", "the longest wait ends"
        answering.set()
        assert first.get(timeout=20)[2] == b'"answered"\n', "a request that is being answered keeps its place"
        for client in crowd:
            client.close()
        with gevent.Timeout(20):
            while running.crowd._open:
                gevent.sleep(0.01)
        assert (log.lines, running.crowd._waiting) == ([], {})


@pytest.fixture
def descriptors():
    """Enough for a thousand connections, both ends of each, beside those that earlier tests left open in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = len(os.listdir("/proc/self/fd")) + 3000
    if 0 <= soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard < 0 else min(hard, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_idle_connections_keep_nobody_out(descriptors):
    with serving(lambda log: Site(ROUTES, log)) as (address, log, running), gevent.Timeout(20):
        crowd = [socket.create_connection(address) for _ in range(1000)]
        assert ask(address, "GET /echo")[0] == 200
        assert running.crowd._open <= server_module.CONNECTIONS + server_module.SPARE
        for client in crowd:
            client.close()
        assert log.lines == []


def test_a_connection_over_tls_gives_its_place_away_too(monkeypatch, tmp_path):
    monkeypatch.setattr(server_module, "CONNECTIONS", 2)
    authority = Authority()
    chain, key = (str(path) for path in authority.issue("a.test").write(tmp_path))
    door = Door(Log())
    door.use(Tls(files=((chain, key),), certificates=(read_files((chain, key)),)))
    with socket.socket() as listener, gevent.Timeout(10):
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        log = Log()
        running = Server(listener, Site(ROUTES, log), log, door)
        running.start()
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # gevent's
        trusting.load_verify_locations(cadata=authority.root.decode())

        def opened():
            return trusting.wrap_socket(socket.create_connection(listener.getsockname()), server_hostname="a.test")

        first, *others = [opened() for _ in range(3)]
        assert first.recv(1) == b"", "the longest wait ends"
        others[-1].sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert others[-1].recv(65536).startswith(b"HTTP/1.1 200")
        for one in (first, *others):
            one.close()
        running.stop()
        assert log.lines == []


def test_a_client_that_leaves_before_its_refusal_is_no_defect(capfd):
    with serving(lambda log: Site(ROUTES, log)) as (_, log, running):
        ours, theirs = socket.socketpair()
        theirs.sendall(b"garbage\r\n\r\n")
        theirs.close()
        gevent.spawn(running.handle, ours, "").join(5)
        assert (log.lines, running.crowd._open) == ([], 0)
    assert "Traceback" not in capfd.readouterr().err


def test_a_client_that_does_not_read_its_answer_is_no_defect(monkeypatch, capfd):
    monkeypatch.setattr(server_module, "WRITE_SECONDS", 0.2)
    with serving(lambda log: Site({"/": {"GET": lambda query: Response(b"x" * 20_000_000)}}, log)) as (address, log, running):
        with socket.create_connection(address) as client, gevent.Timeout(10):
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            while not running.busy:
                gevent.sleep(0)
            while running.busy:
                gevent.sleep(0.01)
        assert log.lines == []
    assert "Traceback" not in capfd.readouterr().err


def test_kept_connections():
    with serving(lambda log: Site(ROUTES, log)) as (address, _, _):
        one = b"GET /echo?n=1 HTTP/1.1\r\nHost: x\r\n\r\n"
        answer = talk(address, one * 3 + b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert answer.count(b"HTTP/1.1 200") == 4


def test_only_the_owner_steers(tmp_path):
    path = str(tmp_path / "control.sock")
    seen: list[int] = []

    def application(log):
        site = Site(ROUTES, log, only_for_owner)

        def noting(environ, start_response):
            seen.append(environ[PEER_UID])
            return site(environ, start_response)

        return noting

    with serving(application, socket.AF_UNIX, path) as (address, _, _):
        assert ask(address, "GET /echo", family=socket.AF_UNIX)[0] == 200
    assert seen == [os.geteuid()]
    for uid, allowed in ((os.geteuid(), True), (0, True), (os.geteuid() + 1, False), (None, False)):
        if allowed:
            only_for_owner({PEER_UID: uid})
        else:
            with pytest.raises(Refusal) as refused:
                only_for_owner({PEER_UID: uid})
            assert refused.value.status == 403


@pytest.mark.parametrize("target", ["/echo", "/echo?terraster.uid=4711&a=1"])
def test_who_asks_is_what_the_kernel_says(tmp_path, target):
    path = str(tmp_path / "control.sock")
    with serving(lambda log: Site(ROUTES, log, only_for_owner), socket.AF_UNIX, path) as (address, _, _):
        _, _, body = ask(address, f"GET {target}", family=socket.AF_UNIX)
    assert json.loads(body)[PEER_UID] == str(os.geteuid())
    with serving(lambda log: Site(ROUTES, log)) as (address, _, _):
        assert PEER_UID not in json.loads(ask(address, f"GET {target}")[2])


USER = pwd.getpwuid(os.geteuid()).pw_name

WHO = [
    ({PEER_UID: str(os.geteuid())}, USER),
    ({PEER_UID: str(os.geteuid()), "by": "alice-behind-sudo"}, f"{USER} (alice-behind-sudo)"),
    ({PEER_UID: str(os.geteuid()), "by": USER}, USER),
    ({PEER_UID: "3999999"}, "user 3999999"),
    ({"by": "alice"}, "alice"),
    ({}, ""),
]


@pytest.mark.parametrize(("query", "name"), WHO)
def test_the_name_of_who_asks(query, name):
    assert _operator(query) == name
