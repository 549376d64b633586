"""Tokens, seen by clients: keys from a server that fails, rotates and lies, and what backends and operators get to see."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ..harness.backends import Request, ok
from ..harness.client import get
from ..harness.http2_client import Http2
from ..harness.issuer import jwks, token, unsigned
from ..harness.terraster_process import service
from ..harness.waiting import wait_until


def fresh_token(kind: str = "ec", **claims: Any) -> bytes:
    return token(kind, **{"exp": int(time.time()) + 600, **claims})


def bearer(octets: bytes) -> str:
    return f"Authorization: Bearer {octets.decode()}\r\n"


class Keys:
    """What the server of the keys answers. hold: it waits until this is set."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.hold = threading.Event()
        self.hold.set()

    def __call__(self, request: Request) -> bytes:
        self.hold.wait(20)
        return self.answer


def document(*kinds: str) -> bytes:
    return ok(jwks(*kinds), b"Content-Type: application/json\r\n")


@pytest.fixture
def keys(backend) -> Any:
    answer = Keys(document("ec"))
    made = backend(answer=answer)
    made.keys = answer
    return made


def guarded(url: str, keys: Any, **more: Any) -> dict[str, Any]:
    return service(url, location={"middleware": [{"jwt": {"jwks_url": f"{keys.url}/jwks?secret=topsecret", **more}}]})


def status(proxy: Any, octets: bytes) -> int:
    return get(proxy.address, fields=bearer(octets)).status


def test_a_token_comes_in_over_both_protocols_and_its_claims_go_to_the_backend(terraster, backend, keys) -> None:
    origin = backend(answer=ok())
    proxy = terraster(guarded(origin.url, keys, claims_to_headers={"sub": "X-User", "mail": "X-Mail"}), http2=True, workers=2)
    good = fresh_token()
    wait_until(lambda: status(proxy, good) == 200)
    forged = "X-User: root\r\nX_User: root\r\nx-mail: root@x\r\nX_Mail: root@x\r\n"
    assert get(proxy.address, fields=forged + bearer(good)).status == 200
    with Http2(proxy.connect()) as client:
        fields = [(b"authorization", b"Bearer " + good), (b"x-user", b"root"), (b"x_user", b"root"), (b"x_mail", b"root@x")]
        assert client.get("/", fields=fields).status == 200
        assert client.get("/", fields=fields[1:]).status == 401
    for request in origin.requests[-2:]:
        named = [(name.lower().replace(b"_", b"-"), value) for name, value in request.fields]
        assert [value for name, value in named if name in (b"x-user", b"x-mail")] == [b"ada"]
    refused = get(proxy.address, fields=forged + bearer(unsigned({"alg": "none", "kid": "ec"})))
    assert (refused.status, refused.get("www-authenticate")) == (401, 'Bearer realm="restricted", error="invalid_token"')
    assert "jwt: the token is signed with an algorithm that is not allowed" in refused.get("proxy-status")
    told = {
        (200, "ada", ""),
        (401, "", "jwt: a token is needed"),
        (401, "", "jwt: the token is signed with an algorithm that is not allowed"),
    }
    wait_until(lambda: told <= {(line["status"], line["user"], line["detail"]) for line in proxy.log()})
    lines = proxy.log()
    seen = str(lines) + json.dumps(proxy.status()) + str(proxy.metrics()) + proxy.said
    for secret in (good.decode(), good.decode().split(".")[1], good.decode().split(".")[2], "topsecret"):
        assert secret not in seen


def test_a_server_that_is_away_from_the_start(terraster, backend, keys) -> None:
    keys.keys.hold.clear()
    proxy = terraster(guarded(backend(answer=ok()).url, keys))
    for fields in ("", bearer(fresh_token()), bearer(b"x")):
        refused = get(proxy.address, fields=fields)
        assert (refused.status, refused.get("retry-after")) == (503, "1"), "neither 401 nor open"
        assert refused.get("proxy-status").startswith("terraster; error=destination_unavailable")
    keys.keys.hold.set()
    wait_until(lambda: status(proxy, fresh_token()) == 200)


def test_the_keys_are_there_after_a_restart(fresh, backend, keys) -> None:
    site = guarded(backend(answer=ok()).url, keys)
    proxy = fresh(site)
    wait_until(lambda: status(proxy, fresh_token()) == 200)
    keys.keys.hold.clear()
    proxy.ctl("stop", "--now")
    wait_until(lambda: not proxy.serves(), "it did not stop")
    proxy.start()
    assert status(proxy, fresh_token()) == 200, "the server has not answered since"
    assert status(proxy, fresh_token("rsa2")) == 401
    keys.keys.hold.set()


LIES = (
    ok(b"<html>please log in</html>", b"Content-Type: text/html\r\n"),
    ok(b'{"keys": []}'),
    ok(b"x" * 300_000),
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
)


def test_a_server_that_rotates_and_lies(terraster, backend, keys) -> None:
    """A refresh of 100 ms, so that every answer is fetched within a second or so."""
    proxy = terraster(guarded(backend(answer=ok()).url, keys, jwks_refresh="100ms"))
    wait_until(lambda: status(proxy, fresh_token("ec")) == 200)
    for lie in LIES:
        asked = len(keys.requests)
        keys.keys.answer = lie
        wait_until(lambda: len(keys.requests) > asked + 1)  # noqa: B023
        assert status(proxy, fresh_token("ec")) == 200, "the last good ones stay"
    wait_until(lambda: [one["kind"] for one in proxy.status()["problems"]] == ["fetch-failing"])
    keys.keys.answer = document("rsa")
    wait_until(lambda: status(proxy, fresh_token("rsa")) == 200)
    assert status(proxy, fresh_token("ec")) == 401, "the old key is gone, and so is what it verified"
    assert "topsecret" not in proxy.said


def test_a_flood_of_unknown_keys_asks_the_server_once_in_a_while(terraster, backend, keys) -> None:
    proxy = terraster(guarded(backend(answer=ok()).url, keys), workers=2)
    wait_until(lambda: status(proxy, fresh_token()) == 200)
    for _ in range(50):
        assert status(proxy, fresh_token("rsa2")) == 401
    begun = time.monotonic()
    wait_until(lambda: time.monotonic() - begun > 1.5)
    assert len(keys.requests) == 1, "the last fetch was less than 30 s ago"
    counted = proxy.status()["services"][0]["locations"][0]["filters"]["jwt"]
    assert counted["unknown_key"] == counted["refused"] == 50


def test_a_file_of_keys_that_changes(terraster, backend, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(jwks("ec"))
    site = service(backend(answer=ok()).url, location={"middleware": [{"jwt": {"jwks_file": str(file)}}]})
    proxy = terraster(site, cert_manager={"check_interval": "50ms"})
    assert (status(proxy, fresh_token("ec")), status(proxy, fresh_token("rsa"))) == (200, 401)
    file.write_bytes(jwks("rsa"))
    wait_until(lambda: status(proxy, fresh_token("rsa")) == 200)
    assert status(proxy, fresh_token("ec")) == 401
    file.write_bytes(b"{")
    wait_until(lambda: f"{file}: is not JSON; what was read before stays in use" in proxy.said)
    assert status(proxy, fresh_token("rsa")) == 200
