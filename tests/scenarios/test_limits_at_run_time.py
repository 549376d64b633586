"""An operator sees which clients are at a limit, and lets one begin anew."""

from __future__ import annotations

import json

from ..harness.api import call
from ..harness.backends import ok
from ..harness.client import get
from ..harness.shapes import unlawful
from ..harness.terraster_process import service


def test_seen_and_reset(terraster, backend):
    limit = {"requests_per_second": 0.01, "burst": 3, "name": "slow", "key": "header:X-Key"}
    proxy = terraster(service(backend(answer=ok(b"in")).url, middleware=[{"rate_limit": limit}]))

    def ask(key=""):
        return get(proxy.address, fields=f"X-Key: {key}\r\n" if key else "").status

    assert [ask("secret-one") for _ in range(5)] == [200, 200, 200, 429, 429]
    assert (ask("secret-two"), ask()) == (200, 200)
    text = proxy.ctl("limits", "show", "site").stdout
    assert "rate_limit slow, by header" in text and "secret" not in text
    document = json.loads(proxy.ctl("limits", "show", "site", "slow", "--json").stdout)
    assert not unlawful("limits show", document)
    (found,) = document["limits"]
    assert [(one["client"], round(one["used"]), one["share"] > 0.9) for one in found["clients"]] == [
        ("", 3, True),
        ("", 1, False),
        ("127.0.0.1", 1, False),
    ] or [round(one["used"]) for one in found["clients"]] == [3, 1, 1]
    target = {"service_name": "site"}
    tried = call(proxy, "POST", "/api/limits/reset", {"name": "slow", "client": "secret-one"}, **target, dry_run="true").value
    assert (tried["changed"], round(tried["before"]), tried["id"]) == (True, 3, found["clients"][0]["id"]) and ask(
        "secret-one"
    ) == 429
    told = proxy.ctl("limits", "reset", "site", "slow", "secret-one", "--reason", "ticket 7", "--json")
    assert told.returncode == 0 and not unlawful("limits reset", document := json.loads(told.stdout)), told
    assert (document["after"], document["changed"]) == (0.0, True)
    assert [ask("secret-one") for _ in range(4)] == [200, 200, 200, 429]
    again = call(proxy, "POST", "/api/limits/reset", {"name": "slow", "client": tried["id"]}, **target)
    assert again.value["changed"] and ask("secret-one") == 200
    assert not call(proxy, "POST", "/api/limits/reset", {"name": "slow", "client": "nobody"}, **target).value["changed"]
    for odd in ("\ud800", "#0000000000000000", "\x00"):
        told = call(proxy, "POST", "/api/limits/reset", {"name": "slow", "client": odd}, **target)
        assert told.status == 422 or not told.value["changed"], told
    assert ask("secret-three") == 200, "the workers still hear the master"
    assert call(proxy, "POST", "/api/limits/reset", {"name": "fast", "client": "a"}, **target).status == 404
    rows = call(proxy, "GET", "/api/audit", limit=10, action="resetLimit").value["rows"]
    assert "ticket 7" in {row["reason"] for row in rows} and "secret-one" not in json.dumps(rows)
