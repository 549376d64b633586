"""Log lines to other programs: what they get, and what happens if they are slow, away or gone."""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from terraster.config.log_targets import remote
from terraster.config.snapshot import AccessLog
from terraster.logs.access import AccessWriter
from terraster.logs.losses import Losses
from terraster.logs.messages import JournalMessages, SyslogMessages
from terraster.logs.receiver import AGAIN, BACKLOG, WARN_EVERY, Receiver

from .test_logs_access import an_exchange, no_warning, soon

HEAD = re.compile(rb"<(\d+)>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \S+ terraster \d+ (\S+) - (.*)", re.DOTALL)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def receiver(path: str, clock: Clock | None = None, said: list[str] | None = None, losses: Losses | None = None) -> Receiver:
    target = remote(path)
    assert target is not None
    return Receiver(target, no_warning if said is None else said.append, clock or Clock(), losses)


@pytest.fixture
def datagrams(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "log"))
        sock.settimeout(5)
        yield sock


def entries(message: bytes) -> dict[str, str]:
    """The fields of a message to the journal, as systemd reads them."""
    found = {}
    while message:
        line, _, rest = message.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (length,) = struct.unpack("<Q", rest[:8])
            value, rest = rest[8 : 8 + length], rest[8 + length :]
            assert rest[:1] == b"\n"
            rest = rest[1:]
        found[name.decode()] = value.decode()
        message = rest
    return found


def test_access_lines_to_a_syslog_daemon(tmp_path: Path, datagrams: socket.socket) -> None:
    log = AccessLog(path=f"syslog:{tmp_path}/log?facility=local0", format="{status} {uri}")
    writer = AccessWriter(log, no_warning, soon)
    for status in (200, 404, 503):
        writer.write(an_exchange(status=status))
    writer.close()
    found = [HEAD.fullmatch(datagrams.recv(10000)) for _ in range(3)]
    assert [match and (int(match[1]), match[2], match[3]) for match in found] == [
        (16 * 8 + 6, b"access", b"200 /cart?item=3"),
        (16 * 8 + 4, b"access", b"404 /cart?item=3"),
        (16 * 8 + 3, b"access", b"503 /cart?item=3"),
    ]


def test_access_lines_to_the_journal_with_fields(tmp_path: Path, datagrams: socket.socket) -> None:
    writer = AccessWriter(AccessLog(path=f"journald:{tmp_path}/log", format="{status}"), no_warning, soon)
    writer.write(an_exchange(status=502, target=b"/a?token=secret", error="connection_refused"))
    writer.close()
    found = entries(datagrams.recv(10000))
    assert found["MESSAGE"] == "502" and found["PRIORITY"] == "3" and found["SYSLOG_IDENTIFIER"] == "terraster"
    assert {name.removeprefix("TERRASTER_"): value for name, value in found.items() if name.startswith("TERRASTER_")} == {
        "SERVICE": "shop",
        "LOCATION": "/cart",
        "CLIENT": "192.0.2.17",
        "METHOD": "GET",
        "HOST": "shop.example",
        "URI": "/a?token=****",
        "STATUS": "502",
        "DURATION": "0.001500",
        "UPSTREAM": "http://10.0.0.1:8080",
        "REQUEST_ID": "abc123",
        "ERROR": "connection_refused",
    }


def test_the_journal_gets_no_query_of_a_log_without_queries(tmp_path: Path, datagrams: socket.socket) -> None:
    writer = AccessWriter(AccessLog(path=f"journald:{tmp_path}/log", query=False), no_warning, soon)
    writer.write(an_exchange(target=b"/a?name=jo"))
    writer.close()
    found = datagrams.recv(10000)
    assert entries(found)["TERRASTER_URI"] == "/a" and b"jo" not in found


def test_only_errors_may_go_there(tmp_path: Path, datagrams: socket.socket) -> None:
    log = AccessLog(path=f"{tmp_path}/all", fields=("status",), errors=(f"syslog:{tmp_path}/log",))
    writer = AccessWriter(log, no_warning, soon)
    for status in (200, 503):
        writer.write(an_exchange(status=status))
    writer.close()
    assert datagrams.recv(10000).endswith(b'{"status":503}')
    assert (tmp_path / "all").read_bytes().count(b"\n") == 2
    datagrams.setblocking(False)
    with pytest.raises(BlockingIOError):
        datagrams.recv(1)


def test_values_of_several_lines_have_their_length(tmp_path: Path) -> None:
    message = JournalMessages.message("one\ntwo\n=three", 3, [("CODE_LINE", "7")])
    assert entries(message) == {"MESSAGE": "one\ntwo\n=three", "PRIORITY": "3", "SYSLOG_IDENTIFIER": "terraster", "CODE_LINE": "7"}


def test_messages_of_rfc_5424() -> None:
    messages = SyslogMessages(3, "-")
    for wall, stamp in ((1700000000.125, b"2023-11-14T22:13:20.125Z"), (1700000001.0, b"2023-11-14T22:13:21.000Z")):
        made = messages.message("é", 6, wall)
        match = HEAD.fullmatch(made)
        assert match is not None and (match[1], match[2], match[3]) == (b"30", b"-", "é".encode()) and stamp in made


def test_a_slow_receiver_costs_lines_beyond_a_bound_and_a_warning_a_minute(tmp_path: Path, datagrams: socket.socket) -> None:
    clock, said, losses = Clock(), [], Losses()
    log = receiver(f"syslog:{tmp_path}/log", clock, said, losses)
    message = b"x" * 1000
    count = 3 * BACKLOG // 1000
    for _ in range(count):
        log.send([message])
    assert log.waiting and losses.lines > count // 3
    assert said == [f"log syslog at {tmp_path}/log: 1 line lost so far: the receiver is too slow"]
    clock.now += WARN_EVERY
    log.send([message])
    assert len(said) == 2 and f"{losses.lines} lines lost so far" in said[1]
    kept = count + 1 - losses.lines
    for _ in range(kept):
        assert datagrams.recv(2000) == message
        log.pump()
    assert not log.waiting
    clock.now += WARN_EVERY
    log.tend(clock.now)
    assert "messages are taken again" in said[2] and len(said) == 3


def test_a_receiver_that_is_away_is_looked_for_again_and_gets_what_waited(tmp_path: Path) -> None:
    clock = Clock()
    log = receiver(f"syslog:{tmp_path}/log", clock)
    log.send([b"one"])
    log.send([b"two"])
    assert log.pending and not log.waiting
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "log"))
        log.pump()
        assert log.pending  # not before its time
        clock.now += AGAIN
        log.pump()
        assert [sock.recv(10), sock.recv(10)] == [b"one", b"two"]
    os.unlink(tmp_path / "log")
    log.send([b"three"])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "log"))
        clock.now += AGAIN
        log.tend(clock.now)
        assert sock.recv(10) == b"three"


def test_udp_and_tcp(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        log = receiver(f"syslog+udp://127.0.0.1:{sock.getsockname()[1]}")
        log.send([b"one", b"two"])
        reach(log)
        assert [sock.recv(10), sock.recv(10)] == [b"one", b"two"]
        log.close()
    with socket.create_server(("127.0.0.1", 0)) as server:
        log = receiver(f"syslog+tcp://127.0.0.1:{server.getsockname()[1]}")
        log.send([b"one", b"two!"])
        reach(log)
        peer, _ = server.accept()
        log.close()
        with peer:
            assert peer.makefile("rb").read() == b"3 one4 two!"


def test_the_first_messages_on_a_stream_have_their_ends(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(tmp_path / "log"))
        server.listen()
        log = receiver(f"syslog:{tmp_path}/log")
        log.send([b"one", b"two"])
        log.send([b"three"])
        peer, _ = server.accept()
        log.close()
        with peer:
            assert peer.makefile("rb").read() == b"one\ntwo\nthree\n"


def reach(log: Receiver) -> None:
    """Let its greenlet resolve the address."""
    with gevent.Timeout(10):
        while log.pending:
            gevent.sleep(0.01)
            log.pump()


def test_a_connection_that_breaks_gets_the_message_again(tmp_path: Path) -> None:
    clock = Clock()
    with socket.create_server(("127.0.0.1", 0)) as server:
        log = receiver(f"syslog+tcp://127.0.0.1:{server.getsockname()[1]}", clock, [])
        log.send([b"first"])
        reach(log)
        peer, _ = server.accept()
        for _ in range(100):  # until the kernel takes no more
            log.send([b"x" * 900 for _ in range(BACKLOG // 2000)])
            for _ in range(10):
                log.pump()
        assert log.pending
        peer.close()
        log.pump()
        clock.now += AGAIN
        reach_one(log, clock)
        peer, _ = server.accept()
        with peer:
            assert peer.recv(1000).startswith(b"900 xxx")
        log.close()


def reach_one(log: Receiver, clock: Clock) -> None:
    for _ in range(100):
        clock.now += AGAIN
        log.pump()
        gevent.sleep(0.01)
        if log.waiting:
            return
    raise AssertionError("no connection")


def test_a_message_that_is_too_long_for_a_datagram(tmp_path: Path, datagrams: socket.socket) -> None:
    losses = Losses()
    text = "x" * 400_000
    syslog = receiver(f"syslog:{tmp_path}/log", said=[], losses=losses)
    syslog.send([text.encode(), b"after"])
    assert datagrams.recv(100) == b"after" and losses.lines == 1
    journal = receiver(f"journald:{tmp_path}/log", losses=losses)
    journal.send([JournalMessages.message(text, 6)])
    _, descriptors, _, _ = socket.recv_fds(datagrams, 100, 1)
    with os.fdopen(descriptors[0], "rb") as file:
        file.seek(0)
        assert entries(file.read())["MESSAGE"] == text and losses.lines == 1


def test_a_child_does_not_send_what_its_parent_has(tmp_path: Path) -> None:
    clock = Clock()
    log = receiver(f"syslog:{tmp_path}/log", clock)
    log.send([b"of the parent"])
    log.forget()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "log"))
        log.send([b"of the child"])
        assert sock.recv(100) == b"of the child"


def test_messages_without_room_are_counted_and_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver that is away for long costs a request no more than the count."""
    made = []
    making = SyslogMessages.message
    monkeypatch.setattr(SyslogMessages, "message", lambda self, *facts: made.append(1) or making(self, *facts))
    losses = Losses()
    writer = AccessWriter(AccessLog(path=f"syslog:{tmp_path}/nobody", format="{uri}"), lambda said: None, soon, losses=losses)
    many = 100
    lines = BACKLOG // len(making(SyslogMessages(16, "access"), "/cart?item=3", 6, 0.0)) + many * 128
    for _ in range(lines):
        writer.write(an_exchange())
    writer.flush()
    assert len(made) + losses.lines >= lines
    assert losses.lines > many * 100
    assert len(made) < lines - many * 64
