"""What the admin worker answers, as WSGI applications: the admin port, the metrics port and the control socket.

    admin_listen     GET /  /metrics  /healthz  /readyz
    metrics_listen   GET /metrics  /healthz
    control.sock     GET /status  /why  /reload  /healthz                     the same user or root only, as the kernel says
                     POST /reload  /stop  /backend

Nothing on the TCP ports changes anything, so they need no password. Errors are JSON: ``{"error": …, "status": …}``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from ..errors import TerrasterError
from .server import PEER_UID

__all__ = ["Response", "Handler", "Refusal", "Site", "index", "json_response", "only_for_owner"]

Environ = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Response:
    """A response. ``body``: octets, or pieces that are made while they are sent."""

    body: bytes | Iterable[bytes]
    type: str = "text/plain; charset=utf-8"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = field(default=())


class Refusal(TerrasterError):
    """An answer that says no."""

    def __init__(self, status: int, detail: str, *headers: tuple[str, str]) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers


Handler = Callable[[dict[str, str]], Response]
"""Takes the query (first values only; on a unix socket `PEER_UID` is among them, as the kernel says). Raises Refusal, or TerrasterError
if the master is away (503)."""


class Site:
    """A WSGI application of a few fixed paths.

    routes: path → method → handler; HEAD goes to GET
    guard:  looks at the environment first and raises Refusal
    log:    the program's log, for what should never happen
    """

    def __init__(
        self, routes: Mapping[str, Mapping[str, Handler]], log: Any, guard: Callable[[Environ], None] | None = None
    ) -> None:
        self._routes = routes
        self._guard = guard
        self._log = log

    def __call__(self, environ: Environ, start_response: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
        try:
            answer = self._answer(environ)
        except Refusal as refusal:
            answer = json_response({"error": str(refusal), "status": refusal.status}, refusal.status, *refusal.headers)
        except TerrasterError as error:
            answer = json_response({"error": str(error), "status": 503}, 503)
        except Exception:
            self._log.exception("admin: %s %s failed", environ["REQUEST_METHOD"], environ["PATH_INFO"])
            answer = json_response({"error": "internal error, see the log", "status": 500}, 500)
        headers = [
            ("Content-Type", answer.type),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            *answer.headers,
        ]
        if isinstance(answer.body, bytes):
            headers.append(("Content-Length", str(len(answer.body))))
        start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", headers)
        if environ["REQUEST_METHOD"] == "HEAD":
            return ()
        return (answer.body,) if isinstance(answer.body, bytes) else answer.body

    def _answer(self, environ: Environ) -> Response:
        if self._guard is not None:
            self._guard(environ)
        methods = self._routes.get(environ["PATH_INFO"])
        if methods is None:
            raise Refusal(404, f"nothing is here; there are: {', '.join(self._routes)}")
        method = environ["REQUEST_METHOD"]
        handler = methods.get("GET" if method == "HEAD" else method)
        if handler is None:
            raise Refusal(405, f"only {', '.join(methods)} works here", ("Allow", ", ".join(methods)))
        query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        given = {name: values[0] for name, values in query.items() if name != PEER_UID}
        if PEER_UID in environ:
            given[PEER_UID] = str(environ[PEER_UID])
        return handler(given)


def json_response(value: Any, status: int = 200, *headers: tuple[str, str]) -> Response:
    """An answer that is JSON, ended by a newline."""
    return Response(json.dumps(value).encode() + b"\n", "application/json", status, headers)


def only_for_owner(environ: Environ) -> None:
    """Let in the user Terraster runs as, and root. The file's mode says the same, but not on every system."""
    if environ.get(PEER_UID) not in (os.geteuid(), 0):
        raise Refusal(403, f"only user {os.geteuid()} (whom Terraster runs as) and root may steer it")


def index(version: str) -> Handler:
    """The admin port's front page."""
    links = (
        ("/metrics", "what Prometheus scrapes"),
        ("/healthz", "200 while Terraster lives"),
        ("/readyz", "200 while a proxy worker accepts connections"),
    )
    items = "".join(f'<li><a href="{path}">{path}</a> {text}</li>' for path, text in links)
    page = (
        f"<!doctype html><title>Terraster</title><h1>Terraster {version}</h1><ul>{items}</ul><p>On the host: terrasterctl status\n"
    )
    return lambda query: Response(page.encode(), "text/html; charset=utf-8")
