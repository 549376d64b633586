"""A host is drained in all services at once: what stays open there, and when it may be stopped."""

from __future__ import annotations

import json

from ..harness.api import call
from ..harness.backends import ok
from ..harness.client import get
from ..harness.terraster_process import service
from ..harness.waiting import wait_until
from .test_operator import UPGRADE


def test_drained_in_all_services_with_a_tunnel_left(terraster, backend):
    def script(peer):
        while request := peer.request():
            if request.target != "/chat":
                peer.send(ok(b"one"))
                continue
            peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
            while peer.sock.recv(100):
                pass
            return

    one = backend(script)
    proxy = terraster(service(one.url, name="shop", host="a.test"), service(one.url, name="blog", host="b.test"))
    chat = proxy.connect()
    chat.send(UPGRADE)
    assert chat.response(upgrade=True).status == 101

    def told(*words):
        result = proxy.ctl(*words, "--json")
        assert result.returncode == 0, result
        return json.loads(result.stdout)

    tried = told("drain", "--host", "127.0.0.1", "--dry-run")
    assert (tried["changed"], tried["dry_run"], {one["left"] for one in tried["backends"]}) == (2, True, {None})
    assert {one["state"] for one in call(proxy, "GET", "/api/backends").value["items"]} == {"up"}
    words = ("drain", "--host", "127.0.0.1", "--for", "2h", "--reason", "a new disk")
    found = told(*words)
    assert {(one["service"], one["state"], one["order"]["reason"]) for one in found["backends"]} == {
        ("shop", "draining", "a new disk"),
        ("blog", "draining", "a new disk"),
    }
    (shop,) = [one for one in found["backends"] if one["service"] == "shop"]
    assert (found["safe"], shop["left"]["safe"], shop["left"]["tunnels"], shop["active"]) == (False, False, 1, 1)
    text = proxy.ctl(*words).stdout
    assert "1 request still open, 1 tunnel among them" in text and "the host must not be stopped yet" in text
    assert get(proxy.address, host="a.test").status == 503
    rows = [row for part in proxy.status()["services"] for row in part["locations"][0]["backends"]]
    assert sorted((row["tunnels"], row["left"]["tunnels"], row["left"]["safe"]) for row in rows) == [(0, 0, True), (1, 1, False)]
    chat.close()
    wait_until(lambda: call(proxy, "GET", "/api/hosts/127.0.0.1").value["safe"], "safe once the tunnel has ended")
    rows = call(proxy, "GET", "/api/audit", limit=5).value["rows"]
    assert {(one["action"], one["target"], one["reason"]) for one in rows if one["reason"]} == {
        ("orderHost", "host 127.0.0.1", "a new disk")
    }
    done = told("ready", "--host", "127.0.0.1")
    assert (done["changed"], {one["state"] for one in done["backends"]}) == (2, {"up"})
    assert get(proxy.address, host="a.test").body == b"one"
    refused = proxy.ctl("drain", "--host", "10.0.0.11")
    assert refused.returncode == 1 and "no backend is on host 10.0.0.11" in refused.stderr
