"""The README's first steps, as a newcomer takes them: its words, with ports and a password of the test in place of those of the reader."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ..harness.backends import ok
from ..harness.ports import free_port
from ..harness.program import Program, accepts, find
from ..harness.waiting import wait_until

README = (Path(__file__).parents[2] / "README.md").read_text()
BIN = Path(sys.executable).parent


def blocks(heading: str) -> list[str]:
    """The blocks below a heading."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^```\w*\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(find("curl") is None, reason="needs curl")
def test_a_backend_is_added_drained_and_found_in_the_audit_log(tmp_path: Path, backend) -> None:
    ports = {port: str(backend(answer=ok()).port) for port in ("3001", "3002", "3003", "3004")}
    ports |= {port: str(free_port()) for port in ("8080", "8081")}
    parts = blocks("Configure it")[:4]
    minimal, start, by_command, by_api = (re.sub(r"\b\d{4}\b", lambda found: ports[found[0]], part) for part in parts)
    own = {"runtime_dir": str(tmp_path / "run"), "state_dir": str(tmp_path / "state"), "admin_port": int(ports["8081"])}
    (tmp_path / "config.yaml").write_text(minimal + yaml.safe_dump({**own, "metrics": {"listen": f"127.0.0.1:{free_port()}"}}))

    def run(lines: str) -> str:
        command = ["bash", "-euo", "pipefail", "-c", lines.replace(".venv/bin", str(BIN))]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    check, serve = start.splitlines()
    assert run(check).startswith("OK:")
    with Program([serve.replace(".venv/bin", str(BIN))], tmp_path / "output") as program:
        wait_until(lambda: accepts(("127.0.0.1", int(ports["8081"]))))
        said = run(by_command)
        assert f"http://127.0.0.1:{ports['3003']}" in said and "disk swap" in said

        make, base, login, token, *calls = by_api.splitlines()
        password = re.search(r"(?m)^password: *(\S+)|: (\S+)$", run(make.split("#")[0] + " --generate"))
        assert password is not None
        found = json.loads(run(f"{base}\n{login.replace('…', password[1] or password[2])}"))
        steps = "\n".join((base, token.replace("…", found["token"], 1), *calls))
        said = run(steps)
        assert said.count(f"http://127.0.0.1:{ports['3004']}") >= 3, said
        assert "disk swap" in said and '"ada"' in said, said
        assert program.process.poll() is None
