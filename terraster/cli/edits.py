"""`terrasterctl backend add|remove …` and `terrasterctl edits …`: changes of the configuration above its files.

backend add SERVICE[/PATH] URL [--weight N] [--max-connections N] [--set KEY=VALUE] …     backend remove SERVICE[/PATH] URL
edits [list]      edits drop NUMBER …                                     [--for TIME] [--reason TEXT] [--dry-run]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from ..config.quantities import duration
from .control import DONE, FAILED, Control
from .output import width
from .phrases import many, moment, wrapped
from .watching import add_watch

__all__ = ["ACTIONS", "add_actions", "add_command", "edited", "edits", "generations", "refused", "rollback", "span", "would_touch"]

ACTIONS = ("add", "remove")
_SHOWN = 5  # changes of a generation
_COLUMNS = 80  # that a table of generations needs at most
_MOST_TOUCHED = 20  # backends of a dry run that are named


def add_actions(actions: Any, shared: argparse.ArgumentParser, service_help: str, url_help: str) -> None:
    """Add `add` and `remove` to the actions of `terrasterctl backend`."""
    add = actions.add_parser("add", parents=[shared], help="add a backend to a location, above the configuration file")
    remove = actions.add_parser("remove", parents=[shared], help="remove a backend from a location, above the configuration file")
    for action, text in ((add, "the URL, as in `backends`"), (remove, url_help)):
        action.add_argument("service", metavar="SERVICE[/PATH]", help=service_help)
        action.add_argument("url", metavar="URL", help=text)
        _add_words(action)
    for word in ("weight", "max-connections"):
        add.add_argument(f"--{word}", f"-{word}", metavar="N", help=f"the `{word.replace('-', '_')}` of the backend")
    add.add_argument(
        "--set",
        "-set",
        metavar="KEY=VALUE",
        type=_pair,
        action="append",
        default=[],
        help="another key of the backend; may be repeated",
    )


def add_command(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add `edits` to the commands of terrasterctl."""
    group = commands.add_parser("edits", parents=[shared], help="list the changes above the configuration file, or drop some")
    add_watch(group)
    actions = group.add_subparsers(dest="action", metavar="ACTION")
    actions.add_parser("list", parents=[shared], help="list them (also without an action)")
    drop = actions.add_parser("drop", parents=[shared], help="take changes back: the file holds again")
    drop.add_argument("numbers", metavar="NUMBER", type=int, nargs="+", help="the number of a change")
    _add_words(drop, ends=False)
    adopt = actions.add_parser("adopt", parents=[shared], help="write changes into the configuration file, and drop them here")
    adopt.add_argument("numbers", metavar="NUMBER", type=int, nargs="+", help="the number of a change")
    _add_words(adopt, ends=False)
    add_watch(commands.add_parser("generations", parents=[shared], help="list the last generations of the configuration"))
    back = commands.add_parser("rollback", parents=[shared], help="run the changes and the files of an earlier generation")
    back.add_argument("number", metavar="GENERATION", type=int, help="the generation, see `generations`")
    _add_words(back, ends=False)


def _add_words(action: argparse.ArgumentParser, ends: bool = True) -> None:
    if ends:
        action.add_argument(
            "--for",
            "-for",
            dest="seconds",
            metavar="TIME",
            type=span,
            default=0.0,
            help="undo the change after this time, such as 90s or 10m",
        )
    action.add_argument("--reason", "-reason", metavar="TEXT", default="", help="a note for other operators")
    action.add_argument(
        "--dry-run",
        "-dry-run",
        action="store_true",
        help="say what would change, and how many requests it would touch; change nothing",
    )


def edited(control: Control, arguments: argparse.Namespace) -> int:
    """The commands `backend add` and `backend remove`."""
    change: dict[str, Any] = {
        "kind": f"backend.{arguments.action}",
        "service": arguments.service,
        "url": arguments.url,
        "for": arguments.seconds,
    }
    if arguments.action == "add":
        given = {"weight": arguments.weight, "max_connections": arguments.max_connections}
        change["value"] = {**{key: value for key, value in given.items() if value is not None}, **dict(arguments.set)}
    return _shown(control.ask("POST", "/edit", None, changes=json.dumps([change]), **_words(arguments)), arguments.json)


def edits(control: Control, arguments: argparse.Namespace) -> int:
    """The command `edits`."""
    if arguments.action == "adopt":
        numbers = ",".join(map(str, arguments.numbers))
        return _shown(control.ask("POST", "/edits/adopt", None, numbers=numbers, **_words(arguments)), arguments.json)
    if arguments.action == "drop":
        numbers = ",".join(map(str, arguments.numbers))
        return _shown(control.ask("DELETE", "/edits", None, numbers=numbers, **_words(arguments)), arguments.json)
    answer = control.ask("GET", "/edits")
    if arguments.json:
        print(json.dumps(answer, indent=2))
        return DONE
    if not answer["edits"]:
        print("no changes above the configuration file")
    for one in answer["edits"]:
        for line in _lines(one, answer["now"]):
            _print(line, width())
    return DONE


def generations(control: Control, arguments: argparse.Namespace) -> int:
    """The command `generations`."""
    answer = control.ask("GET", "/generations")
    if arguments.json:
        print(json.dumps(answer, indent=2))
        return DONE
    columns = min(width(), _COLUMNS)
    for one in answer["generations"]:
        runs = ", runs" if one["running"] else ""
        _print(f"{one['generation']:>4}  {moment(one['when'], answer['now'])}{runs}: {one['why']}", columns)
        for line in one["changes"][:_SHOWN]:
            _print(f"      {line}", columns)
        if len(one["changes"]) > _SHOWN:
            print(f"      and {len(one['changes']) - _SHOWN} more")
    return DONE


def rollback(control: Control, arguments: argparse.Namespace) -> int:
    """The command `rollback`."""
    answer = control.ask("POST", "/rollback", None, numbers=str(arguments.number), **_words(arguments))
    return _shown(answer, arguments.json)


def _print(line: str, columns: int) -> None:
    """Print a line in as many lines as it needs."""
    print("\n".join(wrapped(line, columns)))


def _lines(edit: dict[str, Any], now: float) -> list[str]:
    """One edit, in lines."""
    until = f", until {moment(edit['until'], now)}" if edit["until"] else ""
    reason = f": {edit['reason']}" if edit["reason"] else ""
    found = [
        f"{edit['number']:>4}  {edit['words']}",
        f"      by {edit['by'] or 'an operator'}, {moment(edit['when'], now)}{until}{reason}",
    ]
    if edit["dormant"]:
        found.append(f"      has no effect: {edit['dormant']}")
    return found


def _words(arguments: argparse.Namespace) -> dict[str, str]:
    words = {"reason": arguments.reason}
    if arguments.dry_run:
        words["dry_run"] = "true"
    if os.environ.get("SUDO_USER"):
        words["by"] = os.environ["SUDO_USER"]
    return words


def _shown(answer: dict[str, Any], as_json: bool) -> int:
    if not answer["ok"]:
        code = refused(answer, as_json)
        if answer.get("paste") and not as_json:
            print(f"this is to be written by hand:\n{answer['paste']}", file=sys.stderr, end="")
        return code
    if as_json:
        print(json.dumps(answer, indent=2))
        return DONE
    for line in answer["changed"]:
        print(f"would be: {line}" if answer["dry_run"] else line)
    would_touch(answer.get("touches", ()))
    for note in answer["notes"]:
        print(f"note: {note}")
    print("nothing was changed" if answer["dry_run"] else f"all processes run it, generation {answer['generation']}")
    return DONE


def would_touch(touches: Sequence[dict[str, Any]]) -> None:
    """Print the backends that a change would touch, those with most to do first."""
    rows = sorted(touches, key=lambda one: (-one["active"], -one["requests_per_second"], -one["open"]))
    for one in rows[:_MOST_TOUCHED]:
        print(
            f"it would touch {one['url']} of {one['service']}{one['location']}: {many(one['active'], 'open request')}, "
            f"{many(one['open'], 'connection')}, {one['requests_per_second']:g} requests per second lately"
        )
    if len(rows) > _MOST_TOUCHED:
        print(f"it would touch {len(rows) - _MOST_TOUCHED} more backends; --json has them")


def refused(answer: dict[str, Any], as_json: bool) -> int:
    """Print a refusal. All commands use the same form. answer: ``ok problems candidates``."""
    if as_json:
        print(json.dumps(answer, indent=2))
    for problem in answer["problems"]:
        print(f"terrasterctl: {problem}", file=sys.stderr)
    return FAILED


def span(text: str) -> float:
    """Seconds of the option `--for`."""
    try:
        seconds = duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not seconds:
        raise argparse.ArgumentTypeError("must be longer than 0s")
    return seconds


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError("must be KEY=VALUE")
    return key, value
