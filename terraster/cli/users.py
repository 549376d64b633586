"""`terrasterctl user`: the users of the management API.

A running Terraster is asked over its control socket. Where none runs, the command writes into the database itself, by the configuration. So the
first user can be made before the first start. It then acts as the owner of `state_dir`, and root leaves no file behind that Terraster cannot
write.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from .control import FAILED, UNKNOWN, Absent, Away, Control, Refused
from .output import colourful
from .phrases import age
from .stored import Stored
from .table import BOLD, RED, Cell, lay_out

__all__ = ["add_command", "user"]

_ROLES = ("admin", "operator", "reader")
_USERS = "/api/auth/users"


def add_command(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command to those of terrasterctl. shared: the options of all commands."""
    group = commands.add_parser("user", parents=[shared], help="list, make, change and remove the users of the management API")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, help: str, named: bool = True) -> Any:
        made = actions.add_parser(name, parents=[shared], help=help)
        if named:
            made.add_argument("name", metavar="NAME", help="the name of the user")
        return made

    action("list", "list the users", named=False)
    add = action("add", "make a user; asks for the password")
    add.add_argument("--role", required=True, choices=_ROLES, help="what the user may do")
    role = action("role", "give a user another role")
    role.add_argument("role", metavar="ROLE", choices=_ROLES, help="admin, operator or reader")
    reset = action("reset-password", "set a user's password; asks for it")
    for one in (add, reset):
        one.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
        one.add_argument("--generate", action="store_true", help="make a password, and print it once")
        one.add_argument("--must-change", action="store_true", help="the user must set a password of its own before anything else")
    action("disable", "end all that a user holds, and let it log in no longer")
    action("enable", "let a disabled user log in again")
    action("unlock", "forget a user's failed logins")
    sessions = action("sessions", "list the sessions of a user")
    sessions.add_argument("--end", action="store_true", help="end all of them")
    action("remove", "remove a user")


def user(control: Control, arguments: argparse.Namespace) -> int:
    """The command `user`."""
    way = _way(control, arguments)
    document = _ACTIONS[arguments.action](way, arguments)
    if arguments.json:
        print(json.dumps({"ok": True, **document}, indent=2))
    else:
        print(_shown(arguments, document), end="")
        if isinstance(way, Stored) and arguments.action not in ("list", "sessions"):
            print(f"note: no Terraster runs here; this was written into {way.database}")
    return 0


class Running:
    """The users of a running Terraster, by its API on the control socket. The methods are those of `Stored`."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def least(self) -> int:
        return int(self._call("GET", "/api/auth/password-requirements")["min_length"])

    def accounts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self._call("GET", f"{_USERS}?limit=500" + (f"&cursor={quote(cursor)}" if cursor else ""))
            found += page["items"]
            cursor = page["next"]
        return found

    def add(self, name: str, role: str, password: str, must_change: bool) -> dict[str, Any]:
        return self._account("POST", _USERS, {"username": name, "role": role, "password": password, "must_change": must_change})

    def change(self, name: str, role: str | None, disabled: bool | None) -> dict[str, Any]:
        body = {key: value for key, value in (("role", role), ("disabled", disabled)) if value is not None}
        return self._account("PATCH", _named(name), body)

    def reset_password(self, name: str, password: str, must_change: bool) -> dict[str, Any]:
        return self._account("POST", _named(name) + "/password", {"password": password, "must_change": must_change})

    def unlock(self, name: str) -> dict[str, Any]:
        return self._account("POST", _named(name) + "/unlock")

    def sessions(self, name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._call("GET", _named(name) + "/sessions")["items"]
        return found

    def end_sessions(self, name: str) -> None:
        self._call("POST", _named(name) + "/logout")

    def remove(self, name: str) -> None:
        self._call("DELETE", _named(name))

    def _account(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        account: dict[str, Any] = self._call(method, path, body)
        return account

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        head = {"X-Terraster-By": os.environ["SUDO_USER"]} if os.environ.get("SUDO_USER") else {}
        if method in ("PATCH", "DELETE"):
            head["If-Match"] = "*"
        try:
            status, value = self._control.exchange(method, path, body, head)
        except Away as away:
            code = FAILED if method == "GET" else UNKNOWN
            raise Refused(f"the admin worker ended before it answered, so the outcome is unknown: {away}", code) from None
        if status >= 400:
            raise Refused(value["detail"])
        return value


Way = Running | Stored


def _way(control: Control, arguments: argparse.Namespace) -> Way:
    """Through the running Terraster; if there is none, by the database."""
    try:
        control.look("/healthz")
    except Absent:
        try:
            pid = control.master()
        except Refused:
            return Stored(arguments.config)
        raise Refused(f"Terraster runs (pid {pid}), but its admin worker does not answer") from None
    except Away as away:
        raise Refused(f"Terraster's admin worker does not answer: {away}; try again") from None
    return Running(control)


def _named(name: str) -> str:
    return f"{_USERS}/{quote(name, safe='')}"


Document = dict[str, Any]


def _list(way: Way, arguments: argparse.Namespace) -> Document:
    return {"now": time.time(), "users": [_plain(one) for one in way.accounts()]}


def _add(way: Way, arguments: argparse.Namespace) -> Document:
    password = _password(way, arguments)
    made = way.add(arguments.name, arguments.role, password, arguments.must_change)
    return {"user": _plain(made), "password": password if arguments.generate else None}


def _role(way: Way, arguments: argparse.Namespace) -> Document:
    return _one(way.change(arguments.name, arguments.role, None))


def _reset(way: Way, arguments: argparse.Namespace) -> Document:
    password = _password(way, arguments)
    changed = way.reset_password(arguments.name, password, arguments.must_change)
    return {"user": _plain(changed), "password": password if arguments.generate else None}


def _disable(way: Way, arguments: argparse.Namespace) -> Document:
    return _one(way.change(arguments.name, None, True))


def _enable(way: Way, arguments: argparse.Namespace) -> Document:
    return _one(way.change(arguments.name, None, False))


def _unlock(way: Way, arguments: argparse.Namespace) -> Document:
    return _one(way.unlock(arguments.name))


def _sessions(way: Way, arguments: argparse.Namespace) -> Document:
    found = [{key: value for key, value in one.items() if key != "current"} for one in way.sessions(arguments.name)]
    if arguments.end:
        way.end_sessions(arguments.name)
    return {"now": time.time(), "sessions": found}


def _remove(way: Way, arguments: argparse.Namespace) -> Document:
    way.remove(arguments.name)
    return {"user": None, "password": None}


def _one(account: dict[str, Any]) -> Document:
    return {"user": _plain(account), "password": None}


_ACTIONS: dict[str, Callable[[Way, argparse.Namespace], Document]] = {
    "list": _list,
    "add": _add,
    "role": _role,
    "reset-password": _reset,
    "disable": _disable,
    "enable": _enable,
    "unlock": _unlock,
    "sessions": _sessions,
    "remove": _remove,
}


def _plain(account: dict[str, Any]) -> dict[str, Any]:
    """An account by the rules of terrasterctl's JSON: an end that never comes is null."""
    return {**account, "expires": account["expires"] or None}


def _password(way: Way, arguments: argparse.Namespace) -> str:
    """The new password. Raises Refused."""
    if arguments.generate:
        from terraster.users.policy import Policy, generate

        return generate(Policy(min_length=way.least()), arguments.name)
    if arguments.password_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise Refused("there is no terminal to ask for the password: use --password-stdin or --generate")
    first = getpass.getpass(f"password of {arguments.name}: ")
    if getpass.getpass("once more: ") != first:
        raise Refused("the two passwords differ; nothing was changed")
    return first


def _shown(arguments: argparse.Namespace, document: Document) -> str:
    if arguments.action == "list":
        return _table(document["users"])
    if arguments.action == "sessions":
        return _table_of_sessions(document["sessions"], document["now"], arguments.end)
    if document["user"] is None:
        return f"user {arguments.name} is removed\n"
    account = document["user"]
    line = f"user {account['name']}: role {account['role']}, {_state(account)}\n"
    return line if document["password"] is None else f"{line}password: {document['password']}\n"


def _state(account: dict[str, Any]) -> str:
    if account["disabled"]:
        return "disabled"
    if account["locked"]:
        return f"locked for {age(account['locked'])} by failed logins"
    return "must change the password" if account["expired"] else "active"


def _table(accounts: list[dict[str, Any]]) -> str:
    if not accounts:
        return "no users yet; make the first one: terrasterctl user add NAME --role admin\n"
    rows = [[Cell(title, BOLD) for title in ("USER", "ROLE", "SESSIONS", "TOKENS", "STATE")]]
    for one in accounts:
        state = _state(one)
        cells = (one["name"], one["role"], str(one["sessions"]), str(one["tokens"]))
        rows.append([*map(Cell, cells), Cell(state, "" if state == "active" else RED)])
    return lay_out(rows, colourful())


def _table_of_sessions(sessions: list[dict[str, Any]], now: float, ended: bool) -> str:
    if not sessions:
        return "no sessions\n"
    rows = [[Cell(title, BOLD) for title in ("SESSION", "KIND", "BEGAN", "ENDS IN", "ADDRESS", "CLIENT")]]
    for one in sessions:
        began, left = age(now - one["created"]), age(one["expires"] - now)
        kind = "browser" if one["kind"] == "cookie" else "tokens"
        rows.append([Cell(text) for text in (one["id"], kind, f"{began} ago", left, one["address"], one["agent"][:30])])
    return lay_out(rows, colourful()) + ("all of them were ended\n" if ended else "")
