"""What operators see of certificates: the command, the metric and the problems, while files are renewed."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ..harness.authority import Authority
from ..harness.backends import ok
from ..harness.mail_server import MailServer
from ..harness.shapes import unlawful
from ..harness.terraster_process import Terraster, service
from ..harness.waiting import wait_until

CA = Authority()
QUICK = {"check_interval": "200ms"}


def listed(proxy: Terraster) -> list[dict[str, Any]]:
    """The rows of `terrasterctl certificates --json`."""
    result = proxy.ctl("certificates", "--json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert not (wrong := unlawful("certificates", document)), wrong
    rows: list[dict[str, Any]] = document["certificates"]
    return rows


def problems(proxy: Terraster) -> list[str]:
    return [one["kind"] for one in proxy.status()["problems"] if one["kind"].startswith("certificate")]


def site(backend, folder: Path, issued) -> dict[str, Any]:
    chain, key = issued.write(folder)
    return service(backend(answer=ok(b"x")).url, name="shop", host="a.test", tls={"cert_file": str(chain), "key_file": str(key)})


def test_an_operator_sees_a_certificate_expire_and_its_renewal(terraster, backend, tmp_path: Path) -> None:
    proxy = terraster(site(backend, tmp_path, CA.issue("a.test", days=9, begun=80)), cert_manager=QUICK)
    (row,) = listed(proxy)
    assert (row["name"], row["names"], row["kind"], row["issuer"]) == ("shop", ["a.test"], "ECDSA", "Test Authority")
    assert (row["state"], row["file"]) == ("expiring", str(tmp_path / "site.pem"))
    assert 8.9 < row["days_left"] <= 9
    assert problems(proxy) == ["certificate-expiring"]
    (line,) = [line for line in proxy.ctl("certificates").stdout.splitlines() if line.startswith("shop ")]
    assert "EXPIRING" in line

    wait_until(
        lambda: proxy.metrics().get('terraster_certificate_expiry_timestamp_seconds{name="shop"}') == row["expires"], "the metric"
    )
    CA.issue("a.test", days=90).write(tmp_path)
    wait_until(lambda: listed(proxy)[0]["state"] == "valid", "the renewal was not taken")
    assert problems(proxy) == []


def test_a_renewal_that_cannot_be_used_is_a_problem_until_it_is_right(terraster, backend, tmp_path: Path) -> None:
    first = CA.issue("a.test", days=90)
    proxy = terraster(site(backend, tmp_path, first), cert_manager=QUICK)
    assert problems(proxy) == []
    (tmp_path / "site.key").write_bytes(CA.issue("a.test").key)
    wait_until(lambda: problems(proxy) == ["certificate-broken"], "the problem was not told")
    assert "the key does not belong to the certificate" in listed(proxy)[0]["problem"]
    assert "the key does not belong" in " ".join(proxy.ctl("certificates").stdout.split())
    assert "certificate" in proxy.ctl("status").stdout and "shopNone" not in proxy.ctl("status").stdout
    told = proxy.ctl("reload")
    assert told.returncode == 0 and "nothing to reload" in told.stdout
    assert f"note: certificate {tmp_path}/site.pem with key {tmp_path}/site.key: the key does not belong" in told.stdout
    assert "the certificate from before stays in use (for shop)" in told.stdout
    first.write(tmp_path)
    wait_until(lambda: problems(proxy) == [], "the problem stayed")
    assert "note: " not in proxy.ctl("reload").stdout


def test_a_certificate_for_another_name_is_a_problem(terraster, backend, tmp_path: Path) -> None:
    proxy = terraster(site(backend, tmp_path, CA.issue("other.test", days=90)), cert_manager=QUICK)
    assert problems(proxy) == ["certificate-missing"]
    assert "no certificate for a.test" in proxy.ctl("status").stdout
    CA.issue("a.test", days=90).write(tmp_path)
    wait_until(lambda: problems(proxy) == [], "the problem stayed")


@pytest.mark.parametrize(("threshold", "expected"), [("5d", []), ("20d", ["certificate-expiring"])])
def test_the_threshold_is_configured(terraster, backend, tmp_path: Path, threshold: str, expected: list[str]) -> None:
    proxy = terraster(
        site(backend, tmp_path, CA.issue("a.test", days=9, begun=80)), cert_manager={"expiration_threshold": threshold}
    )
    assert problems(proxy) == expected


def test_without_tls_there_is_no_certificate(terraster, backend) -> None:
    proxy = terraster(backend(answer=ok(b"x")))
    assert listed(proxy) == []
    assert proxy.ctl("certificates").stdout == "no service has a certificate\n"


def served(proxy: Terraster, name: str) -> str:
    """The name in the certificate that a client gets; "" if it is refused."""
    context = ssl.create_default_context(cadata=CA.root.decode())
    context.check_hostname = False
    try:
        with proxy.connect().secure(context, name) as one:
            sock: Any = one.sock
            return str(sock.getpeercert()["subjectAltName"][0][1])
    except (ssl.SSLError, ConnectionError) as error:
        assert "UNRECOGNIZED_NAME" in str(error).upper() or isinstance(error, ConnectionError), error
        return ""


def test_hosts_find_their_certificates_in_folders(terraster, backend, tmp_path: Path) -> None:
    own, common = tmp_path / "own", tmp_path / "common"
    for folder in (own, common / "live" / "b.test"):
        folder.mkdir(parents=True)
    CA.issue("a.test").write(own, "whatever")
    CA.issue("a.test", days=90).write(common, "a")
    CA.issue("*.c.test").write(common, "wild")
    issued = CA.issue("b.test")
    (common / "live" / "b.test" / "fullchain.pem").write_bytes(issued.chain)
    (common / "live" / "b.test" / "privkey.pem").write_bytes(issued.key)
    here = backend(answer=ok(b"x")).url
    proxy = terraster(
        service(here, name="a", host=["a.test", "b.test"], tls={"cert_dir": str(own)}),
        service(here, name="c", host="*.c.test", tls=True),
        service(here, name="late", host="late.test", tls=True),
        cert_manager={**QUICK, "cert_dir": str(common)},
    )
    names = ("a.test", "b.test", "x.c.test", "late.test")
    assert [served(proxy, name) for name in names] == ["a.test", "b.test", "*.c.test", ""]
    assert {row["name"]: row["file"] for row in listed(proxy)} == {
        "a a.test ECDSA": str(own / "whatever.pem"),
        "a b.test ECDSA": str(common / "live" / "b.test" / "fullchain.pem"),
        "c": str(common / "wild.pem"),
    }
    assert problems(proxy) == ["certificate-missing"]
    CA.issue("late.test").write(common, "new")
    wait_until(lambda: served(proxy, "late.test") == "late.test", "the new certificate was not found")
    assert problems(proxy) == []
    for name in ("new.pem", "new.key"):
        (common / name).unlink()
    wait_until(lambda: served(proxy, "late.test") == "", "the certificate that went is still served")
    assert served(proxy, "a.test") == "a.test"


def alerting(port: int, tmp_path: Path, **changes: Any) -> dict[str, Any]:
    (tmp_path / "root.pem").write_bytes(CA.root)
    mail = {
        "smtp_host": "localhost",
        "smtp_port": port,
        "to_emails": ["ops@a.test"],
        "ca_file": str(tmp_path / "root.pem"),
        **changes,
    }
    return {"cert_manager": {**QUICK, "alerting": mail}}


def test_a_mail_comes_before_a_certificate_ends_and_a_restart_sends_no_second_one(fresh, backend, tmp_path: Path) -> None:
    shop = site(backend, tmp_path, CA.issue("a.test", days=9, begun=80))
    with MailServer(CA, tmp_path, password="secret") as server:
        proxy = fresh(shop, **alerting(server.port, tmp_path, from_email="lb@a.test", from_password="secret"))
        wait_until(lambda: server.mails, "no mail came")
        (mail,) = server.mails
        assert (mail["From"], mail["To"], server.secured) == ("lb@a.test", "ops@a.test", [True])
        assert f"certificate {tmp_path}/site.pem (shop) expires in " in str(mail["Subject"])
        wait_until(lambda: "mail about" in proxy.said)
        assert "(shop) expires in" in proxy.said and "secret" not in proxy.said
        admin = [worker["pid"] for worker in proxy.status()["workers"] if worker["role"] == "admin"]
        os.kill(admin[0], signal.SIGKILL)
        wait_until(
            lambda: [one["pid"] for one in proxy.status()["workers"] if one["role"] == "admin"] != admin, "no new admin worker"
        )
        CA.issue("a.test", days=5, begun=80).write(tmp_path)
        wait_until(lambda: len(server.mails) > 1, "no mail about the other certificate")
        assert ["expires in 4 days" in str(one["Subject"]) for one in server.mails] == [False, True]


def test_a_mail_server_that_says_nothing_keeps_nobody_waiting(fresh, backend, tmp_path: Path) -> None:
    shop = site(backend, tmp_path, CA.issue("a.test", days=9, begun=80))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        proxy = fresh(shop, **alerting(silent.getsockname()[1], tmp_path))
        wait_until(lambda: "(shop) expires in" in proxy.said)
        peer, _ = silent.accept()
        for _ in range(3):
            assert problems(proxy) == ["certificate-expiring"]
        peer.close()
        wait_until(lambda: "mail-failing" in [one["kind"] for one in proxy.status()["problems"]], "the failure was not told")
        assert "no mail about certificates that expire: the mail server localhost:" in proxy.said


def test_the_deploy_hook_of_certbot_brings_a_renewal_into_effect(terraster, backend, tmp_path: Path) -> None:
    live, certs = tmp_path / "live" / "a.test", tmp_path / "certs"
    live.mkdir(parents=True)
    hook = Path(__file__).parent.parent.parent / "etc" / "certbot-deploy-hook"
    environment = {
        **os.environ,
        "RENEWED_LINEAGE": str(live),
        "TERRASTER_CERTS": str(certs),
        "TERRASTER_USER": str(os.geteuid()),
    }

    def renew(name: str, days: float) -> None:
        issued = CA.issue(name, days=days)
        (live / "fullchain.pem").write_bytes(issued.chain)
        (live / "privkey.pem").write_bytes(issued.key)
        subprocess.run([hook], env=environment, check=True, timeout=30)

    renew("a.test", 20)
    proxy = terraster(
        service(backend(answer=ok(b"x")).url, name="a", host="a.test", tls=True),
        cert_manager={**QUICK, "cert_dir": str(certs)},
    )
    assert listed(proxy)[0]["days_left"] <= 20
    renew("a.test", 90)
    wait_until(lambda: listed(proxy)[0]["days_left"] > 80, "the renewal was not taken")
    assert served(proxy, "a.test") == "a.test" and problems(proxy) == []
    files = {path.name: path.stat().st_mode & 0o777 for path in (certs / "a.test").iterdir()}
    assert files == {"fullchain.pem": 0o600, "privkey.pem": 0o600}
