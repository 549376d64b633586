"""Operators are told once at each stage, over restarts, and mails that fail are tried again."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from terraster.admin.expiry_watch import ExpiryWatch, watched
from terraster.admin.mail import MailError
from terraster.config.client_auth import Authorities, ClientAuth
from terraster.config.snapshot import Alerting, Certificate, Snapshot, Tls

from .harness.tls_facts import DAY, certificate, tls_service
from .harness.ward import Lines

BEGINS = 1_700_000_000.0
ALERTING = Alerting("mail.test", 587, "", "", ("ops@a.test",))


class Office:
    """A watch whose clock and mail server the test holds. Days count from the begin of a certificate for 90 days."""

    def __init__(self, folder: Path) -> None:
        self.log = Lines()
        self.now = BEGINS
        self.mails: list[str] = []
        self.fails = False
        self.snapshot = Snapshot(1, (), (), state_dir=str(folder / "state"), alerting=ALERTING)
        self.serve(certificate("/a.pem", begins=BEGINS, ends=BEGINS + 90 * DAY))
        self.restart()

    def serve(self, *certificates: Certificate) -> None:
        self.snapshot = replace(self.snapshot, services=(tls_service("shop", *certificates),))

    def restart(self) -> None:
        self.watch = ExpiryWatch(lambda: self.snapshot, self.log, self._send, lambda: self.now)

    def _send(self, alerting: Alerting, subject: str, text: str) -> None:
        if self.fails:
            raise MailError("no mail today")
        self.mails.append(f"{subject}\n{text}")

    def on(self, day: float) -> int:
        """The mails so far, after a look on a day."""
        self.now = BEGINS + day * DAY
        self.watch.look()
        return len(self.mails)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_each_stage_is_told_once_and_restarts_do_not_repeat_it(office: Office) -> None:
    told = []
    for day in (10, 59, 62, 64, 75, 76, 77, 83, 84, 89, 89.5, 90, 91, 120):
        told.append(office.on(day))
        office.restart()
        assert office.on(day) == told[-1]
    assert told == [0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5]
    assert len([line for line in office.log.lines if line.startswith("warning certificate /a.pem (shop) expire")]) == 5
    assert "expires in 26 days" in office.mails[0] and "expired at 2024-02-12" in office.mails[4]


def test_what_was_passed_over_is_told_in_one_mail(office: Office) -> None:
    assert (office.on(88), office.on(88.9), office.on(89)) == (1, 1, 2)


def test_a_renewed_certificate_begins_anew(office: Office) -> None:
    assert office.on(80) == 1
    office.serve(certificate("/a.pem", begins=BEGINS + 80 * DAY, ends=BEGINS + 170 * DAY))
    assert (office.on(81), office.on(142), office.on(144)) == (1, 1, 2)


def test_several_certificates_are_one_mail(office: Office) -> None:
    office.serve(*(certificate(f"/{name}.pem", begins=BEGINS, ends=BEGINS + 90 * DAY) for name in "abc"))
    assert office.on(80) == 1
    assert "3 certificates expire" in office.mails[0] and all(f"/{name}.pem" in office.mails[0] for name in "abc")


def test_the_file_is_for_its_owner_alone(office: Office) -> None:
    office.on(80)
    path = Path(office.snapshot.state_dir) / "expiry.json"
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert list(json.loads(path.read_text())["told"]) == [f"certificate /a.pem {BEGINS + 90 * DAY:.0f}"]
    assert os.listdir(office.snapshot.state_dir) == ["expiry.json"]


def test_a_mail_that_fails_is_tried_again_ever_later(office: Office) -> None:
    office.fails = True
    tries = []
    for minute in range(24 * 60):
        office.on(80 + minute / 1440)
        tries.append(len([line for line in office.log.lines if "no mail today" in line]))
    at = [minute for minute in range(1440) if tries[minute] > (tries[minute - 1] if minute else 0)]
    assert at[:6] == [0, 1, 3, 7, 15, 31] and at[-1] - at[-2] == 360
    assert office.watch.failure == {"text": "no mail today", "since": BEGINS + 80 * DAY}
    office.fails = False
    assert office.on(82) == 1
    assert office.watch.failure is None
    assert len([line for line in office.log.lines if line.startswith("warning certificate")]) == 1


def test_other_settings_are_tried_at_once_and_other_configurations_are_not(office: Office) -> None:
    office.fails = True
    office.on(80)
    office.fails = False
    office.snapshot = replace(office.snapshot, generation=2)
    assert office.on(80) == 0
    office.snapshot = replace(office.snapshot, alerting=replace(ALERTING, host="other.test"))
    assert office.on(80) == 1


def test_a_list_of_revoked_certificates_is_told_as_a_certificate_is(office: Office) -> None:
    ends = BEGINS + 90 * DAY
    asked = ClientAuth("require", "/ca.pem", "/ca.crl", authorities=Authorities(b"", True, BEGINS, ends, "digest"))
    without = ClientAuth("require", "/ca.pem", authorities=Authorities(b"", False, 0.0, 0.0, "digest"))
    services = [
        replace(tls_service(name), tls=Tls(client_auth=client_auth))
        for name, client_auth in (("shop", asked), ("blog", asked), ("open", without))
    ]
    office.snapshot = replace(office.snapshot, services=tuple(services))
    assert [(one.kind, one.name, one.file, one.not_after) for one in watched(office.snapshot)] == [
        ("CRL", "shop, blog", "/ca.crl", ends)
    ]
    told = []
    for day in (10, 64, 64, 76, 90, 91):
        told.append(office.on(day))
        office.restart()
    assert told == [0, 1, 1, 2, 3, 3]
    assert "CRL /ca.crl (shop, blog) expires in 26 days" in office.mails[0]
    assert "from its end on clients with certificates are refused" in office.mails[0]
    assert "CRL /ca.crl (shop, blog) expired at" in office.mails[2]
    assert len([line for line in office.log.lines if line.startswith("warning CRL /ca.crl")]) == 3


def test_a_mail_about_several_kinds_names_them(office: Office) -> None:
    asked = ClientAuth("require", "/ca.pem", "/ca.crl", authorities=Authorities(b"", True, BEGINS, BEGINS + 90 * DAY, "digest"))
    (shop,) = office.snapshot.services
    assert shop.tls is not None
    office.snapshot = replace(office.snapshot, services=(replace(shop, tls=replace(shop.tls, client_auth=asked)),))
    assert office.on(80) == 1
    assert "2 certificates and CRLs expire or have expired" in office.mails[0]


def test_without_a_mail_server_there_is_the_log(office: Office) -> None:
    office.snapshot = replace(office.snapshot, alerting=None)
    assert office.on(80) == 0
    assert [line for line in office.log.lines if "expires in 10 days" in line]
    office.snapshot = replace(office.snapshot, alerting=ALERTING)
    assert office.on(81) == 1


def test_the_next_look_is_at_the_next_stage(office: Office) -> None:
    office.now = BEGINS + 63 * DAY - 5
    assert office.watch.look() == pytest.approx(5)
    office.now = BEGINS
    assert office.watch.look() == 60


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"told": {"x": 5}}', '{"told": {"x": {}}}'])
def test_a_damaged_file_is_told_and_made_anew(office: Office, content: str) -> None:
    os.makedirs(office.snapshot.state_dir)
    path = Path(office.snapshot.state_dir) / "expiry.json"
    path.write_text(content)
    assert (office.on(80), office.on(80)) == (1, 1)
    assert len([line for line in office.log.lines if "expiry.json" in line]) == 1
    assert json.loads(path.read_text())["told"]


def test_a_state_directory_that_cannot_be_written_is_told_once(office: Office, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    office.snapshot = replace(office.snapshot, state_dir=str(tmp_path / "file" / "state"))
    assert (office.on(80), office.on(80.1)) == (1, 1)
    assert len([line for line in office.log.lines if "operators are told again" in line]) == 1


def test_a_certificate_of_several_services_is_watched_once() -> None:
    one = certificate("/a.pem")
    found = watched(Snapshot(1, (), tuple(tls_service(name, one) for name in "abcde")))
    assert [(thing.name, thing.file) for thing in found] == [("a, b, c and 2 more", "/a.pem")]
