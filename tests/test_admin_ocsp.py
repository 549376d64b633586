"""OCSP responses that are fetched: when, how often, and what becomes of answers that are no good."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from terraster.admin.ocsp import Fetcher
from terraster.certs.certificate import read_certificate
from terraster.certs.ocsp import OcspError, Question
from terraster.certs.ocsp_file import kept_file
from terraster.config.snapshot import Service, Snapshot, Tls
from terraster.errors import TerrasterError

from .harness.authority import Authority
from .harness.ward import Lines

CA = Authority()
SITE = CA.issue("a.test", ocsp="http://ocsp.test/")
CERTIFICATE = read_certificate("a.pem", SITE.chain, SITE.key)
DAY = 86400.0


class Desk:
    """A fetcher for one certificate, with a clock that the test moves, and a responder that says what the test wants."""

    def __init__(self, folder: Path) -> None:
        self.wall = time.time()
        self.log = Lines()
        self.asked: list[Question] = []
        self.answer: Callable[[], bytes] = lambda: CA.ocsp(SITE, begun=0, lasts=8 * DAY)
        self.told = 0
        self.folder = folder
        tls = Tls(certificates=(CERTIFICATE,), ocsp="fetch")
        self.snapshot = Snapshot(1, (), (Service("a", ("a.test",), (":443",), (), tls=tls),), state_dir=str(folder))
        self.fetcher = self.make()

    def make(self) -> Fetcher:
        return Fetcher(lambda: self.snapshot, self._tell, self.log, self._get, lambda: self.wall)

    def _get(self, question: Question) -> bytes:
        self.asked.append(question)
        return self.answer()

    def _tell(self, verb: str) -> dict[str, Any]:
        assert verb == "staples"
        self.told += 1
        return {"ok": True}

    def after(self, seconds: float) -> float:
        self.wall += seconds
        return self.fetcher.turn()

    @property
    def file(self) -> Path:
        return Path(kept_file(str(self.folder), CERTIFICATE))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_response_is_fetched_once_kept_and_told(desk: Desk) -> None:
    seconds = desk.fetcher.turn()
    assert 3.5 * DAY < seconds < 4.5 * DAY
    assert desk.file.read_bytes() and desk.told == 1
    assert desk.asked[0].url == "http://ocsp.test/"
    desk.after(3 * DAY)
    assert (len(desk.asked), desk.told) == (1, 1)
    assert oct(desk.file.stat().st_mode & 0o777) == "0o600"


def test_a_restart_uses_what_is_kept(desk: Desk) -> None:
    desk.fetcher.turn()
    desk.fetcher = desk.make()
    assert desk.after(60) > 3 * DAY
    assert len(desk.asked) == 1


def failing(desk: Desk, why: str = "the OCSP responder answers 500") -> None:
    def refuse() -> bytes:
        raise OcspError(why)

    desk.answer = refuse


def test_failures_are_told_once_and_tried_ever_later(desk: Desk) -> None:
    failing(desk)
    waits = [desk.fetcher.turn()]
    for _ in range(8):
        waits.append(desk.after(waits[-1] + 0.1))
    assert 50 < waits[0] < 70 and 3000 < waits[-1] < 4000
    assert len(desk.asked) == 9
    assert len([line for line in desk.log.lines if "no OCSP response was fetched: the OCSP responder answers 500" in line]) == 1
    assert desk.fetcher.problems == {CERTIFICATE.fingerprint: "the OCSP responder answers 500"}
    desk.answer = lambda: CA.ocsp(SITE, begun=0, lasts=90 * DAY)
    desk.after(waits[-1] + 0.1)
    assert desk.fetcher.problems == {} and desk.told == 1
    assert "fetched again" in desk.log.lines[-1]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (CA.ocsp(CA.issue("b.test")), "serial number"),
        (CA.ocsp(SITE, unknown=True, lasts=9 * DAY), "status unknown"),
        (CA.ocsp(SITE, lasts=-60), "expired"),
        (Authority("Liar").ocsp(SITE), "not signed by"),
        (b"<html>", "no OCSP response"),
    ],
)
def test_an_answer_that_is_no_good_does_not_touch_what_is_kept(desk: Desk, answer: bytes, why: str) -> None:
    desk.fetcher.turn()
    kept = desk.file.read_bytes()
    desk.answer = lambda: answer
    desk.after(5 * DAY)
    assert len(desk.asked) == 2 and why in desk.fetcher.problems[CERTIFICATE.fingerprint]
    assert desk.file.read_bytes() == kept and desk.told == 1


def test_a_revocation_is_kept_so_that_the_master_learns_of_it(desk: Desk) -> None:
    desk.answer = lambda: CA.ocsp(SITE, revoked=True, begun=0, lasts=2 * DAY)
    seconds = desk.fetcher.turn()
    assert desk.file.read_bytes() and desk.told == 1 and seconds > DAY / 2


def test_an_older_response_of_a_cache_does_not_replace_a_newer_one(desk: Desk) -> None:
    desk.fetcher.turn()
    kept = desk.file.read_bytes()
    desk.answer = lambda: CA.ocsp(SITE, begun=DAY, lasts=7 * DAY)
    seconds = desk.after(5 * DAY)
    assert len(desk.asked) == 2 and desk.file.read_bytes() == kept
    assert DAY < seconds < 2 * DAY


def test_a_defect_is_not_tried_again_at_once(desk: Desk) -> None:
    def defect() -> bytes:
        raise ZeroDivisionError

    desk.answer, desk.log.strict = defect, False
    assert desk.fetcher.turn() > 50
    assert desk.fetcher.problems[CERTIFICATE.fingerprint].startswith("ZeroDivisionError")


def test_a_folder_that_cannot_be_written_is_told(desk: Desk) -> None:
    (desk.folder / "ocsp").write_text("not a folder")
    desk.fetcher.turn()
    assert "cannot be kept" in desk.fetcher.problems[CERTIFICATE.fingerprint]


def test_a_master_that_has_gone_is_told_when_there_is_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(verb: str) -> dict[str, Any]:
        raise TerrasterError("the master has gone")

    monkeypatch.setattr(desk.fetcher, "_tell", gone)
    assert desk.fetcher.turn() == 60.0
    monkeypatch.undo()
    desk.after(1)
    assert desk.told == 1 and len(desk.asked) == 1


def test_files_that_nobody_needs_any_longer_go(desk: Desk) -> None:
    folder = desk.folder / "ocsp"
    folder.mkdir()
    for name, age in (("a" * 64 + ".der", 8 * DAY), ("b" * 64 + ".der", DAY), ("notes.txt", 99 * DAY)):
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (desk.wall - age, desk.wall - age))
    desk.fetcher.turn()
    assert sorted(one.name[:1] for one in folder.iterdir() if one != desk.file) == ["b", "n"]


def test_without_fetch_nobody_is_asked(desk: Desk) -> None:
    desk.snapshot = Snapshot(1, (), (), state_dir=str(desk.folder))
    assert desk.fetcher.turn() == 60.0 and desk.asked == []
