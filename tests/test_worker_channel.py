"""The control channel: whole messages, descriptors, ends."""

from __future__ import annotations

import os
import pickle
import socket
import struct

import gevent
import pytest

from terraster.worker.channel import Channel, ChannelClosed, pair


@pytest.fixture
def ends():  # type: ignore[no-untyped-def]
    near, far = (Channel(fd) for fd in pair())
    yield near, far
    near.close()
    far.close()


def test_messages_arrive_whole_and_in_order(ends: tuple[Channel, Channel]) -> None:
    near, far = ends
    messages = [("change", n, b"x" * size) for n, size in enumerate((0, 1, 65536, 3_000_000, 7))]
    writer = gevent.spawn(lambda: [near.send(message) for message in messages])
    assert [far.receive() for _ in messages] == [(message, []) for message in messages]
    writer.get()


@pytest.mark.parametrize("count", [1, 199, 200, 201, 450])
def test_descriptors_travel_with_their_message(ends: tuple[Channel, Channel], count: int) -> None:
    near, far = ends
    reader, writer = os.pipe()
    sender = gevent.spawn(near.send, ("sockets",), [writer] * count)
    message, received = far.receive()
    sender.get()
    os.close(writer)
    assert message == ("sockets",) and len(set(received)) == count
    assert not any(os.get_inheritable(fd) for fd in received)
    os.write(received[-1], b"same pipe")
    assert os.read(reader, 100) == b"same pipe"
    for fd in (reader, *received):
        os.close(fd)


def test_what_is_sent_together_stays_together(ends: tuple[Channel, Channel]) -> None:
    near, far = ends
    bodies = [pickle.dumps(("part", n, b"y" * 400_000)) for n in range(5)]
    gevent.joinall([first := gevent.spawn(near.send_pickled, bodies), other := gevent.spawn(near.send, ("seats",))], timeout=0.05)
    names = [far.receive()[0][0] for _ in range(6)]
    gevent.joinall([first, other], raise_error=True)
    assert names == ["part"] * 5 + ["seats"]


def test_the_end_is_told_to_both_sides(ends: tuple[Channel, Channel]) -> None:
    near, far = ends
    waiting = gevent.spawn(far.receive)
    gevent.sleep(0)
    near.close()
    with pytest.raises(ChannelClosed):
        waiting.get()
    with pytest.raises(ChannelClosed):
        far.send(("applied", 1))


def test_a_message_cut_short_is_no_message() -> None:
    near, far = pair()
    channel = Channel(far)
    os.write(near, b"\x00\x00\x00\x09\x00abc")
    os.close(near)
    with pytest.raises(ChannelClosed):
        channel.receive()
    channel.close()


@pytest.mark.parametrize("rest", [b"", b"\x80\x04half"], ids=["the end", "no pickle"])
def test_what_cannot_be_received_leaves_no_descriptor_open(rest: bytes) -> None:
    near, far = pair()
    channel = Channel(far)
    with open(os.devnull, "rb") as one, socket.socket(fileno=near) as sender:
        before = len(os.listdir("/proc/self/fd"))
        socket.send_fds(sender, [struct.pack("!IB", 6, 1)], [one.fileno()])
        sender.sendall(rest)
        sender.shutdown(socket.SHUT_WR)
        with pytest.raises((ChannelClosed, pickle.UnpicklingError)):
            channel.receive()
        assert len(os.listdir("/proc/self/fd")) == before
    channel.close()
