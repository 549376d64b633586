"""A call of an operation, and its answer: values without WSGI.

`Request` is what the server read. The router makes a `Call` of it, once the caller may make it and query and body are as their models say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal

from pydantic import BaseModel

__all__ = ["Answer", "Call", "Caller", "Credentials", "Effect", "Reply", "Request", "Role"]

Headers = tuple[tuple[str, str], ...]


class Role(IntEnum):
    """The rights of a caller. Each role may do what those before it may."""

    READER = 1
    OPERATOR = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Caller:
    """A program or person that is known. how: what it was known by. address: of the socket's peer, "unix" for the control socket.
    session: the id of its login, "" if it has none. user: its number, 0 for the control
    socket. expired: True if its password must be changed before anything else. scopes: ids or tags of the operations that a token is for,
    empty: all of its role"""

    name: str
    role: Role
    how: Literal["socket", "session", "token"]
    address: str = ""
    session: str = ""
    user: int = 0
    expired: bool = False
    scopes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Credentials:
    """All that a request shows of its caller.

    bearer:  of `Authorization: Bearer …`, "" if there is none
    cookies: by name
    address: the IP address of the socket's peer, v4-mapped ones as IPv4; "unix" on the control socket
    uid:     the user at the other end of the control socket, as the kernel knows it; None on a TCP port
    origin, host, method: of the request, for the check of `Origin`
    secure:  True if the client came by TLS
    claimed: who the peer of a control socket says it acts for (`X-Terraster-By`, of terrasterctl behind sudo)
    """

    bearer: str = ""
    cookies: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    uid: int | None = None
    origin: str = ""
    host: str = ""
    method: str = "GET"
    secure: bool = False
    claimed: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """One request. path: as sent, still percent-encoded, without the query. query: as sent. length: of the body in octets, None if the
    request has no Content-Length. read: the body. headers: by lower-case name"""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    length: int | None
    read: Callable[[], bytes]
    credentials: Credentials
    id: str


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operation.

    query, body: of the operation's models; body is None if it has none
    parts:       the named parts of the path, decoded
    caller:      None only for an operation without a role
    if_match:    the entity tags of `If-Match`, ``("*",)`` for any; () if it was not sent
    credentials: for login and logout only
    still:       True if the caller may still make this call; for answers that take long
    """

    operation: str
    query: Any
    body: Any
    parts: Mapping[str, str]
    caller: Caller | None
    request_id: str
    if_match: tuple[str, ...] = ()
    credentials: Credentials = field(default_factory=Credentials)
    still: Callable[[], bool] = bool

    def matches(self, etag: str) -> bool:
        """True if `If-Match` allows a change of what has this ETag (RFC 9110, section 13.1.1). Without the field it does."""
        return not self.if_match or self.if_match == ("*",) or etag in self.if_match


@dataclass(frozen=True, slots=True)
class Effect:
    """The effect of an unsafe operation, for the audit. target: what it is about, such as ``backend http://10.0.0.1 of shop``. before, after:
    JSON values without secrets, None: it was or is not there. generation: that has the change, 0: none does. action: its name in the audit log,
    "": as the operation has it. unknown: True if nobody can tell whether it came into effect. user: of a call without a login, such as a
    login: who it proved to be from, "": nobody"""

    target: str = ""
    before: Any = None
    after: Any = None
    reason: str = ""
    generation: int = 0
    outcome: str = "ok"
    action: str = ""
    unknown: bool = False
    user: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a handler.

    value:  a model or plain JSON values, None: the answer has no body
    pieces: instead of value, the body in pieces that are made while they are sent
    type:   media type of the body
    etag:   with its quotes, "" = none
    status: instead of the operation's, 0: that one
    effect: of an unsafe operation
    """

    value: BaseModel | Mapping[str, Any] | None = None
    pieces: Iterable[bytes] | None = None
    type: str = "application/json"
    etag: str = ""
    headers: Headers = ()
    status: int = 0
    effect: Effect | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it goes to the client. body: octets, or pieces that are made while they are sent; None: not even an empty one (204)."""

    status: int
    headers: Headers
    body: bytes | Iterable[bytes] | None
