"""Requests in a terminal: tables that fit, and lines that say the essential."""

from __future__ import annotations

import time
from typing import Any

from terraster.cli.requests import failures_shown, line, requests_shown

NOW = time.mktime((2026, 11, 28, 3, 11, 10, 0, 0, -1))


def request(**facts: Any) -> dict[str, Any]:
    return {
        "age": 41.5,
        "phase": "waiting",
        "worker": 7,
        "client": "2001:db8:1234:5678:9abc:def0:1234:5678",
        "method": "GET",
        "host": "a-rather-long-name.of.a.shop.example.com",
        "path": "/some/way/to/a/thing/" + "x" * 300,
        "service": "shop",
        "location": "/",
        "backend": "http://backend-number-17.internal.example.com:8080",
        "status": 502,
        "tries": 2,
        "bytes_in": 412,
        "bytes_out": 123456789,
        "request_id": "0123456789abcdef00000001",
        "reason": "connection_refused",
        "detail": "no connection to the backend (ECONNREFUSED)",
        "kind": "failed",
        "when": NOW - 3,
        "duration": 0.0012,
    } | facts


def test_open_requests_fit_80_columns() -> None:
    rows = [request(), request(age=0.25, phase="connecting", backend="", client="10.0.0.1", host="a.test", path="/")]
    shown = requests_shown({"open": 5, "requests": rows, "silent": [9]}, colour=False, width=80).splitlines()
    assert max(map(len, shown)) <= 80
    assert shown[0] == "worker 9 does not answer: its requests are missing here"
    assert shown[1].split() == ["AGE", "PHASE", "CLIENT", "BACKEND", "REQUEST"]
    assert shown[2].split()[:2] == ["41s", "waiting"] and shown[2].endswith("xxxxxxxx")
    assert shown[3].split() == ["250ms", "connecting", "10.0.0.1", "-", "GET", "a.test/"]
    assert shown[4] == "and 3 others, open for less time"
    wide = requests_shown({"open": 2, "requests": rows, "silent": []}, colour=False, width=100).splitlines()
    assert max(map(len, wide)) <= 100 and wide[2].split()[-4:] == ["412", "123M", "GET", "a.test/"]


def test_no_open_requests() -> None:
    assert requests_shown({"open": 0, "requests": [], "silent": []}, colour=False, width=80) == "no request is open\n"
    hung = requests_shown({"open": 0, "requests": [], "silent": [9]}, colour=False, width=80)
    assert hung == "worker 9 does not answer: its requests are missing here\nno other request is open\n"


def test_failures_have_their_reasons_and_fit_80_columns() -> None:
    rows = [
        request(host="a.test", path="/a", client="10.0.0.1", backend="http://10.0.0.2"),
        request(service="", backend="", detail=""),
    ]
    shown = failures_shown({"failures": rows, "silent": []}, NOW, colour=False, width=80).splitlines()
    assert shown[:4] == [
        "03:11:07  502  connection_refused  GET a.test/a",
        "    10.0.0.1, shop/, http://10.0.0.2 (2 attempts), 1.2ms, request",
        "      0123456789abcdef00000001",
        "    no connection to the backend (ECONNREFUSED)",
    ]
    assert max(map(len, shown)) <= 80 and "no service" in shown[5]
    assert failures_shown({"failures": [], "silent": []}, NOW, colour=False, width=80).startswith("no request was refused")


def test_a_line_of_a_tail() -> None:
    one = request(host="a.test", path="/a", client="10.0.0.1", backend="http://10.0.0.2", when=NOW + 0.123)
    assert line(one, colour=False, width=0) == "03:11:10.123 502   1.2ms GET a.test/a 10.0.0.1 10.0.0.2 connection_refused"
    assert "\x1b[31m03:11:10.123 502" in line(one, colour=True, width=0)
    assert len(line(request(), colour=False, width=80)) == 80
    assert len(line(request(), colour=False, width=0)) > 300
