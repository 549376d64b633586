"""An OCSP responder over HTTP whose answers the test decides."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

__all__ = ["OcspResponder", "hangs", "status"]

Answer = Callable[[BaseHTTPRequestHandler], None]


class OcspResponder:
    """Answers at ``url(name)`` as ``answers[name]`` says: octets are sent with 200. As a context manager it serves.

    requests: the method, the name and the octets of each question
    """

    def __init__(self) -> None:
        self.answers: dict[str, bytes | Answer] = {}
        self.requests: list[tuple[str, str, bytes]] = []
        self.ended = threading.Event()
        house = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name, _, question = self.path.lstrip("/").partition("/")
                self._reply(name, base64.b64decode(unquote(question)))

            def do_POST(self) -> None:
                self._reply(self.path.strip("/"), self.rfile.read(int(self.headers["Content-Length"])))

            def _reply(self, name: str, question: bytes) -> None:
                house.requests.append((self.command, name, question))
                answer = house.answers[name]
                with suppress(ConnectionError):
                    if callable(answer):
                        answer(self)
                    else:
                        status(200, answer)(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.house = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> OcspResponder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/{name}"


def status(code: int, body: bytes = b"", **fields: str) -> Answer:
    """An answer with a status."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        for name, value in fields.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def hangs(request: BaseHTTPRequestHandler) -> None:
    """No answer until the responder ends."""
    request.server.house.ended.wait(60)  # type: ignore[attr-defined]
