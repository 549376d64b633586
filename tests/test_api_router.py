"""From a request to an operation: routes, the order of refusals, queries, bodies, ETags, and what is recorded."""

from __future__ import annotations

import json
from typing import Annotated, Any

import pytest
from pydantic import Field

from terraster.api.call import Answer, Call, Caller, Credentials, Effect, Request, Role
from terraster.api.models.base import Flag, Model, Query, Whole, spelt
from terraster.api.openapi import document, refusals
from terraster.api.operation import Operation
from terraster.api.problem import Refused
from terraster.api.router import BODY_OCTETS, Api
from terraster.errors import TerrasterError

ETAG = '"v1"'


class Body(Model):
    max_connections: Annotated[Whole, Field(ge=0, le=10, validation_alias=spelt("max_connections"))]
    reason: Annotated[str, Field(max_length=5)] = ""


class Free(Model):
    value: Any


class DryRun(Query):
    dry_run: Flag = False
    word: Annotated[str, Field(max_length=3)] = ""


class Echo(Model):
    query: dict[str, Any]
    body: dict[str, Any] | None
    parts: dict[str, str]
    caller: str


def echo(call: Call) -> Answer:
    caller = call.caller.name if call.caller else ""
    body = call.body.model_dump() if call.body else None
    return Answer(
        Echo(query=call.query.model_dump(), body=body, parts=dict(call.parts), caller=caller), etag=ETAG, effect=Effect("thing")
    )


def fails(call: Call) -> Answer:
    raise RuntimeError("the secret is 42")


def is_away(call: Call) -> Answer:
    raise TerrasterError("the master is away")


def etag(call: Call) -> str:
    if call.parts.get("name") == "none":
        raise Refused(404, "there is no such thing")
    return ETAG


TABLE = (
    Operation(method="GET", path="/api/open", id="getOpen", tag="t", summary="s", handle=echo, role=None, answer=Echo),
    Operation(method="GET", path="/api/things", id="listThings", tag="t", summary="s", handle=echo, role=Role.READER, query=DryRun),
    Operation(
        method="POST",
        path="/api/things",
        id="addThing",
        tag="t",
        summary="s",
        handle=echo,
        role=Role.OPERATOR,
        body=Body,
        status=201,
    ),
    Operation(
        method="PUT",
        path="/api/things/{name}",
        id="putThing",
        tag="t",
        summary="s",
        handle=echo,
        role=Role.ADMIN,
        body=Body,
        query=DryRun,
        if_match="required",
        etag=etag,
        refuses=(404,),
    ),
    Operation(
        method="DELETE",
        path="/api/things/{name}",
        id="dropThing",
        tag="t",
        summary="s",
        handle=lambda call: Answer(),
        role=Role.ADMIN,
        status=204,
        if_match="honoured",
        etag=etag,
        body=Body,
        bare=True,
    ),
    Operation(method="POST", path="/api/free", id="free", tag="t", summary="s", handle=lambda call: Answer(), role=None, body=Free),
    Operation(method="GET", path="/api/fails/{name}", id="getFailsOf", tag="t", summary="s", handle=fails, role=None),
    Operation(method="GET", path="/api/fails", id="getFails", tag="t", summary="s", handle=fails, role=None),
    Operation(method="POST", path="/api/away", id="goAway", tag="t", summary="s", handle=is_away, role=None),
)


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def exception(self, text: str, *values: object) -> None:
        self.lines.append(text % values)


class People:
    """Knows callers by a bearer that is the word of a role, perhaps with a scope behind a colon."""

    def identify(self, credentials: Credentials) -> Caller | None:
        word, _, scope = credentials.bearer.partition(":")
        if word not in ("reader", "operator", "admin"):
            return None
        return Caller(word, Role[word.upper()], "token", scopes=frozenset([scope] if scope else []))

    def hint(self) -> str:
        return "log in first"


class Rows:
    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.begun: list[tuple[str, str]] = []
        self.tokens: list[str] = []

    def begin(self, caller, operation, request_id, credentials) -> str:
        self.begun.append((caller.name, operation))
        return "token"

    def record(self, caller, operation, effect, request_id, status, credentials, token="") -> None:
        self.tokens.append(token)
        self.rows.append((caller.name if caller else None, operation, effect.target, effect.outcome, status))


class Desk:
    def __init__(self, debug: bool = False) -> None:
        self.log, self.rows = Log(), Rows()
        self.api = Api(TABLE, People(), self.rows, self.log, lambda: debug)

    def ask(self, line: str, bearer: str = "admin", body: Any = None, **fields: str) -> tuple[int, Any, dict[str, str]]:
        """(status, JSON of the body, headers by name)"""
        method, _, target = line.partition(" ")
        path, _, query = target.partition("?")
        octets = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        if body is not None:
            headers.setdefault("content-type", "application/json")
        length = int(headers["content-length"]) if "content-length" in headers else len(octets) if body is not None else None
        reply = self.api.answer(
            Request(method, path, query, headers, length, lambda: octets, Credentials(bearer=bearer, method=method), "r1")
        )
        return reply.status, json.loads(reply.body) if reply.body else None, dict(reply.headers)


BODY = {"max_connections": 3}


@pytest.mark.parametrize(
    ("line", "bearer", "body", "fields", "status"),
    [
        ("GET /api/nothing", "", None, {}, 404),
        ("GET /api/things/", "", None, {}, 404),
        ("GET /api/things/a/b", "", None, {}, 404),
        ("PATCH /api/things", "", None, {}, 405),
        ("GET /api/things?bad=1", "", None, {}, 401),
        ("POST /api/things?bad=1", "nobody", b"x", {"content_type": "text/plain"}, 401),
        ("POST /api/things?bad=1", "reader", b"x", {"content_type": "text/plain"}, 403),
        ("POST /api/things?bad=1", "operator:other", b"x", {"content_type": "text/plain"}, 403),
        ("POST /api/things?bad=1", "operator", b"x", {"content_type": "text/plain"}, 415),
        ("POST /api/things", "operator", None, {}, 415),
        ("POST /api/things", "operator", None, {"content_type": "application/json"}, 411),
        ("POST /api/things", "operator", BODY, {"content_length": str(BODY_OCTETS + 1)}, 413),
        ("POST /api/things?bad=1", "operator", b"x", {}, 422),
        ("PUT /api/things/a?bad=1", "admin", b"x", {"content_type": "text/plain"}, 415),
        ("PUT /api/things/a?bad=1", "admin", b"x", {}, 428),
        ("PUT /api/things/a?bad=1", "admin", b"x", {"if_match": '"old"'}, 422),
        ("PUT /api/things/a", "admin", b"x", {"if_match": "old"}, 400),
        ("PUT /api/things/a", "admin", b"x", {"if_match": '"old"'}, 412),
        ("PUT /api/things/a", "admin", b"x", {"if_match": 'W/"v1"'}, 412),
        ("PUT /api/things/none", "admin", b"x", {"if_match": ETAG}, 404),
        ("PUT /api/things/a", "admin", b"x", {"if_match": ETAG}, 422),
        ("PUT /api/things/a", "admin", BODY, {"if_match": f'"old", {ETAG}'}, 200),
        ("PUT /api/things/a", "admin", BODY, {"if_match": "*"}, 200),
        ("DELETE /api/things/a", "admin", None, {"if_match": '"old"'}, 412),
        ("DELETE /api/things/a", "admin", None, {}, 204),
        ("DELETE /api/things/a", "admin", b"x", {}, 422),
        ("POST /api/things", "operator:addThing", BODY, {}, 201),
        ("POST /api/things", "admin:t", BODY, {}, 201),
        ("GET /api/open", "", None, {}, 200),
        ("HEAD /api/open", "", None, {}, 200),
    ],
)
def test_refusals_come_in_their_order(line, bearer, body, fields, status):
    found, value, headers = Desk().ask(line, bearer, body, **fields)
    assert found == status
    if status >= 400:
        assert headers["Content-Type"] == "application/problem+json"
        assert value["status"] == status and value["instance"] == headers["X-Request-ID"] == "r1" and value["title"]
        assert ("WWW-Authenticate" in headers) == (status == 401)
        assert headers.get("ETag") == (ETAG if status == 412 else None)
        assert headers.get("Allow") == ("GET, POST, HEAD" if status == 405 else None)


@pytest.mark.parametrize(
    ("query", "pointer", "words"),
    [
        ("dry_run=yes", "/dry_run", "must be true or false"),
        ("word=long", "/word", "3"),
        ("word=a&word=b", "/word", "is given twice"),
        ("%77ords=a", "/words", "is unknown"),
    ],
)
def test_what_a_query_has_wrong_is_said(query, pointer, words):
    status, value, _ = Desk().ask(f"GET /api/things?{query}")
    assert status == 422
    assert [(one["pointer"], one["where"]) for one in value["errors"]] == [(pointer, "query")]
    assert words in value["errors"][0]["detail"]


@pytest.mark.parametrize("query", ["word=%ff", "&".join(f"a{number}=1" for number in range(60))])
def test_a_query_that_cannot_be_read_is_refused(query):
    assert Desk().ask(f"GET /api/things?{query}")[0] == 422


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        (b'{"max_connections": 3', [""]),
        (b"\xff", []),
        (b"[]", [""]),
        (b"{}", ["/max_connections"]),
        (b'{"max_connections": true}', ["/max_connections"]),
        (b'{"max_connections": "3"}', ["/max_connections"]),
        (b'{"max_connections": 3.5}', ["/max_connections"]),
        (b'{"max_connections": 3, "max_connections": 3}', ["/max_connections"]),
        (b'{"max_connections": 3, "maxConnections": 3}', ["/maxConnections"]),
        (b'{"max_connections": 11, "reason": "secret-word", "x/y": 1}', ["/max_connections", "/reason", "/x~1y"]),
    ],
)
def test_what_a_body_has_wrong_is_said_without_its_values(body, pointers):
    status, value, _ = Desk().ask("POST /api/things", body=body)
    assert status == 422 and [one["pointer"] for one in value.get("errors", [])] == pointers
    assert "secret-word" not in json.dumps(value)


def test_a_member_that_is_given_twice_further_in_is_refused_too():
    body = b'{"value": [1, {"a/b": 1' + b"0" * 100 + b', "a/b": 2}]}'
    status, value, _ = Desk().ask("POST /api/free", body=body)
    assert (status, value["errors"][0]["pointer"]) == (422, "/a~1b")
    assert Desk().ask("POST /api/free", body=b'{"value": [{"a": 1}, {"a": 2}, "a"]}')[0] == 200
    assert Desk().ask("POST /api/free", body=b'{"value": ' + b"[" * 60000)[0] == 422


@pytest.mark.parametrize("body", [{"max_connections": 3}, {"maxConnections": 3}, {"max_connections": 3.0}])
def test_both_spellings_and_whole_floats_are_taken(body):
    assert Desk().ask("POST /api/things", body=body)[1]["body"] == {"max_connections": 3, "reason": ""}


def test_parts_of_a_path_are_decoded_once_and_may_have_slashes():
    _, value, headers = Desk().ask("PUT /api/things/a%2Fb%2520c?dry_run=true", body=BODY, if_match="*")
    assert value["parts"] == {"name": "a/b%20c"} and value["query"]["dry_run"] is True and headers["ETag"] == ETAG
    assert Desk().ask("PUT /api/things/%ff", body=BODY, if_match="*")[0] == 404


def test_a_defect_is_logged_and_says_little():
    desk = Desk()
    status, value, _ = desk.ask("GET /api/fails")
    assert status == 500 and "42" not in json.dumps(value) and "exception" not in value and "r1" in value["detail"]
    assert desk.log.lines == ["api: GET /api/fails failed (request r1)"]
    desk.ask("GET /api/fails/" + "x" * 8000)
    assert len(desk.log.lines[1]) < 300
    assert Desk(debug=True).ask("GET /api/fails")[1]["exception"] == "RuntimeError"


def test_each_unsafe_call_is_recorded_once_also_a_refused_one():
    desk = Desk()
    desk.ask("GET /api/open")
    desk.ask("GET /api/fails")
    desk.ask("POST /api/nothing")
    desk.ask("POST /api/things", body=BODY)
    desk.ask("POST /api/things", "", body=BODY)
    desk.ask("POST /api/things", "reader", body=BODY)
    desk.ask("PUT /api/things/a", body=BODY, if_match='"old"')
    assert desk.ask("POST /api/away")[0] == 503
    assert desk.rows.rows == [
        ("admin", "addThing", "thing", "ok", 201),
        (None, "addThing", "", "log in first", 401),
        ("reader", "addThing", "", "reader has the role reader, but addThing needs the role operator", 403),
        ("admin", "putThing", "", "it was changed since you read it: read it again", 412),
        (None, "goAway", "", "the master is away", 503),
    ]
    assert desk.rows.begun == [("admin", "addThing")]  # what is refused before it begins, and calls of nobody, are not noted
    assert desk.rows.tokens == ["token", "", "", "", ""]


def test_the_document_has_each_operation_with_its_refusals():
    made = document(TABLE, "1.2")
    assert made["openapi"] == "3.1.0" and made["info"]["version"] == "1.2"
    put = made["paths"]["/api/things/{name}"]["put"]
    assert set(put["responses"]) == {
        "200",
        *(str(one) for one in (400, 401, 403, 404, 411, 412, 413, 414, 415, 422, 428, 429, 503)),
    }
    assert [one["name"] for one in put["parameters"]] == ["name", "dry_run", "word", "If-Match"]
    assert put["parameters"][3]["required"] and put["security"] == [{"bearer": []}] and put["x-role"] == "admin"
    assert put["requestBody"]["required"] and not made["paths"]["/api/things/{name}"]["delete"]["requestBody"]["required"]
    assert "security" not in made["paths"]["/api/open"]["get"] and refusals(TABLE[0]) == [414, 422, 429, 503]
    assert set(made["components"]["schemas"]) >= {"Problem", "Body", "Echo"}


def test_one_method_of_a_path_can_be_in_the_table_once():
    with pytest.raises(ValueError, match=r"POST /api/things/\{other\} is in the table twice"):
        again = Operation(method="POST", path="/api/things/{other}", id="x", tag="t", summary="s", handle=echo, role=None)
        first = Operation(method="POST", path="/api/things/{name}", id="y", tag="t", summary="s", handle=echo, role=None)
        Api((first, again), People(), Rows(), Log())
