"""`basic_auth`: a user name and a password for each request (RFC 7617).

The hashes are in the configuration (`users`) or in a file of htpasswd (`file`), which is read again when it changes. A password is compared
off the event loop, and once (`terraster.net.passwords`). A name that no user has takes as long as one that a user has: its password is
compared with the hash of some user, and the answer is no.
"""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from ..config.settings.base import FilePath, Secret, Text
from ..config.settings.kinds import FilterSettings, Source
from ..errors import CLIENT, HttpError
from ..exchange import Exchange
from ..policy import htpasswd
from ..state.view import SeatView
from ..wire.edits import Edits
from .answer import Answer
from .contract import Counter, Filter, Place, Stage
from .credentials import authorization

__all__ = ["BasicAuth", "BasicAuthSettings"]


class BasicAuthSettings(FilterSettings):
    """A user name and a password for each request (HTTP Basic, RFC 7617). Use it over TLS."""

    enabled: bool = Field(True, description="False: no password. `basic_auth: off` is short for that.")
    users: dict[Text, Secret] = Field(
        default_factory=dict,
        description="User names, and a hash of each password: bcrypt, `$apr1$` or `{SHA}`, as `htpasswd -nB NAME` writes it. `file:/path` "
        "reads the hash from a file.",
    )
    file: FilePath | None = Field(
        None, description="A file of htpasswd with more users. It is read again when it changes, without a reload."
    )
    realm: Text = Field(
        "restricted", description="The name that the browser shows with its question; it remembers a password for each realm."
    )
    forward_credentials: bool = Field(
        True, description="True: the Authorization field goes on to the backend. False: it is removed."
    )

    @model_validator(mode="after")
    def _checked(self) -> Self:
        for name, hashed in self.users.items():
            if not name or ":" in name:
                raise ValueError(f"has the user name {name!r}; a name must not be empty, and must not contain a colon")
            try:
                htpasswd.check(hashed.get_secret_value().encode())
            except ValueError as error:
                raise ValueError(f"user {name} {error}") from None
        if not self.realm.isascii():
            raise ValueError("has a `realm` that is not ASCII")
        return self

    def over(self, wider: Self | None) -> Self:
        """Users of a narrower level take the place of those of a wider one: they may be others."""
        made = super().over(wider)
        if wider is None or {"users", "file"}.isdisjoint(self.model_fields_set):
            return made
        return made.model_copy(update={"users": self.users, "file": self.file})

    def sources(self) -> tuple[Source, ...]:
        return (Source("file", self.file, htpasswd.read),) if self.file else ()


class BasicAuth(Filter):
    """Refuses requests without a password of a known user."""

    __slots__ = ("_asked", "_busy", "_challenge", "_forward", "_hashes", "_runtime", "_users", "_wrong")

    name: ClassVar[str] = "basic_auth"
    stage: ClassVar[Stage] = Stage.AUTHENTICATION
    guards: ClassVar[bool] = True
    settings: ClassVar[type[FilterSettings]] = BasicAuthSettings
    counters: ClassVar[tuple[Counter, ...]] = (
        Counter("asked", "Requests without a user name and password, answered with 401."),
        Counter("wrong", "Requests with a wrong user name or password, answered with 401."),
        Counter("busy", "Requests refused because too many passwords were being compared."),
    )

    def __init__(self, settings: BasicAuthSettings, place: Place, view: SeatView) -> None:
        """Raises `ConfigError` if no level names users."""
        if not (settings.users or settings.file):
            raise place.problem(self.name, "needs `users` or `file`")
        self._asked, self._wrong, self._busy = (place.tally(name) for name in ("asked", "wrong", "busy"))
        self._runtime = place.runtime
        users = {name.encode(): hashed.get_secret_value().encode() for name, hashed in settings.users.items()}
        octets = settings.contents.get(settings.file or "")
        if octets:
            users = {**htpasswd.read(octets), **users}
        self._users = users
        self._hashes = tuple(users.values())
        realm = settings.realm.replace("\\", "\\\\").replace('"', '\\"')
        self._challenge = ((b"WWW-Authenticate", f'Basic realm="{realm}", charset="UTF-8"'.encode()),)
        self._forward = settings.forward_credentials

    def needs(self, hook: str) -> bool:
        return hook != "on_upstream" or not self._forward

    def on_request(self, exchange: Exchange) -> Answer | None:
        value = authorization(exchange)
        given = htpasswd.basic(value) if value is not None else None
        if given is None:
            self._asked.count()
            raise self._refusal("basic_auth: a user name and a password are needed")
        name, password = given
        if not self._is_right(exchange, name, password):
            self._wrong.count()
            raise self._refusal("basic_auth: wrong user name or password")
        exchange.user = name.decode("utf-8", "replace")
        return None

    def on_upstream(self, exchange: Exchange, edits: Edits) -> None:
        edits.remove(b"authorization")

    def _is_right(self, exchange: Exchange, name: bytes, password: bytes) -> bool:
        hashed = self._users.get(name)
        known = hashed is not None
        if hashed is None:
            if not self._hashes:
                return False
            hashed = self._hashes[hash(name) % len(self._hashes)]
        try:
            return self._runtime.passwords.verify(exchange.client_ip, name, password, hashed) and known
        except HttpError as error:
            self._busy.count()
            error.detail = f"basic_auth: {error.detail}"
            raise

    def _refusal(self, detail: str) -> HttpError:
        return HttpError(detail, status=401, reason="http_request_denied", blame=CLIENT, fields=self._challenge)
