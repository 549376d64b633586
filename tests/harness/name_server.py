"""A name server on loopback, over UDP and TCP, that says what the test wants.

    with NameServer({"api.test": ["127.0.0.1"]}) as names:
        names["api.test"] = ["127.0.0.2", "::1"]                    A and AAAA
        names["_http._tcp.test"] = [(10, 1, 8080, "api.test")]      SRV: priority, weight, port, target
        names["old.test"] = "api.test"                              CNAME
        names.fault = SERVFAIL                                      for every question

A name that it does not have does not exist (NXDOMAIN); one without records of the kind asked for has an empty answer.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import threading
from collections.abc import Iterator

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from .ports import free_port

__all__ = [
    "BARE",
    "CUT",
    "GARBAGE",
    "NO_EDNS",
    "NOT_THE_ANSWER",
    "NXDOMAIN",
    "SERVFAIL",
    "SILENCE",
    "TRUNCATED",
    "NameServer",
    "Records",
]

SERVFAIL, NXDOMAIN, SILENCE, GARBAGE, TRUNCATED, NOT_THE_ANSWER, CUT, NO_EDNS, BARE = (
    "SERVFAIL",
    "NXDOMAIN",
    "silence",
    "garbage",  # octets that are no message, and nothing else
    "truncated",  # over UDP only; over TCP all is well
    "not the answer",  # an answer to another question first, and one with another number, then the true one
    "cut",  # truncated over UDP; TCP connections are closed within the answer
    "no EDNS",  # questions with EDNS are answered with FORMERR and nothing else
    "bare",  # of a chain of names only the first step is in the answer
)

Records = str | list[str | tuple[int, int, int, str]]


class NameServer:
    """ttl: seconds of every record. fault: one of the faults, or "". faults: for single kinds ("AAAA"), above it. asked: the
    questions that came, as (name, kind, "udp" or "tcp")."""

    def __init__(self, records: dict[str, Records] | None = None, *, ttl: int = 1) -> None:
        self.records = dict(records or {})
        self.ttl = ttl
        self.fault = ""
        self.faults: dict[str, str] = {}
        self.asked: list[tuple[str, str, str]] = []
        self.changed = threading.Condition()
        self.port = free_port()
        self._tcp = socket.create_server(("127.0.0.1", self.port))
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", self.port))
        self.address = f"127.0.0.1:{self.port}"
        for serve in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=serve, daemon=True).start()

    def __setitem__(self, name: str, records: Records) -> None:
        self.records[name] = records

    def __delitem__(self, name: str) -> None:
        del self.records[name]

    def __enter__(self) -> NameServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Listen no more."""
        for one in (self._tcp, self._udp):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def wait_asked(self, count: int, name: str, kind: str = "A", deadline: float = 10.0) -> None:
        """Return as soon as a question has come so many times."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.count(name, kind) >= count, deadline), f"{name} {kind}: {self.asked}"

    def count(self, name: str, kind: str = "A") -> int:
        """How many times something was asked for."""
        return sum(one[:2] == (name, kind) for one in self.asked)

    def _serve_udp(self) -> None:
        while True:
            try:
                data, client = self._udp.recvfrom(65535)
            except OSError:
                return
            if not data:
                return
            for answer in self._answers(data, "udp"):
                self._udp.sendto(answer, client)

    def _serve_tcp(self) -> None:
        while True:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream, contextlib.suppress(OSError):
            while len(size := stream.read(2)) == 2:
                for answer in self._answers(stream.read(*struct.unpack("!H", size)), "tcp"):
                    octets = struct.pack("!H", len(answer)) + answer
                    if self.fault == CUT:
                        connection.sendall(octets[: len(octets) // 2])
                        return
                    connection.sendall(octets)

    def _answers(self, data: bytes, way: str) -> Iterator[bytes]:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        with self.changed:
            self.asked.append((name, kind, way))
            self.changed.notify_all()
        fault = self.faults.get(kind, self.fault)
        if fault == SILENCE:
            return
        if fault == GARBAGE:
            yield b"garbage" * 9
            return
        reply = dns.message.make_response(query)
        if fault == NO_EDNS and query.edns >= 0:
            reply = dns.message.make_response(query)
            reply.use_edns(-1)
            reply.question = []
            reply.set_rcode(dns.rcode.FORMERR)
        elif fault == SERVFAIL:
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif fault == NXDOMAIN:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        elif fault in (TRUNCATED, CUT) and way == "udp":
            reply.flags |= dns.flags.TC
        else:
            self._fill(reply, name, kind, 1 if fault == BARE else 20)
            if way == "udp" and len(reply.to_wire(max_size=65535)) > (query.payload if query.edns >= 0 else 512):
                reply.answer.clear()
                reply.flags |= dns.flags.TC
        if fault == NOT_THE_ANSWER:
            other = dns.message.make_response(dns.message.make_query("other.test", kind, id=query.id))
            yield other.to_wire()
            twisted = bytearray(reply.to_wire(max_size=65535))
            twisted[0] ^= 1
            yield bytes(twisted)
        yield reply.to_wire(max_size=65535)

    def _fill(self, reply: dns.message.Message, name: str, kind: str, steps: int) -> None:
        while isinstance(records := self.records.get(name), str) and len(reply.answer) < steps:
            reply.answer.append(dns.rrset.from_text(f"{name}.", self.ttl, "IN", "CNAME", f"{records}."))
            name = records
        if isinstance(records, str):
            return
        if records is None:
            reply.set_rcode(dns.rcode.NXDOMAIN)
            return
        texts = []
        for one in records:
            if isinstance(one, tuple):
                priority, weight, port, target = one
                texts += [f"{priority} {weight} {port} {target.removesuffix('.')}."] if kind == "SRV" else []
            elif kind == {4: "A", 6: "AAAA"}[ipaddress.ip_address(one).version]:
                texts.append(one)
        if texts:
            reply.answer.append(dns.rrset.from_text(f"{name}.", self.ttl, "IN", kind, *texts))
