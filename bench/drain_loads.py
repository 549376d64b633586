"""The loads of drains.py, and the backend behind the proxies. Every request has a number, and its answer must have the same one.

As a program it is the backend: ``python drain_loads.py PORT``. It answers GET /N with N, and echoes the messages of a WebSocket.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import hashlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Counts", "Loads", "serve"]

PATIENCE = 30.0  # seconds for an answer; a restart with open tunnels takes as long as its drain
_FRESH = 0.005  # seconds between a connection and its request
_REASONS = 20

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Counts:
    """The counts of the clients of one kind.

    answered: requests with the right answer. lost: requests without. ended: connections that the proxy ended between two requests, so that
    nothing was lost; of a WebSocket, those with a close frame. why: the first reasons of losses
    """

    answered: int = 0
    lost: int = 0
    ended: int = 0
    why: list[str] = field(default_factory=list)

    def lose(self, reason: BaseException | str) -> None:
        self.lost += 1
        if len(self.why) < _REASONS:
            text = reason if isinstance(reason, str) else f"{type(reason).__name__}: {reason}"
            self.why.append(f"{time.strftime('%H:%M:%S')} {text}")


class Wrong(Exception):
    """An answer that is not the expected one."""


class Loads:
    """Clients in a thread of their own, from `start` to `stop`.

    address: of the proxy
    kept:    connections that ask, wait ``think`` seconds, and ask again
    busy:    connections that ask again at once
    fresh:   clients that make a connection for each request, and ask a moment later
    sockets: WebSockets that wait ``think`` seconds between an echo and the next message
    """

    def __init__(
        self, address: tuple[str, int], *, kept: int = 200, busy: int = 0, fresh: int = 10, sockets: int = 50, think: float = 0.05
    ) -> None:
        self.address = address
        self.counts = {name: Counts() for name in ("kept", "busy", "fresh", "websocket")}
        self._numbers = itertools.count(1)
        self._stopping = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._clients: list[Callable[[], Coroutine[Any, Any, None]]] = [
            *(lambda: self._kept(self.counts["kept"], think) for _ in range(kept)),
            *(lambda: self._kept(self.counts["busy"], 0.0) for _ in range(busy)),
            *(lambda: self._fresh(self.counts["fresh"]) for _ in range(fresh)),
            *(lambda: self._websocket(self.counts["websocket"], think) for _ in range(sockets)),
        ]
        self._running: Any = None

    def start(self) -> None:
        self._thread.start()
        self._running = asyncio.run_coroutine_threadsafe(self._all(), self._loop)

    def stop(self) -> None:
        """Let every client finish its request. Raises what a client raised by mistake."""
        self._stopping = True
        self._running.result(2 * PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def idle(self, count: int) -> Any:
        """Make connections that ask once and are silent then. Returns a future of the time (monotonic) when the last one was ended."""
        ready = threading.Event()
        future = asyncio.run_coroutine_threadsafe(self._idle(count, ready), self._loop)
        if not ready.wait(PATIENCE):
            future.result(0)
        return future

    async def _all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for client in self._clients:
                group.create_task(client())
                await asyncio.sleep(0.002)

    async def _connect(self) -> Streams:
        return await asyncio.open_connection(*self.address)

    async def _ask(self, streams: Streams, fields: bytes = b"") -> bool:
        """One request. True if the connection may carry another."""
        reader, writer = streams
        number = b"/%d" % next(self._numbers)
        writer.write(b"GET %b HTTP/1.1\r\nHost: a.test\r\n%b\r\n" % (number, fields))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
        body = await reader.readexactly(length)
        if not head.startswith(b"http/1.1 200") or body != number:
            raise Wrong(f"{head[:40]!r} {body[:40]!r}")
        return b"connection: close" not in head

    async def _kept(self, counts: Counts, think: float) -> None:
        streams: Streams | None = None
        while not self._stopping:
            try:
                async with asyncio.timeout(PATIENCE):
                    if streams is not None and (streams[0].at_eof() or streams[0].exception() is not None):
                        counts.ended += 1
                        streams[1].close()
                        streams = None
                    if streams is None:
                        streams = await self._connect()
                    keep = await self._ask(streams)
                counts.answered += 1
                if not keep:
                    streams[1].close()
                    streams = None
            except (OSError, EOFError, TimeoutError, Wrong) as error:
                counts.lose(error)
                if streams is not None:
                    streams[1].close()
                streams = None
            await asyncio.sleep(think)
        if streams is not None:
            streams[1].close()

    async def _fresh(self, counts: Counts) -> None:
        while not self._stopping:
            writer = None
            try:
                async with asyncio.timeout(PATIENCE):
                    reader, writer = await self._connect()
                    await asyncio.sleep(_FRESH)
                    await self._ask((reader, writer))
                counts.answered += 1
            except (OSError, EOFError, TimeoutError, Wrong) as error:
                counts.lose(error)
            if writer is not None:
                writer.close()
            await asyncio.sleep(_FRESH)

    async def _websocket(self, counts: Counts, think: float) -> None:
        while not self._stopping:
            writer = read = None
            awaits = False
            try:
                async with asyncio.timeout(PATIENCE):
                    reader, writer = await self._connect()
                    key = base64.b64encode(os.urandom(16))
                    awaits = True
                    writer.write(_HANDSHAKE % key)
                    head = await reader.readuntil(b"\r\n\r\n")
                    if not head.startswith(b"HTTP/1.1 101"):
                        raise Wrong(repr(head[:60]))
                    awaits = False
                    counts.answered += 1
                read = asyncio.create_task(_read_frame(reader))
                while not self._stopping:
                    message = b"%d" % next(self._numbers)
                    awaits = True
                    writer.write(_frame(1, message))
                    async with asyncio.timeout(PATIENCE):
                        opcode, payload = await read
                    if opcode == 8:
                        raise EOFError("a close frame in place of an echo")
                    if payload != message:
                        raise Wrong(repr(payload))
                    awaits = False
                    counts.answered += 1
                    read = asyncio.create_task(_read_frame(reader))
                    done, _ = await asyncio.wait({read}, timeout=think)  # a cancelled read would not see a frame that came in time
                    if not done:
                        continue
                    opcode, payload = await read
                    if opcode == 8:
                        counts.ended += 1
                        writer.write(_frame(8, payload))
                        break
                    raise Wrong(repr(payload))
            except (OSError, EOFError, TimeoutError, Wrong) as error:
                if awaits or isinstance(error, Wrong):
                    counts.lose(error)
            if read is not None:
                read.cancel()
            if writer is not None:
                writer.close()

    async def _idle(self, count: int, ready: threading.Event) -> float:
        everybody = [await self._connect() for _ in range(count)]
        for streams in everybody:
            await self._ask(streams)
        ready.set()
        async with asyncio.timeout(4 * PATIENCE):
            for reader, _ in everybody:
                with contextlib.suppress(ConnectionError):
                    assert not await reader.read(1)
        end = time.monotonic()
        for _, writer in everybody:
            writer.close()
        return end


_HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: %b\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def _frame(opcode: int, payload: bytes) -> bytes:
    """A masked frame with less than 126 octets."""
    mask = os.urandom(4)
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + bytes(octet ^ mask[at % 4] for at, octet in enumerate(payload))


async def _read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Opcode and payload of the next frame, unmasked and with less than 126 octets."""
    head = await reader.readexactly(2)
    return head[0] & 15, await reader.readexactly(head[1])


class _Echo(asyncio.Protocol):
    """One connection of the backend."""

    def __init__(self) -> None:
        self.held = b""
        self.tunnel = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.held += data
        while self._frame() if self.tunnel else self._request():
            pass

    def _request(self) -> bool:
        head, found, rest = self.held.partition(b"\r\n\r\n")
        if not found:
            return False
        self.held = rest
        if b"upgrade: websocket" in head.lower():
            key = head.lower().index(b"sec-websocket-key: ") + 19
            accept = base64.b64encode(hashlib.sha1(head[key : key + 24] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
            self.tunnel = True
            self.transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
                % accept
            )
            return True
        target = head.split(b" ", 2)[1]
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))
        return True

    def _frame(self) -> bool:
        if len(self.held) < 2 or len(self.held) < 6 + (self.held[1] & 127):
            return False
        size, opcode, mask = self.held[1] & 127, self.held[0] & 15, self.held[2:6]
        payload = bytes(octet ^ mask[at % 4] for at, octet in enumerate(self.held[6 : 6 + size]))
        self.held = self.held[6 + size :]
        self.transport.write(bytes([0x80 | opcode, size]) + payload)
        if opcode == 8:
            self.transport.close()
        return True


async def serve(port: int) -> None:
    """Be the backend on a port of loopback."""
    server = await asyncio.get_running_loop().create_server(_Echo, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", metavar="PORT", type=int, help="of loopback")
    asyncio.run(serve(parser.parse_args().port))
