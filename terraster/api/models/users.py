"""Bodies and answers about users, sessions and tokens."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import Listed, Model, Row, Whole, spelt

__all__ = [
    "ChangePassword",
    "Granted",
    "Login",
    "MadeToken",
    "NewToken",
    "NewUser",
    "PasswordRequirements",
    "Refresh",
    "ResetPassword",
    "Revoke",
    "SessionList",
    "SessionRow",
    "TokenList",
    "TokenRow",
    "UserChange",
    "UserPage",
    "UserQuery",
    "UserRow",
]

Moment = Annotated[int, Field(description="Seconds since 1970.")]
RoleName = Literal["admin", "operator", "reader"]
Password = Annotated[str, Field(max_length=1000)]
_TOKEN = 500


class Login(Model):
    username: Annotated[str, Field(max_length=200, description="In any spelling.")]
    password: Annotated[Password, Field(description="Of the user.")]
    cookie: Annotated[
        bool, Field(strict=True, description="True for a page of a browser: a cookie takes the place of the two tokens.")
    ] = False


class Granted(Model):
    """Tokens of a session."""

    token: Annotated[str, Field(description="For `Authorization: Bearer`; empty if a cookie was asked for.")]
    refresh_token: Annotated[str, Field(description="Good for one refresh; empty if a cookie was asked for.")]
    type: Literal["Bearer"] = "Bearer"
    expires_at: Annotated[int, Field(description="When the token, or the session of a cookie, ends; seconds since 1970.")]
    role: RoleName
    password_expired: Annotated[bool, Field(description="True if nothing is allowed but to change the password.")]


class Refresh(Model):
    refresh_token: Annotated[
        str, Field(max_length=_TOKEN, validation_alias=spelt("refresh_token"), description="The last one of the session.")
    ]


class Revoke(Model):
    refresh_token: Annotated[
        str, Field(max_length=_TOKEN, validation_alias=spelt("refresh_token"), description="Default: the session of the request.")
    ] = ""


class ChangePassword(Model):
    old_password: Annotated[Password, Field(validation_alias=spelt("old_password"), description="The one that holds now.")]
    new_password: Annotated[
        Password, Field(validation_alias=spelt("new_password"), description="See `GET /api/auth/password-requirements`.")
    ]


class PasswordRequirements(Model):
    min_length: Annotated[int, Field(description="Characters.")]
    max_octets: Annotated[int, Field(description="Octets in UTF-8.")]
    history: Annotated[int, Field(description="How many of the last passwords may not be used again.")]
    expiry_days: Annotated[int, Field(description="0: passwords do not expire.")]
    rules: Annotated[list[str], Field(description="All rules, for people.")]


class SessionRow(Model):
    """One session."""

    id: str
    kind: Annotated[Literal["refresh", "cookie"], Field(description="Its use: a program's tokens, or a browser's cookie.")]
    created: Moment
    refreshed: Moment
    expires: Moment
    address: Annotated[str, Field(description="Of the client that logged in.")]
    agent: Annotated[str, Field(description="That client's name of itself.")]
    current: Annotated[bool, Field(description="True for the session of this request.")]


class SessionList(Model):
    items: list[SessionRow]


class UserQuery(Listed):
    pass


class UserRow(Row):
    """One user."""

    name: str
    role: RoleName
    disabled: bool
    created: Moment
    changed: Annotated[int, Field(description="When the password was set; seconds since 1970.")]
    expires: Annotated[int, Field(description="When the password must be changed; seconds since 1970, 0: never.")]
    expired: Annotated[bool, Field(description="True if it must be changed now.")]
    locked: Annotated[int, Field(description="Seconds that failed logins still lock the user; 0: not locked.")]
    sessions: int
    tokens: int


class UserPage(Model):
    items: list[UserRow]
    next: Annotated[str | None, Field(description="The `cursor` of the next page; null: this is the last one.")]


class NewUser(Model):
    username: Annotated[str, Field(max_length=200, description="Letters a-z, digits and . _ - @.")]
    password: Annotated[Password, Field(description="See `GET /api/auth/password-requirements`.")]
    role: Annotated[RoleName, Field(description="The rights of the user.")] = "reader"
    must_change: Annotated[
        bool,
        Field(
            strict=True,
            validation_alias=spelt("must_change"),
            description="True if the user may do nothing before it has set a password of its own.",
        ),
    ] = False


class UserChange(Model):
    """The changes; at least one of the two."""

    role: Annotated[RoleName | None, Field(description="Its new role, which holds from its next request on.")] = None
    disabled: Annotated[bool | None, Field(strict=True, description="True ends all that the user holds.")] = None

    @model_validator(mode="after")
    def _something(self) -> UserChange:
        if self.role is None and self.disabled is None:
            raise ValueError("must have `role` or `disabled`")
        return self


class ResetPassword(Model):
    password: Annotated[Password, Field(description="See `GET /api/auth/password-requirements`.")]
    must_change: Annotated[
        bool,
        Field(
            strict=True,
            validation_alias=spelt("must_change"),
            description="True if the user may do nothing before it has set a password of its own.",
        ),
    ] = True


class NewToken(Model):
    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=100,
            pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._@:/-]*$",
            description="Its purpose; each of a user is another one.",
        ),
    ]
    role: Annotated[RoleName, Field(description="The rights of the token.")] = "reader"
    days: Annotated[Whole, Field(ge=1, le=366, description="Days that it works.")] = 90
    scopes: Annotated[
        list[Annotated[str, Field(pattern=r"^[A-Za-z]{1,60}$")]],
        Field(max_length=50, description="Operations or tags that it is for. Default: all that its role may."),
    ] = []


class TokenRow(Model):
    """One API token."""

    id: str
    name: str
    role: RoleName
    scopes: list[str]
    created: Moment
    expires: Moment


class TokenList(Model):
    items: list[TokenRow]


class MadeToken(TokenRow):
    token: Annotated[str, Field(description="For `Authorization: Bearer`. It is shown here only.")]
