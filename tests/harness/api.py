"""The management API as a test calls it: over the control socket, where the caller has the role admin, or over TCP."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

__all__ = ["Told", "call", "told"]


@dataclass(frozen=True)
class Told:
    """An answer. fields: by lower-case name"""

    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def value(self) -> Any:
        return json.loads(self.body)

    @property
    def etag(self) -> str:
        return self.fields.get("etag", "")


def call(terraster: Any, method: str, path: str, /, body: Any = None, head: dict[str, str] | None = None, **query: Any) -> Told:
    """One call over the control socket of a Terraster. body: JSON values, or octets as they are. head: fields"""
    octets = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    lines = {"Host": "terraster", "Connection": "close", **(head or {})}
    if body is not None:
        lines = {"Content-Type": "application/json", "Content-Length": str(len(octets)), **lines}
    target = f"{path}?{urlencode(query)}" if query else path
    lead = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(30)
        sock.connect(os.path.join(terraster.runtime_dir, "control.sock"))
        sock.sendall(lead.encode() + octets)
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    return told(answer)


def told(answer: bytes) -> Told:
    """The answer that these octets are. One without Content-Length may be chunked."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    if fields.get("transfer-encoding") == "chunked":
        body = _joined(body)
    return Told(int(status.split()[1]), fields, body)


def _joined(body: bytes) -> bytes:
    found = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        found, body = found + rest[:length], rest[length + 2 :]
    return found
