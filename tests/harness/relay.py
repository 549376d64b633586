"""A relay from a port on loopback to a Terraster's control socket, for programs that speak HTTP over TCP only.

It takes requests with one bearer token and answers all others with 401, as the management port does: the control socket itself asks no one for
a token. Each connection has one request.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from typing import Any

__all__ = ["Relay"]


class Relay:
    """Runs while it is entered. ``port``: where it listens. bearer: the token that requests need"""

    def __init__(self, path: str, bearer: str) -> None:
        self._path = path
        self._bearer = f"authorization: bearer {bearer}".lower()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Relay:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            client.settimeout(30)
            octets = b""
            while b"\r\n\r\n" not in octets:
                if not (more := client.recv(65536)):
                    return
                octets += more
            head, _, body = octets.partition(b"\r\n\r\n")
            line, *fields = head.decode("latin-1").split("\r\n")
            fields = [field for field in fields if not field.lower().startswith("connection:")]
            server.connect(self._path)
            known = any(field.lower() == self._bearer for field in fields)
            if not known and line.split()[1].partition("?")[0] != "/openapi.json":
                client.sendall(_UNKNOWN)
                return
            server.sendall("\r\n".join([line, *fields, "Connection: close", "", ""]).encode("latin-1") + body)
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join()


_PROBLEM = json.dumps(
    {"type": "about:blank", "title": "Unauthorized", "status": 401, "detail": "the relay does not know this token"}
).encode()
_UNKNOWN = (
    b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm="terraster"\r\nContent-Type: application/problem+json\r\n'
    b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(_PROBLEM)
) + _PROBLEM


def _copy(source: Any, sink: Any) -> None:
    with contextlib.suppress(OSError):
        while octets := source.recv(65536):
            sink.sendall(octets)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
