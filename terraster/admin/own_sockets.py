"""The other end of a connection to the management port: is it a proxy worker of this Terraster?

Such a client forwards a stranger's request: a backend that points at the management port would publish it. The worker's `Via` says so as well,
but header rules can remove that field. The kernel cannot be told otherwise. It is asked by netlink (sock_diag(7)) who has the other end of
the connection: 50 µs, whatever the number of sockets. If that is a socket of our own user, it is looked for among the workers' descriptors.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ..net.yielding import yield_to_loop
from .peers import plain_address

__all__ = ["End", "is_of", "owner"]

_SOCK_DIAG_BY_FAMILY = 20
_REQUEST = 1
_INET_DIAG = 4
_ANY = 0xFFFFFFFF
_HEADER = struct.Struct("=IHHII")
_QUESTION = struct.Struct("=BBBxI")
_OWNER = struct.Struct("=II")
_OWNER_AT = _HEADER.size + 4 + 48 + 12  # behind family and state, addresses and ports, and the queues
_PER_TURN = 500

Pause = Callable[[], object]


class End(NamedTuple):
    """An end of a TCP connection."""

    address: str
    port: int


class Owner(NamedTuple):
    """The user of a socket, and its number in the kernel."""

    uid: int
    inode: int


def owner(peer: End, own: End) -> Owner | None:
    """The owner of the client's end of a connection, if that is on this host. None: it is not, or the kernel does not say. peer: the client's
    end; own: ours"""
    source, destination = plain_address(peer.address), plain_address(own.address)
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    try:
        packed = [socket.inet_pton(family, one).ljust(16, b"\0") for one in (source, destination)]
        ends = struct.pack(">HH", peer.port, own.port) + b"".join(packed) + struct.pack("=III", 0, _ANY, _ANY)
        question = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, _ANY) + ends
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _INET_DIAG) as kernel:
            kernel.settimeout(1.0)
            kernel.send(_HEADER.pack(_HEADER.size + len(question), _SOCK_DIAG_BY_FAMILY, _REQUEST, 1, 0) + question)
            answer = kernel.recv(4096)
        if _HEADER.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
            return None
        return Owner(*_OWNER.unpack_from(answer, _OWNER_AT))
    except (OSError, struct.error):
        return None


def is_of(inode: int, pids: Iterable[int], pause: Pause = yield_to_loop) -> bool:
    """True if one of these processes has a socket. inode: its number"""
    name, looked = f"socket:[{inode}]", 0
    for pid in pids:
        folder = f"/proc/{pid}/fd"
        try:
            descriptors = os.listdir(folder)
        except OSError:
            continue
        for descriptor in descriptors:
            looked += 1
            if looked % _PER_TURN == 0:
                pause()
            try:
                if os.readlink(f"{folder}/{descriptor}") == name:
                    return True
            except OSError:
                continue
    return False
