"""The examples of authentication: as their comments say it, with the test's own addresses."""

from __future__ import annotations

import base64
from typing import Any

import yaml

from ..harness.backends import ok
from ..harness.client import get
from ..harness.terraster_process import ROOT


def example(name: str) -> dict[str, Any]:
    config = yaml.safe_load((ROOT / "etc" / "examples" / f"{name}.yaml").read_text())
    config.pop("listen")
    return dict(config)


def test_basic_auth(terraster, backend) -> None:
    origin = backend(answer=lambda request: ok((request.get("authorization") or "nothing").encode()))
    (site,) = example("basic-auth")["services"]
    for location in site["locations"]:
        location["backends"] = [origin.url]
    proxy = terraster(site)
    field = f"Authorization: Basic {base64.b64encode(b'ada:change me').decode()}\r\n"
    assert get(proxy.address, "/").status == 200
    assert get(proxy.address, "/admin").status == 401
    answer = get(proxy.address, "/admin", fields=field)
    assert (answer.status, answer.body) == (200, b"nothing")
    assert origin.requests[-1].get("x-realm") == "Administration"
