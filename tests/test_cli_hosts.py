"""What the command for all backends of a host prints."""

from __future__ import annotations

import pytest

from terraster.cli.hosts import shown

NOW = 1_795_000_000.0
OLD = {"what": "drain", "until": NOW + 600}  # as a backend was ordered before
BACKEND = {"service_name": "shop", "path": "/", "url": "http://10.0.0.1:80", "state": "draining", "active": 0, "tunnels": 0}


@pytest.mark.parametrize(("seconds", "words"), [(0.0, ""), (60.0, ", until ")])
def test_a_dry_run_tells_the_end_that_was_asked_for_and_not_that_of_an_older_order(seconds: float, words: str) -> None:
    backend = {**BACKEND, "requests_per_second": 0.0, "left": None, "changed": True, "order": OLD}
    answer = {"backends": [backend], "dry_run": True, "changed": 1, "host": "10.0.0.1", "safe": False, "notes": []}
    *_, last = shown(answer, "drain", NOW, seconds, colour=False, width=80).splitlines()
    assert last.startswith(f"1 of 1 backend on 10.0.0.1 would be drained{words}")
    assert last.endswith("(in 60s)" if seconds else "drained")
