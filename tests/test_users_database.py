"""The file of users: its mode, what happens when it cannot be used, and that nothing acknowledged is lost."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from terraster.users import users
from terraster.users.aside import Direct, Threaded
from terraster.users.cleanup import clean
from terraster.users.database import Database
from terraster.users.faults import Denied, Unavailable
from terraster.users.policy import DAY
from terraster.users.watch import Watch

from .harness.users import GOOD, Room


def count(room: Room) -> int:
    return len(room.administration.accounts())


def test_the_file_is_made_when_it_is_first_needed_and_only_for_its_owner(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        room = Room(tmp_path / "state")
        assert not (tmp_path / "state").exists()
        assert count(room) == 0
    finally:
        os.umask(old)
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "state").iterdir()} == {0o600}


def test_a_file_that_others_may_read_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "auth.db").touch(mode=0o644)
    count(Room(tmp_path))
    assert (tmp_path / "auth.db").stat().st_mode & 0o777 == 0o600


def test_a_locked_file_is_said_to_be_locked_and_used_again_later(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.administration.add("root", "admin", GOOD)
    other = sqlite3.connect(tmp_path / "auth.db")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="is locked by another process"):
        room.administration.unlock("root")
    other.rollback()
    other.close()
    assert room.administration.unlock("root").name == "root"


def test_a_damaged_file_is_said_to_be_damaged_and_a_backup_is_used_at_once(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.administration.add("root", "admin", GOOD)
    room.database.close()
    good = (tmp_path / "auth.db").read_bytes()
    (tmp_path / "auth.db").write_bytes(b"this was a database" * 400)
    with pytest.raises(Unavailable, match="is damaged .*backup"):
        count(room)
    (tmp_path / "auth.db").write_bytes(good)
    assert count(room) == 1


def test_a_file_that_is_put_in_the_place_of_the_open_one_is_used(tmp_path: Path) -> None:
    room, other = Room(tmp_path), Room(tmp_path / "other")
    room.administration.add("root", "admin", GOOD)
    for name in ("ada", "bob"):
        other.administration.add(name, "admin", GOOD)
    other.database.close()
    (tmp_path / "other" / "auth.db").rename(tmp_path / "auth.db")
    for path in tmp_path.glob("auth.db-*"):
        path.unlink()
    assert count(room) == 2


def test_a_file_that_is_removed_does_not_become_one_without_users(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.administration.add("root", "admin", GOOD)
    copy = sqlite3.connect(tmp_path / "copy.db")
    with sqlite3.connect(tmp_path / "auth.db") as source:
        source.backup(copy)
    source.close()
    copy.close()
    for path in tmp_path.glob("auth.db*"):
        path.unlink()
    for _ in range(2):
        with pytest.raises(Unavailable, match="was removed while Terraster ran: nobody can log in until"):
            room.login("root")
    assert not (tmp_path / "auth.db").exists() and "removed" in room.database.fault
    (tmp_path / "auth.db").touch()
    with pytest.raises(Unavailable, match="was emptied while Terraster ran"):
        room.administration.add("eve", "admin", GOOD)
    (tmp_path / "copy.db").rename(tmp_path / "auth.db")
    assert room.login("root").identity.name == "root" and room.database.fault == ""
    for path in tmp_path.glob("auth.db*"):
        path.unlink()
    assert count(Room(tmp_path)) == 0, "a restart begins anew"


def test_damage_is_found_by_a_check_though_the_calls_do_not_meet_it(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.administration.add("root", "admin", GOOD)
    room.database.write(_checkpoint)
    assert count(room) == 1
    room.database.check()
    path = tmp_path / "auth.db"
    good = path.read_bytes()
    with path.open("r+b") as stream:  # in place, as a failing disk does it: all pages but the first
        stream.seek(4096)
        stream.write(b"\x5a" * (len(good) - 4096))
    assert count(room) == 1, "SQLite has the pages in memory"
    with pytest.raises(Unavailable, match="is damaged .* put a backup in its place"):
        room.database.check()
    with pytest.raises(Unavailable, match="is damaged"):
        count(room)
    assert "is damaged" in room.database.fault
    path.write_bytes(good)
    assert count(room) == 1 and room.database.fault == ""


def _checkpoint(connection: sqlite3.Connection) -> None:
    """The file beside it is written into the database, after this transaction."""
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("BEGIN")


def test_a_check_makes_no_file(tmp_path: Path) -> None:
    Room(tmp_path).database.check()
    assert not list(tmp_path.iterdir())


def test_a_watch_tells_a_fault_once_and_its_end(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.administration.add("root", "admin", GOOD)
    said: list[str] = []
    log = SimpleNamespace(error=lambda text, *words: said.append(text % words), info=lambda text, *words: said.append(text % words))
    watch = Watch(room.database, log, room.clock)
    watch.look()
    assert watch.failure is None and not said
    (tmp_path / "auth.db").rename(tmp_path / "away")
    since = room.now = room.now + 61
    for _ in range(3):
        watch.look()
        room.now += 61
    assert watch.failure is not None and "was removed" in watch.failure["text"] and watch.failure["since"] == since
    assert len(said) == 1 and "logins are refused with 503" in said[0]
    (tmp_path / "away").rename(tmp_path / "auth.db")
    watch.look()
    assert watch.failure is None and said[1:] == ["the users' database can be used again"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="file is not a directory"):
        count(Room(tmp_path / "file"))
    (tmp_path / "auth.db").mkdir()
    with pytest.raises(Unavailable, match="auth.db cannot be used: Is a directory"):
        count(Room(tmp_path))
    (tmp_path / "auth.db").rmdir()
    (tmp_path / "auth.db").symlink_to("/etc/passwd")
    with pytest.raises(Unavailable, match=r"auth\.db"):
        count(Room(tmp_path))
    (tmp_path / "auth.db").unlink()
    os.mkfifo(tmp_path / "auth.db")
    with pytest.raises(Unavailable, match="not a regular file"):
        count(Room(tmp_path))


def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.administration.add("root", "admin", GOOD)

    def fill(connection: sqlite3.Connection) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")
        connection.execute("UPDATE users SET role = 'reader'")
        connection.execute("INSERT INTO failures VALUES ('address', zeroblob(1000000), 1, 1, 1)")

    with pytest.raises(Unavailable, match="the disk is full; nothing was changed"):
        room.database.write(fill)
    assert room.administration.account("root").role == "admin"


def test_a_full_disk_refuses_a_user_whole(tmp_path: Path) -> None:
    """Files may not grow beyond a limit: a write is cut short there, and the next one fails, as on a full disk."""
    room = Room(tmp_path)
    room.administration.add("root", "admin", GOOD)
    largest = max(path.stat().st_size for path in tmp_path.glob("auth.db*"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    made = 1
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 6000, resource.RLIM_INFINITY))
        with pytest.raises(Unavailable, match=r"auth\.db (cannot be written: the disk is full|cannot be used)"):
            for number in range(50):
                room.administration.add(f"user{number}", "reader", GOOD)
                made += 1
        assert "auth.db" in room.database.fault
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert count(room) == made and room.database.fault == ""
    room.administration.add("later", "reader", GOOD)
    room.database.check()


def test_a_file_that_another_process_holds_for_itself_is_said_to_be_locked(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.administration.add("root", "admin", GOOD)
    room.database.close()
    script = (
        "import sqlite3, sys\nheld = sqlite3.connect(sys.argv[1], isolation_level=None)\nheld.execute('PRAGMA locking_mode=EXCLUSIVE')\n"
        "held.execute('BEGIN EXCLUSIVE')\nheld.execute('UPDATE users SET role = role')\nprint('held', flush=True)\nsys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "auth.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        for call in (lambda: room.login("root"), lambda: room.administration.add("ada", "admin", GOOD), room.database.check):
            with pytest.raises(Unavailable, match="is locked by another process for more than"):
                call()
        assert "is locked" in room.database.fault
        holder.communicate()
    assert room.login("root").identity.name == "root" and count(room) == 1 and room.database.fault == ""


def test_a_newer_file_is_left_alone(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "auth.db")
    other.execute("PRAGMA user_version=99")
    other.close()
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"made by a newer version of Terraster \(99\)"):
            count(Room(tmp_path))


def test_two_processes_may_make_the_tables_at_once(tmp_path: Path) -> None:
    first, second = Room(tmp_path), Room(tmp_path)
    first.administration.add("root", "admin", GOOD)
    second.administration.add("ada", "admin", GOOD)
    assert count(first) == count(second) == 2


def test_an_exception_takes_the_whole_change_back(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.administration.add("root", "admin", GOOD)

    def half(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM users")
        raise KeyError("midway")

    with pytest.raises(KeyError):
        room.database.write(half)
    assert count(room) == 1


def test_what_has_expired_is_removed(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.administration.add("root", "admin", GOOD)
    granted = room.login("root")
    room.access.make_api_token(granted.identity, "ci", "reader", "", 10)
    with pytest.raises(Denied):
        room.login("nobody", "wrong")

    def rows(connection: sqlite3.Connection) -> list[int]:
        return [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("sessions", "tokens", "failures")]

    assert room.database.read(rows) == [1, 1, 2]
    room.database.write(clean, int(room.now) + 901)
    assert room.database.read(rows) == [1, 1, 0]
    room.database.write(clean, int(room.now) + 11 * DAY)
    assert room.database.read(rows) == [0, 0, 0]


def test_a_killed_process_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom tests.harness.users import GOOD, Room\n"
        "room = Room(Path(sys.argv[1]))\n"
        "for number in range(100000):\n"
        "    room.administration.add(f'user{number}', 'admin', GOOD)\n"
        "    print(number, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for _ in range(15):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
    last = int(rest[-1]) if rest else 14
    there = {one.name for one in Room(tmp_path).administration.accounts()}
    assert {f"user{number}" for number in range(last + 1)} <= there
    assert len(there) <= last + 2


def test_another_file_of_the_configuration_is_used_from_then_on(tmp_path: Path) -> None:
    room, path = Room(tmp_path), [str(tmp_path / "auth.db")]
    room.administration.add("root", "admin", GOOD)
    database = Database(lambda: path[0], Direct())
    assert database.read(users.any_there)
    path[0] = str(tmp_path / "other.db")
    assert not database.read(users.any_there)
    path[0] = str(tmp_path / "auth.db")
    assert database.read(users.any_there)


def test_a_database_runs_in_its_thread(tmp_path: Path) -> None:
    database = Database(lambda: str(tmp_path / "auth.db"), Threaded(5, "busy"))
    assert database.read(lambda connection, more: connection.execute("SELECT 1").fetchone()[0] + more, 2) == 3
    database.close()
