"""Attacks on the management API, in one process: pages of other sites, foreign bodies, odd paths, words that would become headers, time.

Forged tokens are in `test_users_access.py`, crowds and slow clients in `test_admin_server.py`, hosts in `test_admin_gate.py`, scripts in names
and reasons in `scenarios/test_dashboard.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock
from urllib.parse import quote

import pytest

from terraster.admin.callers import UserIdentity
from terraster.admin.mount import Mount
from terraster.admin.pages import routes
from terraster.admin.server import RAW_PATH
from terraster.admin.site import Site
from terraster.api.call import Credentials, Reply, Request
from terraster.api.deps import Deps
from terraster.api.operation import Operation
from terraster.api.operations import table
from terraster.api.router import Api
from terraster.config.snapshot import Snapshot
from terraster.users.database import Database

from .harness.users import GOOD, Room
from .test_api_router import Log, Rows

HOST = "127.0.0.1:8081"
OWN = f"http://{HOST}"


class Place:
    """The API with real users, and answers of the rest that nobody may see."""

    def __init__(self, folder: Path) -> None:
        self.room = Room(folder)
        self.room.administration.add("root", "admin", GOOD)
        self.cookie = self.room.login("root", cookie=True).refresh
        self.token = self.room.login("root").access
        given: dict[str, Any] = {one.name: MagicMock() for one in fields(Deps)}
        given["users"] = self.room
        given["snapshot"] = lambda: Snapshot(1, (), ())
        self.deps = Deps(**given)
        self.operations = table(self.deps)
        self.log, self.rows = Log(), Rows()
        self.api = Api(self.operations, UserIdentity(self.room.access), self.rows, self.log)
        self.mount = Mount(lambda: self.api, Site(routes(), self.log))

    def call(self, method: str, path: str, body: bytes | None = None, **given: Any) -> Reply:
        """given: of the credentials, and ``head``"""
        head = given.pop("head", {})
        path, _, query = path.partition("?")
        length = None if body is None else len(body)
        credentials = Credentials(host=HOST, method=method, address="192.0.2.7", **given)
        return self.api.answer(Request(method, path, query, head, length, lambda: body or b"", credentials, "r1"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(Path(tmp_path_factory.mktemp("users")))


def unsafe(place: Place) -> list[Operation]:
    return [one for one in place.operations if not one.safe and one.role is not None]


def target(one: Operation) -> str:
    return one.path.replace("{name}", "root").replace("{number}", "1").replace("{id}", "1")


ORIGINS = ("", "null", "http://evil.test", f"https://{HOST}", "http://127.0.0.1", f"{OWN}.evil.test", f"{OWN}@evil.test", f"{OWN}/")


@pytest.mark.parametrize("origin", ORIGINS)
def test_no_page_of_another_site_calls_anything_with_a_browsers_cookie(place: Place, origin: str) -> None:
    for one in unsafe(place):
        head = {"content-type": "application/json", "if-match": "*"}
        reply = place.call(one.method, target(one), b"{}", cookies={"terraster": place.cookie}, origin=origin, head=head)
        assert reply.status == 403, one.id
    for path in ("login", "revoke"):
        body = b"{}" if path == "revoke" else json.dumps({"username": "root", "password": GOOD, "cookie": True}).encode()
        head = {"content-type": "application/json"}
        reply = place.call("POST", f"/api/auth/{path}", body, cookies={"terraster": place.cookie}, origin=origin, head=head)
        assert reply.status == 403 and "Set-Cookie" not in dict(reply.headers)


FORMS = ("", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json", "application/jsonp")


@pytest.mark.parametrize("kind", FORMS)
def test_no_form_is_taken_for_json(place: Place, kind: str) -> None:
    with_bodies = [one for one in place.operations if one.body is not None]
    assert len(with_bodies) > 15
    for one in with_bodies:
        for known in ({"bearer": place.token}, {"cookies": {"terraster": place.cookie}, "origin": OWN}):
            reply = place.call(one.method, target(one), b'{"a": 1}', head={"content-type": kind, "if-match": "*"}, **known)
            assert reply.status == 415, one.id


@pytest.mark.parametrize(
    "path",
    [
        "/api/services/",
        "//api/services",
        "/api//services",
        "/api/./services",
        "/api/../api/services",
        "/api/%2e%2e/api/services",
        "/api/%2f../services",
        "/api%2fservices",
        "/api/services%00",
        "/api/services%0d%0aX-Evil:%201",
        "/api/services;x=1",
        "/api/Services",
        "/API/services",
        "/api/auth/users/root/../../services",
        "/api/auth/users//sessions",
        "/openapi.json/",
        "/dashboard/../../../etc/passwd",
        "/dashboard/%2e%2e/%2e%2e/etc/passwd",
        "/dashboard/..%2f..%2fetc%2fpasswd",
        "/dashboard//app.js",
        "/docs/..%5c..%5cconfig.yaml",
    ],
)
def test_no_odd_path_leads_anywhere(place: Place, path: str) -> None:
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path.replace("%2e", ".").replace("%2f", "/"),
        RAW_PATH: path,
        "QUERY_STRING": "",
    }
    seen: list[Any] = []
    place.mount({**environ, "HTTP_AUTHORIZATION": f"Bearer {place.token}"}, lambda status, headers: seen.extend((status, headers)))
    assert seen[0].startswith("404 ")


LINES = ("a\r\nSet-Cookie: x=1", "a\nb", "a\rb", "a\0b", "a\u2028b", "a\x1b[2J", "..", "a/../b", "../../etc/passwd")


@pytest.mark.parametrize("word", LINES)
def test_no_word_becomes_a_header_a_line_or_a_user(place: Place, word: str) -> None:
    body = json.dumps({"username": word, "password": "Rm5?kXb8+hNd"}).encode()
    head = {"content-type": "application/json"}
    replies = [place.call("POST", "/api/auth/users", body, bearer=place.token, head=head)]
    names = [one for one in place.operations if one.tag == "users" and "{name}" in one.path]
    for one in names:
        path = one.path.replace("{name}", quote(word, safe=""))
        octets = {"PATCH": b'{"disabled": true}', "POST": b'{"password": "Rm5?kXb8+hNd"}'}.get(one.method)
        replies.append(place.call(one.method, path, octets, bearer=place.token, head={**head, "if-match": "*"}))
    assert {reply.status for reply in replies} <= {200, 201, 204, 404, 422}  # "a\nb" is a spelling of "ab"
    assert all(part.isprintable() for reply in replies for header in reply.headers for part in header)
    there = json.loads(b"".join(place.call("GET", "/api/auth/users", bearer=place.token).body or ()))["items"]  # type: ignore[arg-type]
    assert all(row["name"].isascii() and row["name"].isprintable() and "/" not in row["name"] for row in there)
    assert all(target.isprintable() for _, _, target, _, _ in place.rows.rows)


def counting(calls: list[str], how: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def counted(self: Database, *arguments: Any) -> Any:
        calls.append(how)
        return real(self, *arguments)

    return counted


def test_a_login_does_as_much_for_a_name_that_does_not_exist(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for how in ("read", "write"):
        monkeypatch.setattr(Database, how, counting(calls, how, getattr(Database, how)))
    done: dict[str, tuple[list[str], int]] = {}
    for name in ("root", "nobody"):
        calls.clear()
        before = place.room.passwords.compared
        body = json.dumps({"username": name, "password": "wrong"}).encode()
        assert place.call("POST", "/api/auth/login", body, head={"content-type": "application/json"}).status == 401
        done[name] = list(calls), place.room.passwords.compared - before
    assert done["root"] == done["nobody"] and done["root"][1] == 1
