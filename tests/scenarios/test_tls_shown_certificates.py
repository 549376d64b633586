"""A backend whose certificate is refused: the log and the status say which certificate that is, and what can be done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ..harness.authority import Authority
from ..harness.client import exchange
from ..harness.terraster_process import service
from ..harness.tls_backends import s_server, secure_nginx
from ..harness.waiting import wait_until

pytestmark = pytest.mark.needs("nginx", "openssl")

CA, OTHER = Authority(), Authority("Other")
GET = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "root.pem").write_bytes(CA.root)
    (folder / "other.pem").write_bytes(OTHER.root)
    CA.issue("localhost").write(folder, "site")
    CA.issue("localhost", days=-1, begun=9).write(folder, "expired")
    CA.issue("elsewhere.test").write(folder, "elsewhere")
    return folder


CASES = [
    ("site", "other", "issued by Test Authority, for localhost, ", "verified against {}/other.pem: add the certificate of Test "),
    (
        "site",
        "",
        "issued by Test Authority",
        "verified against the system's authorities: name a file with the certificate of Test ",
    ),
    ("expired", "root", "the certificate of localhost", "renew it at the backend"),
    ("elsewhere", "root", "for elsewhere.test, ", "localhost is not among its names: set `sni`"),
]


@pytest.mark.parametrize("name, trusted, facts, advice", CASES, ids=["unknown", "unknown to the system", "expired", "wrong name"])
def test_the_certificate_is_described(
    terraster, folder: Path, tmp_path: Path, stack, name: str, trusted: str, facts: str, advice: str
) -> None:
    server, port = s_server(tmp_path / "server", folder / f"{name}.pem", folder / f"{name}.key")
    stack.enter_context(server)
    keys = {"ca_file": str(folder / f"{trusted}.pem")} if trusted else {}
    proxy = terraster(service(f"https://localhost:{port}", location={"outlier": "off"}), **keys)
    answers = [exchange(proxy.address, GET) for _ in range(6)]
    assert [one.status for one in answers] == [502] * 6
    assert not any(b"Test Authority" in one.body for one in answers), "clients learn nothing of it"
    advice = advice.format(folder)
    told = wait_until(lambda: [line for line in proxy.said.splitlines() if "it shows the certificate" in line])
    assert len(told) == 1 and facts in told[0] and advice in told[0]

    def failing() -> list[dict[str, Any]]:
        exchange(proxy.address, GET)  # those of before count only from when the master hears of the first
        return [one for one in proxy.status()["problems"] if one["kind"] == "backend-failing"]

    (problem,) = wait_until(failing)
    assert facts in problem["text"] and advice in problem["text"]


def test_a_probe_is_described_too_and_nothing_is_asked(terraster, folder: Path, tmp_path: Path, stack) -> None:
    log = tmp_path / "requests"
    nginx, port = secure_nginx(tmp_path / "nginx", folder / "site.pem", folder / "site.key", f"access_log {log};")
    stack.enter_context(nginx)
    check = {"type": "http", "path": "/", "interval": "1s", "timeout": "5s", "ca_file": str(folder / "other.pem")}
    proxy = terraster(service(f"https://localhost:{port}", health_check=check), ca_file=str(folder / "root.pem"))
    (problem,) = wait_until(
        lambda: [one for one in proxy.status()["problems"] if one["kind"] == "backend-down" and "it shows" in one["text"]]
    )
    assert f"verified against {folder}/other.pem: add the certificate of Test Root" in problem["text"]
    assert not log.exists() or log.read_text() == ""
