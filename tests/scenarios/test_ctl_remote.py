"""terrasterctl at a Terraster on another host, by its management API: the commands that work on the host work there too."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from ..harness.terraster_process import Terraster, run_ctl, service
from ..harness.users_api import GOOD, make
from .test_edits import edited, named

__all__ = ["edited"]


@pytest.fixture
def away(edited: Any, backend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terraster:
    """A Terraster with the user ada, at which terrasterctl is logged in."""
    one, two = named(backend, "one", "two")
    database = tmp_path / "users.db"
    proxy: Terraster = edited(service(one.url, two.url), auth={"db_path": str(database)})
    make(database)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("TERRASTER_URL", f"http://127.0.0.1:{proxy.admin_port}")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{GOOD}\n"))
    done = run_ctl("login", os.environ["TERRASTER_URL"], "--user", "ada", "--password-stdin")
    assert done.returncode == 0, done
    return proxy


def do(*arguments: str, code: int = 0) -> str:
    done = run_ctl(*arguments)
    assert done.returncode == code, done
    return done.stdout if code == 0 else done.stderr


def test_the_commands_of_the_host_work_from_afar(away: Terraster) -> None:
    url = away.status()["services"][0]["locations"][0]["backends"][1]["url"]
    assert do("status").splitlines()[0].startswith("Terraster ") and "site/" in do("status")
    assert "is draining" in do("backend", "drain", "site", url, "--reason", "disk")
    assert "draining, set" in (told := do("why", "site", url)) and "cannot be read" not in told
    assert "is up" in do("backend", "enable", "site", url)
    assert "backend http://127.0.0.9:9 added to site/" in do(
        "backend", "add", "site", "http://127.0.0.9:9", "--weight", "3", "--dry-run"
    )
    assert "all processes run it" in do("backend", "add", "site", "http://127.0.0.9:9", "--weight", "3")
    listed = do("edits")
    assert "backend http://127.0.0.9:9 added to site/" in listed and "by ada" in listed
    assert "all processes run it" in do("edits", "drop", listed.split()[0])
    assert "under maintenance" in do("maintenance", "on", "site", "--for", "1h")
    assert "service site serves" in do("maintenance", "off", "site")
    assert do("reload", "--dry-run").startswith("nothing to reload") and do("diff") == "nothing differs\n"
    assert "runs" in do("generations") and "GET" in do("explain", f"GET {away.url}/")
    assert "ada" in do("user", "list") and "no plugin is in use" in do("plugins")
    assert json.loads(do("requests", "--json"))["ok"] and json.loads(do("failures", "--json"))["ok"]
    rows = json.loads(do("audit", "--user", "ada", "--json"))["rows"]
    assert rows and all(row["user"] == "ada" for row in rows)
    assert json.loads(do("events", "--json"))["ok"] and "whole" in do("audit", "verify")
    assert "only on the host" in do("mirror", code=1) and "only on the host" in do("stop", code=1)
    assert "nowhere" in do("why", "nowhere", url, code=1)


def test_a_refused_reload_tells_all_problems(away: Terraster) -> None:
    away.write(service("http://127.0.0.1:9"), nonsense=1, more_nonsense=2)
    told = do("reload", code=1)
    assert "not reloaded, the running configuration stays in effect" in told and "`nonsense`" in told and "`more_nonsense`" in told


def test_after_a_logout_the_tokens_are_worth_nothing(away: Terraster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = json.loads((tmp_path / "config" / "terraster" / "logins.json").read_text())
    token = kept[os.environ["TERRASTER_URL"]]["token"]
    assert do("logout").startswith("logged out at ")
    assert "there is no login" in do("generations", code=1)
    monkeypatch.setenv("TERRASTER_TOKEN", token)
    told = do("generations", code=1)
    assert "TERRASTER_TOKEN is not valid" in told and token not in told


def test_a_wrong_password_is_refused(away: Terraster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("wrong-Password-1\n"))
    told = do("login", os.environ["TERRASTER_URL"], "--user", "ada", "--password-stdin", code=1)
    assert told.startswith(f"terrasterctl: {os.environ['TERRASTER_URL']}: ") and "wrong-Password-1" not in told
