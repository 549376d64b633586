"""Passwords compared off the loop: what is remembered, who waits for whom, and what is refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import gevent
import pytest

from terraster.errors import HttpError
from terraster.net import passwords
from terraster.net.passwords import MOST, PER_CLIENT, VerifiedPasswords
from terraster.net.reactor import Reactor

SLOW, OTHER, QUICK = b"$2y$slow", b"$2y$other", b"{SHA}quick"
RIGHT = b"right"


class Comparing:
    """Compares only while `go` is set. made: the passwords that were compared, in order."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.made: list[bytes] = []
        self.main = threading.get_ident()
        self.broken = False

    def __call__(self, hashed: bytes, password: bytes) -> bool:
        self.made.append(password)
        if hashed.startswith(b"$2"):
            assert threading.get_ident() != self.main, "a slow comparison holds the loop"
            assert self.go.wait(10)
        if self.broken:
            raise ValueError("broken")
        return password == RIGHT


@pytest.fixture
def comparing() -> Iterator[Comparing]:
    one = Comparing()
    yield one
    one.go.set()


@pytest.fixture
def known(comparing: Comparing) -> VerifiedPasswords:
    return VerifiedPasswords(Reactor(), comparing)


def asked(
    known: VerifiedPasswords, password: bytes, client: str = "192.0.2.1", user: bytes = b"ada", hashed: bytes = SLOW
) -> object:
    """The answer to come, in a greenlet that has begun to wait."""
    waiting = gevent.spawn(known.verify, client, user, password, hashed)
    gevent.sleep(0)
    return waiting


def test_a_comparison_is_made_once(known: VerifiedPasswords, comparing: Comparing) -> None:
    comparing.go.set()
    for _ in range(3):
        assert known.verify("192.0.2.1", b"ada", RIGHT, SLOW)
        assert not known.verify("192.0.2.1", b"ada", b"wrong", SLOW)
        assert known.verify("192.0.2.9", b"ada", RIGHT, SLOW), "from everywhere"
    assert comparing.made == [RIGHT, b"wrong"]


@pytest.mark.parametrize(("user", "hashed"), [(b"bob", SLOW), (b"ada", OTHER)])
def test_another_user_or_hash_is_another_comparison(
    known: VerifiedPasswords, comparing: Comparing, user: bytes, hashed: bytes
) -> None:
    comparing.go.set()
    known.verify("192.0.2.1", b"ada", RIGHT, SLOW)
    known.verify("192.0.2.1", user, RIGHT, hashed)
    assert comparing.made == [RIGHT, RIGHT]


def test_neither_password_nor_hash_is_kept(known: VerifiedPasswords, comparing: Comparing) -> None:
    comparing.go.set()
    known.verify("192.0.2.1", b"ada", RIGHT, SLOW)
    known.verify("192.0.2.1", b"ada", b"wrong", SLOW)
    kept = repr([getattr(known, name) for name in VerifiedPasswords.__slots__])
    assert "right" not in kept and "wrong" not in kept and "slow" not in kept


def test_what_is_remembered_is_bounded_and_guesses_push_out_no_user(
    known: VerifiedPasswords, comparing: Comparing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "_REMEMBERED", 10)
    comparing.go.set()
    known.verify("192.0.2.1", b"ada", RIGHT, QUICK)
    for guess in range(50):
        known.verify("192.0.2.1", b"ada", b"%d" % guess, QUICK)
    assert (len(known._right), len(known._wrong)) == (1, 10)
    known.verify("192.0.2.1", b"ada", RIGHT, QUICK)
    assert comparing.made.count(RIGHT) == 1


def test_a_quick_comparison_waits_for_no_slow_one(known: VerifiedPasswords, comparing: Comparing) -> None:
    asked(known, RIGHT)
    assert known.verify("192.0.2.1", b"bob", RIGHT, QUICK)


def test_requests_that_ask_for_the_same_share_a_comparison(known: VerifiedPasswords, comparing: Comparing) -> None:
    waiting = [asked(known, RIGHT) for _ in range(20)]
    comparing.go.set()
    assert [one.get(timeout=10) for one in waiting] == [True] * 20
    assert comparing.made == [RIGHT]


def test_clients_take_turns(known: VerifiedPasswords, comparing: Comparing) -> None:
    flood = [asked(known, b"guess %d" % number, "192.0.2.66") for number in range(PER_CLIENT)]
    others = [asked(known, b"other %d" % number, f"192.0.2.{number}") for number in range(2)]
    comparing.go.set()
    gevent.joinall([*flood, *others], timeout=10, raise_error=True)
    assert comparing.made[:3] == [b"guess 0", b"other 0", b"other 1"]
    assert comparing.made[3:] == [b"guess %d" % number for number in range(1, PER_CLIENT)]


@pytest.mark.parametrize(
    ("clients", "shared"),
    [
        (["192.0.2.1", "192.0.2.1"], True),
        (["192.0.2.1", "192.0.2.2"], False),
        (["2001:db8::1", "2001:db8::ffff:1"], True),
        (["2001:db8::1", "2001:db8:0:1::1"], False),
        (["unix", "unix"], True),
    ],
)
def test_a_client_has_only_its_share(known: VerifiedPasswords, clients: list[str], shared: bool) -> None:
    for number in range(PER_CLIENT):
        asked(known, b"guess %d" % number, clients[0])
    last = asked(known, RIGHT, clients[1])
    assert (last.exception is not None) is shared
    if shared:
        assert (last.exception.status, last.exception.retry_after) == (429, 1)


def test_all_together_are_bounded(known: VerifiedPasswords) -> None:
    waiting = [asked(known, b"guess %d" % number, f"192.0.2.{number}") for number in range(MOST)]
    assert not any(one.dead for one in waiting)
    with pytest.raises(HttpError) as error:
        known.verify("198.51.100.1", b"ada", RIGHT, SLOW)
    assert (error.value.status, error.value.retry_after) == (503, 1)
    assert not asked(known, b"guess 0", "198.51.100.1").dead, "what is under way anyway takes no room"


def test_few_clients_keep_nobody_out(known: VerifiedPasswords, comparing: Comparing) -> None:
    """Four addresses take all the room there is. Another client takes the place of the last comparison of one of them."""
    floods = [[asked(known, b"%d %d" % (number, guess), f"192.0.2.{number}") for guess in range(PER_CLIENT)] for number in range(4)]
    newcomers = [asked(known, RIGHT, "198.51.100.1", user=b"ada %d" % number) for number in range(3)]
    gevent.sleep(0)
    assert not any(one.dead for one in newcomers)
    given_up = [one for flood in floods for one in flood if one.dead]
    assert [(one.exception.status, one.exception.retry_after) for one in given_up] == [(429, 1)] * 3
    assert sorted(sum(not one.dead for one in flood) for flood in floods) == [PER_CLIENT - 1] * 3 + [PER_CLIENT]
    comparing.go.set()
    gevent.joinall(newcomers, timeout=10, raise_error=True)
    assert [one.value for one in newcomers] == [True] * 3
    assert comparing.made.index(RIGHT) <= 4, "it waits for one comparison of each other client"
    waiting = [one for flood in floods for one in flood if not one.dead]
    gevent.joinall(waiting, timeout=10)
    assert len(comparing.made) == MOST, "what was given up is not made"


def test_a_client_with_as_many_as_the_others_takes_no_place(known: VerifiedPasswords) -> None:
    for number in range(MOST // 2):
        for guess in range(2):
            asked(known, b"%d %d" % (number, guess), f"192.0.2.{number}")
    assert not asked(known, RIGHT, "198.51.100.1").dead
    second = asked(known, b"other", "198.51.100.1")
    assert (second.exception.status, second.exception.retry_after) == (503, 1)


def test_the_wait_is_bounded(known: VerifiedPasswords, comparing: Comparing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "PATIENCE", 0.05)
    with pytest.raises(HttpError) as error:
        known.verify("192.0.2.1", b"ada", RIGHT, SLOW)
    assert error.value.status == 503
    comparing.go.set()
    monkeypatch.setattr(passwords, "PATIENCE", 10.0)
    assert known.verify("192.0.2.1", b"ada", RIGHT, SLOW)
    assert comparing.made == [RIGHT], "the comparison went on, and its answer is known"


def test_a_comparison_that_breaks_lets_nobody_in_and_the_next_is_made(known: VerifiedPasswords, comparing: Comparing) -> None:
    comparing.go.set()
    comparing.broken = True
    with pytest.raises(HttpError) as error:
        known.verify("192.0.2.1", b"ada", RIGHT, SLOW)
    assert error.value.status == 503
    comparing.broken = False
    assert known.verify("192.0.2.1", b"ada", RIGHT, SLOW)
