"""A server of gRPC by grpcio, without generated code: messages are octets.

/t.T/Echo     unary: the message
/t.T/Name     unary: the name of the server
/t.T/Size     client streaming: number and octets of the messages
/t.T/Count    server streaming: the message says how many; the numbers from 0 on
/t.T/Chat     bidirectional: each message, backwards
/t.T/Fail     trailers-only: the status whose number is the message, "no: ä%" and the trailer x-why
/t.T/Late     one message, then the same status
/t.T/Slow     waits until the call has ended, or 20 seconds
/grpc.health.v1.Health/Check   by `health`
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

import grpc

from .waiting import DEADLINE

__all__ = ["GrpcServer", "status"]

_STATUSES: dict[int, Any] = {one.value[0]: one for one in grpc.StatusCode}

Options = Sequence[tuple[str, Any]]

SIZE: Options = [("grpc.max_receive_message_length", 16 << 20), ("grpc.max_send_message_length", 16 << 20)]


def status(number: int) -> Any:
    """The status of this number, as grpcio has it."""
    return _STATUSES[number]


class GrpcServer(grpc.GenericRpcHandler):  # type: ignore[misc]
    """A server on loopback.

    tls: (key, certificate) in PEM. options: of grpcio. calls: (method, metadata) of each call. peers: the other ends of connections on which
    Name was called. health: by service, the number of its serving status. failing: how many calls more end at once with UNAVAILABLE. begun,
    cancelled: set when a call of Slow has begun, and when one of Slow or Count has ended. remaining: seconds until the deadline of the last
    call of Slow, None without one.
    """

    def __init__(self, name: str = "", *, tls: tuple[bytes, bytes] | None = None, options: Options = ()) -> None:
        self.name = name
        self.health: dict[str, int] = {"": 1}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.cancelled = threading.Event()
        self.begun = threading.Event()
        self.failing = 0
        self.remaining: float | None = None
        self.peers: set[str] = set()
        self.server = grpc.server(ThreadPoolExecutor(32), options=[*SIZE, ("grpc.so_reuseport", 0), *options])
        self.server.add_generic_rpc_handlers((self,))
        if tls is None:
            port = self.server.add_insecure_port("127.0.0.1:0")
        else:
            port = self.server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([tls]))
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{port}"
        self.server.start()

    def __enter__(self) -> GrpcServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop(0)

    def stop(self, grace: float) -> None:
        """End. grace: seconds in which calls may end; new ones are refused by GOAWAY at once."""
        self.server.stop(grace).wait(DEADLINE)

    def service(self, details: Any) -> Any:
        self.calls.append((details.method, dict(details.invocation_metadata)))
        method = details.method.rpartition("/")[2]
        if self.failing > 0:
            self.failing -= 1
            return grpc.unary_unary_rpc_method_handler(self._refuse)
        streams = {"Size": grpc.stream_unary_rpc_method_handler, "Count": grpc.unary_stream_rpc_method_handler}
        streams |= {"Late": grpc.unary_stream_rpc_method_handler, "Chat": grpc.stream_stream_rpc_method_handler}
        found = getattr(self, f"_{method.lower()}", None)
        return None if found is None else streams.get(method, grpc.unary_unary_rpc_method_handler)(found)

    def _refuse(self, _message: bytes, context: Any) -> bytes:
        context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        raise AssertionError

    def _echo(self, message: bytes, _context: Any) -> bytes:
        return message

    def _name(self, _message: bytes, context: Any) -> bytes:
        self.peers.add(context.peer())
        return self.name.encode()

    def _size(self, messages: Iterator[bytes], _context: Any) -> bytes:
        sizes = [len(message) for message in messages]
        return b"%d %d" % (len(sizes), sum(sizes))

    def _count(self, message: bytes, context: Any) -> Iterator[bytes]:
        context.add_callback(self.cancelled.set)
        for number in range(int(message)):
            yield b"%d" % number

    def _chat(self, messages: Iterator[bytes], _context: Any) -> Iterator[bytes]:
        for message in messages:
            yield message[::-1]

    def _fail(self, message: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("x-why", "because"),))
        context.abort(_STATUSES[int(message)], "no: ä%")
        raise AssertionError

    def _late(self, message: bytes, context: Any) -> Iterator[bytes]:
        yield b"first"
        self._fail(message, context)

    def _slow(self, _message: bytes, context: Any) -> bytes:
        ended = threading.Event()
        context.add_callback(ended.set)
        self.remaining = context.time_remaining()
        self.begun.set()
        ended.wait(DEADLINE)
        self.cancelled.set()
        return b"late"

    def _check(self, message: bytes, context: Any) -> bytes:
        service = message[2:].decode() if message else ""
        assert message == (b"\x0a" + bytes((len(service),)) + service.encode() if service else b"")
        serving = self.health.get(service)
        if serving is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return b"\x08" + bytes((serving,)) if serving else b""
