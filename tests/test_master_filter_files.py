"""The files of filters: read and checked before a configuration runs, looked at again, and kept while a new version is at fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from terraster.config.filter_sources import file_of
from terraster.config.settings.base import FilePath, Text
from terraster.config.settings.kinds import Fetch, FilterSettings, Source
from terraster.config.snapshot import Location, Service, Snapshot
from terraster.errors import StartError
from terraster.master.agenda import Agenda
from terraster.master.filter_files import FilterFiles
from terraster.master.participant import Proposal

from .harness.ward import Lines


def even(octets: bytes) -> None:
    if len(octets) % 2:
        raise ValueError("has an odd number of octets")


class Settings(FilterSettings):
    file: FilePath | None = None
    url: Text | None = None

    def sources(self) -> tuple[Source, ...]:
        of_file = (Source("file", self.file, even),) if self.file else ()
        return (*of_file, Source("url", self.url, even, Fetch(300.0, "", "unknown"))) if self.url else of_file


class House:
    def __init__(self, folder: Path, *settings: FilterSettings) -> None:
        """settings: of the first location; the second one has none"""
        filters = tuple((f"kind{number}", one) for number, one in enumerate(settings))
        locations = (Location(id="l", path="/", filters=filters), Location(id="m", path="/plain"))
        self.snapshot = Snapshot(1, (), (Service("a", ("a.test",), (), locations),), state_dir=str(folder))
        self.log = Lines()
        self.asked = 0
        self.now = 0.0
        self.files = FilterFiles(self.log, Agenda(self.log, lambda: self.now), self._changed)  # type: ignore[arg-type]

    def _changed(self) -> bool:
        self.asked += 1
        self.load()
        return True

    def load(self) -> list[dict[str, bytes]]:
        """The octets that the filters have in a new configuration."""
        new = Proposal(self.snapshot)
        self.files.prepare(new)
        self.kept = self.files.kept(new)
        self.files.commit(new)
        self.made = new.snapshot
        return [dict(settings.contents) for _, settings in new.snapshot.services[0].locations[0].filters]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "users"
    made.write_bytes(b"even")
    return made


def test_settings_get_the_octets_of_their_files(tmp_path: Path, file: Path) -> None:
    house = House(tmp_path, Settings(file=str(file)), FilterSettings())
    assert house.load() == [{str(file): b"even"}, {}]
    assert house.made.services[0].locations[1] is house.snapshot.services[0].locations[1]


def test_a_configuration_without_such_filters_is_itself(tmp_path: Path) -> None:
    house = House(tmp_path, FilterSettings(), Settings())
    house.load()
    assert house.made.services[0].locations[0].filters == house.snapshot.services[0].locations[0].filters
    assert not house.files.has_files()


def test_other_octets_are_another_configuration(tmp_path: Path, file: Path) -> None:
    house = House(tmp_path, Settings(file=str(file)))
    house.load()
    before = house.made
    house.load()
    assert house.made == before
    file.write_bytes(b"others")
    house.load()
    assert house.made != before


def test_changed_files_are_taken_without_a_reload(tmp_path: Path, file: Path) -> None:
    house = House(tmp_path, Settings(file=str(file)))
    house.load()
    house.files.look()
    assert house.asked == 0
    file.write_bytes(b"others")
    house.files.look()
    assert house.asked == 1
    assert dict(house.made.services[0].locations[0].filters[0][1].contents) == {str(file): b"others"}
    assert house.log.lines == [f"info {file}: changed; requests from now on are judged by it"]


@pytest.mark.parametrize("wrong", [b"odd", None])
def test_a_file_that_is_at_fault_stops_a_start_and_nothing_later(tmp_path: Path, file: Path, wrong: bytes | None) -> None:
    def spoil() -> None:
        if wrong is None:
            file.unlink()
        else:
            file.write_bytes(wrong)

    words = f"{file}: has an odd number of octets" if wrong else f"cannot read {file}: No such file or directory"
    house = House(tmp_path, Settings(file=str(file)))
    house.load()
    spoil()
    house.files.look()
    assert house.asked == 0
    assert house.load() == [{str(file): b"even"}]
    assert house.kept == [f"{words}; what was read before stays in use"]
    with pytest.raises(StartError, match="service a: ") as error:
        House(tmp_path, Settings(file=str(file))).load()
    assert words in str(error.value)


def test_a_document_that_is_fetched_may_be_missing(tmp_path: Path) -> None:
    settings = Settings(url="https://keys.test/jwks")
    house = House(tmp_path, settings)
    assert house.load() == [{}]
    file = Path(file_of(str(tmp_path), settings.sources()[0]))
    assert file.parent == tmp_path / "fetched"
    file.parent.mkdir()
    file.write_bytes(b"even")
    house.files.look()
    assert house.asked == 1
    assert house.load() == [{"https://keys.test/jwks": b"even"}]


def test_a_file_that_has_become_empty_counts_once_it_has_stayed_so(tmp_path: Path, file: Path) -> None:
    """Editors empty a file before they write it. A reload meanwhile changes nothing, either."""
    house = House(tmp_path, Settings(file=str(file)))
    house.load()
    interval = house.snapshot.certificate_check
    words = f"{file}: has become empty, perhaps to be written anew; what was read before stays in use"
    file.write_bytes(b"")
    house.now = 100.0
    house.files.look()
    assert house.load() == [{str(file): b"even"}]
    assert house.kept == [words]
    house.now += interval - 0.001
    house.files.look()
    assert (house.load(), house.asked) == ([{str(file): b"even"}], 0)
    assert house.log.lines == [f"warning {words}"]
    house.now += 0.001
    house.files.look()
    assert (house.load(), house.asked, house.kept) == ([{str(file): b""}], 1, [])


def test_a_file_that_was_empty_for_a_moment_is_taken_as_it_is_then(tmp_path: Path, file: Path) -> None:
    house = House(tmp_path, Settings(file=str(file)))
    house.load()
    file.write_bytes(b"")
    house.files.look()
    house.now += house.snapshot.certificate_check
    file.write_bytes(b"others")
    house.files.look()
    assert house.load() == [{str(file): b"others"}]
    file.write_bytes(b"")
    house.files.look()
    assert house.load() == [{str(file): b"others"}], "it counts from the second time on"


def test_a_file_that_is_empty_from_the_start_is_empty(tmp_path: Path, file: Path) -> None:
    file.write_bytes(b"")
    assert House(tmp_path, Settings(file=str(file))).load() == [{str(file): b""}]
