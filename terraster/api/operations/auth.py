"""Login, sessions, one's own password, and API tokens."""

from __future__ import annotations

from typing import Any

from ...users.access import Granted as Given
from ...users.api_tokens import ApiToken
from ...users.identity import SESSION, TOKEN, Identity
from ...users.names import tried
from ...users.policy import MOST_OCTETS, rules
from ..call import Answer, Call, Caller, Effect, Role
from ..cookie import check_origin, cookie, ended, field
from ..deps import Deps
from ..identity import FIRST
from ..models.users import (
    ChangePassword,
    Granted,
    Login,
    MadeToken,
    NewToken,
    PasswordRequirements,
    Refresh,
    Revoke,
    SessionList,
    SessionRow,
    TokenList,
    TokenRow,
)
from ..operation import Operation
from ..problem import Refused
from .faults import translated

__all__ = ["operations"]


def operations(deps: Deps) -> tuple[Operation, ...]:
    entry = Entry(deps)
    own = Own(deps)
    return (
        Operation(
            method="POST",
            path="/api/auth/login",
            id="login",
            tag="auth",
            summary="Begin a session",
            detail="The token works for 15 minutes, the refresh token for 7 days. After 5 failures the account is locked for 15 minutes.",
            handle=entry.login,
            role=None,
            body=Login,
            answer=Granted,
            refuses=(401, 403),
            example={"after": "addUser", "body": {"username": "ada", "password": "Vq7!tGw2#pLz"}},
        ),
        Operation(
            method="POST",
            path="/api/auth/refresh",
            id="refresh",
            tag="auth",
            summary="Get the next tokens of a session",
            detail="A refresh token works once. One that is used again ends the session, for it was stolen, unless it comes within 10 s.",
            handle=entry.refresh,
            role=None,
            body=Refresh,
            answer=Granted,
            refuses=(401,),
            example={"after": "login", "takes": {"REFRESH_TOKEN": "refresh_token"}, "body": {"refresh_token": "REFRESH_TOKEN"}},
        ),
        Operation(
            method="POST",
            path="/api/auth/revoke",
            id="revoke",
            tag="auth",
            summary="End a session",
            detail="That of the refresh token in the body, else that of the request.",
            handle=entry.revoke,
            role=None,
            body=Revoke,
            bare=True,
            status=204,
            refuses=(401, 403),
            example={"after": "login", "takes": {"REFRESH_TOKEN": "refresh_token"}, "body": {"refresh_token": "REFRESH_TOKEN"}},
        ),
        Operation(
            method="POST",
            path="/api/auth/change-password",
            id="changePassword",
            tag="auth",
            summary="Set a new password of one's own",
            detail="The other sessions of the user end. An expired password allows this and nothing else.",
            handle=own.change_password,
            role=Role.READER,
            body=ChangePassword,
            status=204,
            refuses=(409,),
            expired=True,
            example={"own": True, "body": {"old_password": "Vq7!tGw2#pLz", "new_password": "Rm5?kXb8+hNd"}},
        ),
        Operation(
            method="GET",
            path="/api/auth/password-requirements",
            id="passwordRequirements",
            tag="auth",
            summary="The rules that a password must keep",
            handle=entry.requirements,
            role=None,
            answer=PasswordRequirements,
        ),
        Operation(
            method="GET",
            path="/api/auth/sessions",
            id="listSessions",
            tag="auth",
            summary="One's own sessions, the newest first",
            handle=own.sessions,
            role=Role.READER,
            answer=SessionList,
            example={"own": True},
        ),
        Operation(
            method="DELETE",
            path="/api/auth/sessions/{id}",
            id="endSession",
            tag="auth",
            summary="End one of one's own sessions",
            handle=own.end_session,
            role=Role.READER,
            status=204,
            refuses=(404,),
            example={"own": True, "after": "listSessions", "takes": {"ID": "items.0.id"}, "parts": {"id": "ID"}},
        ),
        Operation(
            method="GET",
            path="/api/auth/tokens",
            id="listTokens",
            tag="auth",
            summary="One's own API tokens, by name",
            handle=own.tokens,
            role=Role.READER,
            answer=TokenList,
            example={"own": True},
        ),
        Operation(
            method="POST",
            path="/api/auth/tokens",
            id="makeToken",
            tag="auth",
            summary="Make an API token for a program",
            detail="Its role is at most one's own, also when that changes later. The answer is the only place that shows it.",
            handle=own.make_token,
            role=Role.READER,
            body=NewToken,
            answer=MadeToken,
            status=201,
            refuses=(409,),
            example={"own": True, "body": {"name": "deploy", "role": "operator", "days": 30, "scopes": ["backends"]}},
        ),
        Operation(
            method="DELETE",
            path="/api/auth/tokens/{id}",
            id="endToken",
            tag="auth",
            summary="End one of one's own API tokens",
            handle=own.end_token,
            role=Role.READER,
            status=204,
            refuses=(404,),
            example={"own": True, "after": "makeToken", "takes": {"ID": "id"}, "parts": {"id": "ID"}},
        ),
    )


class Entry:
    """The handlers for callers that need not be known."""

    def __init__(self, deps: Deps) -> None:
        self._users = deps.users

    def login(self, call: Call) -> Answer:
        access, credentials = self._users.access, call.credentials
        if call.body.cookie:
            check_origin(credentials)
        known = access.known(call.body.username)
        target = f"user {known}" if known else f"a user that does not exist: {tried(call.body.username)}"
        if not access.any_user() and not known:  # both are asked for each name, so that none takes longer
            raise Refused(401, FIRST, headers=[("WWW-Authenticate", 'Bearer realm="terraster"')], target=target)
        with translated(target):
            given = access.login(call.body.username, call.body.password, credentials.address, credentials.agent, call.body.cookie)
        headers = (field(given.refresh, credentials),) if call.body.cookie else ()
        return Answer(_granted(given, call.body.cookie), headers=headers, effect=_of(given.identity.name))

    def refresh(self, call: Call) -> Answer:
        with translated():
            given = self._users.access.refresh(call.body.refresh_token)
        return Answer(_granted(given, False), effect=_of(given.identity.name))

    def revoke(self, call: Call) -> Answer:
        credentials, token = call.credentials, call.body.refresh_token if call.body is not None else ""
        identity = None
        if not token and credentials.bearer:
            with translated():
                identity = self._users.access.identify(credentials.bearer)
        elif not token and (token := cookie(credentials)):
            check_origin(credentials)
        self._users.access.logout(identity, token)
        headers = (ended(credentials),) if cookie(credentials) else ()
        return Answer(headers=headers, effect=_of(identity.name) if identity else Effect())

    def requirements(self, call: Call) -> Answer:
        policy = self._users.policy()
        return Answer(
            PasswordRequirements(
                min_length=policy.min_length,
                max_octets=MOST_OCTETS,
                history=policy.history,
                expiry_days=policy.expiry_days,
                rules=list(rules(policy)),
            )
        )


class Own:
    """The handlers for what a user does with its own account."""

    def __init__(self, deps: Deps) -> None:
        self._access = deps.users.access

    def change_password(self, call: Call) -> Answer:
        caller = _user(call)
        with translated(f"user {caller.name}", "new_", denied=403):
            self._access.change_password(
                _identity(caller), call.body.old_password, call.body.new_password, call.credentials.address
            )
        return Answer(effect=Effect(f"user {caller.name}"))

    def sessions(self, call: Call) -> Answer:
        caller = _user(call)
        found = self._access.sessions(caller.user)
        return Answer(SessionList(items=[SessionRow(**_without_user(one), current=one.id == caller.session) for one in found]))

    def end_session(self, call: Call) -> Answer:
        caller = _user(call)
        target = f"session {call.parts['id'][:40]} of user {caller.name}"
        with translated(target):
            self._access.end_session(caller.user, call.parts["id"])
        return Answer(effect=Effect(target))

    def tokens(self, call: Call) -> Answer:
        return Answer(TokenList(items=[TokenRow(**_token(one)) for one in self._access.api_tokens(_user(call).user)]))

    def make_token(self, call: Call) -> Answer:
        caller, body = _user(call), call.body
        target = f"token {body.name} of user {caller.name}"
        with translated(target):
            made, text = self._access.make_api_token(_identity(caller), body.name, body.role, " ".join(body.scopes), body.days)
        return Answer(MadeToken(**_token(made), token=text), effect=Effect(target, None, _token(made)))

    def end_token(self, call: Call) -> Answer:
        caller = _user(call)
        with translated(f"a token of user {caller.name}"):
            gone = self._access.end_api_token(caller.user, call.parts["id"])
        return Answer(effect=Effect(f"token {gone.name} of user {caller.name}", _token(gone), None))


def _of(user: str) -> Effect:
    """The effect of a call that proves to be from a user, and is about the same one."""
    return Effect(f"user {user}", user=user)


def _granted(given: Given, browser: bool) -> Granted:
    identity = given.identity
    role: Any = identity.role
    return Granted(
        token=given.access,
        refresh_token="" if browser else given.refresh,
        expires_at=given.expires,
        role=role,
        password_expired=identity.must_change,
    )


def _user(call: Call) -> Caller:
    """The caller, who must be one of the users. Raises `Refused` for one that came by the control socket."""
    caller = call.caller
    if caller is None or not caller.user:
        raise Refused(403, "this is for users who have logged in; on the control socket use /api/auth/users")
    return caller


def _identity(caller: Caller) -> Identity:
    how = TOKEN if caller.how == "token" else SESSION
    return Identity(caller.user, caller.name, caller.role.word, how, caller.session)


def _without_user(row: Any) -> dict[str, Any]:
    return {name: value for name, value in row._asdict().items() if name != "user"}


def _token(token: ApiToken) -> dict[str, Any]:
    return {**_without_user(token), "scopes": token.scopes.split()}
