"""The access log: what a line says, what it must never say, and where it goes when things go wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.config.log_format import FIELDS, JSON_FIELDS
from terraster.config.snapshot import AccessLog
from terraster.errors import StartError
from terraster.exchange import Exchange
from terraster.logs.access import BATCH, AccessLogs, AccessWriter
from terraster.logs.renderer import Renderer
from terraster.logs.sink import BACKLOG, Sink
from terraster.wire.grpc import Call

WALL = 1700000000.125  # 2023-11-14T22:13:20.125Z


def an_exchange(**changes) -> Exchange:
    """A request that went well, but for ``changes``."""
    x = Exchange(1.0, WALL, "192.0.2.17", "198.51.100.1", "http")
    x.head = SimpleNamespace(
        major=1, minor=1, fields=[(b"Host", b"shop.example"), (b"User-Agent", b"curl/8.0"), (b"REFERER", b"http://a.example/?q=1")]
    )
    x.method, x.target, x.host = b"GET", b"/cart?item=3", b"shop.example"
    x.service, x.location = SimpleNamespace(name="shop"), SimpleNamespace(label="/cart", arm="")
    x.backend = SimpleNamespace(backend=SimpleNamespace(label="http://10.0.0.1:8080", name="db1.zone1"))
    x.tries, x.status, x.bytes_in, x.bytes_out = 1, 200, 120, 3400
    x.upstream_time, x.duration, x.request_id = 0.00123, 0.0015, b"abc123"
    for name, value in changes.items():
        setattr(x, name, value)
    return x


def line(x: Exchange, **config) -> str:
    return Renderer(AccessLog(**config)).line(x)


def no_warning(text: str) -> None:
    raise AssertionError(text)


def soon() -> None:
    """These tests flush themselves."""


def test_a_json_line_says_it_all():
    assert json.loads(line(an_exchange())) == {
        "time": "2023-11-14T22:13:20.125Z",
        "client": "192.0.2.17",
        "peer": "198.51.100.1",
        "method": "GET",
        "scheme": "http",
        "host": "shop.example",
        "uri": "/cart?item=3",
        "protocol": "HTTP/1.1",
        "status": 200,
        "bytes_in": 120,
        "bytes_out": 3400,
        "duration": 0.0015,
        "service": "shop",
        "location": "/cart",
        "upstream": "http://10.0.0.1:8080",
        "upstream_name": "db1.zone1",
        "upstream_time": 0.00123,
        "tries": 1,
        "request_id": "abc123",
        "error": "",
        "detail": "",
        "user_agent": "curl/8.0",
        "referer": "http://a.example/?q=1",
        "user": "",
    }


def test_the_outcome_of_a_call():
    call = Call()
    call.status = 14
    assert line(an_exchange(grpc=call), format="{status} {grpc_status}") == "200 UNAVAILABLE\n"
    assert json.loads(line(an_exchange(grpc=call), fields=("grpc_status", "sni"))) == {"grpc_status": "UNAVAILABLE", "sni": ""}
    assert json.loads(line(an_exchange(), fields=("grpc_status",))) == {"grpc_status": ""}
    assert line(an_exchange(), format="{grpc_status}") == "-\n"


def test_the_arm_of_a_split() -> None:
    one = an_exchange()
    one.location.arm = "canary"
    assert line(one, format="{location} {split}") == "/cart canary\n"
    assert json.loads(line(one, fields=("split",))) == {"split": "canary"}
    assert line(an_exchange(), format="{split}") == "-\n"


def test_a_request_that_could_not_be_read():
    said = json.loads(line(Exchange(1.0, WALL, "192.0.2.17", "192.0.2.17", "http")))
    assert (said["method"], said["uri"], said["protocol"], said["service"], said["upstream"]) == ("-", "", "", "", "")
    assert said["upstream_time"] is None


@pytest.mark.parametrize(("major", "minor", "name"), [(1, 0, "HTTP/1.0"), (1, 1, "HTTP/1.1"), (2, 1, "HTTP/2.0")])
def test_protocols(major, minor, name):
    x = an_exchange(head=SimpleNamespace(major=major, minor=minor, fields=[]))
    assert line(x, format="{protocol}") == name + "\n"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"fields": ("status",)}, '{"status":200}\n'),
        ({"fields": ("uri", "time")}, '{"uri":"/cart?item=3","time":"2023-11-14T22:13:20.125Z"}\n'),
        ({"fields": ("time_clf",)}, '{"time_clf":"14/Nov/2023:22:13:20 +0000"}\n'),
        (
            {"format": "common"},
            '192.0.2.17 - - [14/Nov/2023:22:13:20 +0000] "GET /cart?item=3 HTTP/1.1" 200 3400\n',
        ),
        (
            {"format": "combined"},
            '192.0.2.17 - - [14/Nov/2023:22:13:20 +0000] "GET /cart?item=3 HTTP/1.1" 200 3400 "http://a.example/?q=1" "curl/8.0"\n',
        ),
        ({"format": "{{{status}}} 100% {error} {upstream_time}"}, "{200} 100% - 0.001230\n"),
        ({"format": "{duration} {time}"}, "0.001500 2023-11-14T22:13:20.125Z\n"),
        ({"format": "{time_clf}"}, "14/Nov/2023:22:13:20 +0000\n"),
    ],
)
def test_formats(config, expected):
    assert line(an_exchange(), **config) == expected


def test_every_field_can_be_asked_for_alone():
    for name in FIELDS:
        assert list(json.loads(line(an_exchange(), fields=(name,)))) == [name]
        assert line(an_exchange(), format=f"{{{name}}}").strip()


@pytest.mark.parametrize(
    "config",
    [
        {"fields": ("stauts",)},
        {"format": "{stauts}"},
        {"format": "{status"},
        {"format": "{status!r}"},
        {"format": "plain"},
        {"format": "{status}\n"},
    ],
)
def test_what_does_not_exist_stops_the_start(config):
    with pytest.raises(StartError):
        Renderer(AccessLog(**config))


def test_the_clock_goes_on_and_back():
    renderer = Renderer(AccessLog(fields=("time",)))
    walls = [WALL, WALL + 0.5, WALL + 1, WALL - 3600, 1700000000.0, 1700000000.9999]
    times = [json.loads(text)["time"][11:] for text in [renderer.line(an_exchange(wall=wall)) for wall in walls]]
    assert times == ["22:13:20.125Z", "22:13:20.625Z", "22:13:21.125Z", "21:13:20.125Z", "22:13:20.000Z", "22:13:20.999Z"]


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        (b"/?token=t0p", "/?token=****"),
        (b"/?a=1&Token=t0p&b=2", "/?a=1&Token=****&b=2"),
        (b"/?tok%65n=t0p", "/?tok%65n=****"),
        (b"/?a=1;api_key=t0p", "/?a=1;api_key=****"),
        (b"/?%20token+=t0p", "/?%20token+=****"),
        (b"/?x?token=t0p", "/?x?token=****"),
        (b"/?tokens=1&mytoken=2", "/?tokens=1&mytoken=2"),
        (b"/?token", "/?token"),
        (b"/?token=", "/?token=****"),
        (b"/?token=a=b", "/?token=****"),
        (b"http://me:t0p@shop.example/x", "http://****@shop.example/x"),
        (b"http://me:t0p@shop.example?secret=t0p", "http://****@shop.example?secret=****"),
        (b"/@me/x", "/@me/x"),
    ],
)
def test_secrets_are_masked(uri, shown):
    head = SimpleNamespace(major=1, minor=1, fields=[(b"Referer", uri), (b"Authorization", b"Bearer t0p"), (b"Cookie", b"id=t0p")])
    for config in ({}, {"format": "{uri} {referer}"}):
        text = line(an_exchange(target=uri, head=head), **config)
        assert text.count(shown) == 2
        assert "t0p" not in text


def test_secrets_in_the_reason_are_masked():
    details = "no backend: http://me:you@b/?token=1 and secret='a b'", "the API key of the token is unknown"
    for config in ({"fields": ("detail",)}, {"format": "{detail}"}):
        shown = [line(an_exchange(detail=detail), **config) for detail in details]
        assert "http://****@b/?token=**** and secret='****'" in shown[0] and details[1] in shown[1]


def test_own_keys_and_mask():
    text = line(an_exchange(target=b"/?token=1&PIN=1234"), fields=("uri",), redact_query=("pin",), mask="\\1")
    assert json.loads(text) == {"uri": "/?token=1&PIN=\\1"}


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60), st.text(max_size=20))
def test_whatever_comes_in_a_line_is_one_line_of_json(target, agent, host, detail):
    head = SimpleNamespace(major=1, minor=0, fields=[(b"user-agent", agent), (b"referer", target)])
    x = an_exchange(target=target, host=host, head=head, detail=detail, method=agent, request_id=agent)
    text = line(x)
    assert text.isascii() and text.endswith("\n") and text.count("\n") == 1 and text[:-1].isprintable()
    said = json.loads(text)
    assert tuple(said) == JSON_FIELDS and said["detail"].encode("utf-8", "replace") == detail.encode("utf-8", "replace")
    plain = line(x, format='"{uri}" "{user_agent}"')
    assert plain[:-1].isascii() and plain[:-1].isprintable()
    assert re.fullmatch(r'"(?:[^"\\]|\\.)*" "(?:[^"\\]|\\.)*"\n', plain)


def test_what_is_remembered_is_bounded():
    renderer = Renderer(AccessLog())
    for n in range(50):
        for m in range(100):
            renderer.line(an_exchange(host=b"h%d-%d" % (n, m)))
    renderer.line(an_exchange(host=b"x" * 30000))
    assert len(renderer.quoted) <= 1024 and max(map(len, renderer.quoted)) <= 256


def test_off_writes_nothing():
    writer = AccessWriter(AccessLog(path=""), no_warning, soon)
    for _ in range(3 * BATCH):
        writer.write(an_exchange())
    writer.flush()
    writer.reopen()
    writer.close()
    assert AccessLogs(no_warning, soon).writer(AccessLog(path="")) is None


def test_a_file_is_made_appended_to_and_private(tmp_path):
    path = tmp_path / "access.log"
    for _ in range(2):
        writer = AccessWriter(AccessLog(path=str(path), fields=("status",)), no_warning, soon)
        writer.write(an_exchange())
        assert path.read_bytes().count(b"\n") == (0 if _ == 0 else 1), "nothing is written before a flush"
        writer.close()
    assert path.read_text() == '{"status":200}\n' * 2
    assert stat.S_IMODE(path.stat().st_mode) & ~0o640 == 0


def test_a_full_batch_flushes_itself(tmp_path):
    path = tmp_path / "access.log"
    writer = AccessWriter(AccessLog(path=str(path)), no_warning, soon)
    for _ in range(BATCH):
        writer.write(an_exchange())
    assert path.read_bytes().count(b"\n") == BATCH


def test_no_directory_stops_the_start(tmp_path):
    with pytest.raises(StartError, match="No such file or directory"):
        AccessWriter(AccessLog(path=str(tmp_path / "none" / "access.log")), no_warning, soon)


def test_rotation(tmp_path):
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    logs = AccessLogs(no_warning, soon)
    writer = logs.writer(AccessLog(path=str(path), fields=("uri",)))
    writer.write(an_exchange(target=b"/1"))
    path.rename(old)
    writer.write(an_exchange(target=b"/2"))
    logs.reopen()
    writer.write(an_exchange(target=b"/3"))
    logs.close()
    assert old.read_text() == '{"uri":"/1"}\n{"uri":"/2"}\n'
    assert path.read_text() == '{"uri":"/3"}\n'


def test_a_rotation_that_fails_keeps_the_old_file(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    warnings: list[str] = []
    writer = AccessWriter(AccessLog(path=str(folder / "access.log"), fields=("uri",)), warnings.append, soon)
    folder.rename(tmp_path / "moved")
    writer.reopen()
    writer.write(an_exchange())
    writer.close()
    assert len(warnings) == 1 and "still writing to the old file" in warnings[0]
    assert (tmp_path / "moved" / "access.log").read_text() == '{"uri":"/cart?item=3"}\n'


def test_writers_are_shared_and_let_go(tmp_path):
    logs = AccessLogs(no_warning, soon)
    one, other = AccessLog(path=str(tmp_path / "a")), AccessLog(path=str(tmp_path / "a"), format="common")
    writer = logs.writer(one)
    assert logs.writer(AccessLog(path=str(tmp_path / "a"))) is writer
    assert logs.writer(other) is not writer
    writer.write(an_exchange())
    logs.retain([other])
    assert (tmp_path / "a").read_bytes().count(b"\n") == 1, "a writer that is let go hands over what it has"
    assert logs.writer(one) is not writer
    logs.close()


def test_a_request_that_outlives_its_configuration_is_logged_all_the_same(tmp_path):
    path = tmp_path / "access.log"
    logs = AccessLogs(no_warning, soon)
    writer = logs.writer(AccessLog(path=str(path), fields=("uri",)))
    writer.write(an_exchange(target=b"/1"))
    logs.retain([])
    with open(tmp_path / "other", "wb") as other:  # takes the descriptor that was closed
        writer.write(an_exchange(target=b"/2"))
        writer.reopen()
        writer.write(an_exchange(target=b"/3"))
        writer.close()
        assert os.fstat(other.fileno()).st_size == 0
    assert path.read_text() == '{"uri":"/1"}\n{"uri":"/2"}\n{"uri":"/3"}\n'


def test_a_file_that_cannot_be_opened_costs_lines_and_comes_back(tmp_path):
    folder = tmp_path / "logs"
    warnings: list[str] = []
    logs = AccessLogs(warnings.append, soon)
    writer = logs.writer(AccessLog(path=str(folder / "a"), fields=("uri",)))
    writer.write(an_exchange(target=b"/1"))
    writer.flush()
    assert logs.losses.lines == 1 and len(warnings) == 2 and "1 line lost so far: No such file" in warnings[1]
    folder.mkdir()
    writer.write(an_exchange(target=b"/2"))
    writer.flush()
    writer.write(an_exchange(target=b"/3"))
    writer.close()
    assert (folder / "a").read_text() == '{"uri":"/2"}\n{"uri":"/3"}\n'


def test_processes_append_to_one_file_without_mixing_lines(tmp_path):
    path = tmp_path / "access.log"
    processes, lines = 4, 3000
    pids = []
    for number in range(processes):
        pid = os.fork()
        if not pid:
            code = 1
            try:
                writer = AccessWriter(AccessLog(path=str(path), fields=("uri", "user_agent")), no_warning, soon)
                for n in range(lines):
                    target = b"/%d/%d/%s" % (number, n, b"x" * (n % 900))
                    writer.write(an_exchange(target=target))
                writer.close()
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * processes
    seen = [json.loads(text)["uri"].split("/")[1:] for text in path.read_text().splitlines()]
    assert len(seen) == processes * lines
    assert all(len(filler) == int(n) % 900 for _, n, filler in seen)
    for number in range(processes):
        assert [int(n) for who, n, _ in seen if int(who) == number] == list(range(lines)), "in order, none lost"


def in_a_child_with_stdout(fd: int, work) -> int:
    """Run ``work()`` in a child whose standard output is ``fd``; its exit code."""
    pid = os.fork()
    if not pid:
        code = 99
        try:
            signal.alarm(20)  # a sink that blocks must fail the test, not hang it
            os.dup2(fd, 1)
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def slow_reader() -> int:
    """Write more than the backlog to a reader that never reads. 0: it neither blocked nor forgot to count."""
    warnings: list[str] = []
    sink = Sink("-", warnings.append)
    block = b"x" * 99 + b"\n"
    for _ in range(400):
        sink.write(block * 100)  # 4 MB in all
    kept = len(sink._waiting)
    sink.close()
    return (
        0
        if BACKLOG - 100 <= kept <= BACKLOG and sink.losses.lines > 20000 and len(warnings) == 2 and "too slow" in warnings[0]
        else 1
    )


def test_a_pipe_that_nobody_reads_does_not_stop_the_worker():
    reader, writer = os.pipe()
    try:
        assert in_a_child_with_stdout(writer, slow_reader) == 0
        assert os.get_blocking(writer), "the shared descriptor keeps its flags"
    finally:
        os.close(reader)
        os.close(writer)


def test_a_socket_that_nobody_reads_does_not_stop_the_worker():
    reader, writer = socket.socketpair()
    with reader, writer:
        assert in_a_child_with_stdout(writer.fileno(), slow_reader) == 0
        assert writer.getblocking() and os.get_blocking(writer.fileno())


def test_a_broken_pipe_does_not_stop_the_worker():
    reader, writer = os.pipe()
    os.close(reader)

    def work() -> int:
        warnings: list[str] = []
        sink = Sink("-", warnings.append)
        sink.write(b"a\n")
        sink.write(b"b\n")
        return 0 if sink.losses.lines == 2 and "Broken pipe" in warnings[0] and len(warnings) == 1 else 1

    assert in_a_child_with_stdout(writer, work) == 0
    os.close(writer)


def test_a_slow_reader_gets_everything_in_the_end(tmp_path):
    reader, writer = os.pipe()

    def work() -> int:
        sink = Sink("-", no_warning)
        for n in range(5000):
            sink.write(b"%d %s\n" % (n, b"x" * 90))  # more than a pipe holds
        os.write(ready_writer, b"!")
        while sink.pending:
            sink.write(b"")
        sink.close()
        return 0

    ready_reader, ready_writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        os._exit(in_a_child_with_stdout(writer, work))
    os.close(writer)
    os.read(ready_reader, 1)
    with open(reader, "rb") as stream:
        assert [int(text.split()[0]) for text in stream] == list(range(5000))
    assert os.waitpid(pid, 0)[1] == 0


def test_stdout_into_a_file_shares_its_offset(tmp_path):
    path = tmp_path / "out"
    with open(path, "wb") as stream:
        os.write(stream.fileno(), b"hello\n")

        def work() -> int:
            sink = Sink("-", no_warning)
            sink.write(b"line\n")
            sink.close()
            return 0

        assert in_a_child_with_stdout(stream.fileno(), work) == 0
        os.write(stream.fileno(), b"bye\n")
    assert path.read_bytes() == b"hello\nline\nbye\n"
