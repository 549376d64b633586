"""Spans: what a finished request and its attempts become for OpenTelemetry. Pure.

A worker packs the facts of a request (`Packer.pack`), which costs little, and the process that exports them makes spans of these (`spans`).
Names of attributes are those of the stable semantic conventions for HTTP, and `terraster.…` for what has none there.

Secrets: no field of a request is read but User-Agent; values of a query are masked as in access lines, and the path has no user or password.
"""

from __future__ import annotations

import marshal
from typing import Any, NamedTuple

from ..config.snapshot import AccessLog
from ..exchange import CONNECT_TIME, QUEUE_TIME, TLS_TIME, Exchange
from ..wire.grpc import STATUSES
from .endings import termination_state
from .sanitizer import Sanitizer
from .trace import AttemptTrace, Trace

__all__ = ["CLIENT", "SERVER", "VERSION", "Packer", "Span", "spans"]

VERSION = 1
"""Of the packed form. Another one is not read: the code of the exporting process may be newer than that of a worker."""

SERVER, CLIENT = 1, 2

_LONGEST = 2048
"""Characters of a text that a client chose."""

_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH", b"QUERY"))
_OUTCOMES = ("abandoned", "good", "bad_status", "failed", "overtaken")
_NOTHING: dict[Any, Any] = {}
_SECOND = 1_000_000_000


class Span(NamedTuple):
    """One span. kind: SERVER or CLIENT. parent_id: "" for the first of a trace. is_remote: True if its parent is of another program. started,
    ended: nanoseconds since 1970. failed: True if its status is an error"""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    is_remote: bool
    state: str
    started: int
    ended: int
    attributes: dict[str, Any]
    failed: bool
    words: str


class Packer:
    """Packs requests of places with one `AccessLog`, which says what is masked."""

    __slots__ = ("_masked", "_query")

    def __init__(self, config: AccessLog) -> None:
        self._masked = Sanitizer(config.redact_query, config.mask).uri
        self._query = config.query is not False

    def pack(self, x: Exchange, trace: Trace) -> tuple[int, bytes]:
        """The number of spans, and the facts in octets."""
        uri = _text(x.target)
        if "?" in uri or "@" in uri:
            uri = self._masked(uri)
        path, _, query = uri.partition("?")
        agent, version, head = b"", "", x.head
        if head is not None:
            version = "2" if head.major == 2 else f"1.{head.minor}"
            for name, value in head.fields:
                if len(name) == 10 and name.lower() == b"user-agent":
                    agent = value
        spent = x.facts or _NOTHING
        begun = int(x.wall * _SECOND)
        attempts = [_packed(one, begun, x.started, x.duration) for one in trace.attempts]
        facts = (
            trace.trace_id,
            trace.span_id,
            trace.parent_id,
            trace.state,
            begun,
            begun + int(x.duration * _SECOND),
            x.method if x.method in _METHODS else b"_OTHER",
            x.method[:64],
            x.scheme,
            _text(x.host),
            _text(x.path) if x.path[:1] == b"/" else path[:_LONGEST],
            query[:_LONGEST] if self._query else "",
            x.client_ip,
            x.peer_ip,
            version,
            x.status,
            "" if x.service is None else x.service.name,
            "" if x.location is None else x.location.label,
            _text(agent),
            x.error,
            _text(x.request_id),
            termination_state(x),
            (spent.get(QUEUE_TIME), spent.get(CONNECT_TIME), spent.get(TLS_TIME)),
            x.upstream_time,
            -1 if x.grpc is None else x.grpc.status,
            attempts,
        )
        return 1 + len(attempts), marshal.dumps(facts)


def _packed(one: AttemptTrace, begun: int, started: float, duration: float) -> tuple[Any, ...]:
    """begun, started, duration: of the request. Its end counts for an attempt that was not over then: another one had overtaken it"""
    backend: Any = one.backend
    lasted = one.ended_at - started if one.ended_at else duration
    return (
        one.span_id,
        begun + int((one.began_at - started) * _SECOND),
        begun + int(lasted * _SECOND),
        backend.scheme,
        backend.host,
        backend.port,
        backend.name,
        backend.address,
        one.status,
        one.error,
        one.outcome if one.ended_at else len(_OUTCOMES) - 1,
        one.kept,
        one.resend,
        one.head_at - one.began_at if one.head_at else -1.0,
        one.spent,
    )


def _text(octets: bytes) -> str:
    return octets[:_LONGEST].decode("utf-8", "backslashreplace")


def spans(packed: bytes) -> list[Span]:
    """The spans of a packed request, that of the request first."""
    (
        trace_id,
        span_id,
        parent_id,
        state,
        started,
        ended,
        method,
        as_sent,
        scheme,
        host,
        path,
        query,
        client,
        peer,
        version,
        status,
        service,
        route,
        agent,
        error,
        request_id,
        ending,
        times,
        upstream_time,
        grpc,
        attempts,
    ) = marshal.loads(packed)
    verb = method.decode("ascii")
    attributes: dict[str, Any] = {"http.request.method": verb, "url.scheme": scheme, "http.response.status_code": status}
    name, port = _split(host)
    also = {
        "url.path": path,
        "url.query": query,
        "server.address": name,
        "server.port": port,
        "client.address": client,
        "network.peer.address": peer,
        "network.protocol.version": version,
        "user_agent.original": agent,
        "http.route": route,
        "terraster.service": service,
        "terraster.request_id": request_id,
        "terraster.termination_state": ending,
    }
    attributes |= {key: value for key, value in also.items() if value}
    if verb == "_OTHER":
        attributes["http.request.method_original"] = as_sent.decode("ascii", "backslashreplace")
    for key, seconds in zip((QUEUE_TIME, CONNECT_TIME, TLS_TIME), times, strict=True):
        if seconds is not None:
            attributes[f"terraster.{key}"] = seconds
    if upstream_time >= 0:
        attributes["terraster.upstream_time"] = upstream_time
    if grpc >= 0:
        attributes |= {"rpc.system": "grpc", "rpc.grpc.status_code": grpc}
    failed = status >= 500 or (grpc > 0 and STATUSES[grpc] in _SERVER_FAULTS)
    if failed or status == 499:
        attributes["error.type"] = error or str(status)
    shown = "HTTP" if verb == "_OTHER" else verb
    made = [
        Span(
            f"{shown} {route}" if route else shown,
            SERVER,
            trace_id.decode("ascii"),
            span_id.decode("ascii"),
            parent_id.decode("ascii"),
            bool(parent_id),
            state.decode("ascii"),
            started,
            max(started, ended),
            attributes,
            failed,
            error,
        )
    ]
    made += [_of_attempt(made[0], verb, attributes, path, query, attempt) for attempt in attempts]
    return made


_SERVER_FAULTS = frozenset(("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"))
"""Statuses of a call that are the server's fault: OpenTelemetry's conventions for gRPC."""


def _of_attempt(of: Span, verb: str, request: dict[str, Any], path: str, query: str, packed: tuple[Any, ...]) -> Span:
    (span_id, started, ended, scheme, host, port, name, address, status, error, number, kept, resend, head, spent) = packed
    outcome = _OUTCOMES[number]
    attributes: dict[str, Any] = {
        "http.request.method": verb,
        "url.full": f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{path}{'?' * bool(query)}{query}",
        "server.address": host,
        "server.port": port,
        "terraster.outcome": outcome,
        "terraster.connection_reused": kept,
    }
    if "http.request.method_original" in request:
        attributes["http.request.method_original"] = request["http.request.method_original"]
    if address:
        attributes["network.peer.address"] = address
    if name:
        attributes["terraster.backend"] = name
    if resend:
        attributes["http.request.resend_count"] = resend
    if status:
        attributes["http.response.status_code"] = status
    if head >= 0:
        attributes["terraster.response_head_time"] = head
    for key, seconds in zip((QUEUE_TIME, CONNECT_TIME, TLS_TIME), spent, strict=True):
        if seconds >= 0:
            attributes[f"terraster.{key}"] = seconds
    failed = outcome == "failed" or status >= 400
    if failed or outcome in ("abandoned", "overtaken"):
        attributes["error.type"] = error or (str(status) if status >= 400 else outcome)
    shown = "HTTP" if verb == "_OTHER" else verb
    return Span(
        shown,
        CLIENT,
        of.trace_id,
        span_id.decode("ascii"),
        of.span_id,
        False,
        of.state,
        started,
        max(started, ended),
        attributes,
        failed,
        error,
    )


def _split(host: str) -> tuple[str, int]:
    """A host and its port, 0: it names none."""
    name, colon, port = host.rpartition(":")
    if colon and port.isdecimal() and len(port) <= 5 and not name.endswith(":"):
        return name.strip("[]"), int(port)
    return host.strip("[]"), 0
