"""A backend that speaks HTTP/2, by python-hyper's h2: what it is sent is judged by that library, and what it answers is said by a script.

def script(peer, request):          # on the connection's thread, once the request is whole
    peer.answer(request, 200, b"hello")

with Http2Backend(script) as backend: …
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    PingReceived,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from .acceptor import Acceptor
from .ports import free_port
from .waiting import DEADLINE

__all__ = ["Asked", "Http2Backend", "Http2Peer"]

Fields = list[tuple[str, str]]


@dataclass(eq=False)
class Asked:
    """A request as the backend got it. reset: the code of a RST_STREAM for it, None without."""

    stream: int
    fields: Fields
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    whole: bool = False
    reset: int | None = None
    peer: Any = None

    def all(self, name: str) -> list[str]:
        """Every value of a field, in order."""
        return [value for spelt, value in self.fields if spelt == name]

    def get(self, name: str) -> str | None:
        """The only value of a field, or None."""
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None

    @property
    def target(self) -> str:
        return self.get(":path") or ""


class Http2Peer:
    """A connection that the backend accepted. terminated: the codes of GOAWAY frames that came."""

    def __init__(self, backend: Http2Backend, sock: socket.socket, number: int) -> None:
        self.backend = backend
        self.sock = sock
        self.number = number
        self.terminated: list[int] = []
        self.last: int | None = None  # of a GOAWAY of our own
        self.pings = 0
        self.ended = threading.Event()
        self.asked: dict[int, Asked] = {}
        self._lock = threading.RLock()
        self._waiting: dict[int, tuple[bytes, Fields | None]] = {}
        self.codec = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8", validate_outbound_headers=False))

    def run(self) -> None:
        """Serve until the connection ends."""
        backend = self.backend
        with self._lock:
            if backend.settings:
                self.codec.local_settings = Settings(client=False, initial_values=backend.settings)
            self.codec.initiate_connection()
            self._flush()
        if backend.mute:
            while self.sock.recv(65536):
                pass
            return
        while data := self.sock.recv(65536):
            with self._lock:
                events = self.codec.receive_data(data)
                for event in events:
                    self._handle(event)
                self._flush()

    def _handle(self, event: Event) -> None:
        backend = self.backend
        if self.last is not None and (getattr(event, "stream_id", None) or 0) > self.last and event.stream_id not in self.asked:
            return  # sent before the client saw the GOAWAY: as servers do, it is not looked at (RFC 9113 6.8)
        if isinstance(event, RequestReceived):
            asked = self.asked[event.stream_id] = Asked(event.stream_id, list(event.headers), peer=self)
            with backend.changed:
                backend.heads.append(asked)
                backend.changed.notify_all()
            if backend.early:
                backend.script(self, asked)
        elif isinstance(event, DataReceived):
            if event.stream_id in self.asked:
                self.asked[event.stream_id].body += event.data
            if backend.takes:
                self.codec.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, TrailersReceived):
            self.asked[event.stream_id].trailers = list(event.headers)
        elif isinstance(event, StreamEnded):
            asked = self.asked[event.stream_id]
            asked.whole = True
            with backend.changed:
                backend.requests.append(asked)
                backend.changed.notify_all()
            if not backend.early:
                backend.script(self, asked)
        elif isinstance(event, StreamReset):
            self._waiting.pop(event.stream_id, None)
            with backend.changed:
                if event.stream_id in self.asked:
                    self.asked[event.stream_id].reset = int(event.error_code)
                backend.changed.notify_all()
        elif isinstance(event, WindowUpdated):
            for stream in list(self._waiting):
                self._send_rest(stream)
        elif isinstance(event, PingReceived):
            self.pings += 1
        elif isinstance(event, ConnectionTerminated):
            with backend.changed:
                self.terminated.append(int(event.error_code))
                backend.changed.notify_all()

    def _flush(self) -> None:
        if data := self.codec.data_to_send():
            self.sock.sendall(data)

    # ------------------------------------------------------------------------------------------- for scripts, from any thread

    def answer(
        self, asked: Asked, status: int = 200, body: bytes = b"", fields: Fields = (), trailers: Fields | None = None
    ) -> None:  # type: ignore[assignment]
        """A whole answer; the body goes as the windows allow."""
        self.head(asked, status, fields, end=not body and trailers is None)
        if body or trailers is not None:
            self.send(asked, body, end=True, trailers=trailers)

    def head(self, asked: Asked, status: int = 200, fields: Fields = (), end: bool = False) -> None:  # type: ignore[assignment]
        """A head, which may be interim."""
        with self._lock:
            self.codec.send_headers(asked.stream, [(":status", str(status)), *fields], end_stream=end)
            self._flush()

    def send(self, asked: Asked, body: bytes, end: bool = False, trailers: Fields | None = None) -> None:
        """Octets of a body. end: they are the last."""
        with self._lock:
            before, _ = self._waiting.get(asked.stream, (b"", None))
            self._waiting[asked.stream] = (before + body, (trailers or []) if end else None)
            self._send_rest(asked.stream)
            self._flush()

    def _send_rest(self, stream: int) -> None:
        body, trailers = self._waiting[stream]
        try:
            room = min(self.codec.local_flow_control_window(stream), self.codec.max_outbound_frame_size)
            while body and room > 0:
                self.codec.send_data(stream, body[:room])
                body = body[room:]
                room = min(self.codec.local_flow_control_window(stream), self.codec.max_outbound_frame_size)
            if not body and trailers is not None:
                if trailers:
                    self.codec.send_headers(stream, trailers, end_stream=True)
                else:
                    self.codec.end_stream(stream)
        except ProtocolError:  # the other side has reset the stream
            self._waiting.pop(stream, None)
            return
        if body or trailers is None:
            self._waiting[stream] = (body, trailers)
        else:
            self._waiting.pop(stream, None)

    def reset(self, asked: Asked, code: ErrorCodes = ErrorCodes.CANCEL) -> None:
        """End a stream."""
        with self._lock:
            self.codec.reset_stream(asked.stream, code)
            self._flush()

    def goaway(self, last: int, code: int = 0) -> None:
        """Say that streams above ``last`` are not worked on."""
        with self._lock:
            self.last = last
            self.sock.sendall(struct.pack(">LBLLL", 8 << 8 | 7, 0, 0, last, code))

    def raw(self, octets: bytes) -> None:
        """Send octets as they are."""
        with self._lock:
            self.sock.sendall(octets)

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


class Http2Backend(Acceptor):
    """A server of HTTP/2 on loopback that runs ``script(peer, request)`` for each request.

    requests: those that came whole, over all connections; heads: all. peers: the connections. `url` goes into a configuration.
    """

    def __init__(
        self,
        script: Callable[[Http2Peer, Asked], None],
        *,
        early: bool = False,
        takes: bool = True,
        mute: bool = False,
        settings: dict[SettingCodes, int] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """early: the script runs when a head has come. takes: False: bodies get no new window. mute: nothing is ever answered. settings: beside
        the library's own."""
        self.script = script
        self.early = early
        self.takes = takes
        self.mute = mute
        self.settings = settings or {}
        self.requests: list[Asked] = []
        self.heads: list[Asked] = []
        self.port = free_port("127.0.0.1")
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}"
        self._tls = tls
        super().__init__(socket.create_server(("127.0.0.1", self.port), backlog=512))

    def _accepted(self, sock: socket.socket) -> None:
        threading.Thread(target=self._run, args=(sock,), daemon=True).start()

    def _run(self, sock: socket.socket) -> None:
        sock.settimeout(120)
        peer = None
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
            with self.changed:
                peer = Http2Peer(self, sock, len(self.peers))
                self._add(peer)
            peer.run()
        except OSError:
            pass
        except BaseException as error:
            self.failures.append(error)
        finally:
            sock.close()
            if peer is not None:
                with self.changed:
                    peer.ended.set()
                    self.changed.notify_all()

    def wait(self, fact: Callable[[], Any], what: str = "what the test waits for") -> Any:
        """The value of ``fact()`` as soon as it is true."""
        with self.changed:
            assert self.changed.wait_for(fact, DEADLINE), f"{what} did not come"
            return fact()
