"""Mail through a real mail server: encrypted unless told otherwise, and every failure in words."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from terraster.admin.mail import MailError, send
from terraster.config.snapshot import Alerting

from .harness.authority import Authority
from .harness.mail_server import MailServer

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # of the server, which a test wants so

CA = Authority()


@pytest.fixture
def root(tmp_path: Path) -> str:
    (tmp_path / "root.pem").write_bytes(CA.root)
    return str(tmp_path / "root.pem")


def to(server: MailServer, **changes: Any) -> Alerting:
    return replace(Alerting("localhost", server.port, "from@a.test", "", ("ops@a.test", "b@a.test")), **changes)


def test_a_mail_is_encrypted(tmp_path: Path, root: str) -> None:
    with MailServer(CA, tmp_path, password="secret") as server:
        send(to(server, ca_file=root, password="secret"), "It ends\nBcc: x@a.test", "Soon: ü\n")
    (mail,) = server.mails
    assert (mail["From"], mail["To"], mail["Subject"]) == ("from@a.test", "ops@a.test, b@a.test", "It ends Bcc: x@a.test")
    assert mail["Bcc"] is None and mail.get_payload(decode=True).decode().strip() == "Soon: ü"  # type: ignore[union-attr]
    assert (server.secured, server.logins) == ([True], ["from@a.test"])


@pytest.mark.parametrize(
    ("starttls", "offered", "secured"), [("optional", True, True), ("optional", False, False), ("off", True, False)]
)
def test_less_than_starttls_is_taken_if_the_configuration_says_so(
    tmp_path: Path, starttls: str, offered: bool, secured: bool
) -> None:
    with MailServer(CA if offered else None, tmp_path) as server:
        send(to(server, starttls=starttls), "s", "t")
    assert server.secured == [secured]


@pytest.mark.parametrize(
    ("server", "changes", "words"),
    [
        ({}, {}, "does not offer STARTTLS"),
        ({"certificate": CA}, {}, "certificate of the mail server localhost:PORT is not valid: .*issuer"),
        ({"certificate": CA}, {"host": "127.0.0.1", "ca": True}, "is not valid: IP address mismatch"),
        ({"password": "secret"}, {"starttls": "optional", "password": "secret"}, "does not offer STARTTLS"),
        ({"certificate": CA, "password": "secret"}, {"starttls": "optional", "password": "secret"}, "is not valid: .*issuer"),
        ({"certificate": CA, "password": "secret"}, {"ca": True, "password": "wrong"}, r"refuses the login of from@a.test \(535\)"),
        ({}, {"starttls": "off", "password": "secret"}, "does not offer a login"),
        ({"refuses": "552 full"}, {"starttls": "off"}, "answers 552"),
    ],
)
def test_failures_in_words(tmp_path: Path, root: str, server: dict[str, Any], changes: dict[str, Any], words: str) -> None:
    if changes.pop("ca", False) or "ca_file" in changes:
        changes["ca_file"] = root
    with (
        MailServer(folder=tmp_path, **server) as there,
        pytest.raises(MailError, match=words.replace("PORT", str(there.port))) as error,
    ):
        send(to(there, **changes), "s", "t")
    assert there.mails == [] and "secret" not in str(error.value)


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        alerting = Alerting("127.0.0.1", taken.getsockname()[1], "", "", ("a@a.test",))
        with pytest.raises(MailError, match="cannot be used: Connection refused"):
            send(alerting, "s", "t")
