"""From a request to an operation of the table, and back.

The order of refusals: 404 and 405, 401, 403, then of an unsafe operation with a body 415, 411 and 413, then 428, then 422 for the query, 412,
and 422 for the body. So what a client may not do says nothing about what is there, and a change that comes too late is told so before its
content is judged. (The query names what is changed, so it is read before the ETag can be compared.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, unquote

from pydantic import BaseModel, ValidationError

from ..errors import TerrasterError, Unanswered
from .call import Answer, Call, Caller, Credentials, Effect, Reply, Request
from .identity import Identity, Recorder
from .operation import Operation
from .problem import Mistake, Refused, mistakes

__all__ = ["BODY_OCTETS", "Api", "refusal"]

BODY_OCTETS = 65536
PROBLEM = "application/problem+json"

_TAG = r'(?:W/)?"[!#-~\x80-\xff]*"'
_TAGS = re.compile(rf"\*|{_TAG}(?:[ \t]*,[ \t]*{_TAG})*")
_PART = re.compile(r"\{([a-z_]+)\}")
_PARAMETERS = 50
_SHOWN = 200  # characters of a path in a line of the log


class Api:
    """The operations of one site.

    identity: who the callers of this site are
    recorder: keeps what unsafe operations did
    debug:    True if a failure names the exception's class in the answer (`api.debug`)
    """

    def __init__(
        self,
        operations: Iterable[Operation],
        identity: Identity,
        recorder: Recorder,
        log: Any,
        debug: Callable[[], bool] = bool,
    ) -> None:
        self.operations = tuple(operations)
        self._identity = identity
        self._recorder = recorder
        self._log = log
        self._debug = debug
        self._fixed: dict[str, dict[str, Operation]] = {}
        self._shaped: dict[tuple[str, ...], dict[str, Operation]] = {}  # by the parts of the path, "" for a named part
        for one in self.operations:
            parts = tuple(one.path.split("/"))
            methods = (
                self._shaped.setdefault(tuple("" if _PART.fullmatch(part) else part for part in parts), {})
                if "{" in one.path
                else self._fixed.setdefault(one.path, {})
            )
            if one.method in methods:
                raise ValueError(f"{one.method} {one.path} is in the table twice")
            methods[one.method] = one

    def answer(self, request: Request) -> Reply:
        """Answer one request. Does not raise."""
        caller: Caller | None = None
        operation: Operation | None = None
        token = ""
        try:
            operation, parts = self._find(request)
            if operation.role is not None:
                caller = self._caller(request)
                _may(caller, operation)
            call = self._call(operation, parts, caller, request)
            if caller is not None and not operation.safe:
                token = self._recorder.begin(caller, operation.id, request.id, request.credentials)
            answer = operation.handle(call)
            reply = _reply(operation, answer, request)
            effect = answer.effect or Effect()
        except Refused as refused:
            reply, effect = refusal(refused, request.id), Effect(refused.target, outcome=refused.detail)
        except TerrasterError as error:
            unknown = isinstance(error, Unanswered)
            reply, effect = refusal(Refused(503, str(error)), request.id), Effect(outcome=str(error), unknown=unknown)
        except Exception as error:
            self._log.exception("api: %s %s failed (request %s)", request.method, request.path[:_SHOWN], request.id)
            name = type(error).__name__ if self._debug() else ""
            words = f"internal error; the log has it under {request.id}"
            reply, effect = refusal(Refused(500, words, exception=name), request.id), Effect(outcome="internal error")
        if operation is not None and not operation.safe:
            self._recorder.record(caller, operation.id, effect, request.id, reply.status, request.credentials, token)
        return reply

    def _find(self, request: Request) -> tuple[Operation, dict[str, str]]:
        parts: tuple[str, ...] = ()
        methods = self._fixed.get(request.path)
        if methods is None:
            parts = tuple(request.path.split("/"))
            methods = next((some for shape, some in self._shaped.items() if _fits(shape, parts)), None)
        if methods is None:
            raise Refused(404, "this path does not exist; /openapi.json and /docs have those that do")
        operation = methods.get("GET" if request.method == "HEAD" else request.method)
        if operation is None:
            allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])
            raise Refused(405, f"this path accepts only {allowed}", headers=[("Allow", allowed)])
        try:
            named = {
                match[1]: unquote(part, errors="strict")
                for shape, part in zip(operation.path.split("/"), parts, strict=False)
                if (match := _PART.fullmatch(shape))
            }
        except UnicodeDecodeError:
            raise Refused(404, "this path is not valid UTF-8") from None
        return operation, named

    def _caller(self, request: Request) -> Caller:
        caller = self._identity.identify(request.credentials)
        if caller is None:
            raise Refused(401, self._identity.hint(), headers=[("WWW-Authenticate", 'Bearer realm="terraster"')])
        return caller

    def _call(self, operation: Operation, parts: Mapping[str, str], caller: Caller | None, request: Request) -> Call:
        has_body = operation.body is not None and not (
            operation.bare and not request.length and "content-type" not in request.headers
        )
        if has_body:
            _check_body(request)
        tags = _if_match(operation, request)
        query = _query(operation, request)
        call = Call(
            operation.id,
            query,
            None,
            parts,
            caller,
            request.id,
            tags,
            request.credentials,
            lambda: self._still(operation, request.credentials),
        )
        if tags and operation.etag is not None and not call.matches(current := operation.etag(call)):
            raise Refused(412, "it was changed since you read it: read it again", headers=[("ETag", current)])
        if not has_body:
            return call
        assert operation.body is not None
        return replace(call, body=_body(operation.body, request))

    def _still(self, operation: Operation, credentials: Credentials) -> bool:
        if operation.role is None:
            return True
        try:
            caller = self._identity.identify(credentials)
            if caller is None:
                return False
            _may(caller, operation)
        except TerrasterError:  # refused now, or not to be found out
            return False
        return True


def refusal(refused: Refused, instance: str) -> Reply:
    """The answer to a request that is refused."""
    return Reply(
        refused.status,
        (("Content-Type", PROBLEM), *refused.headers, ("X-Request-ID", instance)),
        refused.problem(instance).octets(),
    )


def _may(caller: Caller, operation: Operation) -> None:
    """Raises `Refused`."""
    assert operation.role is not None
    if caller.expired and not operation.expired:
        raise Refused(
            403, "your password has expired: set a new one with POST /api/auth/change-password, which is all that it allows"
        )
    if caller.role < operation.role:
        raise Refused(
            403, f"{caller.name} has the role {caller.role.word}, but {operation.id} needs the role {operation.role.word}"
        )
    if caller.scopes and caller.scopes.isdisjoint((operation.id, operation.tag)):
        raise Refused(403, f"this token is not for {operation.id}")


def _fits(shape: Sequence[str], parts: Sequence[str]) -> bool:
    return len(shape) == len(parts) and all(part and own in ("", part) for own, part in zip(shape[1:], parts[1:], strict=True))


def _check_body(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(415, "the body must be application/json", headers=[("Accept", "application/json")])
    if request.length is None:
        raise Refused(411, "the request needs a Content-Length")
    if request.length > BODY_OCTETS:
        raise Refused(413, f"the body may have at most {BODY_OCTETS} octets")


def _if_match(operation: Operation, request: Request) -> tuple[str, ...]:
    if operation.if_match is None:
        return ()
    field = request.headers.get("if-match")
    if field is None:
        if operation.if_match == "required":
            raise Refused(428, "send If-Match with the ETag of what you read, so that no change of others is lost")
        return ()
    if _TAGS.fullmatch(field.strip(" \t")) is None:
        raise Refused(400, 'If-Match must be * or a list of entity tags, such as "abc"')
    return tuple(re.findall(rf"\*|{_TAG}", field))


def _query(operation: Operation, request: Request) -> Any:
    try:
        pairs = parse_qsl(request.query, keep_blank_values=True, errors="strict", max_num_fields=_PARAMETERS)
    except (UnicodeDecodeError, ValueError):
        raise Refused(422, f"the query is not valid UTF-8, or has more than {_PARAMETERS} parameters") from None
    given = dict(pairs)
    if len(given) != len(pairs):
        doubled = sorted({name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1})
        raise Refused(
            422,
            "a parameter is given twice",
            [Mistake(pointer=f"/{name}", detail="is given twice", where="query") for name in doubled],
        )
    try:
        return operation.query.model_validate_strings(given)
    except ValidationError as error:
        known = ", ".join(operation.query.model_fields) or "none"
        raise Refused(422, f"the query is wrong; parameters of {operation.id}: {known}", mistakes(error, "query")) from None


def _body(model: type[BaseModel], request: Request) -> BaseModel:
    octets = request.read()
    try:
        octets.decode()
        made = model.model_validate_json(octets)
        json.loads(octets, object_pairs_hook=_once, parse_int=str, parse_float=str)
    except _Twice as twice:
        raise Refused(
            422,
            "a member of the body is given twice",
            [Mistake(pointer=f"/{str(twice).replace('~', '~0').replace('/', '~1')}", detail="is given twice")],
        ) from None
    except UnicodeDecodeError:
        raise Refused(422, "the body is not valid UTF-8") from None
    except ValidationError as error:
        raise Refused(422, "the body is wrong", mistakes(error, "body")) from None
    return made


class _Twice(Exception):
    """A JSON object has this member twice. The last one would win without a word; other programs take the first."""


def _once(pairs: list[tuple[str, Any]]) -> None:
    """Of one JSON object. Raises `_Twice`."""
    names: set[str] = set()
    for name, _ in pairs:
        if name in names:
            raise _Twice(name)
        names.add(name)


def _reply(operation: Operation, answer: Answer, request: Request) -> Reply:
    status = answer.status or operation.status
    headers = [*answer.headers, ("X-Request-ID", request.id)]
    if answer.etag:
        headers.append(("ETag", answer.etag))
    if answer.pieces is not None:
        return Reply(status, (("Content-Type", answer.type), *headers), answer.pieces)
    if answer.value is None:
        return Reply(status, tuple(headers), None)
    text = answer.value.model_dump_json() if isinstance(answer.value, BaseModel) else json.dumps(answer.value, allow_nan=False)
    return Reply(status, (("Content-Type", answer.type), *headers), text.encode() + b"\n")
