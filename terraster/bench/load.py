"""The load that a command line asks for, as a value: where requests go, how many, at which pace, and what each of them is."""

from __future__ import annotations

import base64
import json
import socket
from dataclasses import asdict, dataclass, replace
from typing import Any

__all__ = ["Load"]


@dataclass(frozen=True, slots=True)
class Load:
    """A load. Seconds and octets are the units; 0 means without limit.

    url:         as it is shown. scheme: "http" or "https". host: the name that TLS asks for and checks. authority: the value of Host
    target:      path and query, as they are sent
    family, address: of the socket to connect to, as `socket.connect` takes them
    connections: kept at the same time. streams: requests at the same time on a connection of HTTP/2
    requests:    in all. seconds: for which requests are sent. warm_up: seconds before, in which requests are sent and not counted
    rate:        requests per second that are sent whether or not earlier ones were answered; 0: each connection waits for its answer
    random:      True if these are sent at random times (Poisson) and not at even ones. seed: of the random times
    keepalive:   False: a connection per request
    fields:      (name, value) of the head, besides Host, Content-Length and Connection
    timeout:     for a request, its connection included
    insecure:    True: certificates are not checked. authorities: a file of those to trust, "" for the system's
    index, of:   which share of how many this is
    """

    url: str
    scheme: str
    host: str
    authority: str
    target: str
    family: int
    address: Any
    connections: int = 10
    streams: int = 1
    requests: int = 0
    seconds: float = 0.0
    warm_up: float = 0.0
    rate: float = 0.0
    random: bool = False
    seed: int = 1
    keepalive: bool = True
    http2: bool = False
    method: str = "GET"
    fields: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    timeout: float = 10.0
    insecure: bool = False
    authorities: str = ""
    index: int = 0
    of: int = 1

    def share(self, index: int, of: int) -> Load:
        """The share of one of several processes. All shares together are the load. of: at most `connections`, and `requests` unless 0"""
        return replace(
            self,
            connections=_part(self.connections, index, of),
            requests=_part(self.requests, index, of),
            seed=self.seed + index,
            index=index,
            of=of,
        )

    def to_json(self) -> str:
        """One line, for `from_json`."""
        return json.dumps({**asdict(self), "body": base64.b64encode(self.body).decode()})

    @classmethod
    def from_json(cls, line: str | bytes) -> Load:
        """The load of a line."""
        values = json.loads(line)
        values["body"] = base64.b64decode(values["body"])
        values["fields"] = tuple((name, value) for name, value in values["fields"])
        if values["family"] != socket.AF_UNIX:
            values["address"] = tuple(values["address"])
        return cls(**values)

    def http1_request(self) -> bytes:
        """The octets of a request in HTTP/1.1."""
        lines = [f"{self.method} {self.target} HTTP/1.1"]
        names = {name.lower() for name, _ in self.fields}
        if "host" not in names:
            lines.append(f"Host: {self.authority}")
        lines += [f"{name}: {value}" for name, value in self.fields]
        if "content-length" not in names and (self.body or self.method in ("POST", "PUT", "PATCH")):
            lines.append(f"Content-Length: {len(self.body)}")
        if not self.keepalive and "connection" not in names:
            lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body

    def http2_fields(self) -> list[tuple[bytes, bytes]]:
        """The list of fields of a request in HTTP/2."""
        authority = next((value for name, value in self.fields if name.lower() == "host"), self.authority)
        fields = [(":method", self.method), (":scheme", self.scheme), (":path", self.target), (":authority", authority)]
        own = [(name.lower(), value) for name, value in self.fields if name.lower() not in ("host", "connection")]
        fields += own
        if self.body and "content-length" not in {name for name, _ in own}:
            fields.append(("content-length", str(len(self.body))))
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]


def _part(whole: int, index: int, of: int) -> int:
    return whole // of + (index < whole % of)
