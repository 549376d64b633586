"""`--json`: every command, in every state that an operator meets, has the documented shape."""

from __future__ import annotations

import getpass
import json
import re
from pathlib import Path
from typing import Any

import pytest

from ..harness.backends import Peer, ok
from ..harness.client import get
from ..harness.shapes import SHAPES, unlawful
from ..harness.terraster_process import Terraster, service
from ..harness.waiting import wait_until

MANUAL = Path(__file__).parent.parent.parent / "docs" / "operations.md"


def said(proxy: Terraster, shape: str, *arguments: str, code: int = 0, **options: Any) -> Any:
    """The JSON of a command, which has the shape."""
    result = proxy.ctl(*arguments, "--json", **options)
    assert result.returncode == code, result
    document = json.loads(result.stdout)
    assert not (wrong := unlawful(shape, document)), wrong
    assert document["ok"] is (code == 0)
    return document


def test_every_command_has_its_shape(fresh, backend) -> None:
    def script(peer: Peer) -> None:
        while peer.request():
            if len(peer.backend.peers) > 1:
                return  # no answer
            peer.send(ok())

    good, bad = backend(answer=ok()), backend(script)
    check = {"health_check": {"type": "tcp", "interval": "100ms"}}
    site = service(good.url, bad.url, {"url": f"http://localhost:{good.port}", "name": "three"}, retry="off", **check)
    proxy = fresh(site, service(good.url, name="other", host="other.test", path="/x"))
    said(proxy, "status", "status")
    for _ in range(30):
        get(proxy.address)
    get(proxy.address, host="other.test")
    wait_until(lambda: said(proxy, "why", "why", "site", bad.url)["backends"][0]["endpoints"][0]["last_failures"])
    wait_until(lambda: said(proxy, "why", "why", "site", "three")["backends"][0]["endpoints"][0]["last_probes"])
    for arguments in (
        ("drain", "site", good.url),
        ("maintain", "site", good.url, "--for", "1h", "--reason", "disk"),
        ("weight", "site", good.url, "7", "--for", "1h"),
        ("drain", "other", good.url, "--for", "1h"),
    ):
        assert said(proxy, "backend", "backend", *arguments)["backend"]["url"] == good.url
    assert said(proxy, "drain", "drain", "--host", "127.0.0.1", "--dry-run")["backends"]
    (explained,) = said(proxy, "why", "why", "site", good.url)["backends"]
    rows = said(proxy, "list", "backend", "list", "site")["backends"]
    (row,) = [one for one in rows if one["url"] == good.url]
    assert {key: explained[key] for key in explained.keys() & row.keys()} == {
        key: row[key] for key in explained.keys() & row.keys()
    }
    assert explained["until"] == explained["endpoints"][0]["until"] == row["order"]["until"] > 0
    assert explained["order_after"][0]["until"] is explained["order_after"][0]["weight"] is None
    proxy.write(site)
    assert said(proxy, "reload", "reload")["changes"]
    (orphan,) = said(proxy, "status", "status")["orphans"]
    assert (orphan["service"], orphan["location"], orphan["backend"]) == ("other", "/x", good.url)
    gone = said(proxy, "backend", "backend", "enable", "other/x", good.url)["backend"]
    assert (gone["state"], gone["configured_weight"], gone["weight"]) == ("removed", None, None)
    said(proxy, "mirror", "mirror", "site")
    assert said(proxy, "plugins", "plugins")["plugins"] == []
    assert said(proxy, "explain", "explain", f"GET {proxy.url}/")["courses"][0]["service"] == "site"
    rows = said(proxy, "audit", "audit", "--user", getpass.getuser())["rows"]
    assert [row["action"] for row in rows[:2]] == ["backend.enable", "reload"] and rows[0]["before"] is None
    assert "backend" in [one["kind"] for one in said(proxy, "events", "events")["events"]]
    assert said(proxy, "audit verify", "audit", "verify")["rows"] == len(rows)
    said(proxy, "refusal", "mirror", "nobody", code=1)
    said(proxy, "refusal", "backend", "drain", "nobody", good.url, code=1)
    said(proxy, "refusal", "backend", "list", "nobody", code=1)
    said(proxy, "refusal", "why", "http://nobody", code=1)
    proxy.config_file.write_text("services: 5\n")
    assert said(proxy, "reload", "reload", code=1, find_by="runtime dir")["problems"]
    document = said(proxy, "status", "status", find_by="runtime dir")
    assert document["last_reload"]["ok"] is False and "reload-failed" in [one["kind"] for one in document["problems"]]
    proxy.write(site)
    assert said(proxy, "stop", "stop", find_by="runtime dir")["pid"] == proxy.pid
    assert said(proxy, "refusal", "status", code=3, find_by="runtime dir")["candidates"] == []


def keys(schema: dict[str, Any]) -> set[str]:
    """All keys that a schema names."""
    found = set(schema.get("properties", {}))
    for inner in (
        *schema.get("properties", {}).values(),
        *schema.get("anyOf", ()),
        schema.get("items"),
        schema.get("additionalProperties"),
    ):
        found |= keys(inner) if isinstance(inner, dict) else set()
    return found


@pytest.mark.parametrize("command", SHAPES)
def test_the_manual_has_every_key(command: str) -> None:
    manual = set(re.findall(r"`(?:[\w.\[\]]+\.)?(\w+)(?:\[\])?`", MANUAL.read_text()))
    assert keys(SHAPES[command]) <= manual, keys(SHAPES[command]) - manual
