"""schemathesis asks a Terraster's management API, as admin: all its checks, with three seeds. `make fuzz-api` runs it.

Statuses that are right and that schemathesis does not expect are in `SETTINGS`. A change that keeps to the document may still contradict the
configuration: 422 has the reasons, as a file would. Where `If-Match` is optional, schemathesis takes the value 0 for a good one; it has no
quotes, so 400 is right.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from .relay import Relay
from .terraster_process import Terraster, service

__all__ = ["fuzz"]

SEEDS = (1, 2, 3)
_TOKEN = "schemathesis"

SETTINGS = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "412", "414", "428"]
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "409", "411", "412", "413", "414", "415", "422", "428", "429"]
[checks.missing_required_header]
expected-statuses = ["400", "401", "403", "404", "411", "415", "422", "428"]

[[operations]]
include-method = ["POST", "PUT", "PATCH", "DELETE"]
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "401", "403", "404", "409", "412", "414", "422", "428", "429"]
"""


def fuzz(program: str, seed: int, examples: int, *more: str) -> subprocess.CompletedProcess[str]:
    """One run. program: schemathesis. examples: for each operation"""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "schemathesis.toml").write_text(SETTINGS)
        services = [
            service("http://127.0.0.1:9", "http://127.0.0.1:10", name="shop", host="shop.test"),
            service("http://127.0.0.1:9", name="blog", host="blog.test"),
        ]
        with Terraster(place / "t", *services) as terraster, Relay(f"{terraster.runtime_dir}/control.sock", _TOKEN) as relay:
            command = [program, "run", f"http://127.0.0.1:{relay.port}/openapi.json", "--checks", "all", "--seed", str(seed)]
            command += ["--max-examples", str(examples), "--exclude-path", "/api/stream", "--phases", "coverage,fuzzing"]
            command += ["-H", f"Authorization: Bearer {_TOKEN}", *more]
            return subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=1800)


def main(program: str) -> int:
    status = 0
    for seed in SEEDS:
        done = fuzz(str(Path(program).absolute()), seed, 20)
        print(done.stdout[-20000:], done.stderr[-2000:], sep="\n")
        status = status or done.returncode
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
