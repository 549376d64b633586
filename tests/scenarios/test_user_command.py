"""`terrasterctl user`, with a running Terraster and without one."""

from __future__ import annotations

import io
import json
import os
import pwd
import shutil
import tempfile
from pathlib import Path

import pytest

from terraster.audit.log import AuditLog

from ..harness.shapes import unlawful
from ..harness.terraster_process import Terraster, service
from ..harness.users_api import GOOD, NEW, Client, make

SERVICE = service("http://127.0.0.1:9", name="shop", host="shop.test")


@pytest.fixture
def typed(monkeypatch):
    """Standard input with a line."""

    def type_(line):
        monkeypatch.setattr("sys.stdin", io.StringIO(line + "\n"))

    return type_


def test_the_users_of_a_running_terraster(terraster, tmp_path, typed):
    users = tmp_path / "users.db"
    running = terraster(SERVICE, auth={"db_path": str(users)})

    def ctl(*words, code=0):
        done = running.ctl("user", *words)
        assert done.returncode == code, done.stderr
        return done.stdout or done.stderr

    def document(shape, *words):
        found = json.loads(ctl(*words, "--json"))
        assert unlawful(shape, found) == []
        return found

    assert "no users yet" in ctl("list")
    typed("short")
    assert "at least 12 characters; it must contain an upper-case letter" in ctl(
        "add", "ada", "--role", "admin", "--password-stdin", code=1
    )
    make(users)
    client = Client(running)
    assert client.login().status == 200
    made = document("user", "add", "bea", "--role", "reader", "--generate", "--must-change")
    bea = Client(running)
    assert bea.login("bea", made["password"]).value["password_expired"] is True
    assert [(one["name"], one["expired"], one["sessions"]) for one in document("user list", "list")["users"]] == [
        ("ada", False, 1),
        ("bea", True, 1),
    ]
    assert "bea   reader         1       0  must change the password" in ctl("list")
    assert document("user sessions", "sessions", "bea")["sessions"][0]["address"] == "127.0.0.1"
    assert "all of them were ended" in ctl("sessions", "bea", "--end")
    assert bea.call("GET", "/api/auth/sessions").status == 401
    assert "is the last administrator" in ctl("disable", "ada", code=1)
    assert ctl("role", "bea", "operator") == "user bea: role operator, must change the password\n"
    assert "disabled" in ctl("disable", "bea") and "disabled" not in ctl("enable", "bea")
    typed(NEW)
    assert ctl("reset-password", "ada", "--password-stdin") == "user ada: role admin, active\n"
    assert client.call("GET", "/api/services").status == 401
    assert ctl("unlock", "ada") == "user ada: role admin, active\n"
    assert document("user", "remove", "bea")["user"] is None
    assert "there is no such user" in ctl("remove", "bea", code=1)


def test_the_first_user_before_the_first_start(tmp_path, typed):
    with Terraster(tmp_path, SERVICE, start=False) as later:
        typed(GOOD)
        made = later.ctl("user", "add", "ada", "--role", "admin", "--password-stdin")
        assert made.returncode == 0 and "no Terraster runs here" in made.stdout, made.stderr
        assert os.stat(tmp_path / "state" / "auth.db").st_mode & 0o777 == 0o600
        assert [one["name"] for one in json.loads(later.ctl("user", "list", "--json").stdout)["users"]] == ["ada"]
        assert later.ctl("user", "remove", "ada").returncode == 1
        removed, added = AuditLog(str(tmp_path / "state" / "audit"), str).rows()
        assert (added["action"], added["target"], added["how"], added["outcome"]) == ("addUser", "user ada", "file", "done")
        assert added["user"] == pwd.getpwuid(os.getuid()).pw_name and added["after"]["role"] == "admin" and GOOD not in str(added)
        assert (removed["action"], removed["outcome"]) == ("removeUser", "refused") and removed["detail"]
        later.start()
        assert Client(later).login().status == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_root_writes_as_the_owner_of_the_state_directory(tmp_path, typed):
    later = Terraster(tmp_path, SERVICE, start=False)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    os.chown(state, 65534, 65534)
    folder = tmp_path
    while folder != Path(tempfile.gettempdir()):
        folder.chmod(0o755)
        folder = folder.parent
    typed(GOOD)
    made = later.ctl("user", "add", "ada", "--role", "admin", "--password-stdin")
    assert made.returncode == 0, made.stderr
    assert {os.stat(path).st_uid for path in state.iterdir()} == {65534}
    assert os.geteuid() == 0
    shutil.rmtree(state)
    assert "there are no users yet" in later.ctl("user", "unlock", "ada").stderr


def test_a_configuration_with_a_mistake_is_named(tmp_path):
    later = Terraster(tmp_path, SERVICE, start=False)
    later.config_file.write_text(f"port: x\nruntime_dir: {later.runtime_dir}\n")  # of which nothing else runs
    refused = later.ctl("user", "list")
    assert refused.returncode == 1 and f"{later.config_file}:1:" in refused.stderr
