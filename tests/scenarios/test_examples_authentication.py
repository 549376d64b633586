"""The examples of authentication: as their comments say it, with the test's own addresses."""

from __future__ import annotations

import base64
import time
from typing import Any

import yaml

from ..harness.backends import ok
from ..harness.client import get
from ..harness.issuer import jwks, token
from ..harness.terraster_process import ROOT
from ..harness.waiting import wait_until


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


def test_jwt(terraster, backend) -> None:
    origin, keys = backend(answer=ok()), backend(answer=ok(jwks("rsa")))
    (site,) = example("jwt")["services"]
    site["middleware"][0]["jwt"]["jwks_url"] = keys.url
    for location in site["locations"]:
        location["backends"] = [origin.url]
    proxy = terraster(site)
    said = {"exp": int(time.time()) + 600, "iss": "https://login.example.com/", "aud": "api"}
    user, admin = (
        f"Authorization: Bearer {token('rsa', roles=roles, **said).decode()}\r\n" for roles in (["user"], ["user", "admin"])
    )
    wait_until(lambda: get(proxy.address, "/", fields=user).status == 200)
    assert origin.requests[-1].get("x-user") == "ada"
    found = {
        (path, name): get(proxy.address, path, fields=fields).status
        for path in ("/", "/admin", "/status")
        for name, fields in (("nobody", ""), ("user", user), ("admin", admin))
    }
    assert found == {
        ("/", "nobody"): 401,
        ("/", "user"): 200,
        ("/", "admin"): 200,
        ("/admin", "nobody"): 401,
        ("/admin", "user"): 403,
        ("/admin", "admin"): 200,
        ("/status", "nobody"): 200,
        ("/status", "user"): 200,
        ("/status", "admin"): 200,
    }


def test_forward_auth(terraster, backend) -> None:
    origin = backend(answer=ok())
    decider = backend(
        answer=lambda request: ok(b"", b"Remote-User: ada\r\n") if request.get("cookie") else ok(status=b"401 Who Is There")
    )
    (site,) = example("forward-auth")["services"]
    asked = site["locations"][0]["middleware"][0]["forward_auth"]
    asked["url"] = asked["url"].replace("http://127.0.0.1:9091", decider.url)
    for location in site["locations"]:
        location["backends"] = [origin.url]
    proxy = terraster(site)
    host, cookie = "app.example.com", "Cookie: s=1\r\nRemote-User: root\r\nRemote-Groups: wheel\r\n"
    assert get(proxy.address, "/", host).status == 401
    assert get(proxy.address, "/public", host).status == 200
    assert get(proxy.address, "/", host, cookie).status == 200
    (request,) = [one for one in origin.requests if one.target == "/"]
    assert (request.all("remote-user"), request.get("remote-groups")) == (["ada"], None)
    assert decider.requests[-1].target == "/api/authz/forward-auth"
