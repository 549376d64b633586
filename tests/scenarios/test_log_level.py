"""The log gets another level at run time: all processes have it, the status names it, a reload keeps it."""

from __future__ import annotations

from ..harness.api import call
from ..harness.terraster_process import service


def test_for_a_time(terraster):
    proxy = terraster(service("http://127.0.0.1:9"))
    told = proxy.ctl("log-level", "error", "--for", "10m", "--reason", "too loud")
    assert told.returncode == 0 and told.stdout.startswith("the log has the level error, by "), told
    assert told.stdout.endswith(": too loud\n")
    status = proxy.status()
    assert status["log_level"]["level"] == "error" and {one["generation"] for one in status["workers"]} == {status["generation"]}
    (problem,) = [one for one in status["problems"] if one["kind"] == "log-level"]
    assert problem["until"] and problem["text"].endswith("too loud")
    said = len(proxy.said)
    proxy.reload(service("http://127.0.0.1:9"), tcp_keepalive="57s")
    assert " info " not in proxy.said[said:], "the master and the admin worker, which tells of reloads, have the level"
    assert call(proxy, "GET", "/api/log-level").value["level"] == "error"
    assert proxy.ctl("log-level", "file").stdout == "the log has the level info, as configured\n"
    assert call(proxy, "POST", "/api/log-level", {"level": "loud"}).status == 422
    assert [one for one in proxy.status()["problems"] if one["kind"] == "log-level"] == []
