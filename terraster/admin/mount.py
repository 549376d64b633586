"""The API on the admin worker's sites: WSGI on one side, `terraster.api.router` on the other.

Paths of the API go to its router, all others to the site that was there before. On the control socket the kernel says which user calls, and
that user has the role admin.
"""

from __future__ import annotations

import json
import pwd
import secrets
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..api.call import Caller, Credentials, Reply, Request, Role
from ..api.problem import Refused
from .peers import plain_address
from .server import PEER_UID, RAW_PATH
from .site import Environ, Refusal, Site

if TYPE_CHECKING:
    from ..api.router import Api

__all__ = ["Mount", "SocketIdentity", "operator"]

Start = Callable[[str, list[tuple[str, str]]], object]


class SocketIdentity:
    """The callers of the control socket: users of the host, by the kernel's word."""

    def identify(self, credentials: Credentials) -> Caller | None:
        if credentials.uid is None:
            return None
        return Caller(operator(credentials.uid, credentials.claimed), Role.ADMIN, "socket", "unix")

    def hint(self) -> str:
        return "the kernel does not say which user this is"


class Mount:
    """A WSGI application: the API, and beside it a site.

    make:  gives the API, at the first request for it: its modules and models take 15 MiB, and many a Terraster is never asked
    guard: as that of `Site`, called first for the API's paths
    """

    def __init__(self, make: Callable[[], Api], site: Site, guard: Callable[[Environ], None] | None = None) -> None:
        self._make = make
        self._site = site
        self._guard = guard

    @cached_property
    def _api(self) -> Api:
        return self._make()

    @cached_property
    def _document(self) -> bytes:
        from ..api.openapi import document

        return json.dumps(document(self._api.operations, __version__)).encode() + b"\n"

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        path = environ.get(RAW_PATH, environ["PATH_INFO"])
        if not path.startswith("/api/") and path != "/openapi.json":
            return self._site(environ, start_response)
        from ..api.router import refusal

        instance = secrets.token_hex(8)
        try:
            if self._guard is not None:
                self._guard(environ)
            reply = self._openapi(environ) if path == "/openapi.json" else self._api.answer(_request(environ, path, instance))
        except Refusal as refused:
            reply = refusal(Refused(refused.status, str(refused), headers=refused.headers), instance)
        except Refused as refused:
            reply = refusal(refused, instance)
        return _send(reply, environ["REQUEST_METHOD"], start_response)

    def _openapi(self, environ: Environ) -> Reply:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            raise Refused(405, "this path accepts only GET, HEAD", headers=[("Allow", "GET, HEAD")])
        return Reply(200, (("Content-Type", "application/json"),), self._document)


def operator(uid: int, claimed: str = "") -> str:
    """The name of an operator: the user at the other end of the socket. claimed: behind sudo, the calling user's name; it follows in
    parentheses"""
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = f"user {uid}"
    return f"{user} ({claimed})" if claimed and claimed != user else user


def _request(environ: Environ, path: str, instance: str) -> Request:
    headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
    if "CONTENT_TYPE" in environ and environ["CONTENT_TYPE"]:
        headers["content-type"] = environ["CONTENT_TYPE"]
    length = environ.get("CONTENT_LENGTH")
    return Request(
        method=environ["REQUEST_METHOD"],
        path=path,
        query=environ.get("QUERY_STRING", ""),
        headers=headers,
        length=int(length) if length else None,
        read=partial(_body, environ, int(length or 0)),
        credentials=_credentials(environ, headers),
        id=instance,
    )


def _body(environ: Environ, length: int) -> bytes:
    """Raises `Refused`."""
    try:
        return bytes(environ["wsgi.input"].read(length))
    except OSError as error:
        raise Refused(408, f"the request body did not come: {error}") from None


def _credentials(environ: Environ, headers: Mapping[str, str]) -> Credentials:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    uid = environ.get(PEER_UID)
    return Credentials(
        bearer=token.strip() if scheme.lower() == "bearer" else "",
        cookies=_cookies(headers.get("cookie", "")),
        address="unix" if uid is not None else plain_address(environ.get("REMOTE_ADDR", "")),
        uid=uid,
        origin=headers.get("origin", ""),
        host=headers.get("host", ""),
        method=environ["REQUEST_METHOD"],
        secure=environ.get("wsgi.url_scheme") == "https",
        claimed=headers.get("x-terraster-by", "") if uid is not None else "",
        agent=headers.get("user-agent", "")[:200],
    )


def _cookies(field: str) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(field).items()}
    except CookieError:
        return {}


def _send(reply: Reply, method: str, start_response: Start) -> Iterable[bytes]:
    headers: list[tuple[str, str]] = [*reply.headers, ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")]
    body: Any = reply.body
    if isinstance(body, list):
        body = b"".join(body)
    if isinstance(body, bytes):
        headers.append(("Content-Length", str(len(body))))
    start_response(f"{reply.status} {HTTPStatus(reply.status).phrase}", headers)
    if body is None or method == "HEAD":
        return ()
    return (body,) if isinstance(body, bytes) else body
