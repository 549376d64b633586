"""What administrators do with users; the last of them stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from terraster.users.faults import Conflict, NotFound, Weak

from .harness.users import GOOD, NEW, Room


@pytest.fixture
def room(tmp_path: Path) -> Room:
    made = Room(tmp_path)
    made.administration.add("Root", "admin", GOOD)
    return made


def test_a_user_is_made_and_listed(room: Room) -> None:
    made = room.administration.add(" ADA ", "reader", NEW)
    assert (made.name, made.role, made.disabled, made.expired, made.created) == ("ada", "reader", False, False, room.now)
    assert [one.name for one in room.administration.accounts()] == ["ada", "root"]
    with pytest.raises(Conflict, match="there is a user ada already"):
        room.administration.add("Ada", "admin", NEW)


@pytest.mark.parametrize("name", ["b ob", "b\u00a0ob", "b\u200dob", "b\tob"])
def test_a_name_that_would_silently_become_another_one_is_refused(name: str, tmp_path: Path) -> None:
    room = Room(tmp_path)
    with pytest.raises(Weak, match="it would be bob") as weak:
        room.administration.add(name, "admin", GOOD)
    assert weak.value.field == "name" and room.administration.accounts() == []
    assert room.administration.add(" Bob ", "admin", GOOD).name == "bob"


@pytest.mark.parametrize(("name", "role", "password"), [("a b/", "admin", NEW), ("ada", "king", NEW), ("ada", "admin", "short")])
def test_a_user_that_breaks_rules_is_not_made(room: Room, name: str, role: str, password: str) -> None:
    with pytest.raises(Weak):
        room.administration.add(name, role, password)
    assert [one.name for one in room.administration.accounts()] == ["root"]


@pytest.mark.parametrize("other", [None, "reader", "disabled"])
def test_the_last_administrator_stays(room: Room, other: str | None) -> None:
    if other is not None:
        room.administration.add("ada", "reader" if other == "reader" else "admin", NEW)
        if other == "disabled":
            room.administration.set_disabled("ada", True)
    for act in (
        lambda: room.administration.remove("root"),
        lambda: room.administration.set_disabled("root", True),
        lambda: room.administration.set_role("root", "operator"),
    ):
        with pytest.raises(Conflict, match="root is the last administrator"):
            act()
    assert room.administration.set_role("root", "admin").role == "admin"


def test_one_of_two_administrators_may_go(room: Room) -> None:
    room.administration.add("ada", "admin", NEW)
    room.administration.set_disabled("root", True)
    with pytest.raises(Conflict):
        room.administration.remove("ada")
    room.administration.remove("root")
    assert [one.name for one in room.administration.accounts()] == ["ada"]


def test_a_user_that_is_not_there_is_not_found(room: Room) -> None:
    for act in (
        lambda: room.administration.remove("ada"),
        lambda: room.administration.set_disabled("ada", True),
        lambda: room.administration.set_role("ada", "admin"),
        lambda: room.administration.reset_password("ada", NEW, False),
        lambda: room.administration.unlock("ada"),
        lambda: room.administration.sessions("ada"),
        lambda: room.administration.end_sessions("ada"),
        lambda: room.administration.account("ada"),
    ):
        with pytest.raises(NotFound, match="there is no user ada"):
            act()


def test_all_sessions_of_a_user_end(room: Room) -> None:
    room.login("root"), room.login("root")
    assert room.administration.account("root").sessions == len(room.administration.sessions("root")) == 2
    assert room.administration.end_sessions("root") == 2
    assert room.administration.sessions("root") == []
