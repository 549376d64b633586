"""`terrasterctl reload`: have the changed configuration run, or say what it would change."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from typing import Any

from ..logs import journal
from .control import DONE, FAILED, RETRY, UNKNOWN, Away, Control, Refused
from .edits import would_touch
from .options import add_option
from .phrases import milliseconds

__all__ = ["add_command", "reload"]


def add_command(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command to those of terrasterctl. shared: the options of all commands."""
    command = commands.add_parser(
        "reload", parents=[shared], help="apply the changed configuration; print the changes, or why it was refused"
    )
    add_option(
        command,
        "dry-run",
        action="store_true",
        help="check and compile the files, say what would change and which backends it would touch; change nothing",
    )


def reload(control: Control, arguments: argparse.Namespace) -> int:
    """The command `reload`."""
    if arguments.dry_run:
        return _rehearsed(control.ask("POST", "/reload", b"", dry_run="true"), arguments.json)
    began = time.time()
    try:
        control.look("/healthz")
        outcome = control.call("POST", "/reload", why="terrasterctl")
    except Away:
        try:
            outcome = _outcome_since(control, began, at_least=0.0)  # this very reload may have ended it
        except Away:
            control.signal(signal.SIGHUP)
            print("terrasterctl: the admin worker does not answer; sent the master a signal instead", file=sys.stderr)
            try:
                outcome = _outcome_since(control, began, at_least=15.0)
            except Away:
                raise Refused("the reload was requested; Terraster's log has its outcome", UNKNOWN) from None
    if arguments.json:
        print(json.dumps(outcome, indent=2))
        return DONE if outcome["ok"] and not outcome.get("kept") else FAILED
    if not outcome["ok"]:
        _print_problems(outcome, f"not reloaded, {_running(outcome)} stays in effect:")
        return FAILED
    for line in outcome["changes"]:
        print(line)
    for line in outcome["notes"]:
        print(f"note: {line}")
    if outcome["replaced"]:
        print(f"note: replaced processes that did not apply it: {', '.join(map(str, outcome['replaced']))}")
    print(_reloaded(outcome), flush=True)
    for line in outcome.get("kept", ()):  # a master of an older version does not say it
        print(journal.as_error(f"terrasterctl: reloaded, but {line}"), file=sys.stderr)
    return FAILED if outcome.get("kept") else DONE


def _reloaded(outcome: dict[str, Any]) -> str:
    """The last line about a reload that succeeded."""
    generation = outcome["generation"]
    if not outcome["changes"]:
        return f"nothing to reload: the configuration is what runs already, generation {generation}, and nothing was touched"
    took = outcome["seconds"]
    return f"reloaded: all processes run the new configuration, generation {generation}; it took {milliseconds(took)}"


def _outcome_since(control: Control, moment: float, at_least: float) -> dict[str, Any]:
    """The outcome of the last reload that ended after ``moment`` (time.time()). Waits up to ``at_least`` seconds. Raises Away."""
    until = min(control.deadline, time.monotonic() + at_least)
    while True:
        try:
            last: dict[str, Any] | None = control.look("/reload")["last_reload"]
            if last is not None and last["when"] >= moment:
                return last
        except Away:
            pass
        if time.monotonic() >= until:
            raise Away("no outcome")
        time.sleep(RETRY)


def _rehearsed(outcome: dict[str, Any], as_json: bool) -> int:
    """Print the effect that a reload would have."""
    if as_json:
        print(json.dumps(outcome, indent=2))
    elif not outcome["ok"]:
        _print_problems(outcome, f"a reload would be refused, and {_running(outcome)} would stay in effect:")
    else:
        for line in outcome["changes"]:
            print(f"would be: {line}")
        would_touch(outcome.get("touches", ()))
        for line in outcome["notes"]:
            print(f"note: {line}")
        print("nothing was changed" if outcome["changes"] else "nothing to reload: the configuration is what runs already")
    return DONE if outcome["ok"] else FAILED


def _running(outcome: dict[str, Any]) -> str:
    """The configuration that runs; another host does not tell its generation with a refusal."""
    return "the running configuration" if outcome["generation"] is None else f"generation {outcome['generation']}"


def _print_problems(outcome: dict[str, Any], words: str) -> None:
    lines = [f"terrasterctl: {words}", *(f"  {problem}" for problem in outcome["problems"])]
    print(journal.as_error("\n".join(lines)), file=sys.stderr)
