"""Users, as administrators make and change them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from ...users.administration import Account
from ...users.faults import NotFound
from ..call import Answer, Call, Effect, Role
from ..deps import Deps
from ..models.users import NewUser, ResetPassword, SessionList, SessionRow, UserChange, UserPage, UserQuery, UserRow
from ..operation import Operation
from ..pages import Item, Key, page
from ..problem import Refused
from .faults import translated

__all__ = ["operations"]

_NAMED = "/api/auth/users/{name}"


def operations(deps: Deps) -> tuple[Operation, ...]:
    users = Administrators(deps)
    return (
        Operation(
            method="GET",
            path="/api/auth/users",
            id="listUsers",
            tag="users",
            summary="All users by name",
            handle=users.listed,
            role=Role.ADMIN,
            query=UserQuery,
            answer=UserPage,
        ),
        Operation(
            method="POST",
            path="/api/auth/users",
            id="addUser",
            tag="users",
            summary="Make a user",
            handle=users.add,
            role=Role.ADMIN,
            body=NewUser,
            answer=UserRow,
            status=201,
            refuses=(409,),
            example={"body": {"username": "ada", "password": "Vq7!tGw2#pLz", "role": "operator"}},
        ),
        Operation(
            method="GET",
            path=_NAMED,
            id="getUser",
            tag="users",
            summary="One user",
            handle=users.one,
            role=Role.ADMIN,
            answer=UserRow,
            refuses=(404,),
            example={"after": "addUser", "parts": {"name": "ada"}},
        ),
        Operation(
            method="PATCH",
            path=_NAMED,
            id="changeUser",
            tag="users",
            summary="Give a user another role, disable it, or enable it again",
            detail="Disabling ends the user's sessions and API tokens for good. The last administrator stays one.",
            handle=users.change,
            role=Role.ADMIN,
            body=UserChange,
            answer=UserRow,
            refuses=(404, 409),
            if_match="required",
            etag=users.etag,
            example={"after": "addUser", "parts": {"name": "ada"}, "body": {"role": "operator"}},
        ),
        Operation(
            method="DELETE",
            path=_NAMED,
            id="removeUser",
            tag="users",
            summary="Remove a user and all that it holds",
            handle=users.remove,
            role=Role.ADMIN,
            status=204,
            refuses=(404, 409),
            if_match="required",
            etag=users.etag,
            example={"after": "addUser", "parts": {"name": "ada"}},
        ),
        Operation(
            method="POST",
            path=_NAMED + "/password",
            id="resetPassword",
            tag="users",
            summary="Set a user's password",
            detail="The user's sessions end, and failed logins are forgotten.",
            handle=users.reset,
            role=Role.ADMIN,
            body=ResetPassword,
            answer=UserRow,
            refuses=(404, 409),
            example={"after": "addUser", "parts": {"name": "ada"}, "body": {"password": "Tz9&wLq3=vHs"}},
        ),
        Operation(
            method="POST",
            path=_NAMED + "/unlock",
            id="unlockUser",
            tag="users",
            summary="Forget a user's failed logins",
            handle=users.unlock,
            role=Role.ADMIN,
            answer=UserRow,
            refuses=(404,),
            example={"after": "addUser", "parts": {"name": "ada"}},
        ),
        Operation(
            method="GET",
            path=_NAMED + "/sessions",
            id="listUserSessions",
            tag="users",
            summary="The sessions of a user, the newest first",
            handle=users.sessions,
            role=Role.ADMIN,
            answer=SessionList,
            refuses=(404,),
            example={"after": "addUser", "parts": {"name": "ada"}},
        ),
        Operation(
            method="POST",
            path=_NAMED + "/logout",
            id="endUserSessions",
            tag="users",
            summary="End all sessions of a user",
            handle=users.logout,
            role=Role.ADMIN,
            status=204,
            refuses=(404,),
            example={"after": "addUser", "parts": {"name": "ada"}},
        ),
    )


class Administrators:
    """The handlers."""

    def __init__(self, deps: Deps) -> None:
        self._administration = deps.users.administration

    def etag(self, call: Call) -> str:
        """Of the user that the path names."""
        return _etag(self._account(call))

    def listed(self, call: Call) -> Answer:
        found = {(one.name,): _row(one) for one in self._administration.accounts()}

        def rows(keys: Sequence[Key]) -> list[Item]:
            return [found[one[0],] for one in keys]

        return page(sorted(found), call.query, UserRow, rows)

    def add(self, call: Call) -> Answer:
        body = call.body
        with translated("a new user"):
            made = self._administration.add(body.username, body.role, body.password, body.must_change)
        return _shown(made, None)

    def one(self, call: Call) -> Answer:
        return _shown(self._account(call), None)

    def change(self, call: Call) -> Answer:
        before = self._account(call)
        if not call.matches(_etag(before)):
            raise Refused(412, "it was changed since you read it: read it again", headers=[("ETag", _etag(before))])
        with translated(f"user {before.name}"):
            after = self._administration.change(before.name, call.body.role, call.body.disabled)
        return _shown(after, before)

    def remove(self, call: Call) -> Answer:
        before = self._account(call)
        with translated(f"user {before.name}"):
            self._administration.remove(before.name)
        return Answer(effect=Effect(f"user {before.name}", _kept(before), None))

    def reset(self, call: Call) -> Answer:
        before = self._account(call)
        with translated(f"user {before.name}"):
            after = self._administration.reset_password(before.name, call.body.password, call.body.must_change)
        return _shown(after, before)

    def unlock(self, call: Call) -> Answer:
        before = self._account(call)
        return _shown(self._administration.unlock(before.name), before)

    def sessions(self, call: Call) -> Answer:
        found = self._administration.sessions(self._account(call).name)
        current = call.caller.session if call.caller is not None else ""
        rows = [{name: value for name, value in one._asdict().items() if name != "user"} for one in found]
        return Answer(SessionList(items=[SessionRow(**row, current=row["id"] == current) for row in rows]))

    def logout(self, call: Call) -> Answer:
        name = self._account(call).name
        many = self._administration.end_sessions(name)
        return Answer(effect=Effect(f"user {name}", {"sessions": many}, {"sessions": 0}))

    def _account(self, call: Call) -> Account:
        try:
            return self._administration.account(call.parts["name"])
        except NotFound:
            raise Refused(404, "there is no such user") from None


def _row(account: Account) -> dict[str, Any]:
    return account._asdict()


def _kept(account: Account) -> dict[str, Any]:
    return {"role": account.role, "disabled": account.disabled, "expired": account.expired}


def _etag(account: Account) -> str:
    facts = [account.name, account.role, account.disabled, account.created, account.changed]
    return f'"{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]}"'


def _shown(account: Account, before: Account | None) -> Answer:
    effect = Effect(f"user {account.name}", None if before is None else _kept(before), _kept(account))
    return Answer(UserRow(**_row(account)), etag=_etag(account), effect=effect)
