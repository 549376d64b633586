"""`terrasterctl doctor` beside a running Terraster."""

from __future__ import annotations

import json

from terraster.cli import doctor

from ..harness.shapes import unlawful
from ..harness.terraster_process import service


def test_it_sees_the_running_processes_and_a_reload_that_was_refused(terraster, monkeypatch) -> None:
    monkeypatch.setattr(doctor, "_LOOKS", 0.0)  # it runs in this process
    running = terraster(service("http://127.0.0.1:9"))

    def found() -> dict[str, str]:
        result = running.ctl("doctor", "--json")
        document = json.loads(result.stdout)
        assert unlawful("doctor", document) == [] and document["running"] is True
        severities = {one["severity"] for one in document["findings"]}
        assert result.returncode == (2 if "problem" in severities else 1 if "warning" in severities else 0)
        return {one["check"]: one["what"] for one in document["findings"]}

    before = found()
    assert not {"running", "configuration", "reload", "permissions"} & set(before)
    running.config_file.write_text("services: 5\n")
    assert running.ctl("reload", "--runtime-dir", running.runtime_dir).returncode == 1
    result = running.ctl("doctor", "--json", "--runtime-dir", running.runtime_dir)
    told = {one["check"]: one for one in json.loads(result.stdout)["findings"]}
    assert result.returncode == 2 and told["configuration"]["severity"] == "problem"
    assert "was refused" in told["reload"]["what"] and told["reload"]["severity"] == "warning"
    running.write(service("http://127.0.0.1:9"))
    assert running.ctl("reload").returncode == 0
