"""One line a request, with what an operator asks for, and without what nobody should read."""

from __future__ import annotations

import os
import re
import signal
import sys

import pytest

from ..harness.backends import ok
from ..harness.client import exchange, get
from ..harness.terraster_process import Terraster, service
from ..harness.waiting import wait_until


def test_what_stands_in_a_line(terraster, backend) -> None:
    origin = backend(answer=ok(b"twelve bytes", status=b"201 Created"))
    proxy = terraster(origin)
    request = (
        b"POST /path?q=1 HTTP/1.1\r\nHost: a.test:80\r\nUser-Agent: me/1.0\r\nReferer: http://r.test/\r\n"
        b"Content-Length: 3\r\nConnection: close\r\n\r\nabc"
    )
    with proxy.connect() as client:
        answer = client.send(request).rest()
    (line,) = proxy.log()
    assert line["client"] == line["peer"] == "127.0.0.1"
    assert (line["method"], line["uri"], line["host"], line["protocol"]) == ("POST", "/path?q=1", "a.test:80", "HTTP/1.1")
    assert (line["status"], line["service"], line["location"], line["scheme"]) == (201, "site", "/", "http")
    assert (line["bytes_in"], line["bytes_out"]) == (len(request), len(answer))
    assert line["upstream"] == origin.url or str(origin.port) in line["upstream"]
    assert line["tries"] == 1
    assert (line["user_agent"], line["referer"]) == ("me/1.0", "http://r.test/")
    assert line["request_id"] == origin.requests[0].get("x-request-id")
    assert 0 < line["upstream_time"] <= line["duration"] < 5
    assert (line["error"], line["detail"]) == ("", "")


def test_secrets_stay_out(terraster, backend) -> None:
    proxy = terraster(backend(answer=ok(fields=b"Set-Cookie: session=topsecret\r\n")))
    get(
        proxy.address,
        "/x?token=topsecret&a=1&password=topsecret&api_key=topsecret",
        fields="Authorization: Bearer topsecret\r\nCookie: session=topsecret\r\nReferer: http://r.test/?token=topsecret\r\n",
    )
    (line,) = proxy.log()
    assert "topsecret" not in str(line)
    assert "a=1" in line["uri"]
    assert "topsecret" not in proxy.said


def test_refused_requests_are_logged(terraster, backend) -> None:
    proxy = terraster(service(backend(answer=ok()).url, host="a.test"))
    get(proxy.address, host="unknown.test")
    with proxy.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nBad Name: x\r\n\r\n").rest()
    lines = proxy.log(2)
    assert [line["status"] for line in lines] == [421, 400]
    assert all(line["error"] for line in lines)


def test_a_line_cannot_be_forged(terraster, backend) -> None:
    proxy = terraster(backend(answer=ok()))
    get(proxy.address, '/x"},{"status":200', fields='User-Agent: "\x80\xff{}\\n\r\n')
    (line,) = proxy.log()
    assert line["status"] in (200, 400)


def test_off_and_formats(terraster, backend) -> None:
    origin = backend(answer=ok())
    proxy = terraster(origin, access_log="off")
    get(proxy.address)
    assert not proxy.access_file.exists()
    path = str(proxy.access_file)
    proxy.reload(service(origin.url), access_log={"path": path, "format": "{status} {method} {uri}"})
    get(proxy.address, "/formatted")
    wait_until(lambda: proxy.access_file.exists() and "200 GET /formatted\n" in proxy.access_file.read_text())


def test_a_service_may_have_its_own(terraster, backend, tmp_path) -> None:
    origin = backend(answer=ok())
    own = tmp_path / "own.log"
    proxy = terraster(
        service(origin.url, name="own", host="own.test", access_log=str(own)), service(origin.url, name="site", host="a.test")
    )
    get(proxy.address, "/own", host="own.test")
    get(proxy.address, "/shared")
    assert [line["uri"] for line in proxy.log()] == ["/shared"]
    wait_until(lambda: own.exists() and "/own" in own.read_text())


def test_every_request_of_a_kept_connection_has_a_line(terraster, backend) -> None:
    proxy = terraster(backend(answer=ok()))
    with proxy.connect() as client:
        for number in range(300):
            client.send(b"GET /%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % number).response()
    assert [line["uri"] for line in proxy.log(300)] == [f"/{number}" for number in range(300)]


def test_stdout_is_the_default(terraster, backend) -> None:
    proxy = terraster(backend(answer=ok()), access_log=None)
    exchange(proxy.address, b"GET /to-stdout HTTP/1.1\r\nHost: a.test\r\n\r\n")
    wait_until(lambda: "/to-stdout" in proxy.said)


def test_stderr_is_a_name_of_standard_error(terraster, backend) -> None:
    proxy = terraster(backend(answer=ok()), access_log="stderr")
    get(proxy.address, "/by-word")
    wait_until(lambda: "/by-word" in proxy.said)
    proxy.reload(service(backend(answer=ok()).url), access_log={"path": "/dev/stderr", "format": "{uri} by name"})
    get(proxy.address, "/again")
    wait_until(lambda: "/again by name\n" in proxy.said)
    assert not (proxy.folder / "stderr").exists()


_WITHOUT_SWEEPS = """
import sys
from terraster.net import reactor
reactor.SWEEP = 600.0
from terraster.cli.main import main
sys.exit(main(sys.argv[4:]))
"""


def test_a_line_does_not_wait_for_more_lines_or_a_sweep(fresh, backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Terraster, "launcher", [sys.executable, "-c", _WITHOUT_SWEEPS])
    proxy = fresh(backend(answer=ok()))
    for number in range(3):
        get(proxy.address, f"/{number}")
        assert [line["uri"] for line in proxy.log(number + 1)][-1] == f"/{number}"


def test_lost_lines_are_counted_and_a_problem(fresh, backend) -> None:
    proxy = fresh(backend(answer=ok()), access_log="/dev/full")
    for _ in range(30):
        get(proxy.address)
    wait_until(lambda: proxy.status()["lost_lines"]["access"] == 30)
    document = proxy.status()
    assert document["lost_lines"]["reason"] == "No space left on device"
    assert [one["kind"] for one in document["problems"]] == ["log-lines-lost"]
    assert 'terraster_log_lines_lost_total{log="access"} 30.0' in proxy.admin("/metrics").body.decode()
    assert re.search(r"warning \[\d+\] access log /dev/full: \d+ lines? lost so far: No space left on device\n", proxy.said)


def test_an_inherited_descriptor_serves_every_worker_also_a_new_one(
    fresh, backend, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "inherited.log"
    monkeypatch.setattr(Terraster, "launcher", ["sh", "-c", f'exec "$@" 7>>{file}', "sh"])
    proxy = fresh(backend(answer=ok()), access_log={"path": "/dev/fd/7", "format": "{uri}"})
    get(proxy.address, "/1")
    wait_until(lambda: file.read_text() == "/1\n")
    (first,) = workers(proxy)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: workers(proxy) not in ([], [first]) and proxy.serves())
    get(proxy.address, "/2")
    proxy.reload(service(backend(answer=ok()).url), access_log={"path": "/proc/self/fd/7", "format": "again {uri}"})
    get(proxy.address, "/3")
    wait_until(lambda: file.read_text() == "/1\n/2\nagain /3\n")


def test_one_stream_for_both_logs_has_whole_lines(fresh, backend) -> None:
    proxy = fresh(backend(answer=ok()), workers=2, access_log="stdout")  # both streams are one file
    for number in range(60):
        get(proxy.address, f"/{number}")
        if number % 20 == 10:
            proxy.reload(service(backend(answer=ok()).url))
    wait_until(lambda: proxy.said.count('"uri":"/') == 60)
    for line in proxy.said.splitlines():
        assert re.fullmatch(r'\{"time":.*"user":""\}|\d{4}-\d\d-\d\dT\S+ [a-z]+ +\[\d+\] .*', line), line


def workers(proxy: Terraster) -> list[int]:
    return [worker["pid"] for worker in proxy.status()["workers"] if worker["role"] == "proxy"]
