"""One probe of one backend, on a connection of its own: a TCP connect, an HTTP request, or a call of gRPC
(`terraster.master.backends.grpc_probe`). Runs in a greenlet of the master.

An HTTP probe is a GET with ``Connection: close``. It is read by the same code as the responses to requests (`terraster.wire`), so a
backend is not down for a response that clients would get, nor up for one that they would not. Redirects are not followed: a login page
elsewhere says nothing about this backend. It is healthy if the status lies in one of the ranges and, if a text is asked for, the text
occurs in the first 64 KiB of the body; otherwise the body is not read. The timeout is for the whole probe. Names are resolved before
(`terraster.master.discovery.names`): the connection goes to the address, Host and server name are those of the name.

A probe that had no answer in time says nothing while the master itself stood still (a large reload, a busy machine): the answer may have
been there. So the time that the event loop loses is measured while probes are under way, and such a probe is made again.

The module is longer than 400 lines because the request, its answer and the words for its faults belong to one probe.
"""

from __future__ import annotations

import _socket
import errno
import ipaddress
import os
import re
import socket
import ssl
import time
from _ssl import ENCODING_DER
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import gevent

from terraster.certs.client_contexts import ClientContexts
from terraster.config.snapshot import Backend, Credentials, HealthCheck
from terraster.errors import BadResponse, HttpError
from terraster.master.discovery.names import UNRESOLVED
from terraster.net.tls_faults import tls_fault
from terraster.wire.chunked import ChunkedReader
from terraster.wire.http1 import MAX_INTERIM, ResponseHead, parse_response
from terraster.wire.proxy_protocol import local

from .grpc_probe import check as call_check
from .heard import KEPT, Heard
from .http2_call import call

__all__ = ["Aim", "Probing", "Result", "shown"]

Found = TypeVar("Found")

_HEAD_SIZE = 65536  # octets of a response head, and fields in it: as for requests
_FIELDS = 250
_BODY = 65536
_READ = 16384
_UNFIT = re.compile(r"[\x00-\x20\x7f]")
_SHOWN = 80  # characters of a reason
_TICK = 0.01  # seconds between two looks at whether the event loop turns
_MOST_LOST = 0.1  # share of a probe's time that may be lost before its failing says nothing
_WITH_BODY = ("POST", "PUT", "PATCH")  # their requests say that there is no body (RFC 9110 8.6)
_REST = 0.25  # seconds that the beginning of a body is waited for, once the status has decided
_TRIES = 3  # times that a probe is made before it counts all the same


@dataclass(frozen=True, slots=True)
class Aim:
    """The aim of a probe, and its kind; equal for all backends that one probe can speak for."""

    scheme: str
    host: str
    port: int
    address: str  # "" = the name does not resolve; "unix:/path" = a unix socket
    sni: str
    verify: bool
    check: HealthCheck
    strict: bool = False
    credentials: Credentials = Credentials()
    http2: bool = False  # as `Backend.http2`, but False at a port of its own
    send_proxy: str = ""  # as `Backend.send_proxy`, but "" at a port of its own

    @classmethod
    def of(cls, backend: Backend, strict: bool = False) -> Aim:
        """strict: as `Service.strict_responses`."""
        check = backend.health
        return cls(
            scheme=backend.scheme,
            host=backend.host,
            port=backend.port,
            address=backend.address or (backend.host if _is_address(backend.host) else ""),
            sni=check.sni or backend.sni or backend.host,
            verify=not check.skip_tls_verify,
            check=check,
            strict=strict,
            credentials=backend.probe_credentials,
            http2=backend.http2 and not check.port,
            send_proxy="" if check.port else backend.send_proxy,
        )

    @property
    def authority(self) -> str:
        """The Host that a request to this backend has by itself."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = {"http": 80, "https": 443}[self.scheme]
        return host if self.port == default else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Result:
    """``reason``: a few words that complete "is up:" or "is down:". ``seconds``: how long the probe took. ``status``: of the response, 0:
    there was none. ``answer``: the beginning of its body, or of what came instead of a response, fit to be shown
    (`terraster.master.backends.heard`); "" if nothing came, or if the probe passed and nobody asked."""

    ok: bool
    reason: str
    seconds: float
    status: int = 0
    answer: str = ""


def shown(text: str) -> str:
    """Text that a backend may have a part in, fit for a line of a log or a terminal: nothing but printable characters, and not
    many of them."""
    plain = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text[: _SHOWN + 1])
    return plain if len(plain) <= _SHOWN else f"{plain[: _SHOWN - 1]}…"


class Probing:
    """The means to probe. ``sockets``: descriptors of probes under way, for `abandon` after a fork."""

    def __init__(self) -> None:
        self.sanitizer = Heard.sanitizer((), "****")
        self._sockets: set[int] = set()
        self._contexts = ClientContexts()
        self._running = 0
        self._ticked = self._lost = 0.0

    def probe(self, aim: Aim, keep: bool = False) -> Result:
        """Never raises for what the backend does; takes ``aim.check.timeout`` seconds at most, unless the master stood still
        meanwhile. keep: have the beginning of the answer also if the probe passes"""
        self._running += 1
        if self._running == 1:
            self._ticked = time.monotonic()
            gevent.spawn(self._watch)
        try:
            for _ in range(_TRIES):
                before = self._lost_until_now()
                result = self._once(aim, keep)
                if result.ok or self._lost_until_now() - before <= _MOST_LOST * aim.check.timeout:
                    break
            return result
        finally:
            self._running -= 1

    def _lost_until_now(self) -> float:
        """Seconds that the event loop stood still; only differences mean something."""
        return self._lost + max(0.0, time.monotonic() - self._ticked - 2 * _TICK)

    def _watch(self) -> None:
        while self._running:
            gevent.sleep(_TICK)
            self._lost, self._ticked = self._lost_until_now(), time.monotonic()

    def _once(self, aim: Aim, keep: bool) -> Result:
        started, heard = time.monotonic(), Heard(keep)
        timeout = gevent.Timeout(aim.check.timeout or None)
        try:
            with timeout:
                ok, reason = self._probe(aim, heard)
        except gevent.Timeout as expired:
            if expired is not timeout:
                raise
            ok, reason = heard.judged or (False, f"no answer within {aim.check.timeout:g} s")
        except ssl.SSLError as error:
            ok, reason = False, tls_fault(error).detail
        except OSError as error:
            ok, reason = False, _in_words(aim, error)
        except HttpError as error:
            ok, reason = False, f"no proper HTTP answer: {error.detail}"
        except Exception as error:  # a name that no codec knows, say: a check that cannot be made has failed
            ok, reason = False, f"the probe cannot be made: {type(error).__name__}: {error}"
        answer = heard.text(self.sanitizer) if keep or not ok else ""
        return Result(ok, shown(reason), time.monotonic() - started, heard.status, answer)

    def abandon(self) -> None:
        """In a forked child: close the probes' descriptors, so that the backends see the master's close. The objects are left
        alone: they wait in greenlets that never run here, and nothing may finalize them (the child ends by `os._exit`)."""
        for fd in self._sockets:
            os.close(fd)
        self._sockets = set()

    def chain(self, aim: Aim, timeout: float) -> list[bytes]:
        """The certificates that a backend shows, in DER, its own first. They are not verified, and no request is sent. Raises OSError and
        gevent.Timeout (timeout: seconds)."""
        with gevent.Timeout(timeout):
            return self._connected(aim, self._shown)

    def _shown(self, aim: Aim, connection: socket.socket) -> list[bytes]:
        if aim.send_proxy:
            connection.sendall(local(aim.send_proxy))
        context = self._contexts.get(True, aim.credentials)
        with context.wrap_socket(connection, server_hostname=aim.sni, do_handshake_on_connect=False) as secure:
            secure.do_handshake()
            chain = secure._sslobj.get_unverified_chain() or ()  # type: ignore[attr-defined]  # public from Python 3.13 on
            return [one.public_bytes(ENCODING_DER) for one in chain]

    def _probe(self, aim: Aim, heard: Heard) -> tuple[bool, str]:
        if not aim.address:
            return False, UNRESOLVED
        return self._connected(aim, partial(self._speak, heard))

    def _connected(self, aim: Aim, speak: Callable[[Aim, socket.socket], Found]) -> Found:
        """What ``speak`` finds on a connection of its own."""
        path = aim.address[5:] if aim.address.startswith("unix:") else ""
        family = socket.AF_UNIX if path else socket.AF_INET6 if ":" in aim.address else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM)
        fd = connection.fileno()
        self._sockets.add(fd)
        try:
            if path:
                _connect_unix(connection, path)
            else:
                connection.connect((aim.address, aim.check.port or aim.port))
            return speak(aim, connection)
        finally:
            connection.close()
            self._sockets.discard(fd)

    def _speak(self, heard: Heard, aim: Aim, connection: socket.socket) -> tuple[bool, str]:
        check = aim.check
        if aim.send_proxy:
            connection.sendall(local(aim.send_proxy))
        if check.type == "tcp":
            return True, "it accepts connections"
        if aim.scheme != "https":
            return self._ask(heard, aim, connection)
        http2 = aim.http2 or check.type == "grpc"
        context = self._contexts.get(not aim.verify, aim.credentials, "h2" if http2 else "http/1.1")
        with context.wrap_socket(
            connection, server_hostname=aim.sni, do_handshake_on_connect=False, suppress_ragged_eofs=False
        ) as secure:
            secure.do_handshake()  # not by wrap_socket: a timeout there would leave the socket open until it is collected
            if http2 and secure.selected_alpn_protocol() != "h2":
                return False, "it does not choose HTTP/2 in the TLS handshake (ALPN h2)"
            return self._ask(heard, aim, secure)

    def _ask(self, heard: Heard, aim: Aim, connection: socket.socket) -> tuple[bool, str]:
        """Send the request and judge the response. Raises `HttpError` if it is not a proper one, `OSError`, `gevent.Timeout`."""
        check = aim.check
        if check.type == "grpc":
            return call_check(connection, aim.scheme, check.host or aim.authority, check.service, check.headers)
        if aim.http2:
            heard.status, body = _ask_http2(aim, connection)
            heard.octets = body
            return self._judge(aim, heard.status, body)
        connection.sendall(_request(aim))
        response, data = _read_head(connection, check.method.encode(), aim.strict, heard)
        heard.status, heard.octets = response.status, b""
        body = b""
        if check.body and _is_good(aim, response.status):
            body = _read_body(connection, response, data, aim.strict, heard)
        heard.judged = self._judge(aim, response.status, body)
        if not heard.octets and (heard.keeps or not heard.judged[0]):
            with gevent.Timeout(_REST, False), suppress(HttpError, OSError):  # which says no more about its health
                _read_body(connection, response, data, aim.strict, heard, KEPT)
        return heard.judged

    def _judge(self, aim: Aim, status: int, body: bytes) -> tuple[bool, str]:
        """The result of a proper response. body: the part that may have the expected text."""
        if not _is_good(aim, status):
            return False, f"status {status}"
        if aim.check.body and aim.check.body.encode() not in body:
            return False, f"status {status}, but without the expected text"
        return True, f"status {status}"


_OF_SOCKETS = {
    errno.ENOENT: "there is no such socket",
    errno.ENOTDIR: "there is no such socket",
    errno.EACCES: "this user may not connect to the socket",
    errno.ECONNREFUSED: "nothing listens on the socket",
    errno.EPROTOTYPE: "the socket is not a stream socket",
}


def _in_words(aim: Aim, error: OSError) -> str:
    """A failure to connect or to talk. On unix sockets operators know its code, too: that is what other programs show."""
    known = _OF_SOCKETS.get(error.errno or 0)
    if known is not None and aim.address.startswith("unix:"):
        return f"{known} ({errno.errorcode[error.errno or 0]})"
    return (error.strerror or str(error)).lower()


def _connect_unix(connection: socket.socket, path: str) -> None:
    """Connect to a unix socket, and wait while its queue of connections is full. Raises `OSError`.

    gevent's own connect would wait for the socket to become writable, and it always is.
    """
    raw = _socket.socket(fileno=connection.fileno())
    try:
        raw.setblocking(False)
        while True:
            try:
                raw.connect(path)
                return
            except BlockingIOError:
                gevent.sleep(_TICK)
    finally:
        raw.detach()


def _is_good(aim: Aim, status: int) -> bool:
    return any(low <= status <= high for low, high in aim.check.status)


def _own_fields(aim: Aim) -> dict[str, str]:
    """The fields that a probe sends by itself. Raises `ValueError` for a path or Host that cannot be sent."""
    host, path = aim.check.host or aim.authority, aim.check.path
    if _UNFIT.search(path) or _UNFIT.search(host):
        raise ValueError("its path or host contains a space or a control character")
    return {"host": host, "user-agent": "terraster-health-check", "accept-encoding": "identity"}


def _ask_http2(aim: Aim, connection: socket.socket) -> tuple[int, bytes]:
    """(status, the first `_BODY` octets of the body) of the response over HTTP/2. Raises `HttpError`, `OSError`, and `ValueError` as
    `_own_fields` does."""
    check = aim.check
    own = _own_fields(aim) | {name.lower(): value for name, value in check.headers}
    body = check.request_body.encode()
    if body or check.method in _WITH_BODY:
        own["content-length"] = str(len(body))
    own.pop("connection", None)
    head = {":method": check.method, ":scheme": aim.scheme, ":path": check.path, ":authority": own.pop("host")}
    fields = [(name.encode("latin-1"), value.encode()) for name, value in (*head.items(), *own.items())]
    answered = call(connection, fields, check.method.encode(), body, _BODY)
    return answered.response.status, answered.body[:_BODY]


def _request(aim: Aim) -> bytes:
    """The octets of the probe's request. Raises `ValueError` for a path or Host that cannot be sent."""
    check = aim.check
    path, own = check.path, _own_fields(aim)
    given = {name.lower() for name, _value in check.headers}
    lines = [f"{_spelt(name)}: {value}\r\n" for name, value in own.items() if name not in given]
    head = f"{check.method} {path} HTTP/1.1\r\n{''.join(lines)}".encode("latin-1")
    head += "".join(f"{name}: {value}\r\n" for name, value in check.headers).encode()
    body = check.request_body.encode()
    if body or check.method in _WITH_BODY:
        head += b"Content-Length: %d\r\n" % len(body)
    return head + b"Connection: close\r\n\r\n" + body


def _spelt(name: str) -> str:
    return "-".join(part.capitalize() for part in name.split("-"))


def _read_head(connection: socket.socket, method: bytes, strict: bool, heard: Heard) -> tuple[ResponseHead, bytes]:
    """The head of the final response, and the octets that came behind it."""
    data = b""
    interim = seen = 0
    while True:
        try:
            response = parse_response(data, method, _HEAD_SIZE, _FIELDS, seen, strict) if data else None
        except BadResponse as error:
            raise BadResponse(f"{error.detail}: {data.splitlines()[0][:_SHOWN].decode('latin-1')}") from error
        if response is None:
            more = connection.recv(_READ)
            if not more:
                raise BadResponse("the backend closed the connection before its response was complete")
            seen, data = len(data), data + more
            heard.octets = data[:KEPT]
        elif 100 <= response.status < 200 and response.status != 101:
            interim += 1
            if interim > MAX_INTERIM:
                raise BadResponse("too many interim responses")
            seen, data = 0, data[response.size :]
        else:
            return response, data[response.size :]


def _read_body(
    connection: socket.socket, response: ResponseHead, data: bytes, strict: bool, heard: Heard, most: int = _BODY
) -> bytes:
    """The first octets of a body, or all of it; ``data`` has come already."""
    reader = ChunkedReader(BadResponse, 0, strict) if response.chunked else None
    wanted = 0 if response.no_body else most
    if response.content_length >= 0:
        wanted = min(wanted, response.content_length)
    body = b""
    while True:
        if data:
            body += data if reader is None else b"".join(reader.feed(data))
            heard.octets = body[: min(KEPT, wanted)]
        if len(body) >= wanted or (reader is not None and reader.done):
            return body[:wanted]
        data = connection.recv(_READ)
        if not data:
            if response.until_close:
                return body
            raise BadResponse("the backend closed the connection within its response")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
