"""schemathesis asks a Terraster's management API, over its port, as nobody, reader, operator and admin: all its checks, with three seeds.
`make fuzz-api` runs it.

Statuses that are right and that schemathesis does not expect are in `SETTINGS`. A change that keeps to the document may still contradict the
configuration: 422 has the reasons, as a file would. A text may be one that explains no request: 422 says why. Where `If-Match` is optional,
schemathesis takes the value 0 for a good one; it has no quotes, so 400 is right. A call that a caller may not make is 401 or 403, whatever
else is wrong with it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from .terraster_process import Terraster, service
from .users_api import Client, make

__all__ = ["CALLERS", "fuzz"]

SEEDS = (1, 2, 3)
CALLERS = ("nobody", "reader", "operator", "admin")

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

[[operations]]
include-path = "/api/explain"
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "414", "422", "429"]
"""


def fuzz(program: str, caller: str, seed: int, examples: int, *more: str) -> subprocess.CompletedProcess[str]:
    """One run. program: schemathesis. caller: one of `CALLERS`. examples: for each operation"""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "schemathesis.toml").write_text(SETTINGS)
        users = place / "users.db"
        services = [
            service("http://127.0.0.1:9", "http://127.0.0.1:10", name="shop", host="shop.test"),
            service("http://127.0.0.1:9", name="blog", host="blog.test"),
        ]
        with Terraster(place / "t", *services, auth={"db_path": str(users)}) as terraster:
            command = [
                program,
                "run",
                f"http://127.0.0.1:{terraster.admin_port}/openapi.json",
                "--checks",
                "all",
                "--seed",
                str(seed),
            ]
            command += ["--max-examples", str(examples), "--exclude-path", "/api/stream", "--phases", "coverage,fuzzing"]
            if token := _token(terraster, users, caller):
                command += ["-H", f"Authorization: Bearer {token}"]
            return subprocess.run([*command, *more], cwd=place, capture_output=True, text=True, timeout=1800)


def _token(terraster: Terraster, users: Path, caller: str) -> str:
    """An API token, which no call of the run ends by chance; "" for nobody. There are users in any case."""
    make(users, "root")
    client = Client(terraster)
    client.login("root")
    if caller == "nobody":
        return ""
    made = client.call("POST", "/api/auth/tokens", {"name": "schemathesis", "role": caller, "days": 1})
    return str(made.value["token"])


def main(program: str) -> int:
    status = 0
    for caller in CALLERS:
        for seed in SEEDS:
            done = fuzz(str(Path(program).absolute()), caller, seed, 20)
            print(f"as {caller}, seed {seed}", done.stdout[-20000:], done.stderr[-2000:], sep="\n")
            status = status or done.returncode
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
