"""The admin worker's WSGI applications: the admin port, the metrics port and the control socket.

    admin_listen     GET /  /dashboard/…  /metrics  /healthz  /readyz
    metrics_listen   GET /metrics  /healthz
    control.sock     GET /status  /why  /reload  /plugins  /healthz  only for the user that Terraster runs as, and root
                     POST /reload  /stop  /backend  /explain       (the kernel tells the user)

These paths change nothing on TCP ports, so they need no password there. Errors are problems (RFC 9457); their member ``error`` is the detail
again, for programs that know no problems. `terraster.admin.mount` puts the API beside these paths.
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

__all__ = ["BODY", "Response", "Handler", "Refusal", "Site", "json_response", "only_for_owner"]

Environ = Mapping[str, Any]
_SHOWN = 200  # characters of a method or path in a line of the log

BODY = "terraster.body"
"""The key of the query under which a handler has the body of a request, if it has one; the server bounds its length."""


@dataclass(frozen=True, slots=True)
class Response:
    """A response. ``body``: octets, or an iterable of pieces that are made while they are sent."""

    body: bytes | Iterable[bytes]
    type: str = "text/plain; charset=utf-8"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = field(default=())


class Refusal(TerrasterError):
    """A handler refuses a request. The message becomes the JSON error."""

    def __init__(self, status: int, detail: str, *headers: tuple[str, str]) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers


Handler = Callable[[dict[str, str]], Response]
"""Takes the query and returns the response. The query has only the first value of each name. On a unix socket it has `PEER_UID` from the
kernel. Raises Refusal, or TerrasterError if the master does not answer (503)."""


class Site:
    """A WSGI application with a few fixed paths.

    routes: path → method → handler; HEAD uses the handler of GET
    log:    the program's log, for exceptions that are defects
    guard:  called first with the WSGI environment; raises Refusal
    beside: paths that are served beside it, and worth naming
    """

    def __init__(
        self,
        routes: Mapping[str, Mapping[str, Handler]],
        log: Any,
        guard: Callable[[Environ], None] | None = None,
        beside: tuple[str, ...] = (),
    ) -> None:
        self._routes = routes
        self._beside = beside
        self._guard = guard
        self._log = log

    def __call__(self, environ: Environ, start_response: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
        try:
            answer = self._answer(environ)
        except Refusal as refusal:
            answer = problem(refusal.status, str(refusal), *refusal.headers)
        except TerrasterError as error:
            answer = problem(503, str(error))
        except Exception:
            self._log.exception("admin: %s %s failed", environ["REQUEST_METHOD"][:_SHOWN], environ["PATH_INFO"][:_SHOWN])
            answer = problem(500, "internal error, see the log")
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
            raise Refusal(404, f"this path does not exist; existing paths: {', '.join([*self._top(), *self._beside])}")
        method = environ["REQUEST_METHOD"]
        handler = methods.get("GET" if method == "HEAD" else method)
        if handler is None:
            raise Refusal(405, f"this path accepts only {', '.join(methods)}", ("Allow", ", ".join(methods)))
        query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        given = {name: values[0] for name, values in query.items() if name not in (PEER_UID, BODY)}
        if environ.get("CONTENT_LENGTH"):
            try:
                given[BODY] = environ["wsgi.input"].read().decode("utf-8", "replace")
            except OSError as error:
                raise Refusal(408, f"the request body did not come: {error}") from None
        if PEER_UID in environ:
            given[PEER_UID] = str(environ[PEER_UID])
        return handler(given)

    def _top(self) -> list[str]:
        """The paths that are worth naming: not those of a page's files."""
        return [path for path in self._routes if path.count("/") == 1]


def json_response(value: Any, status: int = 200, *headers: tuple[str, str]) -> Response:
    """A response with a JSON body and a newline at its end."""
    return Response(json.dumps(value).encode() + b"\n", "application/json", status, headers)


def problem(status: int, detail: str, *headers: tuple[str, str]) -> Response:
    """An answer that is not what was asked for."""
    value = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, "error": detail}
    return Response(json.dumps(value).encode() + b"\n", "application/problem+json", status, headers)


def only_for_owner(environ: Environ) -> None:
    """Refuse every user but root and the one that Terraster runs as. The mode of the socket file does the same, but not on every
    system."""
    if environ.get(PEER_UID) not in (os.geteuid(), 0):
        raise Refusal(403, f"permission denied: only root and user {os.geteuid()}, which Terraster runs as, may use this socket")
