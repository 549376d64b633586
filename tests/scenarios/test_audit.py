"""What operators and signals do leaves rows in the audit log, whatever is killed or full."""

from __future__ import annotations

import getpass
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

from ..harness.api import call
from ..harness.backends import ok
from ..harness.disks import fill
from ..harness.terraster_process import Terraster, service
from ..harness.waiting import wait_until

ME = getpass.getuser()


def rows(proxy: Terraster) -> list[dict[str, Any]]:
    """The oldest first."""
    found: list[dict[str, Any]] = proxy.control("GET", "/audit", limit="1000")["rows"][::-1]
    return found


def told(proxy: Terraster) -> list[tuple[str, str, str]]:
    return [(row["user"], row["action"], row["outcome"]) for row in rows(proxy)]


def admin(proxy: Terraster) -> int:
    return next(int(worker["pid"]) for worker in proxy.status()["workers"] if worker["role"] == "admin")


def test_each_change_leaves_a_row(fresh, backend, monkeypatch) -> None:
    one, two = backend(answer=ok()), backend(answer=ok())
    site = service(one.url, two.url)
    proxy = fresh(site, workers=1)
    assert proxy.ctl("backend", "weight", "site", one.url, "3", "--reason", "password=hunter2 ticket 4711").returncode == 0
    assert proxy.ctl("backend", "drain", "site", "nobody").returncode == 1
    assert proxy.ctl("maintenance", "on", "site", "--for", "1h").returncode == 0
    assert proxy.ctl("maintenance", "off", "site").returncode == 0
    proxy.config_file.write_text("services: 5\n")
    assert proxy.ctl("reload", find_by="runtime dir").returncode == 1
    proxy.write(site, workers=2)
    proxy.signal(signal.SIGHUP)
    wait_until(lambda: rows(proxy)[-1]["action"] == "signal.HUP")
    proxy.signal(signal.SIGTTIN)
    wait_until(lambda: rows(proxy)[-1]["action"] == "signal.TTIN")
    assert told(proxy) == [
        (ME, "backend.weight", "done"),
        (ME, "backend.drain", "refused"),
        (ME, "maintenance.on", "done"),
        (ME, "maintenance.off", "done"),
        (ME, "reload", "refused"),
        ("signal", "signal.HUP", "done"),
        ("signal", "signal.TTIN", "done"),
    ]
    weight, drain, on, off, refused, hup, _ = rows(proxy)
    assert (weight["before"]["weight"], weight["after"]["weight"], weight["generation"]) == (1, 3, 2)
    assert weight["reason"].endswith("ticket 4711") and "hunter2" not in json.dumps(rows(proxy))
    assert weight["target"] == f"site/ {one.url}" and (weight["how"], weight["role"]) == ("socket", "admin")
    assert "nobody" in drain["detail"]
    assert on["before"] == off["after"] == {"maintenance": None} and off["before"] == on["after"]
    assert "services" in refused["detail"] and refused["after"]["generation"] == refused["before"]["generation"]
    assert hup["after"]["changes"]
    monkeypatch.setenv("COLUMNS", "80")
    text = proxy.ctl("audit", "--user", ME, find_by="runtime dir").stdout
    assert all(len(line) <= 80 for line in text.splitlines()) and "ticket 4711" in text
    last = rows(proxy)[-1]
    assert f"{last['seq']}:{last['hash']}" in proxy.ctl("audit", "verify", find_by="runtime dir").stdout
    assert f"audit: row {last['seq']}: signal.TTIN: done, hash {last['hash']}" in proxy.said


def test_a_killed_admin_worker_leaves_the_change_that_it_had_begun(fresh, backend) -> None:
    site = service(backend(answer=ok()).url)
    proxy = fresh(site)
    assert proxy.ctl("reload").returncode == 0
    victim = admin(proxy)
    proxy.write(site, workers=2)
    os.kill(proxy.pid, signal.SIGSTOP)
    try:
        asker = threading.Thread(target=proxy.ctl, args=("reload",))
        asker.start()
        audit = Path(proxy.base["state_dir"]) / "audit"
        wait_until(lambda: [path for path in audit.glob(f"begun-{victim}-*") if path.suffix != ".new"])
        os.kill(victim, signal.SIGKILL)
    finally:
        os.kill(proxy.pid, signal.SIGCONT)
    asker.join()
    wait_until(lambda: (ME, "reload", "unknown") in told(proxy))
    assert proxy.ctl("audit", "verify").returncode == 0
    assert "killed" in next(row["detail"] for row in rows(proxy) if row["outcome"] == "unknown")


def test_a_full_disk_stops_no_operator_and_loses_no_row(fresh, backend, disk: Path) -> None:
    site = service(backend(answer=ok()).url)
    proxy = fresh(site, state_dir=str(disk))
    assert proxy.ctl("reload").returncode == 0
    filler = fill(disk)
    proxy.write(site, workers=2)
    assert proxy.ctl("reload").returncode == 0, "an operator can act"
    problems = proxy.status()["problems"]
    assert "audit-failing" in [one["kind"] for one in problems], problems
    assert "No space left on device" in proxy.said and "a row waits to be written" in proxy.said
    assert len(told(proxy)) == 1 and proxy.ctl("audit", "verify").returncode == 0
    filler.unlink()
    wait_until(lambda: told(proxy) == [(ME, "reload", "done")] * 2)
    wait_until(lambda: not proxy.status()["problems"])
    assert proxy.ctl("audit", "verify").returncode == 0


def test_two_masters_write_one_chain(fresh, backend) -> None:
    one = backend(answer=ok())
    proxy = fresh(service(one.url))
    assert proxy.ctl("backend", "drain", "site", one.url).returncode == 0
    proxy.signal(signal.SIGUSR2)
    wait_until(lambda: (proxy.status()["upgrade"] or {"new": {"serving": 0}})["new"]["serving"])
    assert proxy.ctl("backend", "enable", "site", one.url).returncode == 0
    new = proxy.status()["upgrade"]["new"]["pid"]
    proxy.signal(signal.SIGTERM)
    wait_until(lambda: proxy.status()["pid"] == new and proxy.status()["upgrade"] is None)
    os.kill(new, signal.SIGTTIN)
    wait_until(lambda: rows(proxy)[-1]["action"] == "signal.TTIN")
    assert [row["action"] for row in rows(proxy)] == [
        "backend.drain",
        "signal.USR2",
        "backend.enable",
        "signal.TERM",
        "signal.TTIN",
    ]
    assert proxy.ctl("audit", "verify").returncode == 0
    assert proxy.ctl("stop").returncode == 0


def test_the_api_reads_it(fresh, backend) -> None:
    one = backend(answer=ok())
    proxy = fresh(service(one.url))
    assert proxy.ctl("backend", "drain", "site", one.url).returncode == 0
    assert proxy.ctl("backend", "enable", "site", one.url).returncode == 0
    assert proxy.ctl("reload").returncode == 0
    found = proxy.control("GET", "/api/audit", limit="2")
    assert [row["action"] for row in found["rows"]] == ["reload", "backend.enable"]
    found = proxy.control("GET", "/api/audit", limit="2", cursor=str(found["cursor"]))
    assert [row["action"] for row in found["rows"]] == ["backend.drain"] and found["cursor"] is None
    assert [row["seq"] for row in proxy.control("GET", "/api/audit", action="backend.d")["rows"]] == [1]
    assert proxy.control("GET", "/api/audit", since="99999999999")["rows"] == []
    where = {"service_name": "site", "path": "/"}
    assert call(proxy, "POST", "/api/backends", {"url": "http://127.0.0.1:9"}, **where).status == 201
    assert call(proxy, "POST", "/api/backends", {"url": "http://127.0.0.1:9"}, **where).status == 409
    target = {**where, "url": one.url}
    assert call(proxy, "PATCH", "/api/backends", {"drain": True}, {"If-Match": "*"}, **target).status == 200
    assert proxy.ctl("backend", "add", "site", "http://127.0.0.1:10").returncode == 0
    assert [(row["action"], row["target"], row["outcome"]) for row in rows(proxy)[-4:]] == [
        ("backend.add", "site/ http://127.0.0.1:9", "done"),
        ("backend.add", "site/ http://127.0.0.1:9", "refused"),
        ("backend.drain", f"site/ {one.url}", "done"),
        ("backend.add", "site/ http://127.0.0.1:10", "done"),
    ], "the same words for the same change"
    assert proxy.control("GET", "/api/audit/verify")["ok"] is True
    path = next((Path(proxy.base["state_dir"]) / "audit").glob("*.jsonl"))
    path.write_bytes(path.read_bytes().replace(b'"done"', b'"DONE"', 1))
    verdict = proxy.control("GET", "/api/audit/verify")
    assert verdict["ok"] is False and f"{path.name}, line 1" in verdict["problem"]
    refused = proxy.ctl("audit", "verify")
    assert refused.returncode == 1 and f"{path.name}, line 1" in refused.stderr
