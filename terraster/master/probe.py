"""One probe of one backend: a TCP connect, or an HTTP request on a connection of its own. Runs in a greenlet of the master.

An HTTP probe is a GET with ``Connection: close``. Redirects are not followed: a login page elsewhere says nothing about this
backend. It is healthy if the status lies in one of the ranges and, if a text is asked for, the text occurs in the first 64 KiB of
the body. The timeout is for the whole probe. Names are resolved before (`terraster.master.names`): the connection goes to the address,
Host and server name are those of the name.

A probe that had no answer in time says nothing while the master itself stood still (a large reload, a busy machine): the answer may have
been there. So the time that the event loop loses is measured while probes are under way, and such a probe is made again.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import socket
import ssl
import time
from dataclasses import dataclass

import gevent
import urllib3
from urllib3.connection import HTTPConnection

from terraster.config.snapshot import Backend, HealthCheck

from .names import UNRESOLVED

__all__ = ["Aim", "Probing", "Result", "shown"]

_BODY = 65536
_INTERIM = (100, *range(102, 200))
_SHOWN = 80  # characters of a reason
_TICK = 0.01  # seconds between two looks at whether the event loop turns
_MOST_LOST = 0.1  # share of a probe's time that may be lost before its failing says nothing
_TRIES = 3  # times that a probe is made before it counts all the same


@dataclass(frozen=True, slots=True)
class Aim:
    """What is probed, and how; equal for all backends that one probe can speak for."""

    scheme: str
    host: str
    port: int
    address: str  # "" = the name does not resolve
    sni: str
    verify: bool
    check: HealthCheck

    @classmethod
    def of(cls, backend: Backend) -> Aim:
        check = backend.health
        return cls(
            scheme=backend.scheme,
            host=backend.host,
            port=backend.port,
            address=backend.address or (backend.host if _is_address(backend.host) else ""),
            sni=check.sni or backend.sni or backend.host,
            verify=not check.skip_tls_verify,
            check=check,
        )

    @property
    def authority(self) -> str:
        """The Host that a request to this backend has by itself."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = {"http": 80, "https": 443}[self.scheme]
        return host if self.port == default else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Result:
    """``reason``: a few words that complete "is up:" or "is down:". ``seconds``: how long the probe took."""

    ok: bool
    reason: str
    seconds: float


class _Final(http.client.HTTPResponse):
    """Reads on over every interim answer (103 Early Hints), as the standard library does over 100 alone. 101 is final: it changes
    the protocol."""

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]
        return version, http.client.CONTINUE if status in _INTERIM else status, reason


def shown(text: str) -> str:
    """Text that a backend may have a part in, fit for a line of a log or a terminal: nothing but printable characters, and not
    many of them."""
    plain = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text[: _SHOWN + 1])
    return plain if len(plain) <= _SHOWN else f"{plain[: _SHOWN - 1]}…"


class Probing:
    """The means to probe. ``sockets``: descriptors of probes under way, for `abandon` after a fork."""

    def __init__(self) -> None:
        self._sockets: set[int] = set()
        self._contexts: dict[bool, ssl.SSLContext] = {}
        self._running = 0
        self._ticked = self._lost = 0.0

    def probe(self, aim: Aim) -> Result:
        """Never raises for what the backend does; takes ``aim.check.timeout`` seconds at most, unless the master stood still
        meanwhile."""
        self._running += 1
        if self._running == 1:
            self._ticked = time.monotonic()
            gevent.spawn(self._watch)
        try:
            for _ in range(_TRIES):
                before = self._lost_until_now()
                result = self._once(aim)
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

    def _once(self, aim: Aim) -> Result:
        started = time.monotonic()
        timeout = gevent.Timeout(aim.check.timeout or None)
        try:
            with timeout:
                ok, reason = self._probe(aim)
        except gevent.Timeout as expired:
            if expired is not timeout:
                raise
            ok, reason = False, f"no answer within {aim.check.timeout:g} s"
        except ssl.SSLCertVerificationError as error:
            ok, reason = False, f"its certificate is not valid: {error.verify_message}"
        except ssl.SSLError as error:
            ok, reason = False, f"TLS fails: {error.reason or error}"
        except OSError as error:
            ok, reason = False, (error.strerror or str(error)).lower()
        except (urllib3.exceptions.HTTPError, http.client.HTTPException) as error:
            ok, reason = False, f"no proper HTTP answer: {error}"
        except Exception as error:  # a name that no codec knows, say: a check that cannot be made has failed
            ok, reason = False, f"the probe cannot be made: {type(error).__name__}: {error}"
        return Result(ok, shown(reason), time.monotonic() - started)

    def abandon(self) -> None:
        """In a forked child: close the probes' descriptors, so that the backends see the master's close. The objects are left
        alone: they wait in greenlets that never run here, and nothing may finalize them (the child ends by `os._exit`)."""
        for fd in self._sockets:
            os.close(fd)
        self._sockets = set()

    def _probe(self, aim: Aim) -> tuple[bool, str]:
        if not aim.address:
            return False, UNRESOLVED
        connection = socket.socket(socket.AF_INET6 if ":" in aim.address else socket.AF_INET, socket.SOCK_STREAM)
        fd = connection.fileno()
        self._sockets.add(fd)
        try:
            connection.connect((aim.address, aim.port))
            return self._speak(aim, connection)
        finally:
            connection.close()
            self._sockets.discard(fd)

    def _speak(self, aim: Aim, connection: socket.socket) -> tuple[bool, str]:
        check = aim.check
        if check.type == "tcp":
            return True, "it accepts connections"
        speaking = connection
        if aim.scheme == "https":
            speaking = self._context(aim.verify).wrap_socket(connection, server_hostname=aim.sni)
        request = HTTPConnection(aim.host, aim.port)
        request.response_class = _Final
        request.sock = speaking
        try:
            headers = {"Host": check.host or aim.authority, "User-Agent": "terraster-health-check", "Connection": "close"}
            request.request("GET", check.path, headers=headers, preload_content=False)
            response = request.getresponse()
            if not any(low <= response.status <= high for low, high in check.status):
                return False, f"status {response.status}"
            if check.body and check.body.encode() not in response.read(_BODY):
                return False, f"status {response.status}, but without the expected text"
            return True, f"status {response.status}"
        finally:
            request.close()
            speaking.close()

    def _context(self, verify: bool) -> ssl.SSLContext:
        if verify not in self._contexts:
            context = ssl.create_default_context()
            if not verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            self._contexts[verify] = context
        return self._contexts[verify]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
