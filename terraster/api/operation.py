"""An operation of the API: one row of the table from which routing, checks, refusals, OpenAPI and the manual are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from .call import Answer, Call, Role
from .models.base import Query

__all__ = ["SAFE", "Operation", "Role"]

SAFE = ("GET", "HEAD")
"""The methods that change nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method at one path.

    path:      with named parts, such as ``/api/users/{name}``
    id:        operationId in OpenAPI, camelCase
    tag:       the family, a word in small letters
    summary:   one sentence without a full stop
    detail:    more sentences for the manual
    handle:    takes the `Call`, gives the `Answer`; raises `Refused`. It runs in the greenlet of the client's connection, and may wait
    role:      the least that may call it; None: open to all, also without login
    body:      model of the JSON body; None: there is none
    bare:      True if the body may be left out; `Call.body` is None then
    query:     model of the query
    answer:    model of the answer; None: none, or one that is not JSON
    status:    of a success
    media:     type of an answer that is not JSON
    refuses:   statuses beyond those that every operation has
    if_match:  "required": without `If-Match` 428; "honoured": looked at if it is sent. None: not looked at
    etag:      the ETag of what the call changes, as it is now; raises `Refused`. The router compares it before it reads the body. A
               handler whose change could race with another one compares again, where it changes (`Call.matches`)
    expired:   True if a caller with an expired password may call it
    example:   of a call, for the manual; tests make it: ``parts query body``. ``after``: id of the operation whose example comes before;
               ``takes``: words in this one that stand for members of that one's answer, such as ``{"ID": "items.0.id"}``. ``own``: True if a
               user makes it, not the control socket
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    id: str
    tag: str
    summary: str
    handle: Callable[[Call], Answer]
    role: Role | None
    detail: str = ""
    body: type[BaseModel] | None = None
    bare: bool = False
    query: type[Query] = Query
    answer: type[BaseModel] | None = None
    status: int = 200
    media: str = ""
    refuses: tuple[int, ...] = ()
    if_match: Literal["required", "honoured"] | None = None
    etag: Callable[[Call], str] | None = None
    expired: bool = False
    example: Mapping[str, Any] = field(default_factory=dict)

    @property
    def safe(self) -> bool:
        """True if it changes nothing."""
        return self.method in SAFE
