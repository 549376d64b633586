"""The course of a request, and why it takes it."""

from __future__ import annotations

from ...explain.text import lines, strange
from ...logs.sanitizer import Sanitizer
from ..call import Answer, Call, Role
from ..deps import Deps
from ..models.explain import Explained, ExplainQuery
from ..operation import Operation
from ..problem import Refused

__all__ = ["operations"]

_MASK = "***"
_SECRETS = Sanitizer(("password", "passwd", "secret", "token", "access_token", "api_key", "api-key", "x-api-key"), _MASK)


def operations(deps: Deps) -> tuple[Operation, ...]:
    def explain(call: Call) -> Answer:
        query: ExplainQuery = call.query
        headers = [line for line in query.headers.split("\n") if line]
        asked = {"request": query.request, "headers": headers, "client": query.client, "listener": query.listener}
        found = deps.readings.explain(asked)
        if not found["ok"]:
            raise Refused(422, "; ".join(found["problems"]))
        for course in found["courses"]:
            course["head"] = _masked(course["head"])
        first, *others = lines(found["request"], strange(found["port"], found["courses"], query.listener), found["courses"], True)
        text = "\n".join([first, f"by generation {found['generation']}, which is running", *others])
        return Answer({name: found[name] for name in ("generation", "request", "courses", "edits", "stale")} | {"text": text})

    return (
        Operation(
            method="GET",
            path="/api/explain",
            id="explainRequest",
            tag="status",
            summary="The course of a request, and why it takes it",
            detail="The code of traffic decides, by the configuration and the states that are running. Nothing is sent and nothing is "
            "counted. Values of header fields that may be secrets are masked.",
            handle=explain,
            role=Role.OPERATOR,
            query=ExplainQuery,
            answer=Explained,
            refuses=(429, 500),
            example={"query": {"request": "GET http://shop.example.com/api"}},
        ),
    )


def _masked(head: str) -> str:
    """A request head without the values that may be secrets: header rules may have put them in."""
    first, *fields = head.split("\r\n")
    return "\r\n".join([_SECRETS.text(_SECRETS.uri(first)), *map(_field, fields)])


def _field(line: str) -> str:
    name, colon, value = line.partition(":")
    return f"{name}: {_SECRETS.field(name.lower(), value.strip())}" if colon else line
