"""The routes of the control socket for edits above the configuration file: terrasterctl asks there."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from .audited import Audited
from .site import Handler, Refusal, Response, json_response

__all__ = ["routes"]


def routes(
    ask: Callable[..., dict[str, Any]], audited: Callable[[], Audited], operator: Callable[[dict[str, str]], str]
) -> dict[str, dict[str, Handler]]:
    """The routes. ask: `Process.ask`; audited: where the changes are recorded; operator: the name of the operator of a query"""

    def edit(query: dict[str, str]) -> Response:
        try:
            changes = json.loads(query.get("changes", ""))
        except ValueError:
            raise Refusal(400, "`changes` must be JSON") from None
        words = {name: query.get(name, "") for name in ("reason", "if_match")}
        answer = audited().edit(operator(query), changes=changes, dry_run=query.get("dry_run", "") == "true", **words)
        return json_response(answer, 200 if answer["ok"] else 422)

    def listed(query: dict[str, str]) -> Response:
        return json_response(ask("edits"))

    def drop(query: dict[str, str]) -> Response:
        numbers = _numbers(query)
        dry_run = query.get("dry_run", "") == "true"
        answer = audited().drop_edits(operator(query), numbers=numbers, reason=query.get("reason", ""), dry_run=dry_run)
        return json_response(answer, 200 if answer["ok"] else 422)

    def adopt(query: dict[str, str]) -> Response:
        words = {"reason": query.get("reason", ""), "dry_run": query.get("dry_run", "") == "true"}
        answer = audited().drop_edits(operator(query), verb="adopt", numbers=_numbers(query), **words)
        return json_response(answer, 200 if answer["ok"] else 422)

    def generations(query: dict[str, str]) -> Response:
        return json_response(ask("generations"))

    def rollback(query: dict[str, str]) -> Response:
        (number, *_) = _numbers(query)
        words = {"reason": query.get("reason", ""), "dry_run": query.get("dry_run", "") == "true"}
        answer = audited().drop_edits(operator(query), verb="rollback", number=number, **words)
        return json_response(answer, 200 if answer["ok"] else 422)

    return {
        "/edits/adopt": {"POST": adopt},
        "/generations": {"GET": generations},
        "/rollback": {"POST": rollback},
        "/edit": {"POST": edit},
        "/edits": {"GET": listed, "DELETE": drop},
    }


def _numbers(query: dict[str, str]) -> list[int]:
    try:
        return [int(number) for number in query.get("numbers", "").split(",")]
    except ValueError:
        raise Refusal(400, "`numbers` must be whole numbers") from None
