"""Users of the management API: logins, sessions, roles, and what attackers try."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import threading
from pathlib import Path

import pytest

from ..harness.api import call, told
from ..harness.backends import ok
from ..harness.terraster_process import service
from ..harness.users_api import GOOD, NEW, Client, make
from ..harness.waiting import wait_until

SERVICE = service("http://127.0.0.1:9", name="shop", host="shop.test")


@pytest.fixture
def users(tmp_path):
    """The file of the users."""
    return tmp_path / "users.db"


@pytest.fixture
def running(terraster, users):
    """A Terraster whose users are those of the test."""
    return terraster(SERVICE, auth={"db_path": str(users)})


def test_without_users_the_api_says_how_to_make_one(running, users):
    client = Client(running)
    for answer in (client.call("GET", "/api/services"), client.login()):
        assert answer.status == 401 and "terrasterctl user add NAME --role admin" in answer.value["detail"]
        assert answer.fields["www-authenticate"].startswith("Bearer")
    make(users)
    assert "terrasterctl" not in client.call("GET", "/api/services").value["detail"]


def test_a_session_from_login_to_logout(running, users):
    make(users)
    client = Client(running)
    granted = client.login()
    assert set(granted.value) == {"token", "refresh_token", "type", "expires_at", "role", "password_expired"}
    assert (granted.value["type"], granted.value["role"]) == ("Bearer", "admin")
    assert granted.fields["cache-control"] == "no-store"
    assert client.call("GET", "/api/services").status == 200
    refreshed = client.call("POST", "/api/auth/refresh", {"refreshToken": client.refresh})
    assert refreshed.status == 200 and refreshed.value["refresh_token"] != client.refresh
    (session,) = client.call("GET", "/api/auth/sessions").value["items"]
    assert session["current"] and session["address"] == "127.0.0.1"
    assert client.call("POST", "/api/auth/revoke").status == 204
    assert client.call("GET", "/api/services").status == 401
    assert client.call("POST", "/api/auth/refresh", {"refresh_token": refreshed.value["refresh_token"]}).status == 401


def test_a_session_is_ended_from_another_one(running, users):
    make(users)
    one, other = Client(running), Client(running)
    one.login(), other.login()
    ids = {row["current"]: row["id"] for row in one.call("GET", "/api/auth/sessions").value["items"]}
    assert one.call("DELETE", f"/api/auth/sessions/{ids[False]}").status == 204
    assert one.call("DELETE", f"/api/auth/sessions/{ids[False]}").status == 404
    assert (one.call("GET", "/api/services").status, other.call("GET", "/api/services").status) == (200, 401)


def test_roles_and_disabling_take_effect_at_the_next_request(running, users):
    make(users, "root")
    make(users, "ada", "operator")
    root, ada = Client(running), Client(running)
    root.login("root"), ada.login("ada")
    assert ada.call("GET", "/api/auth/users").status == 403
    user = root.call("GET", "/api/auth/users/ada")
    assert root.call("PATCH", "/api/auth/users/ada", {"role": "admin"}).status == 428
    changed = root.call("PATCH", "/api/auth/users/ada", {"role": "admin"}, If_Match=user.etag)
    assert changed.status == 200 and changed.etag != user.etag
    assert ada.call("GET", "/api/auth/users").status == 200
    stale = root.call("PATCH", "/api/auth/users/ada", {"disabled": True}, If_Match=user.etag)
    assert stale.status == 412 and stale.etag == changed.etag
    assert root.call("PATCH", "/api/auth/users/ada", {"disabled": True}, If_Match=changed.etag).status == 200
    assert ada.call("GET", "/api/services").status == 401
    assert ada.login("ada").status == 401
    assert root.call("DELETE", "/api/auth/users/root", If_Match="*").status == 409
    assert root.call("DELETE", "/api/auth/users/ada", If_Match="*").status == 204
    assert [one["name"] for one in root.call("GET", "/api/auth/users").value["items"]] == ["root"]


def test_secrets_of_an_edit_are_shown_to_nobody_and_only_an_administrator_takes_back_a_location(running, users):
    make(users, "root")
    make(users, "ada", "operator")
    root, ada = Client(running), Client(running)
    root.login("root"), ada.login("ada")
    hashed = "$2b$10$" + "Qz" * 26 + "a"
    location = {
        "path": "/new",
        "backends": [{"url": "http://127.0.0.1:9", "health_check": "off"}],
        "middleware": [{"basic_auth": {"users": {"joe": hashed}}}],
    }
    added = root.call("POST", "/api/locations?service_name=shop", location)
    assert added.status == 201
    path = f"/api/overrides/{added.value['edits'][0]['number']}"
    refused = root.call("POST", "/api/locations?service_name=shop&for=60", {**location, "path": "/short"})
    ending = refused.value["edits"][0]["number"]
    seen = [added, root.call("DELETE", f"{path}?dry_run=true"), root.call("GET", "/api/audit")]
    for place in ("overrides", "config/effective?service_name=shop&path=/new", "status"):
        seen.append(ada.call("GET", f"/api/{place}"))
        assert b"/new" in seen[-1].body
    paste = root.call("POST", f"/api/overrides/{ending}/adopt")
    assert paste.status == 409 and hashed in paste.value["errors"][0]["detail"], "who writes it by hand needs it"
    seen.append(root.call("GET", "/api/audit"))
    assert [one.status for one in seen] == [200 if one is not added else 201 for one in seen]
    assert not any(hashed.encode() in one.body for one in seen) and hashed not in running.said
    for query in ("", "?dry_run=true"):
        assert ada.call("DELETE", path + query).status == 403
    assert root.call("DELETE", path).status == root.call("DELETE", f"/api/overrides/{ending}").status == 200
    own = ada.call("POST", "/api/backends?service_name=shop", {"url": "http://127.0.0.1:8", "health_check": "off"})
    assert own.status == 201 and ada.call("DELETE", f"/api/overrides/{own.value['edits'][0]['number']}").status == 200


def test_a_password_is_changed_with_every_reason_against_it(running, users):
    make(users)
    client = Client(running)
    client.login()
    weak = client.call("POST", "/api/auth/change-password", {"oldPassword": GOOD, "newPassword": "ada1"})
    assert weak.status == 422
    assert len(weak.value["errors"]) == 4 and {one["pointer"] for one in weak.value["errors"]} == {"/new_password"}
    assert client.call("POST", "/api/auth/change-password", {"old_password": NEW, "new_password": NEW}).status == 403
    assert client.call("POST", "/api/auth/change-password", {"old_password": GOOD, "new_password": NEW}).status == 204
    assert client.call("GET", "/api/services").status == 200
    assert (Client(running).login().status, Client(running).login(password=NEW).status) == (401, 200)


def test_an_expired_password_allows_nothing_but_to_change_it(terraster, users):
    running = terraster(SERVICE, auth={"db_path": str(users), "password_expiry_days": 30})
    make(users)
    with sqlite3.connect(users) as database:
        database.execute("UPDATE users SET changed = changed - 31 * 86400")
    database.close()
    client = Client(running)
    assert client.login().value["password_expired"] is True
    for method, target in (("GET", "/api/services"), ("GET", "/api/auth/sessions"), ("GET", "/api/auth/users")):
        answer = client.call(method, target)
        assert answer.status == 403 and "has expired" in answer.value["detail"]
    assert client.call("POST", "/api/auth/change-password", {"old_password": GOOD, "new_password": NEW}).status == 204
    assert client.call("GET", "/api/services").status == 200


def test_the_rules_of_passwords_are_those_of_the_configuration(terraster, tmp_path):
    running = terraster(SERVICE, auth={"db_path": str(tmp_path / "u.db"), "password_min_length": 16, "password_history_size": 3})
    rules = Client(running).call("GET", "/api/auth/password-requirements").value
    assert (rules["min_length"], rules["max_octets"], rules["history"], rules["expiry_days"]) == (16, 72, 3, 0)
    assert rules["rules"][0] == "at least 16 characters"
    made = call(running, "POST", "/api/auth/users", {"username": "ada", "password": GOOD})
    assert made.status == 422 and made.value["errors"][0]["pointer"] == "/password"


def test_an_api_token_is_for_programs(running, users):
    make(users)
    client = Client(running)
    client.login()
    made = client.call("POST", "/api/auth/tokens", {"name": "ci", "role": "operator", "scopes": ["services", "listTokens"]})
    assert made.status == 201 and made.value["token"].startswith("tta_")
    program = Client(running, made.value["token"])
    assert program.call("GET", "/api/services").status == 200
    assert program.call("GET", "/api/backends").status == 403  # another tag
    assert "token" not in program.call("GET", "/api/auth/tokens").value["items"][0]
    assert program.call("POST", "/api/auth/tokens", {"name": "more"}).status == 403
    assert client.call("DELETE", f"/api/auth/tokens/{made.value['id']}").status == 204
    assert program.call("GET", "/api/services").status == 401


def test_a_cookie_needs_the_origin_for_what_changes_something(running, users):
    make(users)
    own = f"http://127.0.0.1:{running.admin_port}"
    client = Client(running)
    body = {"username": "ada", "password": GOOD, "cookie": True}
    assert client.call("POST", "/api/auth/login", body, Origin="http://evil.test").status == 403
    granted = client.call("POST", "/api/auth/login", body, Origin=own)
    assert granted.status == 200 and granted.value["token"] == granted.value["refresh_token"] == ""
    cookie, *attributes = granted.fields["set-cookie"].split("; ")
    assert cookie.startswith("terraster=ttc_") and {"HttpOnly", "SameSite=Strict", "Path=/"} < set(attributes)
    assert client.call("GET", "/api/services", Cookie=cookie).status == 200
    for origin in ({}, {"Origin": "null"}, {"Origin": "http://evil.test"}, {"Origin": own + ".evil.test"}, {"Origin": own + "0"}):
        answer = client.call("POST", "/api/auth/tokens", {"name": "csrf"}, Cookie=cookie, **origin)
        assert answer.status == 403, origin
    assert client.call("POST", "/api/auth/tokens", {"name": "own"}, Cookie=cookie, Origin=own).status == 201
    assert client.call("GET", "/api/services", Cookie="__Host-" + cookie).status == 401
    gone = client.call("POST", "/api/auth/revoke", Cookie=cookie, Origin=own)
    assert gone.status == 204 and "Max-Age=0" in gone.fields["set-cookie"]
    assert client.call("GET", "/api/services", Cookie=cookie).status == 401


def test_five_failures_lock_the_account_and_no_header_or_spelling_helps(running, users):
    make(users)
    for number in range(5):
        spelling = ("ada", "ADA", " ada ", "ａｄａ", "Ada")[number]
        assert Client(running).login(spelling, "wrong", X_Forwarded_For=f"203.0.113.{number}").status == 401
    for head in ({}, {"X_Forwarded_For": "198.51.100.1"}, {"Forwarded": "for=198.51.100.2"}, {"X_Real_IP": "198.51.100.3"}):
        locked = Client(running, source="127.0.0.2").login("ada", GOOD, **head)
        assert locked.status == 429 and 800 < int(locked.fields["retry-after"]) <= 900
    assert call(running, "POST", "/api/auth/users/ada/unlock").status == 200
    assert Client(running).login().status == 200


def test_a_name_that_does_not_exist_is_answered_like_a_wrong_password(running, users):
    make(users)

    answers = [Client(running).login(name, "wrong") for name in ("ada", "nobody")]
    assert len({(one.status, one.value["detail"], tuple(one.fields)) for one in answers}) == 1


def test_a_token_that_is_not_ours_is_refused(running, users):
    make(users)
    for token in ("", "x", "a.b.c", "tta_x", "ttr_x", "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0."):
        answer = Client(running, token).call("GET", "/api/services")
        assert answer.status == 401 and answer.fields["content-type"] == "application/problem+json", token


def test_a_refresh_token_used_again_later_ends_the_session(running, users):
    make(users)
    client = Client(running)
    client.login()
    stolen = client.refresh
    new = client.call("POST", "/api/auth/refresh", {"refresh_token": stolen}).value
    twice = client.call("POST", "/api/auth/refresh", {"refresh_token": stolen})
    assert twice.status == 200 and twice.value["refresh_token"] == new["refresh_token"]
    with sqlite3.connect(users) as database:
        database.execute("UPDATE sessions SET refreshed = refreshed - 11")
    database.close()
    assert client.call("POST", "/api/auth/refresh", {"refresh_token": stolen}).status == 401
    assert client.call("POST", "/api/auth/refresh", {"refresh_token": new["refresh_token"]}).status == 401
    assert Client(running, new["token"]).call("GET", "/api/services").status == 401


def test_a_body_of_ten_megabytes_is_refused_by_its_head(running, users):
    body = json.dumps({"username": "x" * 10_000_000, "password": GOOD}).encode()
    answer = Client(running).call("POST", "/api/auth/login", body)
    assert answer.status in (400, 413)
    assert Client(running).call("GET", "/healthz").status == 200


def test_a_client_that_leaves_in_its_body_is_answered_and_is_no_defect(running, users):
    head = b"POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    with socket.create_connection(("127.0.0.1", running.admin_port), 10) as sock:
        sock.sendall(head)
        sock.shutdown(socket.SHUT_WR)
        assert told(b"".join(iter(lambda: sock.recv(65536), b""))).status == 408
    assert "POST /api/auth/login failed" not in running.said


def test_a_crowd_of_logins_is_refused_beyond_the_bound_and_holds_nothing_up(running, users):
    make(users)
    body = json.dumps({"username": "nobody", "password": "wrong"}).encode()
    head = b"POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
    head += b"Content-Length: %d\r\n\r\n"
    statuses = []

    def guess():
        with socket.create_connection(("127.0.0.1", running.admin_port), 60) as sock:
            sock.sendall(head % len(body) + body)
            statuses.append(told(b"".join(iter(lambda: sock.recv(65536), b""))).status)

    crowd = [threading.Thread(target=guess) for _ in range(100)]
    for one in crowd:
        one.start()
    assert Client(running).call("GET", "/healthz").status == 200  # while passwords are compared
    for one in crowd:
        one.join(60)
    assert len(statuses) == 100 and statuses.count(429) >= 90 and set(statuses) <= {401, 429}


def test_a_database_that_cannot_be_used_is_an_error_of_the_api_only(terraster, backend, users):
    origin = backend(answer=ok(b"served"))
    users.write_bytes(b"not a database at all" * 300)
    running = terraster(origin, auth={"db_path": str(users)})
    for answer in (Client(running).login(), Client(running, "a.b.c").call("GET", "/api/services")):
        assert answer.status == 503 and "is damaged" in answer.value["detail"]
    assert Client(running).call("GET", "/healthz").status == 200
    with running.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.response().body == b"served"
    users.unlink()
    make(users)
    assert Client(running).login().status == 200


def test_a_new_admin_worker_keeps_sessions_and_locks(fresh, users):
    running = fresh(SERVICE, auth={"db_path": str(users)})
    make(users)
    make(users, "bea", "reader")
    client = Client(running)
    client.login()
    for _ in range(5):
        Client(running).login("bea", "wrong")
    (admin,) = [worker["pid"] for worker in running.status()["workers"] if worker["role"] == "admin"]
    os.kill(admin, signal.SIGKILL)
    wait_until(lambda: client.call("GET", "/api/services").status == 200, tolerate=(OSError, ValueError, IndexError))
    assert Client(running).login("bea", GOOD).status == 429


def test_secrets_are_in_no_log(running, users):
    make(users)
    client = Client(running)
    client.login()
    client.login("ada", "a-wrong-password-of-mine")
    client.call("GET", "/api/services")
    printed = running.said + "".join(path.read_text() for path in (Path(running.base["state_dir"]) / "audit").glob("*.jsonl*"))
    assert '"login"' in printed
    for secret in (GOOD, client.token, client.refresh, "a-wrong-password-of-mine"):
        assert secret not in printed


@pytest.mark.parametrize("how", ["ended", "disabled"])
def test_a_login_that_ends_loses_its_stream(running, users, how):
    make(users)
    make(users, "bea", "reader")
    root, bea = Client(running), Client(running)
    root.login(), bea.login("bea")
    with socket.create_connection(("127.0.0.1", running.admin_port), 30) as viewer:
        head = f"GET /api/stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {bea.token}\r\n\r\n"
        viewer.sendall(head.encode())
        read = b""
        while b"event: status" not in read:
            assert (piece := viewer.recv(65536)), read
            read += piece
        if how == "ended":
            assert root.call("POST", "/api/auth/users/bea/logout").status == 204
        else:
            assert root.call("PATCH", "/api/auth/users/bea", {"disabled": True}, If_Match="*").status == 200
        rest = b"".join(iter(lambda: viewer.recv(65536), b""))
    assert b"event: ended" in rest and b"Traceback" not in rest
