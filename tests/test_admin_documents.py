"""Documents of filters: when they are fetched, what is kept, and what operators are told."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from terraster.admin.documents import Documents
from terraster.admin.fetch import FetchError
from terraster.config.filter_sources import file_of
from terraster.config.snapshot import Location, Service, Snapshot
from terraster.filters.jwt import JwtSettings

from .harness.issuer import jwks
from .harness.ward import Lines

URL = "https://keys.test/jwks?secret=topsecret"
SHOWN = "https://keys.test/jwks"


class House:
    """What a server says is in `answer`: octets, or an error to raise."""

    def __init__(self, folder: Path, *settings: JwtSettings) -> None:
        self.folder = folder
        settings = settings or (JwtSettings(jwks_url=URL),)
        locations = tuple(
            Location(id=f"l{slot}", path=f"/{slot}", slot=slot, filters=(("jwt", one),)) for slot, one in enumerate(settings)
        )
        self.snapshot = Snapshot(1, (), (Service("a", ("a.test",), (), locations),), state_dir=str(folder))
        self.now = 1000.0
        self.answer: bytes | Exception = jwks("rsa")
        self.asked: list[str] = []
        self.told: list[str] = []
        self.wishes: dict[tuple[int, str, str], int] = {}
        self.takes = True
        self.log = Lines()
        self.documents = Documents(
            lambda: self.snapshot, self._tell, self.log, lambda *cell: self.wishes.get(cell, 0), self._get, lambda: self.now
        )

    def _tell(self, verb: str) -> dict[str, Any]:
        self.told.append(verb)
        return {"ok": self.takes}

    def _get(self, url: str, ca_file: str) -> bytes:
        self.asked.append(url)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def turn(self, seconds: float = 0.0, times: int = 1) -> int:
        """So many turns after this time; the number of questions to servers."""
        before = len(self.asked)
        for _ in range(times):
            self.now += seconds
            self.documents.turn()
        return len(self.asked) - before

    def kept(self) -> bytes:
        (source,) = JwtSettings(jwks_url=URL).sources()
        return Path(file_of(str(self.folder), source)).read_bytes()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_it_is_fetched_at_once_then_regularly_and_given_to_the_master_when_it_changed(house: House) -> None:
    assert house.turn() == 1
    assert house.kept() == jwks("rsa")
    assert house.told == ["filter_files"]
    assert house.turn(1.0, times=298) == 0
    assert house.turn(3.0) == 1
    assert house.told == ["filter_files"], "nothing changed"
    house.answer = jwks("rsa", "ec")
    assert house.turn(301.0) == 1
    assert house.told == ["filter_files"] * 2
    assert house.kept() == jwks("rsa", "ec")


def test_unknown_keys_lead_to_one_fetch_in_30_seconds(house: House) -> None:
    cell = (0, "jwt", "unknown_key")
    house.turn()
    house.wishes[cell] = 1
    assert house.turn(1.0, times=28) == 0
    assert house.turn(2.0) == 1, "the first one is half a minute after the fetch at the start"
    fetches = 0
    for _ in range(300):  # a flood, for 300 s
        house.wishes[cell] += 1000
        fetches += house.turn(1.0)
    assert fetches == 10
    house.wishes[cell] += 1
    assert house.turn(1.0) == 0
    assert house.turn(30.0) == 1, "a wish within the pause is not lost"
    assert house.turn(1.0, times=299) == 0, "and then none"


def test_a_late_wish_is_granted_at_once(house: House) -> None:
    house.turn()
    house.turn(100.0)
    house.wishes[0, "jwt", "unknown_key"] = 1
    assert house.turn(1.0) == 1


def test_places_with_one_url_share_the_document(tmp_path: Path) -> None:
    house = House(tmp_path, JwtSettings(jwks_url=URL), JwtSettings(jwks_url=URL, jwks_refresh=100.0, audience=("a",)))
    assert house.turn() == 1
    assert house.turn(99.0) == 0
    assert house.turn(2.0) == 1
    house.wishes[1, "jwt", "unknown_key"] = 1
    assert house.turn(31.0) == 1


BAD = (
    (FetchError("the server answers 500"), "the server answers 500"),
    (b"<html>login</html>", "the answer is not JSON"),
    (b'{"keys": []}', "the answer has no key that can verify a signature"),
    (b"{}", "the answer is not a set of keys: it has no list `keys`"),
    (ZeroDivisionError("boom"), "ZeroDivisionError"),
)


@pytest.mark.parametrize(("answer", "why"), BAD, ids=range(len(BAD)))
def test_the_last_good_one_stays(house: House, answer: bytes | Exception, why: str) -> None:
    house.log.strict = False
    house.turn()
    house.answer = answer
    tries = [seconds for seconds in range(1, 500) if house.turn(1.0)]
    assert tries[:6] == [300, 301, 303, 307, 315, 331]
    assert house.kept() == jwks("rsa")
    assert house.told == ["filter_files"]
    assert house.documents.problems == {SHOWN: why}
    warning = f"warning {SHOWN} was not fetched: {why}; it is tried again, and what was fetched before stays in use"
    assert house.log.lines.count(warning) == 1, "once for each reason"
    assert "topsecret" not in str(house.log.lines)
    house.answer = jwks("rsa", "ec")
    house.turn(61.0)
    assert house.kept() == jwks("rsa", "ec")
    assert house.documents.problems == {}
    assert house.log.lines[-1] == f"info {SHOWN} was fetched again"


def test_the_next_turn_is_soon_enough(tmp_path: Path) -> None:
    for refresh, seconds in ((300.0, 1.0), (0.3, 0.3), (0.001, 0.05)):
        house = House(tmp_path, JwtSettings(jwks_url=URL, jwks_refresh=refresh))
        assert house.documents.turn() == pytest.approx(seconds)


def test_a_master_that_did_not_take_it_is_told_again(house: House) -> None:
    house.takes = False
    house.turn()
    house.takes = True
    house.turn(1.0, times=3)
    assert house.told == ["filter_files"] * 2


def test_what_is_no_longer_needed_is_forgotten(house: House) -> None:
    house.answer = FetchError("the server answers 500")
    house.turn()
    house.snapshot = Snapshot(2, (), ())
    assert house.turn(100.0) == 0
    assert house.documents.problems == {}


def test_files_that_no_filter_needs_go_after_a_week(house: House) -> None:
    house.turn()
    folder = Path(file_of(str(house.folder), JwtSettings(jwks_url=URL).sources()[0])).parent
    old, young = folder / "old.json", folder / "young.json"
    for file, days in ((old, 8), (young, 6)):
        file.write_bytes(b"{}")
        os.utime(file, (0.0, time.time() - days * 86400))
    os.utime(next(folder.glob("[0-9a-f]*.json")), (0.0, 0.0))
    house.turn(1.0)
    assert old.exists(), "it is looked for when another document is needed"
    other = JwtSettings(jwks_url="https://other.test/")
    house.snapshot = House(house.folder, JwtSettings(jwks_url=URL), other).snapshot
    house.turn(1.0)
    assert not old.exists() and young.exists() and house.kept() == jwks("rsa")


def test_a_disk_that_is_full(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: str, octets: bytes) -> None:
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr("terraster.admin.gatherer.write", full)
    house.turn()
    assert "No space left on device" in house.documents.problems[SHOWN]
