"""Loggers of a running Terraster: where lines go, and what a reload changes."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import signal
import socket
from pathlib import Path
from typing import Any

from ..harness.backends import ok
from ..harness.client import exchange, get
from ..harness.ports import free_port
from ..harness.terraster_process import Terraster, service
from ..harness.waiting import wait_until


def objects(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_loggers_say_where_lines_go_and_a_reload_changes_it(terraster, backend, tmp_path: Path) -> None:
    origin = backend(answer=lambda request: ok(status=b"503 Full" if request.target == "/full" else b"200 OK"))
    logs = {
        "terraster": {"outputPaths": [f"{tmp_path}/own.log"], "logToConsole": True, "encodingConfig": {"timeKey": "ts"}},
        "service_default": {
            "outputPaths": [f"{tmp_path}/a.log", f"{tmp_path}/b.log"],
            "errorOutputPaths": [f"{tmp_path}/bad.log"],
            "encodingConfig": {"messageKey": "", "levelEncoder": "capital"},
            "sanitization": {"sensitiveFields": ["pin"], "mask": "#"},
        },
        "quiet": {"outputPaths": [f"{tmp_path}/quiet.log"], "level": "error"},
    }
    shop = service(origin.url, name="shop", log_options={"headers": True, "query_params": True}, retry="off", outlier="off")
    quiet = service(origin.url, name="quiet", host="quiet.test", log_name="quiet", retry="off", outlier="off")
    proxy: Terraster = terraster(shop, quiet, loggers=logs)
    get(proxy.address, "/?pin=1&a=2", fields="Pin: 1\r\n")
    get(proxy.address, "/full")
    get(proxy.address, "/", host="quiet.test")
    get(proxy.address, "/full", host="quiet.test")
    wait_until(lambda: len(objects(tmp_path / "a.log")) == 2 and len(objects(tmp_path / "quiet.log")) == 1)
    first, second = objects(tmp_path / "a.log")
    assert (first["level"], first["logger"], first["uri"]) == ("INFO", "service_default", "/?pin=#&a=2")
    assert first["query_params"] == {"pin": "#", "a": "2"} and first["headers"]["pin"] == "#"
    assert (second["level"], second["status"]) == ("ERROR", 503)
    assert objects(tmp_path / "b.log") == [first, second] and objects(tmp_path / "bad.log") == [second]
    assert [line["status"] for line in objects(tmp_path / "quiet.log")] == [503]

    def said(file: Path, text: str) -> bool:
        return file.exists() and text in file.read_text()

    wait_until(lambda: said(tmp_path / "own.log", "reload"))
    assert all({"ts", "level", "logger", "caller", "msg", "pid"} <= set(line) for line in objects(tmp_path / "own.log"))
    del logs["quiet"]["level"]
    logs["terraster"]["outputPaths"] = [f"{tmp_path}/new.log"]
    proxy.reload(shop, quiet, loggers=logs)
    get(proxy.address, "/", host="quiet.test")
    wait_until(lambda: [line["status"] for line in objects(tmp_path / "quiet.log")] == [503, 200])
    wait_until(lambda: said(tmp_path / "new.log", "reload"))


def test_a_log_name_without_destinations_writes_to_the_default(terraster, backend, tmp_path: Path) -> None:
    logs = {"service_default": {"outputPaths": f"{tmp_path}/d.log", "logToConsole": True}, "shop": {"level": "warn"}}
    origin = backend(answer=lambda request: ok(status=b"404 None" if request.target == "/none" else b"200 OK"))
    proxy: Terraster = terraster(service(origin.url, log_name="shop"), loggers=logs)
    get(proxy.address, "/")
    get(proxy.address, "/", host="", fields="Bad Name: x\r\n")
    wait_until(lambda: len(proxy.log()) == 1)  # of no service: the top's
    assert not objects(tmp_path / "d.log")
    get(proxy.address, "/none")
    wait_until(lambda: '"uri":"/none"' in proxy.said)
    assert [line["uri"] for line in objects(tmp_path / "d.log")] == ["/none"]


PAD = f"X-Pad: {'p' * 14000}\r\n"


def test_rotation_under_four_workers_of_which_some_are_killed(fresh, tmp_path: Path) -> None:
    rotation = {"maxSizeMB": 1, "maxBackups": 100, "compress": True}
    logs = {"service_default": {"outputPaths": f"{tmp_path}/a.log", "logRotation": rotation}}
    site = {"name": "site", "log_options": {"headers": True}, "locations": [{"path": "/", "respond": {"status": 204}}]}
    proxy: Terraster = fresh(site, loggers=logs, workers=4)
    sent: list[str] = []
    kills = (80, 160)
    victims = proxy.workers()[:2]
    for number in range(250):
        if number in kills:
            os.kill(victims.pop(), signal.SIGKILL)
        sent.append(f"/{number}")
        get(proxy.address, sent[-1], fields=PAD)
    wait_until(lambda: sent[-1] in written(tmp_path, len(kills)))
    wait_until(lambda: packed(tmp_path) and all(file.suffix == ".gz" for file in packed(tmp_path)))
    assert len(packed(tmp_path)) >= 2  # 3.5 MB, and a file may outgrow its size by a block of each worker
    found = written(tmp_path, len(kills))
    assert len(set(found)) == len(found) and set(found) <= set(sent)
    lost = [sent.index(target) for target in set(sent) - set(found)]
    assert all(any(number - 50 < one <= number for number in kills) for one in lost)  # those of the last 10 ms, some 0.3 ms each
    rotation |= {"maxBackups": 1}
    proxy.reload(site, loggers=logs)
    wait_until(lambda: len(packed(tmp_path)) == 1)


def packed(folder: Path) -> list[Path]:
    return sorted(folder.glob("a.log-*"))


def written(folder: Path, killed: int) -> list[str]:
    """What all lines of the log are about. Each must be whole, and each archive too. A process that is killed within a write leaves the
    beginning of a line, which the next one ends: so as many rows as processes were killed may be no JSON."""
    found: list[str] = []
    torn = 0
    for file in (*packed(folder), folder / "a.log"):
        with contextlib.suppress(FileNotFoundError):  # compressed meanwhile
            data = file.read_bytes()
            data = gzip.decompress(data) if file.suffix == ".gz" else data
            assert data.endswith(b"\n") or not data or file.name == "a.log"
            for line in data[: data.rfind(b"\n") + 1].splitlines():
                try:
                    found.append(json.loads(line)["uri"])
                except ValueError:
                    torn += 1
    assert torn <= killed
    return found


def test_a_journal_gets_every_line_and_a_syslog_that_is_away_costs_no_request_anything(terraster, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "journal"))
        journal.settimeout(20)
        logs = {"service_default": {"outputPaths": [f"journald:{tmp_path}/journal", f"syslog:{tmp_path}/nobody"]}}
        site = {"name": "site", "log_options": {"headers": True}, "locations": [{"path": "/", "respond": {"status": 204}}]}
        proxy: Terraster = terraster(site, loggers=logs)
        entries = []
        for number in range(100):
            assert get(proxy.address, f"/{number}", fields=PAD).status == 204
            entries.append(journal.recv(65536).decode())
    assert [re.search(r"^TERRASTER_URI=(.*)$", entry, re.M)[1] for entry in entries] == [f"/{number}" for number in range(100)]
    assert all("\nPRIORITY=6\nSYSLOG_IDENTIFIER=terraster\n" in entry for entry in entries)
    lost = 'terraster_log_lines_lost_total{log="access"}'
    wait_until(lambda: 0 < proxy.metrics()[lost] < 100)  # 1 MiB of them waits
    assert proxy.said.count("nobody: 1 line lost so far: No such file or directory") == 1


def test_times_and_endings_of_requests_and_a_condition(terraster, backend, tmp_path: Path) -> None:
    def answered(request) -> bytes | None:
        return ok() if request.target == "/" else None

    origin = backend(answer=answered)
    fields = ["uri", "status", "termination_state", "queue_time", "connect_time", "tls_time"]
    keys = {"retry": "off", "outlier": "off", "connection_pool": {"max_idle": 0}}
    site = service(origin.url, access_log={"path": f"{tmp_path}/a.log", "fields": fields}, **keys)
    nobody = service(
        f"http://127.0.0.1:{free_port()}",
        name="nobody",
        host="nobody.test",
        access_log={"path": f"{tmp_path}/a.log", "fields": fields},
        **keys,
    )
    some = service(
        origin.url,
        name="some",
        host="some.test",
        access_log={"path": f"{tmp_path}/some.log", "when": "path == /x or status >= 500"},
        **keys,
    )
    proxy: Terraster = terraster(site, nobody, some)
    get(proxy.address, "/")
    get(proxy.address, "/closed")
    exchange(proxy.address, b"GET /nobody HTTP/1.1\r\nHost: nobody.test\r\n\r\n")
    get(proxy.address, "/", host="some.test")
    get(proxy.address, "/closed", host="some.test")
    wait_until(lambda: len(objects(tmp_path / "a.log")) == 3 and len(objects(tmp_path / "some.log")) == 1)
    found = {line["uri"]: line for line in objects(tmp_path / "a.log")}
    assert {uri: (line["status"], line["termination_state"]) for uri, line in found.items()} == {
        "/": (200, "--"),
        "/closed": (502, "SH"),
        "/nobody": (502, "SC"),
    }
    assert 0 <= found["/"]["connect_time"] < 5 and (found["/"]["queue_time"], found["/"]["tls_time"]) == (None, None)
    assert [line["status"] for line in objects(tmp_path / "some.log")] == [502]
