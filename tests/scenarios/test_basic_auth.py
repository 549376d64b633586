"""Passwords, seen by clients: curl, HTTP/2, a flood of guesses, and a file of users that changes."""

from __future__ import annotations

import base64
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from ..harness.backends import ok
from ..harness.client import get
from ..harness.http2_client import Http2
from ..harness.terraster_process import service
from ..harness.waiting import wait_until

SECRET = "topsecret"


def hashed(password: str, cost: int = 4) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


def field(name: str, password: str) -> str:
    return f"Authorization: Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}\r\n"


def guarded(url: str, **keys: Any) -> dict[str, Any]:
    return service(url, location={"middleware": [{"basic_auth": keys}]})


def test_a_browser_logs_in(terraster, backend) -> None:
    origin = backend(answer=lambda request: ok((request.get("authorization") or "none").encode()))
    hash_of_secret = hashed(SECRET)
    proxy = terraster(guarded(origin.url, users={"ada": hash_of_secret}, realm="shop"), http2=True)
    refused = get(proxy.address)
    assert (refused.status, refused.get("www-authenticate")) == (401, 'Basic realm="shop", charset="UTF-8"')
    assert refused.get("proxy-status").startswith("terraster; error=http_request_denied; details=")
    assert get(proxy.address, fields=field("ada", "wrong")).status == 401
    sent = field("ada", SECRET)
    assert get(proxy.address, fields=sent).body.decode() == sent.strip().removeprefix("Authorization: ")
    with Http2(proxy.connect()) as client:
        assert client.get("/").status == 401
        assert client.get("/", fields=[(b"authorization", sent.strip().removeprefix("Authorization: ").encode())]).status == 200
    lines = proxy.log(5)
    assert [line["user"] for line in lines] == ["", "", "ada", "", "ada"]
    assert lines[1]["detail"] == "basic_auth: wrong user name or password"
    counted = {"asked": 2, "wrong": 1, "busy": 0}
    wait_until(lambda: proxy.status()["services"][0]["locations"][0]["filters"]["basic_auth"] == counted)
    seen = str(lines) + str(proxy.status()) + str(proxy.metrics()) + proxy.said
    assert SECRET not in seen and hash_of_secret not in seen
    assert base64.b64encode(f"ada:{SECRET}".encode()).decode() not in seen


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_logs_in_with_an_apr1_hash_of_openssl(terraster, backend) -> None:
    apr1 = subprocess.run(["openssl", "passwd", "-apr1", SECRET], capture_output=True, text=True, check=True).stdout.strip()
    proxy = terraster(guarded(backend(answer=ok(b"in")).url, users={"ada": apr1}))
    for password, expected in ((SECRET, "in200"), (SECRET + "x", "401")):
        command = ["curl", "-s", "--basic", "-u", f"ada:{password}", "-w", "%{http_code}", proxy.url]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.endswith(expected)


def test_a_file_of_users_that_changes(terraster, backend, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(f"ada:{hashed('one')}\n")
    site = guarded(backend(answer=ok()).url, file=str(users))
    proxy = terraster(site, cert_manager={"check_interval": "50ms"})
    assert get(proxy.address, fields=field("ada", "one")).status == 200
    users.write_text(f"ada:{hashed('two')}\nbob:{hashed('three')}\n")
    wait_until(lambda: get(proxy.address, fields=field("bob", "three")).status == 200)
    assert get(proxy.address, fields=field("ada", "one")).status == 401, "what was verified before has ended"
    assert get(proxy.address, fields=field("ada", "two")).status == 200
    users.write_text(f"ada:{SECRET}\n")
    wait_until(lambda: "has a password that is hashed neither" in proxy.said)
    assert SECRET not in proxy.said
    assert get(proxy.address, fields=field("ada", "two")).status == 200, "what was read before stays in use"
    proxy.reload(site)
    assert get(proxy.address, fields=field("ada", "two")).status == 200


def test_a_comparison_holds_nobody_up(terraster, backend) -> None:
    """One worker, and a hash that takes half a second of a core."""
    guarded_by_bcrypt = {"middleware": [{"basic_auth": {"users": {"ada": hashed("right", 13), "bob": hashed("quick")}}}]}
    proxy = terraster(
        {
            "name": "site",
            "locations": [
                {"path": "/", "backends": [{"url": backend(answer=ok()).url}], **guarded_by_bcrypt},
                {"path": "/open", "respond": {"body": "open"}},
            ],
        }
    )
    assert get(proxy.address, fields=field("bob", "quick")).status == 200
    statuses: list[int] = []
    guess = threading.Thread(target=lambda: statuses.append(get(proxy.address, fields=field("ada", "wrong")).status))
    guess.start()
    for _ in range(5):
        assert get(proxy.address, "/open").status == 200
        assert get(proxy.address, fields=field("bob", "quick")).status == 200, "a user who is logged in"
    assert guess.is_alive(), "all these were answered while the password was compared"
    guess.join()
    assert statuses == [401]


def test_a_flood_of_guesses_has_its_share(terraster, backend) -> None:
    proxy = terraster(guarded(backend(answer=ok()).url, users={"ada": hashed("right", 9)}))
    statuses: list[int] = []

    def guess(number: int) -> None:
        statuses.append(get(proxy.address, fields=field("ada", f"guess {number}")).status)

    guessers = [threading.Thread(target=guess, args=(number,)) for number in range(40)]
    for one in guessers:
        one.start()
    for one in guessers:
        one.join()
    assert set(statuses) == {401, 429}, "of more than 16 at once the others are refused"
    assert get(proxy.address, fields=field("ada", "right")).status == 200
