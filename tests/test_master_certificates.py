"""Certificates in a reload: what is read, what is kept, and when changed files come into effect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gevent
import pytest

from terraster.config.snapshot import Service, Snapshot, Tls
from terraster.errors import StartError
from terraster.master.agenda import Agenda
from terraster.master.certificates import Certificates
from terraster.master.participant import Proposal

from .harness.authority import Authority
from .harness.ward import Lines

CA = Authority()


class House:
    """Certificates of one service, an agenda whose clock the test moves, and what the master would do with changed ones."""

    def __init__(self, folder: Path) -> None:
        self.log = Lines()
        self.now = 100.0
        self.agenda = Agenda(self.log, lambda: self.now)  # type: ignore[arg-type]
        self.certificates = Certificates(self.log, self.agenda, self._changed)  # type: ignore[arg-type]
        self.folder = folder
        self.serves: Any = None  # the serial of what runs
        self.refreshes = 0
        self.works = True
        self.write(CA.issue("a.test"))

    def write(self, issued: Any) -> None:
        chain, key = issued.write(self.folder)
        self.files = str(chain), str(key)

    def propose(self) -> Proposal:
        service = Service("a", ("a.test",), (":443",), (), tls=Tls((self.files,)))
        new = Proposal(Snapshot(1, (), (service,), certificate_check=10.0))
        self.certificates.prepare(new)
        return new

    def run(self) -> None:
        """A reload in which all agree."""
        new = self.propose()
        self.certificates.commit(new)
        tls = new.snapshot.services[0].tls
        assert tls is not None
        self.serves = tls.certificates[0].fingerprint

    def _changed(self) -> bool:
        self.refreshes += 1
        if self.works:
            self.run()
        else:
            self.propose()
            self.certificates.rollback()
        return self.works

    def look(self) -> None:
        """Let the time for the next look come."""
        self.now += 10.0
        self.agenda.turn()
        gevent.sleep(0)
        gevent.sleep(0)


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path)
    house.run()
    return house


def test_files_that_did_not_change_are_left_alone(house: House) -> None:
    house.look()
    house.look()
    assert house.refreshes == 0


def test_changed_files_come_into_effect(house: House) -> None:
    before = house.serves
    house.write(CA.issue("a.test"))
    house.look()
    assert (house.refreshes, house.serves != before) == (1, True)
    house.look()
    assert house.refreshes == 1


def test_half_a_pair_is_told_once_and_the_one_from_before_stays(house: House) -> None:
    before = house.serves
    Path(house.files[0]).write_bytes(CA.issue("a.test").chain)
    house.look()
    house.look()
    house.run()
    assert (house.refreshes, house.serves) == (0, before)
    assert len([line for line in house.log.lines if "does not belong" in line]) == 1
    assert "does not belong" in house.certificates.detail()[0]["problem"]


def test_a_pair_that_a_refused_reload_has_read_comes_into_effect_at_the_next_look(house: House) -> None:
    before = house.serves
    house.write(CA.issue("a.test"))
    house.propose()
    house.certificates.rollback()
    assert house.serves == before
    house.look()
    assert house.serves != before


def test_a_refresh_that_fails_is_tried_again(house: House) -> None:
    before = house.serves
    house.works = False
    house.write(CA.issue("a.test"))
    house.look()
    assert house.serves == before
    house.works = True
    house.look()
    assert (house.refreshes, house.serves != before) == (2, True)
    house.look()
    assert house.refreshes == 2


def test_a_pair_that_never_was_good_refuses(tmp_path: Path) -> None:
    house = House(tmp_path)
    Path(house.files[1]).write_bytes(CA.issue("a.test").key)
    with pytest.raises(StartError, match="service a: certificate .* the key does not belong to the certificate"):
        house.propose()
