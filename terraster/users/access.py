"""How users get in and what they hold: login, refresh, logout, a new password of one's own, sessions and API tokens.

Each call waits for the database's thread, and for bcrypt where a password is given. Any greenlet may call it.

A login costs the same whatever is wrong: one look into the database, one comparison by bcrypt (for a name that does not exist with the hash
of nobody), one write. Attempts that are under way count as if they had failed, so that guesses at the same moment are not more than guesses
one after the other.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from . import api_tokens, failures, lockout, sessions, users
from .api_tokens import LONGEST, ApiToken
from .database import Database
from .faults import Busy, Conflict, Denied, Forbidden, LockedOut, Weak
from .identity import SESSION, TOKEN, Identity
from .names import canonical
from .passwords import Passwords
from .policy import DAY, REUSED, Policy, expires, normal, reasons
from .roles import least
from .sessions import COOKIE, REFRESH, Session
from .tokens import LIFE, read, sign
from .users import User

if TYPE_CHECKING:
    from sqlite3 import Connection

__all__ = ["Access", "Granted", "Guarded"]

_WRONG = "the user name or the password is wrong"


class Granted(NamedTuple):
    """The outcome of a login or a refresh. access: the JWT, expires: its end. refresh: the next refresh token, or the value of the cookie"""

    identity: Identity
    access: str
    refresh: str
    expires: int


class _Known(NamedTuple):
    """The facts of the database before a password is compared."""

    user: User | None
    account: lockout.Record
    address: lockout.Record


class Guarded:
    """Compares passwords of users, and counts failures of accounts and addresses."""

    __slots__ = ("_accounts", "_addresses", "_clock", "_database", "_passwords")

    def __init__(self, database: Database, passwords: Passwords, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._passwords = passwords
        self._clock = clock
        self._accounts: Counter[str] = Counter()  # attempts under way
        self._addresses: Counter[str] = Counter()

    def verify(self, name: str, password: str, address: str) -> User | None:
        """The user if the password is right; None if it is wrong, or if the user does not exist or is disabled. The caller then counts.

        Raises LockedOut, for a locked account also if the password is right; Busy; Unavailable.
        """
        now = int(self._clock())
        known = self._database.read(_known, name, address)
        source = lockout.network(address)
        if seconds := lockout.left(known.address, now):
            raise LockedOut("too many failed logins from this address", seconds)
        if not (
            lockout.open_tries(known.account, lockout.ACCOUNT, self._accounts[name], now)
            and lockout.open_tries(known.address, lockout.ADDRESS, self._addresses[source], now)
        ):
            raise Busy("too many logins at once")
        self._accounts[name] += 1
        self._addresses[source] += 1
        try:
            right = self._passwords.matches(password, None if known.user is None else known.user.hash, source)
            held = self._database.write(self._settle, name, address, known.user, right)
        finally:
            _less(self._accounts, name)
            _less(self._addresses, source)
        if held:
            raise LockedOut("too many failed logins of this account; on the host: terrasterctl user unlock NAME", held)
        return known.user if right and known.user is not None and not known.user.disabled else None

    def _settle(self, connection: Connection, name: str, address: str, user: User | None, right: bool) -> int:
        """Count the outcome. Returns the seconds that the account is still locked."""
        now = int(self._clock())
        held = lockout.left(failures.of_account(connection, name), now)
        if right and not held and user is not None and not user.disabled:
            failures.clear(connection, name)
        else:
            failures.count(connection, name, address, now)
        return held


class Access:
    """The calls that users make for themselves.

    policy: of passwords, as configured now. key: that signs access tokens, read in the database's thread; raises Unavailable
    """

    __slots__ = ("_clock", "_database", "_guarded", "_key", "_passwords", "_policy")

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        policy: Callable[[], Policy],
        key: Callable[[], bytes],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._guarded = Guarded(database, passwords, clock)
        self._policy = policy
        self._key = key
        self._clock = clock

    def any_user(self) -> bool:
        """True if there is a user. Raises Unavailable."""
        return self._database.read(users.any_there)

    def known(self, name: str) -> str:
        """The user's name in its one spelling; "" if there is none of this name, for it may be a password in the wrong field."""
        user = self._database.read(users.find, canonical(name))
        return "" if user is None else user.name

    def login(self, name: str, password: str, address: str, agent: str, cookie: bool = False) -> Granted:
        """Begin a session. cookie: it is a browser's, and has a cookie in place of the two tokens.

        Raises Denied, LockedOut, Busy, Unavailable.
        """
        name = canonical(name)
        user = self._guarded.verify(name, password, address)
        if user is None:
            raise Denied(_WRONG)
        return self._database.write(self._begin, user, COOKIE if cookie else REFRESH, address, agent)

    def refresh(self, token: str) -> Granted:
        """The next tokens of a session. Raises Denied. A token that was used before ends its session."""
        granted = self._database.write(self._refreshed, token)
        if granted is None:
            raise Denied("the refresh token is not valid; log in again")
        return granted

    def identify(self, bearer: str) -> Identity:
        """The identity behind an access token or an API token, with the role of now. Raises Denied."""
        if bearer.startswith(api_tokens.PREFIX):
            return self._database.read(self._of_api_token, bearer)
        return self._database.read(self._of_access_token, bearer)

    def identify_cookie(self, cookie: str) -> Identity:
        """The identity behind a browser's cookie. Raises Denied."""
        return self._database.read(self._of_cookie, cookie)

    def logout(self, identity: Identity | None, token: str = "") -> None:
        """End the session of a refresh token or cookie, else that of an identity. Nothing happens if there is none."""
        self._database.write(_ended, token, "" if identity is None else identity.session)

    def change_password(self, identity: Identity, old: str, new: str, address: str) -> None:
        """Set the password of the identity, and end the user's other sessions.

        Raises Denied if the old one is wrong (which counts as a failed login),
        Weak with every reason, Forbidden for an API token, LockedOut, Busy, Conflict."""
        if identity.how != SESSION:
            raise Forbidden("an API token cannot change a password: log in with the old one")
        user = self._guarded.verify(identity.name, old, address)
        if user is None or user.id != identity.user:
            raise Denied("the old password is wrong")
        policy, new = self._policy(), normal(new)
        broken = list(reasons(new, user.name, policy))
        for hashed in self._database.read(users.old_hashes, user.id, policy.history):
            if self._passwords.matches(new, hashed):
                broken.append(REUSED.format(many=policy.history))
                break
        if broken:
            raise Weak("password", tuple(broken))
        hashed = self._passwords.hash(new)
        now = int(self._clock())
        self._database.write(users.set_password, user, hashed, False, policy.history, identity.session, now)

    def sessions(self, user: int) -> list[Session]:
        """The sessions of a user, the newest first."""
        return self._database.read(sessions.of_user, user, int(self._clock()))

    def end_session(self, user: int, id: str) -> None:
        """Raises NotFound."""
        self._database.write(sessions.drop, user, id)

    def api_tokens(self, user: int) -> list[ApiToken]:
        """The API tokens of a user by name."""
        return self._database.read(api_tokens.of_user, user, int(self._clock()))

    def make_api_token(self, identity: Identity, name: str, role: str, scopes: str, days: int) -> tuple[ApiToken, str]:
        """A new API token and its text. Raises Forbidden if the caller is an API token, or the role is more than the user's; Conflict."""
        if identity.how != SESSION:
            raise Forbidden("an API token cannot make another one: log in")
        if least(role, identity.role) != role:
            raise Forbidden(f"your role is {identity.role}, so a token of yours cannot have the role {role}")
        if not 1 <= days <= LONGEST:
            raise Conflict(f"a token works for 1 to {LONGEST} days")
        now = int(self._clock())
        return self._database.write(api_tokens.add, identity.user, name, role, scopes, now + days * DAY, now)

    def end_api_token(self, user: int, id: str) -> ApiToken:
        """Raises NotFound."""
        return self._database.write(api_tokens.drop, user, id)

    # The rest runs in the thread of the database.

    def _begin(self, connection: Connection, user: User, kind: str, address: str, agent: str) -> Granted:
        now = int(self._clock())
        current = users.find(connection, user.name)
        if current is None or current.id != user.id or current.disabled or current.hash != user.hash:
            raise Denied(_WRONG)  # changed while the password was compared
        key = self._key()
        session, token = sessions.add(connection, user.id, kind, address, agent, now)
        return self._granted(current, session, token, key, now)

    def _refreshed(self, connection: Connection, token: str) -> Granted | None:
        now = int(self._clock())
        key = self._key()
        found = sessions.refresh(connection, token, now)
        if found.session is None:
            return None
        user = users.by_number(connection, found.session.user)
        return None if user is None or user.disabled else self._granted(user, found.session, found.token, key, now)

    def _granted(self, user: User, session: Session, token: str, key: bytes, now: int) -> Granted:
        identity = self._identity(user, session, now)
        if session.kind == COOKIE:
            return Granted(identity, "", token, session.expires)
        return Granted(identity, sign(user.id, session.id, key, now), token, now + LIFE)

    def _identity(self, user: User, session: Session, now: int) -> Identity:
        return Identity(user.id, user.name, user.role, SESSION, session.id, (), self._expired(user, now))

    def _expired(self, user: User, now: int) -> bool:
        end = expires(user.changed, self._policy())
        return user.must_change or bool(end and end <= now)

    def _of_access_token(self, connection: Connection, token: str) -> Identity:
        now = int(self._clock())
        claims = read(token, self._key(), now)
        session = sessions.get(connection, claims.session, now)
        user = users.by_number(connection, claims.user)
        if session is None or user is None or session.user != user.id or user.disabled or session.kind != REFRESH:
            raise Denied("the session has ended; log in again")
        return self._identity(user, session, now)

    def _of_cookie(self, connection: Connection, cookie: str) -> Identity:
        now = int(self._clock())
        session = sessions.by_cookie(connection, cookie, now)
        user = None if session is None else users.by_number(connection, session.user)
        if session is None or user is None or user.disabled:
            raise Denied("the session has ended; log in again")
        return self._identity(user, session, now)

    def _of_api_token(self, connection: Connection, text: str) -> Identity:
        now = int(self._clock())
        token = api_tokens.find(connection, text, now)
        user = None if token is None else users.by_number(connection, token.user)
        if token is None or user is None or user.disabled:
            raise Denied("the API token is not valid, or has expired")
        return Identity(user.id, user.name, least(token.role, user.role), TOKEN, "", tuple(token.scopes.split()))


def _known(connection: Connection, name: str, address: str) -> _Known:
    return _Known(users.find(connection, name), failures.of_account(connection, name), failures.of_address(connection, address))


def _ended(connection: Connection, token: str, session: str) -> None:
    id = (sessions.of_token(connection, token) if token else "") or session
    connection.execute("DELETE FROM sessions WHERE id = ?", (id,))


def _less(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
