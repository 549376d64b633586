"""An operator decides in place of health checks: clients are served as it is wanted, and the status names it as long as it lasts."""

from __future__ import annotations

from ..harness.api import call
from ..harness.backends import ok
from ..harness.client import get
from ..harness.terraster_process import service


def test_forced_up_and_down(terraster, backend):
    one = backend(answer=ok(b"in"))
    check = {"type": "http", "path": "/health", "status": [204], "interval": "1h"}
    proxy = terraster(service(one.url, health_check=check))
    assert get(proxy.address).status == 503
    told = proxy.ctl("backend", "force-up", "site", one.url, "--for", "10m", "--reason", "its check lies")
    assert told.returncode == 0 and " is up until " in told.stdout and told.stdout.rstrip().endswith(": forced up"), told
    assert get(proxy.address).body == b"in"
    (problem,) = [one for one in proxy.status()["problems"] if one["kind"] == "forced"]
    assert problem["text"].startswith("forced up, whatever its health checks say, by ") and problem["text"].endswith(
        ": its check lies"
    )
    assert problem["until"] and "its check lies" in proxy.ctl("status").stdout
    proxy.reload(service(one.url, health_check=check), tcp_keepalive="59s")
    assert get(proxy.address).body == b"in"
    target = {"service_name": "site", "url": one.url}
    tried = call(proxy, "PATCH", "/api/backends", {"health": "down"}, {"If-Match": "*"}, **target, dry_run="true")
    assert (tried.status, tried.value["dry_run"], len(tried.value["touches"])) == (200, True, 1) and get(
        proxy.address
    ).body == b"in"
    forced = call(proxy, "PATCH", "/api/backends", {"health": "down", "reason": "x"}, {"If-Match": "*"}, **target)
    assert forced.status == 200 and get(proxy.address).status == 503
    rows = call(proxy, "GET", "/api/backends", service_name="site").value["items"]
    assert (rows[0]["state"], rows[0]["forced"]["what"], rows[0]["reason"]) == ("down", "forced down", "forced down: x")
    both = call(proxy, "PATCH", "/api/backends", {"health": "up", "drain": True}, {"If-Match": "*"}, **target)
    assert both.status == 422
    assert proxy.ctl("backend", "resume-checks", "site", one.url).returncode == 0
    assert [one["kind"] for one in proxy.status()["problems"] if one["kind"] == "forced"] == []
