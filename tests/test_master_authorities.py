"""Authorities of clients in a reload: what is kept, and when changed files come into effect."""

from __future__ import annotations

from pathlib import Path

import gevent
import pytest

from terraster.config.client_auth import ClientAuth
from terraster.config.snapshot import Service, Snapshot, Tls
from terraster.errors import StartError
from terraster.master.agenda import Agenda
from terraster.master.authorities import Authorities
from terraster.master.participant import Proposal

from .harness.authority import Authority
from .harness.ward import Lines

CA, OTHER = Authority("Clients"), Authority("Others")


class House:
    """The authorities of one service, with a clock that the test moves."""

    def __init__(self, folder: Path, verify_depth: int | None = None) -> None:
        self.log = Lines()
        self.now = 100.0
        self.agenda = Agenda(self.log, lambda: self.now)  # type: ignore[arg-type]
        self.authorities = Authorities(self.log, self.agenda, self._changed)  # type: ignore[arg-type]
        self.ca, self.crl = folder / "ca.pem", folder / "ca.crl"
        self.ca.write_bytes(CA.root + CA.issuer)
        self.crl.write_bytes(CA.crls(days=9, begun=0))
        asked = ClientAuth("require", str(self.ca), str(self.crl), verify_depth)
        self.service = Service("a", ("a.test",), (":443",), (), tls=Tls(client_auth=asked))
        self.admission: object = None

    def run(self) -> None:
        new = Proposal(Snapshot(1, (), (self.service,), certificate_check=10.0))
        self.authorities.prepare(new)
        self.kept = self.authorities.kept(new)
        self.authorities.commit(new)
        tls = new.snapshot.services[0].tls
        assert tls is not None
        self.admission = tls.admission()

    def _changed(self) -> bool:
        self.run()
        return True

    def look(self) -> None:
        self.now += 10.0
        self.agenda.turn()
        with gevent.Timeout(20):
            gevent.sleep(0)
            while self.authorities.is_looking:
                gevent.sleep(0.001)

    def said(self, words: str) -> int:
        return len([line for line in self.log.lines if words in line])


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path)
    house.run()
    return house


def test_changed_files_change_who_is_admitted(house: House) -> None:
    before = house.admission
    house.look()
    assert house.admission == before
    house.crl.write_bytes(CA.crls(1, days=9, begun=0))
    house.look()
    assert house.admission != before


def test_files_that_cannot_be_used_are_told_once_and_what_was_read_stays(house: House) -> None:
    before = house.admission
    house.crl.write_bytes(CA.crl())
    for _ in range(3):
        house.look()
    assert house.admission == before
    assert house.said("there is no CRL of CN=Clients Root") == 1
    assert "no CRL" in house.authorities.detail()[0]["problem"]
    house.run()
    (line,) = house.kept
    assert f"{house.crl}: there is no CRL of CN=Clients Root" in line and "what was read before stays in use" in line
    house.crl.write_bytes(CA.crls(days=9, begun=0))
    house.look()
    assert house.authorities.detail()[0]["problem"] is None
    house.run()
    assert house.kept == []


def test_files_that_never_could_be_used_refuse(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.crl.unlink()
    with pytest.raises(StartError, match="service a: .*cannot read .*ca.crl"):
        house.run()


def test_a_bound_that_the_library_does_not_take_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("terraster.master.authorities.refusal", lambda: "another form")
    House(tmp_path).run()
    with pytest.raises(StartError, match="`verify_depth` cannot be set in this Python: another form"):
        House(tmp_path, 1).run()
