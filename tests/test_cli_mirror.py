"""`terrasterctl mirror`: the text for people."""

from __future__ import annotations

import time
from typing import Any

import pytest

from terraster.cli.mirror import _lines

COUNTERS = {
    "sent": 10,
    "failed_connect": 0,
    "failed_timeout": 2,
    "skipped_body_too_large": 3,
    "skipped_method": 0,
    "compared": 0,
    "differed_status": 0,
    "differed_latency": 0,
    "dropped": 0,
}
ENTRY = {"name": None, "to": ["http://10.0.0.9"], "percent": 0.5, "compare": []}


def document(counters: dict[str, int], seconds: Any = None, *differences: Any, **entry: Any) -> dict[str, Any]:
    one = {
        "service": "shop",
        "location": "/",
        "entries": [ENTRY | entry],
        "counters": COUNTERS | counters,
        "mean_seconds": seconds,
    }
    return {"ok": True, "now": 1.0, "mirrors": [one], "differences": list(differences)}


@pytest.mark.parametrize(
    ("shown", "lines"),
    [
        (
            document({}),
            ["shop/: 0.5 % to http://10.0.0.9", "  sent 10", "  failed: timeout 2", "  skipped: body too large 3"],
        ),
        (
            document({"dropped": 1, "compared": 8}, {"original": 0.0041, "copy": 1.5}, name="b", percent=100.0, to=["http://a", "http://b"]),
            [
                "shop/ (b): 100 % to http://a, http://b",
                "  sent 10",
                "  failed: timeout 2",
                "  skipped: body too large 3",
                "  compared 8, differed: none",
                "  dropped 1",
                "  answers began after 4.1ms (originals) and 1500ms (copies) on average",
            ],
        ),
        ({"mirrors": [], "differences": []}, ["no mirror is configured"]),
    ],
)  # fmt: skip
def test_mirrors(shown: dict[str, Any], lines: list[str]) -> None:
    assert _lines(shown) == lines


def test_differences() -> None:
    bodies = [{"octets": 3, "more": False, "sha256": "ab" * 32}, {"octets": 100, "more": True, "sha256": "cd" * 32}]
    differs = {
        "status": [200, 500],
        "headers": [{"name": "x-a", "original": "1", "copy": None}, {"name": "x-b", "original": "", "copy": "2"}],
        "body": bodies,
        "latency": [0.1, 0.25],
    }
    when = 1_700_000_000.0
    one = {"when": when, "worker": 7, "request_id": "77", "method": "GET", "path": "/a", "service": "shop", "location": "/"}
    lines = _lines(document({}, None, *[{**one, "to": "http://10.0.0.9", "differs": differs}] * 25))
    assert lines[4:6] == ["", "the last 20 of 25 differences that the workers keep:"]
    assert len(lines) == 6 + 20 * 6
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))
    assert lines[6:12] == [
        f"{stamp} GET /a of shop/, request 77, to http://10.0.0.9",
        "  status 200, copy 500",
        "  x-a: 1, copy missing",
        '  x-b: "", copy 2',
        "  body 3 octets (abababababab), copy 100 octets and more (cdcdcdcdcdcd)",
        "  after 100ms, copy 250ms",
    ]
