"""The users of a Terraster that does not run, in its database. For `terrasterctl user`.

A change leaves the row in the audit log that a running Terraster would write, with the action that the API has for it.
"""

from __future__ import annotations

import json
import os
import pwd
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from .control import Refused
from .where import configuration

__all__ = ["Stored"]

_ACTIONS = {
    "add": "addUser",
    "change": "changeUser",
    "reset_password": "resetPassword",
    "unlock": "unlockUser",
    "end_sessions": "endUserSessions",
    "remove": "removeUser",
}


class Stored:
    """Users in the database that a configuration names. config: `--config`. Raises Refused if the configuration cannot be read.

    What is done is done in a child process, which is the user that owns `state_dir` if root calls.
    """

    def __init__(self, config: str | None) -> None:
        from terraster.config.directories import state_dir
        from terraster.config.language import taken
        from terraster.config.loader import Loader
        from terraster.config.management import auth
        from terraster.errors import ConfigError
        from terraster.filters.registry import KINDS
        from terraster.plugins.finder import Finder

        file = configuration(config)
        try:
            settings = Loader(kinds=KINDS, plugins=Finder(taken(KINDS))).load(file)
        except ConfigError as error:
            words = f"no Terraster runs here, and the configuration, which says where users are kept, has a mistake: {error.problems[0]}"
            raise Refused(words) from None
        self.state_dir = settings.state_dir or state_dir(os.environ, os.geteuid())
        self._auth = auth(settings, self.state_dir)
        self.database = self._auth.database
        self._uid = os.getuid()  # of the operator: the child may become another user

    def least(self) -> int:
        """The least number of characters in a password."""
        return self._auth.min_length

    def accounts(self) -> list[dict[str, Any]]:
        """All users."""
        found: list[dict[str, Any]] = self._do("accounts") if os.path.exists(self.database) else []
        return found

    def add(self, name: str, role: str, password: str, must_change: bool) -> dict[str, Any]:
        """Make a user."""
        return self._account(self._do("add", name, role, password, must_change))

    def change(self, name: str, role: str | None, disabled: bool | None) -> dict[str, Any]:
        """Give another role, disable or enable."""
        return self._account(self._do("change", name, role, disabled))

    def reset_password(self, name: str, password: str, must_change: bool) -> dict[str, Any]:
        """Set a password."""
        return self._account(self._do("reset_password", name, password, must_change))

    def unlock(self, name: str) -> dict[str, Any]:
        """Forget failed logins."""
        return self._account(self._do("unlock", name))

    def sessions(self, name: str) -> list[dict[str, Any]]:
        """The sessions of a user."""
        found: list[dict[str, Any]] = self._do("sessions", name)
        return [{key: value for key, value in one.items() if key != "user"} for one in found]

    def end_sessions(self, name: str) -> None:
        """End them."""
        self._do("end_sessions", name)

    def remove(self, name: str) -> None:
        """Remove a user."""
        self._do("remove", name)

    def _account(self, value: Any) -> dict[str, Any]:
        made: dict[str, Any] = value
        return made

    def _do(self, what: str, *arguments: Any) -> Any:
        if what != "add" and not os.path.exists(self.database):
            raise Refused(f"there are no users yet: {self.database} does not exist")
        if what == "add" and os.geteuid() == 0 and not os.path.isdir(self.state_dir):
            os.makedirs(self.state_dir, mode=0o700)  # systemd gives it to the service's user at the first start
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(reader)
            self._in_child(writer, what, arguments)
        os.close(writer)
        with os.fdopen(reader, "rb") as stream:
            octets = stream.read()
        os.waitpid(child, 0)
        if not octets:
            raise Refused("the process that writes the users' database ended before it answered")
        answer = json.loads(octets)
        if "refused" in answer:
            raise Refused(answer["refused"])
        return answer["value"]

    def _in_child(self, writer: int, what: str, arguments: tuple[Any, ...]) -> NoReturn:
        """Do it, write the outcome, and end."""
        try:
            try:
                answer = {"value": self._done(what, arguments)}
            except Exception as error:
                answer = {"refused": str(error) or type(error).__name__}
            os.write(writer, json.dumps(answer).encode())
        finally:
            os._exit(0)

    def _done(self, what: str, arguments: tuple[Any, ...]) -> Any:
        from terraster.users.room import directly

        made = directly(self._auth)
        act: Callable[..., Any] = getattr(made, what)
        _become(_owner(self.database, self.state_dir))
        try:
            value = act(*arguments)
        except Exception as error:
            self._record(what, arguments, "refused", None, str(error))
            raise
        finally:
            made.close()
        self._record(what, arguments, "done", value, "")
        if isinstance(value, list):
            return [one._asdict() for one in value]
        return value._asdict() if hasattr(value, "_asdict") else value

    def _record(self, what: str, arguments: tuple[Any, ...], outcome: str, value: Any, detail: str) -> None:
        """Add the row of a change. One that cannot be written is named on standard error: the change is made."""
        if what not in _ACTIONS:
            return
        from terraster.audit.log import AuditError, AuditLog

        after = {key: getattr(value, key) for key in ("role", "disabled") if hasattr(value, key)} or None
        facts = {
            "user": _operator(self._uid),
            "role": "admin",
            "how": "file",
            "action": _ACTIONS[what],
            "target": f"user {arguments[0]}",
            "after": after,
            "outcome": outcome,
            "detail": detail,
        }
        try:
            AuditLog(os.path.join(self.state_dir, "audit"), str).append(facts)
        except AuditError as error:
            print(f"terrasterctl: {error}: this change has no row", file=sys.stderr)


def _operator(uid: int) -> str:
    """The name of an operator, as the rows of the control socket have it."""
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = f"user {uid}"
    claimed = os.environ.get("SUDO_USER", "")
    return f"{user} ({claimed})" if claimed and claimed != user else user


def _owner(*paths: str) -> tuple[int, int] | None:
    """User and group that own the first of these that exists."""
    for path in paths:
        try:
            found = os.stat(path)
        except OSError:
            continue
        return found.st_uid, found.st_gid
    return None


def _become(owner: tuple[int, int] | None) -> None:
    """Be this user, if root calls, for good."""
    if owner is None or os.geteuid() != 0 or owner[0] == 0:
        return
    os.setgroups([])
    os.setgid(owner[1])
    os.setuid(owner[0])
