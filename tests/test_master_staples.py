"""OCSP responses in a reload: what is used, what is kept, and what operators are told."""

from __future__ import annotations

import os
import time
from pathlib import Path

import gevent
import pytest

from terraster.certs.certificate import read_certificate
from terraster.certs.ocsp_file import kept_file
from terraster.config.snapshot import Service, Snapshot, Tls
from terraster.master.agenda import Agenda
from terraster.master.participant import Proposal
from terraster.master.staples import Staples

from .harness.authority import Authority, Issued
from .harness.ward import Lines

CA = Authority()
EC, RSA, NEXT, STRICT = CA.issue("a.test"), CA.issue("a.test", kind="rsa"), CA.issue("a.test"), CA.issue("a.test", must_staple=True)


class House:
    """The responses of one service, with clocks that the test moves."""

    def __init__(self, folder: Path) -> None:
        self.log = Lines()
        self.now, self.wall = 100.0, time.time()
        self.agenda = Agenda(self.log, lambda: self.now)  # type: ignore[arg-type]
        self.staples = Staples(self.log, self.agenda, self._changed, lambda: self.wall)  # type: ignore[arg-type]
        self.folder = folder
        self.file = folder / "a.ocsp"
        self.ocsp = str(self.file)
        self.given: tuple[Issued, ...] = (EC,)
        self.sent: dict[str, bytes] = {}
        self.runs = 0
        self.services: tuple[Service, ...] = ()

    def run(self) -> None:
        certificates = tuple(read_certificate("a.pem", one.chain, one.key) for one in self.given)
        service = Service("a", ("a.test",), (":443",), (), tls=Tls(certificates=certificates, ocsp=self.ocsp))
        new = Proposal(Snapshot(1, (), (service,), certificate_check=10.0, state_dir=str(self.folder)))
        self.staples.prepare(new)
        tls = new.snapshot.services[0].tls
        assert tls is not None
        self.runs += 1
        if self.services == new.snapshot.services:
            self.staples.rollback()  # as `Reloader.refresh` does it
            return
        self.services = new.snapshot.services
        self.staples.commit(new)
        self.sent = {one.fingerprint: one.response for one in tls.staples}

    def _changed(self) -> bool:
        self.run()
        return True

    def write(self, response: bytes) -> None:
        draft = self.folder / "draft"
        draft.write_bytes(response)
        os.replace(draft, self.file)

    def look(self) -> None:
        self.now += 10.0
        self.agenda.turn()
        with gevent.Timeout(20):
            gevent.sleep(0)
            while self.staples.is_looking:
                gevent.sleep(0.001)

    def said(self, words: str) -> int:
        return len([line for line in self.log.lines if words in line])

    @property
    def problem(self) -> str:
        return str(self.staples.detail()[0]["problem"])


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_file_is_used_and_a_newer_one_without_a_reload(house: House) -> None:
    first, second = CA.ocsp(EC), CA.ocsp(EC, begun=60)
    house.write(first)
    house.run()
    assert [*house.sent.values()] == [first] and house.problem == ""
    house.look()
    assert house.runs == 1
    house.write(second)
    house.look()
    assert [*house.sent.values()] == [second] and house.runs == 2
    assert house.said("no OCSP response") == 0


def test_a_file_that_is_missing_keeps_nothing_from_running(house: House) -> None:
    house.run()
    house.look()
    assert house.sent == {} and house.runs == 1
    assert house.said("no OCSP response is sent: OCSP response: cannot read") == 1
    assert "No such file" in house.problem
    house.write(CA.ocsp(EC))
    house.look()
    assert len(house.sent) == 1 and house.problem == ""


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (CA.ocsp(NEXT), f"for the serial number {NEXT.serial:X}; the certificate has {EC.serial:X}"),
        (CA.ocsp(EC, lasts=-1), "expired"),
        (b"not yet written", "no OCSP response"),
    ],
)
def test_a_response_that_cannot_be_used_does_not_replace_a_good_one(house: House, response: bytes, why: str) -> None:
    good = CA.ocsp(EC)
    house.write(good)
    house.run()
    house.write(response)
    for _ in range(3):
        house.look()
    assert [*house.sent.values()] == [good]
    assert why in house.problem
    assert len([line for line in house.log.lines if why in line]) == 1


def test_a_revoked_certificate_loses_its_response_at_once(house: House) -> None:
    house.write(CA.ocsp(EC))
    house.run()
    house.write(CA.ocsp(EC, revoked=True))
    house.look()
    assert house.sent == {}
    assert house.staples.detail()[0]["revoked"] and house.said("the authority revoked the certificate") == 1


def test_the_end_of_a_response_is_told_once(house: House) -> None:
    house.write(CA.ocsp(EC, lasts=100))
    house.run()
    house.look()
    assert house.said("expired") == 0
    house.wall += 101
    for _ in range(3):
        house.look()
    assert house.said("no OCSP response is sent: it expired at") == 1
    assert house.staples.detail()[0]["until"] < house.wall


@pytest.mark.needs("openssl")
def test_a_file_belongs_to_the_certificate_that_it_names(house: House) -> None:
    house.given = (EC, RSA)
    house.write(CA.ocsp(RSA))
    house.run()
    rsa = read_certificate("a.pem", RSA.chain, RSA.key)
    assert [*house.sent] == [rsa.fingerprint]
    assert [one["problem"] for one in house.staples.detail()] == ["", ""]
    assert house.said("no OCSP response") == 0
    house.write(CA.ocsp_of_all(house.folder, EC, RSA))
    house.look()
    assert len(house.sent) == 2


def test_a_file_for_neither_certificate_says_which_ones_there_are(house: House) -> None:
    house.given = (EC, RSA)
    house.write(CA.ocsp(NEXT))
    house.run()
    assert house.sent == {}
    assert f"serial number {NEXT.serial:X}; the certificates have {EC.serial:X}, {RSA.serial:X}" in house.problem


def test_a_response_that_is_too_early_is_used_when_its_time_comes(house: House) -> None:
    house.write(CA.ocsp(EC, begun=-1000))
    house.run()
    assert house.sent == {} and "not valid before" in house.problem
    house.wall += 701
    house.look()
    assert len(house.sent) == 1 and house.problem == ""


def test_a_renewed_certificate_does_not_get_the_response_of_the_one_before(house: House) -> None:
    house.write(CA.ocsp(EC))
    house.run()
    house.given = (NEXT,)
    house.run()
    assert house.sent == {} and "serial number" in house.problem


def test_a_fetched_response_is_found_by_the_certificate_and_none_is_no_news(house: House) -> None:
    house.ocsp = "fetch"
    house.run()
    assert (house.sent, house.problem, house.log.lines) == ({}, "", [])
    house.file = Path(kept_file(str(house.folder), read_certificate("a.pem", EC.chain, EC.key)))
    house.file.parent.mkdir()
    house.write(CA.ocsp(EC))
    house.look()
    assert len(house.sent) == 1


@pytest.mark.parametrize(("ocsp", "why"), [("", "set `tls.ocsp`"), ("fetch", "none was fetched yet")])
def test_a_certificate_that_wants_a_response_and_has_none_is_told(house: House, ocsp: str, why: str) -> None:
    house.given, house.ocsp = (STRICT,), ocsp
    house.run()
    house.run()
    assert house.said(f"it wants an OCSP response (must-staple), so clients may refuse it, and there is none: {why}") == 1


def test_a_library_that_cannot_be_given_responses_is_told_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("terraster.master.staples.stapling_refusal", lambda: "another form")
    house.write(CA.ocsp(EC))
    house.run()
    house.run()
    assert house.said("clients get no OCSP responses, because they cannot be given to OpenSSL: another form") == 1
    assert house.problem == "another form" and house.staples.detail()[0]["until"] is None


def test_without_responses_nothing_is_done(house: House) -> None:
    house.ocsp = ""
    house.run()
    assert not house.staples.has_files() and house.staples.detail() is None
