"""Receivers of OTLP on loopback, by the protobuf classes of OpenTelemetry: over HTTP, and by grpcio."""

from __future__ import annotations

import gzip
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

from .waiting import DEADLINE, wait_until

__all__ = ["GrpcReceiver", "HttpReceiver", "Receiver", "Seen"]

SERVER, CLIENT = 2, 3


@dataclass(frozen=True)
class Seen:
    """A span that came. Ids are hexadecimal digits. status: 0 unset, 1 ok, 2 an error"""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    state: str
    started: int
    ended: int
    attributes: dict[str, Any]
    status: int

    def __getitem__(self, key: str) -> Any:
        return self.attributes.get(key)


class Receiver:
    """Keeps what came. fields: those of each request. resources: the attributes of each batch. go: while it is not set,
    requests wait. asked: the number of requests, those that wait included."""

    def __init__(self) -> None:
        self.fields: list[dict[str, str]] = []
        self.resources: list[dict[str, Any]] = []
        self.spans: list[Seen] = []
        self.go = threading.Event()
        self.go.set()
        self.asked = 0
        self._lock = threading.Lock()

    def take(self, fields: dict[str, str], request: Any) -> None:
        with self._lock:
            self.asked += 1
        assert self.go.wait(DEADLINE)
        with self._lock:
            self.fields.append(fields)
            for group in request.resource_spans:
                self.resources.append(_values(group.resource.attributes))
                self.spans += [_seen(span) for scope in group.scope_spans for span in scope.spans]

    def servers(self) -> list[Seen]:
        """The spans of requests."""
        return [span for span in list(self.spans) if span.kind == SERVER]

    def clients(self, of: Seen) -> list[Seen]:
        """The spans of the attempts of a request, in the order in which they began."""
        found = [span for span in list(self.spans) if span.kind == CLIENT and span.parent_id == of.span_id]
        return sorted(found, key=lambda span: span.started)

    def wait(self, count: int = 1) -> list[Seen]:
        """The spans of requests, once there are so many."""
        wait_until(lambda: len(self.servers()) >= count, lambda: f"{len(self.servers())} of {count} requests in spans")
        return self.servers()


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


def _seen(span: Any) -> Seen:
    return Seen(
        span.name,
        span.kind,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.trace_state,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        _values(span.attributes),
        span.status.code,
    )


class HttpReceiver(Receiver):
    """Over HTTP. status: that it answers"""

    def __init__(self) -> None:
        super().__init__()
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                if receiver.status == 200:
                    fields = {name.lower(): value for name, value in self.headers.items()} | {":path": self.path}
                    receiver.take(fields, ExportTraceServiceRequest.FromString(body))
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def __enter__(self) -> HttpReceiver:
        return self

    def __exit__(self, *_: object) -> None:
        self.go.set()
        self._server.shutdown()
        self._server.server_close()


class GrpcReceiver(Receiver, TraceServiceServicer):  # type: ignore[misc]
    """By gRPC."""

    def __init__(self) -> None:
        super().__init__()
        self._server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        add_TraceServiceServicer_to_server(self, self._server)
        self.url = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def Export(self, request: Any, context: Any) -> Any:
        self.take(dict(context.invocation_metadata()), request)
        return ExportTraceServiceResponse()

    def __enter__(self) -> GrpcReceiver:
        return self

    def __exit__(self, *_: object) -> None:
        self.go.set()
        self._server.stop(None)
