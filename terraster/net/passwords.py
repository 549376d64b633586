"""Passwords of clients, compared with their hashes away from the event loop.

A bcrypt of cost 10 takes 60 ms of a core, on purpose, and a password is sent with every request. So

- what was compared once is remembered: the answer for the same user, password and hash then takes 2 µs. The memory has keyed digests
  (BLAKE2b, RFC 7693, with a key of this process), never a password. Another hash of the user is another entry, so a changed password ends
  with the next configuration. Right and wrong answers have tables of their own: guesses do not push out the users who are logged in.
- comparisons run in one thread, one after the other, and bcrypt lets the event loop run meanwhile. So guesses take at most one core.
- clients take turns. A client has at most `PER_CLIENT` comparisons waiting, whatever its connections (an IPv6 client: its /64), and after
  each of them all others have one. A flood from one address makes the login of another client wait for one comparison more.
- requests that ask for the same comparison share it: a browser sends six at once.
- at most `MOST` wait. Beyond that the client with the most gives its last one up to a client with fewer, so that few addresses keep nobody out.
  If there is none with more, and after `PATIENCE` seconds, the answer is 503.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable

import gevent
from gevent.threadpool import ThreadPool

from terraster.errors import CLIENT, HttpError
from terraster.policy.htpasswd import is_slow, matches

from .reactor import Reactor, Wakeup

__all__ = ["MOST", "PATIENCE", "PER_CLIENT", "VerifiedPasswords"]

MOST = 64
"""Comparisons that wait in one worker, or are under way."""

PER_CLIENT = 16
"""Of these, those of one client. Behind one address may be an office whose users log in at nine."""

PATIENCE = 10.0
"""Seconds that a request waits for its comparison."""

_REMEMBERED = 4096  # answers of each kind; an entry takes some 150 octets
_IPV6_PREFIX = 64

Compare = Callable[[bytes, bytes], bool]


class _Comparison:
    """A comparison that waits or is under way. right: None until it is over. waiters: the requests that wait for it. given_up: True if it
    is not made, because its client had the most."""

    __slots__ = ("digest", "failure", "given_up", "hashed", "password", "right", "waiters")

    def __init__(self, digest: bytes, password: bytes, hashed: bytes) -> None:
        self.digest = digest
        self.password = password
        self.hashed = hashed
        self.right: bool | None = None
        self.failure: BaseException | None = None
        self.given_up = False
        self.waiters: list[Wakeup] = []


class VerifiedPasswords:
    """See `terraster.filters.runtime.Passwords`. One for each worker, made after the fork.

    compare: `terraster.policy.htpasswd.matches`, run in a thread
    """

    __slots__ = ("_compare", "_key", "_pending", "_pool", "_pumping", "_reactor", "_right", "_turns", "_wrong")

    def __init__(self, reactor: Reactor, compare: Compare = matches) -> None:
        self._reactor = reactor
        self._compare = compare
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._wrong: OrderedDict[bytes, None] = OrderedDict()
        self._pending: dict[bytes, _Comparison] = {}
        self._turns: OrderedDict[str, deque[_Comparison]] = OrderedDict()  # by client, the one whose turn is next first
        self._pool: ThreadPool | None = None  # made when it is needed: most workers compare nothing
        self._pumping = False

    def verify(self, client: str, user: bytes, password: bytes, hashed: bytes) -> bool:
        digest = self._digest(user, password, hashed)
        if digest in self._right:
            self._right.move_to_end(digest)
            return True
        if digest in self._wrong:
            return False
        if not is_slow(hashed):
            return self._remember(digest, self._compare(hashed, password))
        found = self._pending.get(digest)
        if found is None:
            found = self._begin(_origin(client), _Comparison(digest, password, hashed))
        return self._wait(found)

    def _digest(self, user: bytes, password: bytes, hashed: bytes) -> bytes:
        made = hashlib.blake2b(b"%d %d " % (len(user), len(hashed)), digest_size=32, key=self._key)
        made.update(user)
        made.update(hashed)
        made.update(password)
        return made.digest()

    def _remember(self, digest: bytes, right: bool) -> bool:
        known = self._right if right else self._wrong
        known[digest] = None
        if len(known) > _REMEMBERED:
            known.popitem(last=False)
        return right

    def _begin(self, origin: str, new: _Comparison) -> _Comparison:
        """Queue a comparison. Raises `HttpError` if there is no room."""
        mine = self._turns.get(origin)
        if mine is not None and len(mine) >= PER_CLIENT:
            raise _too_many()
        if len(self._pending) >= MOST and not self._makes_room(len(mine or ())):
            raise HttpError("too many passwords are being checked", status=503, reason="connection_limit_reached", retry_after=1)
        self._pending[new.digest] = new
        if mine is None:
            mine = self._turns[origin] = deque()
        mine.append(new)
        if not self._pumping:
            self._pumping = True
            gevent.spawn(self._pump)
        return new

    def _makes_room(self, mine: int) -> bool:
        """Give up the last comparison of the client with the most, for one that has ``mine``. False if that would be no fairer."""
        largest = max(self._turns.values(), key=len)
        if len(largest) < mine + 2:
            return False
        last = largest.pop()  # not the one under way, which is the first of its client
        del self._pending[last.digest]
        last.given_up = True
        for wakeup in last.waiters:
            wakeup.wake()
        return True

    def _wait(self, found: _Comparison) -> bool:
        reactor = self._reactor
        end = reactor.clock() + PATIENCE
        while found.right is None:
            if found.given_up:
                raise _too_many()
            left = end - reactor.clock()
            if left <= 0 or found.failure is not None:
                raise HttpError("the password could not be checked in time", status=503, retry_after=1) from found.failure
            wakeup = Wakeup(reactor)
            found.waiters.append(wakeup)
            try:
                wakeup.wait(left)
            finally:
                found.waiters.remove(wakeup)
        return found.right

    def _pump(self) -> None:
        """Make the comparisons, until there are none. In a greenlet of its own."""
        if self._pool is None:
            self._pool = ThreadPool(1)
        try:
            while self._turns:
                origin, mine = next(iter(self._turns.items()))
                one = mine[0]
                try:
                    one.right = self._remember(one.digest, self._pool.apply(self._compare, (one.hashed, one.password)))
                except Exception as error:
                    one.failure = error
                mine.popleft()
                del self._pending[one.digest]
                if mine:
                    self._turns.move_to_end(origin)
                else:
                    del self._turns[origin]
                for wakeup in one.waiters:
                    wakeup.wake()
        finally:
            self._pumping = False


def _too_many() -> HttpError:
    return HttpError(
        "too many passwords of this client are being checked",
        status=429,
        reason="http_request_denied",
        blame=CLIENT,
        retry_after=1,
    )


def _origin(client: str) -> str:
    """The client as far as turns are concerned."""
    if ":" not in client:
        return client
    try:
        return str(ipaddress.IPv6Network((client.partition("%")[0], _IPV6_PREFIX), strict=False))
    except ValueError:
        return client
