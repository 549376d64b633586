"""`terrasterctl reload --dry-run` and `terrasterctl diff`: what a reload would do, and how the files differ from what runs."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from typing import Any

from ..harness.client import get
from ..harness.terraster_process import ROOT, service
from ..harness.waiting import wait_until
from .test_edits import change, edit, edited, named
from .test_json import said

__all__ = ["edited"]


def test_a_reload_is_tried_and_nothing_happens(edited: Any, backend: Any) -> None:
    one, two = named(backend, "one", "two")
    proxy = edited(service(one.url, two.url))
    before = proxy.status()
    proxy.write(service(one.url))
    dry = proxy.ctl("reload", "--dry-run")
    assert dry.returncode == 0, dry
    would, touch, last = dry.stdout.splitlines()
    assert would == f"would be: ~ service site: - backend {two.url}" and last == "nothing was changed"
    assert touch.startswith(f"it would touch {two.url} of site/: 0 open requests, ")
    proxy.write(service(one.url), algorithm="nonsense")
    refused = proxy.ctl("reload", "--dry-run")
    assert refused.returncode == 1 and refused.stdout == "", refused
    assert "a reload would be refused" in refused.stderr and "nonsense" in refused.stderr
    after = proxy.status()
    assert [after[key] for key in ("generation", "reloads", "reload_failures")] == [
        before[key] for key in ("generation", "reloads", "reload_failures")
    ]
    proxy.write(service(one.url, two.url))
    document = said(proxy, "reload", "reload", "--dry-run")
    assert document["dry_run"] and document["touches"] == [] == document["changes"]
    assert proxy.ctl("reload", "--dry-run").stdout == "nothing to reload: the configuration is what runs already\n"


def test_the_files_are_compared_with_what_runs(edited: Any, backend: Any) -> None:
    one, two = named(backend, "one", "two")
    proxy = edited(service(one.url))
    assert proxy.ctl("diff").stdout == "nothing differs\n" and said(proxy, "diff", "diff")["differences"] == []
    assert edit(proxy, change("backend.add", two.url))["ok"]
    number = proxy.status()["edits"][0]["number"]
    proxy.write(service(one.url), timeouts={"read": "1s"})
    found = proxy.ctl("diff")
    assert found.returncode == 1, found
    lines = found.stdout.splitlines()
    assert (
        lines[0] == "top: timeouts.read" and lines[1].startswith("  - ") and lines[2].startswith(f"  + 1s ({proxy.config_file}:")
    ), lines
    assert (
        lines[3] == f"site/: backends[{two.url}]"
        and lines[4].startswith(f"  - there (edit {number} by ")
        and lines[5] == "  + not there"
    )
    before = proxy.status()["generation"]
    assert proxy.ctl("reload").returncode == 0
    assert [line for line in proxy.ctl("diff").stdout.splitlines() if not line.startswith(" ")] == [f"site/: backends[{two.url}]"]
    between = proxy.ctl("diff", str(before))
    assert between.returncode == 1 and between.stdout.splitlines()[0] == "top: timeouts.read", between
    unknown = proxy.ctl("diff", "999999")
    assert unknown.returncode == 1 and "generation 999999 is not kept" in unknown.stderr
    proxy.write(service(one.url), nonsense=1)
    wrong = proxy.ctl("diff")
    assert wrong.returncode == 1 and wrong.stdout == "" and "unknown key `nonsense`" in wrong.stderr


def test_the_busiest_are_shown_live(edited: Any, backend: Any) -> None:
    (one,) = named(backend, "one")
    proxy = edited(service(one.url))

    def busy() -> bool:
        load = subprocess.Popen(
            [sys.executable, "-m", "terraster.cli.ctl", "--runtime-dir", proxy.runtime_dir, "top", "--once", "--json"], **HERE
        )
        while load.poll() is None:
            get(proxy.address)
        assert load.stdout is not None
        place, below = json.loads(load.stdout.read())["rows"]
        return place["requests_per_second"] > 0 < below["requests_per_second"] and place["p50"] > 0

    wait_until(busy, "requests in the table")


def test_a_table_is_drawn_on_a_terminal_until_ctrl_c(edited: Any, backend: Any) -> None:
    (one,) = named(backend, "one")
    proxy = edited(service(one.url))
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "terraster.cli.ctl", "--runtime-dir", proxy.runtime_dir, "top"]
    running = subprocess.Popen(
        command, stdin=follower, stdout=follower, stderr=follower, cwd=ROOT, env={**os.environ, "NO_COLOR": "1"}
    )
    os.close(follower)
    seen = b""
    while b"REQ/S" not in seen or b"\x1b[J" not in seen:
        seen += os.read(leader, 65536)
    running.send_signal(signal.SIGINT)
    assert running.wait(30) == -signal.SIGINT, "a shell tells 130"
    os.close(leader)
    assert b"Traceback" not in seen and b"site/" in seen and b"\x1b[H" in seen


HERE: Any = {"stdout": subprocess.PIPE, "cwd": ROOT, "text": True}
