"""The operations of users, sessions and tokens: the role that each one needs, and which an expired password allows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from terraster.api.call import Credentials, Role
from terraster.api.cookie import check_origin, cookie, ended, field
from terraster.api.operations import auth, users
from terraster.api.problem import Refused

DEPS: Any = SimpleNamespace(users=SimpleNamespace(access=None, administration=None))
TABLE = {one.id: one for one in (*auth.operations(DEPS), *users.operations(DEPS))}


def test_the_role_of_each_operation() -> None:
    assert {name: one.role for name, one in TABLE.items()} == {
        "login": None,
        "refresh": None,
        "revoke": None,
        "passwordRequirements": None,
        "changePassword": Role.READER,
        "listSessions": Role.READER,
        "endSession": Role.READER,
        "listTokens": Role.READER,
        "makeToken": Role.READER,
        "endToken": Role.READER,
        "listUsers": Role.ADMIN,
        "addUser": Role.ADMIN,
        "getUser": Role.ADMIN,
        "changeUser": Role.ADMIN,
        "removeUser": Role.ADMIN,
        "resetPassword": Role.ADMIN,
        "unlockUser": Role.ADMIN,
        "listUserSessions": Role.ADMIN,
        "endUserSessions": Role.ADMIN,
    }


def test_an_expired_password_allows_only_to_change_it() -> None:
    assert [name for name, one in TABLE.items() if one.expired] == ["changePassword"]


@pytest.mark.parametrize("secure", [False, True])
def test_a_cookie_has_the_name_and_the_attributes_of_its_transport(secure: bool) -> None:
    credentials = Credentials(secure=secure)
    name, value = field("ttc_x", credentials)
    words = value.split("; ")
    assert name == "Set-Cookie" and {"Path=/", "HttpOnly", "SameSite=Strict"} < set(words)
    assert words[0] == ("__Host-terraster=ttc_x" if secure else "terraster=ttc_x")
    assert ("Secure" in words) is secure and not any(word.startswith("Domain") for word in words)
    assert "Max-Age=0" in ended(credentials)[1]
    both = {"terraster": "clear", "__Host-terraster": "tls"}
    assert cookie(Credentials(cookies=both, secure=secure)) == ("tls" if secure else "clear")


ORIGINS = [
    ("https://a.test:8081", "a.test:8081", True, True),
    ("https://A.test:8081", "a.test:8081", True, True),
    ("http://a.test:8081", "a.test:8081", True, False),
    ("https://a.test:8081", "a.test:8081", False, False),
    ("https://a.test", "a.test:8081", True, False),
    ("https://a.test:8081.evil.test", "a.test:8081", True, False),
    ("null", "a.test:8081", True, False),
    ("", "a.test:8081", True, False),
    ("https://", "", True, False),
]


@pytest.mark.parametrize(("origin", "host", "secure", "allowed"), ORIGINS)
def test_the_origin_of_an_unsafe_request_is_that_of_the_port(origin: str, host: str, secure: bool, allowed: bool) -> None:
    credentials = Credentials(origin=origin, host=host, secure=secure, method="POST")
    if allowed:
        check_origin(credentials)
    else:
        with pytest.raises(Refused):
            check_origin(credentials)
    check_origin(Credentials(origin=origin, host=host, secure=secure, method="GET"))
