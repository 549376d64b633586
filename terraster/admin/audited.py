"""The changes that terrasterctl asks for over the control socket: each question goes to the master, and leaves a row in the audit log."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from terraster.audit.row import DONE, FAILED, REFUSED, UNKNOWN
from terraster.errors import TerrasterError

from .auditor import Auditor

__all__ = ["Audited"]

Ask = Callable[..., dict[str, Any]]

_MOST = 50  # changes of a reload that a row has


class Audited:
    """Asks the master for changes, each with its row.

    ask:        `Process.ask`
    generation: the one that runs in this process
    """

    def __init__(self, auditor: Auditor, ask: Ask, generation: Callable[[], int]) -> None:
        self._auditor = auditor
        self._ask = ask
        self._generation = generation

    def reload(self, by: str, why: str) -> dict[str, Any]:
        """The answer of the master to "reload"."""
        before = {"generation": self._generation()}
        token, facts = self._begin(by, "reload", "", "", before)
        answer = self._answer(facts, token, "reload", why=why)
        self._end(facts, token, answer, {"generation": answer["generation"], "changes": answer["changes"][:_MOST]})
        return answer

    def stop(self, by: str, graceful: bool) -> dict[str, Any]:
        """The answer of the master to "stop"."""
        if not graceful:
            self.record(by, "stop.now", "")  # afterwards this process may not live long enough
            return self._ask("stop", graceful=False)
        token, facts = self._begin(by, "stop", "", "", None)
        answer = self._answer(facts, token, "stop", graceful=graceful)
        self._end(facts, token, answer, None)
        return answer

    def backend(self, by: str, **arguments: Any) -> dict[str, Any]:
        """The answer of the master to "backend"."""
        target = f"{arguments['service']}{arguments['path']} {arguments['url']}"
        token, facts = self._begin(by, f"backend.{arguments['action']}", target, arguments["reason"], None)
        answer = self._answer(facts, token, "backend", **arguments, by=by)
        before, after = answer.pop("before", None), answer.get("backend")
        if after is not None:
            facts["target"] = after["id"]
        self._end({**facts, "before": _override(before)}, token, answer, _override(after))
        return answer

    def maintenance(self, by: str, **arguments: Any) -> dict[str, Any]:
        """The answer of the master to "maintenance"."""
        action = f"maintenance.{arguments['action']}"
        token, facts = self._begin(by, action, arguments["service"], arguments["reason"], None)
        answer = self._answer(facts, token, "maintenance", **arguments, by=by)
        before, after = answer.pop("before", None), {"maintenance": answer.get("maintenance")} if answer["ok"] else None
        self._end({**facts, "before": before}, token, answer, after)
        return answer

    def edit(self, by: str, **arguments: Any) -> dict[str, Any]:
        """The answer of the master to "edit"; a dry run leaves no row."""
        if arguments.get("dry_run"):
            return self._ask("edit", **arguments, by=by)
        kinds = {str(change.get("kind")) for change in arguments["changes"]} if _is_list(arguments["changes"]) else set()
        urls = [str(change["url"]) for change in arguments["changes"] if change.get("url")] if kinds else []
        return self._edited(by, "edit", kinds.pop() if len(kinds) == 1 else "edit", urls, **arguments)

    def drop_edits(self, by: str, verb: str = "drop_edits", **arguments: Any) -> dict[str, Any]:
        """The answer of the master to "drop_edits", "adopt" or "rollback"; a dry run leaves no row."""
        if arguments.get("dry_run"):
            return self._ask(verb, **arguments, by=by)
        return self._edited(by, verb, {"drop_edits": "edits.drop", "adopt": "edits.adopt"}.get(verb, verb), (), **arguments)

    def _edited(self, by: str, verb: str, action: str, urls: Sequence[str], **arguments: Any) -> dict[str, Any]:
        """urls: of the backends that the change is about"""
        token, facts = self._begin(by, action, " ".join(urls[:_MOST]), arguments["reason"], None)
        answer = self._answer(facts, token, verb, **arguments, by=by)
        places = [f"{one['service']}{one['location']}" for one in answer.get("locations", ())]
        after = {"changed": answer["changed"][:_MOST], "changes": answer["changes"][:_MOST]} if answer["ok"] else None
        self._end({**facts, "target": " ".join(filter(None, (", ".join(places[:_MOST]), facts["target"])))}, token, answer, after)
        return answer

    def record(self, by: str, action: str, detail: str) -> None:
        """Add a row for what was done without the master."""
        token, facts = self._begin(by, action, "", "", None)
        self._auditor.record({**facts, "outcome": DONE, "detail": detail}, token)

    def _begin(self, by: str, action: str, target: str, reason: str, before: Any) -> tuple[str, dict[str, Any]]:
        facts = {
            "user": by,
            "role": "admin",
            "how": "socket",
            "action": action,
            "target": target,
            "reason": reason,
            "before": before,
            "request_id": secrets.token_hex(8),
        }
        return self._auditor.begin(facts), facts

    def _answer(self, facts: dict[str, Any], token: str, verb: str, **arguments: Any) -> dict[str, Any]:
        try:
            return self._ask(verb, **arguments)
        except TerrasterError as error:
            self._auditor.record({**facts, "outcome": UNKNOWN, "detail": str(error)}, token)
            raise

    def _end(self, facts: dict[str, Any], token: str, answer: dict[str, Any], after: Any) -> None:
        changed = answer.get("changed", True) and (answer.get("changes", True) or "edits" in answer)
        detail = "; ".join(answer.get("problems") or ([] if changed else ["there was nothing to change"]))
        began = facts["before"]["generation"] if facts["action"] == "reload" else None
        half = not answer["ok"] and began is not None and answer["generation"] != began
        outcome = DONE if answer["ok"] else FAILED if half else REFUSED
        row = {**facts, "after": after, "outcome": outcome, "detail": detail, "generation": answer.get("generation")}
        if row["generation"] is None and answer["ok"]:
            row["generation"] = self._generation()
        self._auditor.record(row, token)


def _is_list(changes: Any) -> bool:
    return isinstance(changes, list) and all(isinstance(one, dict) for one in changes)


def _override(account: dict[str, Any] | None) -> dict[str, Any] | None:
    """The part of a backend's account that an operator can change."""
    if account is None:
        return None
    return {key: account[key] for key in ("state", "weight", "order", "weight_override", "forced") if key in account}
