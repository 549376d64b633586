"""Logins, sessions, tokens and the own password: what is accepted, and what ends."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sqlite3
from pathlib import Path
from typing import Any

import gevent
import jwt
import pytest
from gevent.event import Event

from terraster.users.aside import Threaded
from terraster.users.faults import Busy, Conflict, Denied, Forbidden, LockedOut, NotFound, Weak
from terraster.users.identity import Identity
from terraster.users.passwords import MOST, PER_ADDRESS
from terraster.users.policy import DAY, Policy
from terraster.users.sessions import GRACE, LIFE

from .harness.users import GOOD, NEW, Room


@pytest.fixture
def room(tmp_path: Path) -> Room:
    made = Room(tmp_path)
    made.administration.add("root", "admin", GOOD)
    made.administration.add("ada", "operator", GOOD)
    return made


def wrong(room: Room, name: str, times: int, address: str = "192.0.2.7") -> None:
    for _ in range(times):
        with pytest.raises(Denied):
            room.login(name, "wrong", address)


def test_a_login_gives_tokens_of_the_user(room: Room) -> None:
    granted = room.login()
    assert granted.identity[1:4] == ("ada", "operator", "session")
    assert granted.expires == room.now + 900
    assert room.access.identify(granted.access) == granted.identity


def test_a_role_is_read_at_each_request(room: Room) -> None:
    granted = room.login()
    room.administration.set_role("ada", "reader")
    assert room.access.identify(granted.access).role == "reader"


def test_nothing_in_the_database_is_a_credential(room: Room) -> None:
    granted, cookie = room.login(), room.login(cookie=True)
    _, token = room.access.make_api_token(granted.identity, "ci", "reader", "", 30)
    after = room.access.refresh(granted.refresh)
    room.database.close()
    octets = b"".join(path.read_bytes() for path in room.directory.glob("auth.db*"))
    for secret in (GOOD, granted.refresh, granted.access, cookie.refresh, token, after.refresh):
        assert secret.encode() not in octets and secret[4:].encode() not in octets
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in room.directory.iterdir())


def parts(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forged(room: Room, head: dict[str, Any], claims: dict[str, Any], key: bytes, digest: str = "sha256") -> str:
    body = f"{parts(head)}.{parts(claims)}"
    made = base64.urlsafe_b64encode(hmac.new(key, body.encode(), digest).digest()).rstrip(b"=").decode()
    return f"{body}.{made}"


@pytest.mark.parametrize(
    "attack",
    [
        "none",
        "None",
        "no signature",
        "another secret",
        "empty secret",
        "HS512",
        "RS256 head",
        "no exp",
        "no iat",
        "no sub",
        "no sid",
        "another user",
        "another session",
        "long life",
        "exp as text",
        "sub as a list",
        "huge numbers",
        "cut",
        "two dots",
        "empty",
        "long",
        "critical",
        "the refresh token",
        "the cookie",
    ],
)
def test_a_forged_token_is_refused(room: Room, attack: str) -> None:
    granted = room.login()
    key, now = room.key(), int(room.now)
    good = {"sub": str(granted.identity.user), "sid": granted.identity.session, "iat": now, "exp": now + 900}
    head = {"alg": "HS256", "typ": "JWT"}
    assert room.access.identify(forged(room, head, good, key)) == granted.identity  # the forger can do it right

    def without(name: str) -> dict[str, Any]:
        return {one: value for one, value in good.items() if one != name}

    token = {
        "none": f"{parts({'alg': 'none'})}.{parts(good)}.",
        "None": f"{parts({'alg': 'nOnE'})}.{parts(good)}.",
        "no signature": f"{parts(head)}.{parts(good)}.",
        "another secret": forged(room, head, good, b"x" * 32),
        "empty secret": forged(room, head, good, b""),
        "HS512": forged(room, {"alg": "HS512"}, good, key, "sha512"),
        "RS256 head": forged(room, {"alg": "RS256"}, good, key),
        "no exp": forged(room, head, without("exp"), key),
        "no iat": forged(room, head, without("iat"), key),
        "no sub": forged(room, head, without("sub"), key),
        "no sid": forged(room, head, without("sid"), key),
        "another user": forged(room, head, {**good, "sub": "1"}, key),
        "another session": forged(room, head, {**good, "sid": "0" * 16}, key),
        "long life": forged(room, head, {**good, "exp": now + 10**6}, key),
        "exp as text": forged(room, head, {**good, "exp": "never"}, key),
        "sub as a list": forged(room, head, {**good, "sub": [2]}, key),
        "huge numbers": forged(room, head, {**good, "sub": "9" * 400, "exp": 10**400}, key),
        "cut": granted.access[:-3],
        "two dots": "..",
        "empty": "",
        "long": "e" * 100_000,
        "critical": forged(room, {**head, "crit": ["exp"]}, good, key),
        "the refresh token": granted.refresh,
        "the cookie": room.login(cookie=True).refresh,
    }[attack]
    with pytest.raises(Denied):
        room.access.identify(token)


def test_an_access_token_ends_after_a_quarter_of_an_hour(room: Room) -> None:
    granted = room.login()
    room.now += 899
    assert room.access.identify(granted.access)
    room.now += 1
    with pytest.raises(Denied, match="has expired"):
        room.access.identify(granted.access)


def test_a_secret_that_was_changed_ends_access_tokens_and_not_sessions(room: Room) -> None:
    granted = room.login()
    room.secret = "a secret of the configuration, which is long"
    with pytest.raises(Denied):
        room.access.identify(granted.access)
    assert room.access.identify(room.access.refresh(granted.refresh).access) == granted.identity


def test_a_restart_keeps_sessions(room: Room) -> None:
    granted = room.login()
    again = Room(room.directory)
    assert again.access.identify(granted.access) == granted.identity
    assert again.access.refresh(granted.refresh).identity == granted.identity


def test_refresh_tokens_rotate(room: Room) -> None:
    first = room.login()
    second = room.access.refresh(first.refresh)
    third = room.access.refresh(second.refresh)
    assert len({first.refresh, second.refresh, third.refresh}) == 3
    assert room.access.identify(third.access) == first.identity
    room.now += LIFE - 1
    fourth = room.access.refresh(third.refresh)
    room.now += LIFE
    with pytest.raises(Denied):
        room.access.refresh(fourth.refresh)


@pytest.mark.parametrize("back", [1, 2, 3])
def test_a_refresh_token_that_comes_again_ends_its_session(room: Room, back: int) -> None:
    other = room.login()
    chain = [room.login()]
    for _ in range(3):
        chain.append(room.access.refresh(chain[-1].refresh))
    room.now += GRACE + 1
    with pytest.raises(Denied):
        room.access.refresh(chain[-1 - back].refresh)
    with pytest.raises(Denied):
        room.access.refresh(chain[-1].refresh)
    with pytest.raises(Denied):
        room.access.identify(chain[-1].access)
    assert room.access.identify(other.access)


def test_a_refresh_submitted_twice_has_one_successor(room: Room) -> None:
    first = room.login()
    one = room.access.refresh(first.refresh)
    room.now += GRACE
    other = room.access.refresh(first.refresh)
    assert one.refresh == other.refresh
    room.access.refresh(one.refresh)
    with pytest.raises(Denied):  # two steps back is not a double submit
        room.access.refresh(first.refresh)
    with pytest.raises(Denied):
        room.access.identify(one.access)


def test_a_refresh_token_that_was_never_given_ends_nothing(room: Room) -> None:
    granted = room.login()
    for token in ("", "ttr_x", granted.refresh[:-1], granted.access, granted.identity.session):
        with pytest.raises(Denied):
            room.access.refresh(token)
    assert room.access.identify(granted.access)


def test_a_logout_ends_the_session(room: Room) -> None:
    first, second, cookie = room.login(), room.login(), room.login(cookie=True)
    room.access.logout(None, first.refresh)
    room.access.logout(second.identity)
    room.access.logout(None, cookie.refresh)
    room.access.logout(None, "unknown")
    assert room.access.sessions(first.identity.user) == []
    with pytest.raises(Denied):
        room.access.identify(second.access)
    with pytest.raises(Denied):
        room.access.identify_cookie(cookie.refresh)


def test_a_cookie_is_a_session_of_its_own(room: Room) -> None:
    granted = room.login(cookie=True)
    assert granted.access == ""
    assert room.access.identify_cookie(granted.refresh) == granted.identity
    with pytest.raises(Denied):
        room.access.refresh(granted.refresh)
    room.now += LIFE
    with pytest.raises(Denied):
        room.access.identify_cookie(granted.refresh)


def test_sessions_are_listed_and_ended(room: Room) -> None:
    first, second = room.login(), room.login(cookie=True)
    root = room.login("root")
    user = first.identity.user
    assert {one.id for one in room.access.sessions(user)} == {first.identity.session, second.identity.session}
    assert room.access.sessions(user)[0].address == "192.0.2.7"
    with pytest.raises(NotFound):  # of another user
        room.access.end_session(user, root.identity.session)
    room.access.end_session(user, first.identity.session)
    assert [one.id for one in room.access.sessions(user)] == [second.identity.session]


def test_a_user_has_a_bounded_number_of_sessions(room: Room) -> None:
    kept = []
    for _ in range(53):
        room.now += 1
        kept.append(room.login())
    assert {one.id for one in room.access.sessions(kept[0].identity.user)} == {one.identity.session for one in kept[3:]}


@pytest.mark.parametrize("how", ["disable", "remove"])
def test_a_disabled_user_holds_nothing(room: Room, how: str) -> None:
    granted, cookie = room.login(), room.login(cookie=True)
    _, token = room.access.make_api_token(granted.identity, "ci", "reader", "", 30)
    if how == "disable":
        room.administration.set_disabled("ada", True)
        wrong_password = room.passwords.compared
        with pytest.raises(Denied):
            room.login()
        assert room.passwords.compared == wrong_password + 1
        room.administration.set_disabled("ada", False)  # what ended does not come back
    else:
        room.administration.remove("ada")
    for try_ in (
        lambda: room.access.identify(granted.access),
        lambda: room.access.refresh(granted.refresh),
        lambda: room.access.identify_cookie(cookie.refresh),
        lambda: room.access.identify(token),
    ):
        with pytest.raises(Denied):
            try_()


def test_five_failures_lock_an_account_for_every_password(room: Room) -> None:
    wrong(room, "ada", 5)
    for password in ("wrong", GOOD):
        with pytest.raises(LockedOut) as locked:
            room.login(password=password, address="203.0.113.9")
        assert locked.value.retry_after == 900
    room.now += 900
    assert room.login()


def test_a_success_forgets_the_failures(room: Room) -> None:
    for _ in range(3):
        wrong(room, "ada", 4)
        room.login()


def test_a_name_that_does_not_exist_is_locked_like_one_that_does_and_costs_the_same(room: Room) -> None:
    seen: dict[str, Any] = {}
    for name in ("ada", "nobody"):
        outcomes, before = [], room.passwords.compared
        for _ in range(7):
            try:
                room.login(name, "wrong", f"198.51.100.{len(seen)}")
            except (Denied, LockedOut) as refused:
                outcomes.append((type(refused), str(refused)))
        seen[name] = (outcomes, room.passwords.compared - before)
    assert seen["ada"] == seen["nobody"]
    assert seen["ada"][1] == 7


@pytest.mark.parametrize("spelling", ["ADA", " ada", "ada\t", "ａｄａ", "a\u200bda", "Ada\u3000"])
def test_no_spelling_of_a_name_has_tries_of_its_own(room: Room, spelling: str) -> None:
    wrong(room, "ada", 3)
    wrong(room, spelling, 2)
    with pytest.raises(LockedOut):
        room.login()


def test_fifty_failures_lock_an_address_whatever_the_names(room: Room) -> None:
    for number in range(50):
        wrong(room, f"user{number}", 1, f"2001:db8::{number:x}")
    before = room.passwords.compared
    with pytest.raises(LockedOut, match="from this address"):
        room.login(address="2001:db8::ffff")
    assert room.passwords.compared == before
    assert room.login(address="2001:db8:0:1::1")


def test_a_success_does_not_free_the_address(room: Room) -> None:
    for number in range(50):
        wrong(room, f"user{number}", 1)
        if number < 49:
            room.login()
    with pytest.raises(LockedOut, match="from this address"):
        room.login()


def test_a_restart_keeps_a_lock_and_an_operator_ends_it(room: Room) -> None:
    wrong(room, "ada", 5)
    again = Room(room.directory)
    with pytest.raises(LockedOut):
        again.login()
    assert again.administration.account("ada").locked == 900
    again.administration.unlock("ada")
    assert again.login()


def test_a_thousand_logins_at_once_get_no_more_tries_than_five(tmp_path: Path) -> None:
    room = Room(tmp_path, Threaded(2000, "busy"), Threaded(MOST, "too many passwords are being checked"))
    room.administration.add("ada", "admin", GOOD)
    before = room.passwords.compared
    outcomes: list[type[Exception]] = []

    def guess(number: int) -> None:
        try:
            room.login("ada", f"guess {number}", f"198.51.{number // 250}.{number % 250}")
        except (Denied, LockedOut, Busy) as refused:
            outcomes.append(type(refused))

    gevent.joinall([gevent.spawn(guess, number) for number in range(1000)], raise_error=True)
    assert len(outcomes) == 1000
    assert outcomes.count(Denied) <= 5
    assert outcomes.count(Busy) > 0  # how many depends on how fast the first five are refused
    assert room.passwords.compared - before <= 5 + MOST


class Held:
    """Runs nothing until it is let go."""

    def __init__(self) -> None:
        self.go = Event()
        self.entered = 0

    def run(self, function: Any, *arguments: Any) -> Any:
        self.entered += 1
        self.go.wait()
        return function(*arguments)


def test_one_address_does_not_fill_the_queue(tmp_path: Path) -> None:
    Room(tmp_path).administration.add("ada", "admin", GOOD)
    held = Held()
    room = Room(tmp_path, None, held)
    refused = []

    def guess(number: int) -> None:
        try:
            room.login(f"user{number}", "wrong", f"2001:db8::{number:x}")
        except Busy:
            refused.append(number)
        except Denied:
            pass

    guesses = [gevent.spawn(guess, number) for number in range(40)]
    other = gevent.spawn(room.login)
    while held.entered < PER_ADDRESS + 1:
        gevent.sleep(0)
    held.go.set()
    gevent.joinall([*guesses, other], raise_error=True)
    assert other.value.identity.name == "ada"
    assert refused == list(range(PER_ADDRESS, 40))


def test_the_event_loop_runs_while_passwords_are_compared(tmp_path: Path) -> None:
    room = Room(tmp_path, Threaded(2000, "busy"), Threaded(MOST, "busy"))
    room.administration.add("ada", "admin", GOOD)
    room.passwords._cost = 12
    turns = 0

    def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            gevent.sleep(0.002)

    counter = gevent.spawn(count)
    gevent.sleep(0)
    before = turns
    with pytest.raises(Denied):
        room.login("nobody", "wrong")
    counter.kill()
    assert turns - before > 5


def test_a_password_is_changed_and_other_sessions_end(room: Room) -> None:
    other, granted = room.login(), room.login()
    room.access.change_password(granted.identity, GOOD, NEW, "192.0.2.7")
    assert room.access.identify(granted.access)
    with pytest.raises(Denied):
        room.access.identify(other.access)
    with pytest.raises(Denied):
        room.login()
    assert room.login(password=NEW)


def test_a_wrong_old_password_counts_as_a_failed_login(room: Room) -> None:
    granted = room.login()
    for _ in range(5):
        with pytest.raises(Denied, match="old password"):
            room.access.change_password(granted.identity, "wrong", NEW, "192.0.2.7")
    with pytest.raises(LockedOut):
        room.access.change_password(granted.identity, GOOD, NEW, "192.0.2.7")


def test_every_reason_against_a_new_password_is_given_at_once(room: Room) -> None:
    granted = room.login()
    with pytest.raises(Weak) as weak:
        room.access.change_password(granted.identity, GOOD, "ada", "192.0.2.7")
    assert len(weak.value.reasons) == 5 and weak.value.field == "password"
    room.policy = Policy(min_length=20)
    with pytest.raises(Weak) as weak:
        room.access.change_password(granted.identity, GOOD, GOOD, "192.0.2.7")
    assert weak.value.reasons == ("must have at least 20 characters", "is one of your last 5 passwords")


def test_none_of_the_last_passwords_may_be_used_again(room: Room) -> None:
    room.policy = Policy(history=3)
    chosen = [GOOD, *(f"Vq7!tGw2#pLz+{letter}K" for letter in "rmx")]
    granted = room.login()
    for old, new in zip(chosen, chosen[1:], strict=False):
        room.access.change_password(granted.identity, old, new, "192.0.2.7")
    for again in chosen[1:]:
        with pytest.raises(Weak, match="is one of your last 3 passwords"):
            room.access.change_password(granted.identity, chosen[-1], again, "192.0.2.7")
    room.access.change_password(granted.identity, chosen[-1], chosen[0], "192.0.2.7")


@pytest.mark.parametrize("why", ["expired", "set by another"])
def test_an_expired_password_may_only_be_changed(room: Room, why: str) -> None:
    if why == "expired":
        room.policy = Policy(expiry_days=90)
        room.now += 90 * DAY
    else:
        room.administration.reset_password("ada", GOOD, must_change=True)
    granted = room.login()
    assert granted.identity.must_change and room.access.identify(granted.access).must_change
    assert room.administration.account("ada").expired
    room.access.change_password(granted.identity, GOOD, NEW, "192.0.2.7")
    assert not room.access.identify(granted.access).must_change


def test_a_reset_ends_sessions_and_a_lock(room: Room) -> None:
    granted = room.login()
    wrong(room, "ada", 5)
    room.administration.reset_password("ada", NEW, must_change=False)
    with pytest.raises(Denied):
        room.access.identify(granted.access)
    assert not room.login(password=NEW).identity.must_change


@pytest.mark.parametrize("password", ["x" * 73, "x" * 10_000, "nul\0", "\ud800", "é" * 37])
def test_a_password_that_bcrypt_does_not_take_is_a_wrong_one(room: Room, password: str) -> None:
    for name in ("ada", "nobody"):
        with pytest.raises(Denied):
            room.login(name, password)


def test_api_tokens_have_a_name_a_role_and_an_end(room: Room) -> None:
    identity = room.login().identity
    made, text = room.access.make_api_token(identity, "ci", "reader", "backends", 30)
    assert text.startswith("tta_") and made.expires == room.now + 30 * DAY
    assert room.access.identify(text) == Identity(identity.user, "ada", "reader", "token", "", ("backends",))
    assert room.access.api_tokens(identity.user) == [made]
    with pytest.raises(Conflict, match="there is a token ci already"):
        room.access.make_api_token(identity, "ci", "reader", "", 30)
    for days in (0, 367):
        with pytest.raises(Conflict):
            room.access.make_api_token(identity, "long", "reader", "", days)
    room.now += 30 * DAY
    with pytest.raises(Denied):
        room.access.identify(text)


def test_an_api_token_never_may_more_than_its_user(room: Room) -> None:
    identity = room.login().identity
    with pytest.raises(Forbidden):
        room.access.make_api_token(identity, "ci", "admin", "", 30)
    _, text = room.access.make_api_token(identity, "ci", "operator", "", 30)
    room.administration.set_role("ada", "reader")
    program = room.access.identify(text)
    assert program.role == "reader"
    with pytest.raises(Forbidden):
        room.access.make_api_token(program, "more", "reader", "", 30)
    with pytest.raises(Forbidden):
        room.access.change_password(program, GOOD, NEW, "192.0.2.7")


def test_an_api_token_ends(room: Room) -> None:
    identity = room.login().identity
    made, text = room.access.make_api_token(identity, "ci", "reader", "", 30)
    with pytest.raises(NotFound):
        room.access.end_api_token(identity.user + 1, made.id)
    room.access.end_api_token(identity.user, made.id)
    with pytest.raises(Denied):
        room.access.identify(text)


def test_the_jwt_says_nothing_of_role_or_password(room: Room) -> None:
    claims = jwt.decode(room.login().access, options={"verify_signature": False})
    assert set(claims) == {"sub", "sid", "iat", "exp"}


def test_a_password_changed_while_it_is_compared_gives_no_session(room: Room) -> None:
    user = room.database.read(lambda connection: connection.execute("SELECT hash FROM users WHERE name = 'ada'").fetchone())
    matches = room.passwords.matches

    def slow(password: str, hashed: bytes | None, address: str = "") -> bool:
        right = matches(password, hashed, address)
        with sqlite3.connect(room.database.path) as other:
            other.execute("UPDATE users SET hash = ? WHERE name = 'ada'", (hashlib.sha256(user[0]).digest(),))
        other.close()
        return right

    class Slow:
        matches = staticmethod(slow)

    room.access._guarded._passwords = Slow()  # type: ignore[assignment]
    with pytest.raises(Denied):
        room.login()
