"""Certificates in a reload: what is read, what is kept, and when changed files come into effect."""

from __future__ import annotations

import time
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


@pytest.mark.parametrize(("mode", "warned"), [(0o600, 0), (0o400, 0), (0o640, 1), (0o644, 1), (0o660, 1)])
def test_a_key_that_others_may_read_is_told_once_for_each_change(tmp_path: Path, mode: int, warned: int) -> None:
    def told() -> int:
        return len([line for line in house.log.lines if "is open to others than its owner" in line])

    house = House(tmp_path)
    Path(house.files[1]).chmod(mode)
    for _ in range(3):
        house.run()
        house.look()
    assert told() == warned
    Path(house.files[1]).chmod(0o600)
    house.look()
    assert (told(), house.refreshes) == (warned, 0)
    Path(house.files[1]).chmod(mode)
    house.look()
    assert told() == 2 * warned


def test_a_credential_of_systemd_is_not_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    house = House(tmp_path)
    Path(house.files[1]).chmod(0o440)
    house.run()
    assert not [line for line in house.log.lines if "open to others" in line]


class Dir(House):
    """A service of two hosts whose certificates come from a folder."""

    def __init__(self, folder: Path, hosts: tuple[str, ...] = ("a.test", "b.test")) -> None:
        self.hosts = hosts
        self.time = time.time()
        super().__init__(folder)
        self.certificates = Certificates(self.log, self.agenda, self._changed, lambda: self.time)  # type: ignore[arg-type]

    def write(self, issued: Any, name: str = "site") -> None:
        issued.write(self.folder, name)

    def propose(self) -> Proposal:
        service = Service("a", self.hosts, (":443",), (), tls=Tls(folders=(str(self.folder),)))
        new = Proposal(Snapshot(1, (), (service,), certificate_check=10.0))
        self.certificates.prepare(new)
        return new

    def run(self) -> None:
        new = self.propose()
        self.certificates.commit(new)
        tls = new.snapshot.services[0].tls
        assert tls is not None
        self.serves = sorted(Path(one.file).name for one in tls.certificates)

    def warned(self, words: str) -> int:
        return len([line for line in self.log.lines if words in line])


def test_pairs_that_come_change_and_go_are_seen_without_a_reload(tmp_path: Path) -> None:
    house = Dir(tmp_path)
    house.run()
    assert (house.serves, house.warned("no certificate for b.test in")) == (["site.pem"], 1)
    house.look()
    assert house.refreshes == 0
    house.write(CA.issue("b.test"), "other")
    house.look()
    assert (house.serves, house.refreshes) == (["other.pem", "site.pem"], 1)
    house.write(CA.issue("c.test"), "other")
    house.look()
    assert (house.serves, house.refreshes) == (["site.pem"], 2)
    for name in ("site.pem", "site.key"):
        (tmp_path / name).unlink()
    house.look()
    assert (house.serves, house.refreshes) == ([], 3)
    assert house.warned("no certificate for a.test, b.test in") == 1
    house.look()
    assert house.refreshes == 3


def test_a_broken_pair_in_a_folder_is_one_warning(tmp_path: Path) -> None:
    house = Dir(tmp_path)
    house.write(CA.issue("b.test"), "bad")
    (tmp_path / "bad.key").write_bytes(CA.issue("b.test").key)
    (tmp_path / "authority.pem").write_bytes(CA.root)
    (tmp_path / "private.pem").write_bytes(CA.issue("b.test").key)
    for _ in range(3):
        house.run()
        house.look()
    assert (house.serves, house.refreshes, house.warned("bad.key: the key does not belong")) == (["site.pem"], 0, 1)
    assert house.warned("authority") == house.warned("private.pem") == 0
    assert [row["file"] for row in house.certificates.detail() if row["problem"]] == [str(tmp_path / "bad.pem")]


def test_half_of_a_renewal_in_a_folder_keeps_the_certificate_from_before(tmp_path: Path) -> None:
    house = Dir(tmp_path, ("a.test",))
    house.run()
    renewed = CA.issue("a.test")
    (tmp_path / "site.key").unlink()
    house.look()
    (tmp_path / "site.pem").write_bytes(renewed.chain)
    house.look()
    house.run()
    assert (house.serves, house.refreshes, house.warned("stays in use")) == (["site.pem"], 0, 1)
    house.write(renewed)
    house.look()
    assert (house.serves, house.refreshes, house.warned("changed; the new one")) == (["site.pem"], 1, 1)


def test_certificates_stay_while_their_folder_cannot_be_listed(tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    house = Dir(folder, ("a.test",))
    house.run()
    folder.rename(tmp_path / "away")
    house.look()
    house.run()
    assert house.serves == ["site.pem"]
    assert house.warned(f"cannot list {folder}: No such file or directory") == 1


def test_a_folder_that_comes_later_is_found(tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    house = Dir(tmp_path / "away", ("a.test",))
    house.folder = tmp_path / "there"
    house.run()
    assert (house.serves, house.certificates.detail()) == ([], None)
    (tmp_path / "away").rename(house.folder)
    house.look()
    assert house.serves == ["site.pem"]


def test_a_certificate_that_is_not_valid_yet_is_used_when_it_begins(tmp_path: Path) -> None:
    house = Dir(tmp_path, ("a.test",))
    house.write(CA.issue("a.test", days=90, begun=-5), "later")
    house.run()
    house.look()
    assert (house.serves, house.refreshes) == (["site.pem"], 0)
    house.time += 6 * 86400
    house.look()
    assert (house.serves, house.refreshes) == (["later.pem"], 1)
    house.look()
    assert house.refreshes == 1


def test_a_reload_may_drop_a_folder_while_it_is_looked_at(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    house = Dir(one)
    CA.issue("b.test").write(two)

    def propose(*folders: Path) -> None:
        service = Service("a", house.hosts, (":443",), (), tls=Tls(folders=tuple(map(str, folders))))
        new = Proposal(Snapshot(1, (), (service,), certificate_check=10.0))
        house.certificates.prepare(new)
        house.certificates.commit(new)

    house.write(CA.issue("a.test"), "a")
    house.write(CA.issue("c.test"), "c")
    propose(one, two)
    rest, reloads = house.certificates._rest, [0]

    def reload_at_the_first_pause() -> None:
        rest()
        reloads[0] += 1
        if reloads[0] == 3:  # behind the two pairs in use, in the first folder
            house.certificates._rest = rest  # type: ignore[method-assign]
            propose(one)

    house.certificates._rest = reload_at_the_first_pause  # type: ignore[method-assign]
    assert house.certificates.has_news() is False
    assert reloads == [3]
