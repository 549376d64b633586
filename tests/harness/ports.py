"""Free ports on loopback, never the same port twice: neither in one run nor in runs at the same time.

The kernel's choice (``bind`` to port 0) comes from the range of outgoing connections, and the kernel may give the same port twice. So the
ports come from below that range, in blocks. A run holds a block by an abstract unix socket with the block's name. The kernel refuses the name
to other runs on this machine, and frees it when the run ends.
"""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator
from pathlib import Path

__all__ = ["free_port"]

_FIRST, _BLOCK = 10_000, 100

_held: list[socket.socket] = []


def free_port(host: str = "127.0.0.1") -> int:
    """A port of ``host`` that nobody listens on, and that no caller got before."""
    for port in _ports:
        if _is_free(host, port):
            return port
    raise AssertionError("no ports are left")


def _outgoing() -> int:
    """The first port that the kernel gives to outgoing connections."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    return first if first > _FIRST + 50 * _BLOCK else 32_768


def _blocks() -> Iterator[int]:
    """First ports of blocks that are ours now. Runs side by side begin at different ones, so that few have to be tried."""
    blocks = range(_FIRST, _outgoing() - _BLOCK, _BLOCK)
    start = os.getpid() * 7 % len(blocks)
    for block in itertools.chain(blocks[start:], blocks[:start]):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0terraster-tests-ports-{block}")
        except OSError:
            claim.close()
            continue
        _held.append(claim)
        yield block


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


_ports = itertools.chain.from_iterable(range(block, block + _BLOCK) for block in _blocks())
