"""The view of a plugin: the request, the response and an error, in friendly words. Views are made for each call and hold no copies.

Names and values of fields are text. Octets outside of ASCII are read as UTF-8, those that are none as Latin-1; text is written as UTF-8.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

from ..config.header_rules import field_name, removable
from ..errors import HttpError
from ..exchange import Exchange
from ..filters.answer import Answer
from ..wire.edits import ENDS, Edits

__all__ = ["ErrorView", "Kept", "LogView", "Request", "RequestFields", "Response", "Upstream", "answer_of", "body_of"]

_TEXT = b"text/plain; charset=utf-8"
_JSON = b"application/json"


MOST = 32 << 20
"""Octets of the body of an answer of a plugin, and of a body that it made of another one, at most."""

_LARGEST_VALUE = 65536  # octets of the value of a field
_BODILESS = (204, 205, 304)


class Kept:
    """The facts that one plugin keeps about one request, in `Exchange.facts`.

    state: for the plugin's own use. edits: changes of the head for backends: "set", "add" or "remove", name, value. answer: in place of a
    response. body: the request body that was read for it
    """

    __slots__ = ("answer", "body", "edits", "state")

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}
        self.edits: list[tuple[str, bytes, bytes]] = []
        self.answer: Answer | None = None
        self.body: bytes | None = None


def _text(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def _name(name: Any, check: Any = field_name) -> bytes:
    if not isinstance(name, str):
        raise TypeError(f"the name of a field must be text, not {type(name).__name__}")
    try:
        check(name)
    except ValueError as error:
        raise ValueError(f"the field {name!r} {error}") from None
    return name.encode("ascii")


def _value(value: Any) -> bytes:
    if isinstance(value, bool) or not isinstance(value, bytes | str | int | float):
        raise TypeError(f"the value of a field must be text or a number, not {type(value).__name__}")
    octets = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
    if len(octets) > _LARGEST_VALUE:
        raise ValueError(f"the value of a field may have {_LARGEST_VALUE} octets, not {len(octets)}")
    return octets.translate(None, ENDS)


class _Mapped:
    """Fields by name, as a mapping: the four methods that differ are a subclass's."""

    __slots__ = ()

    def items(self) -> list[tuple[str, str]]:
        raise NotImplementedError

    def get_all(self, name: str) -> list[str]:
        raise NotImplementedError

    def set(self, name: str, value: Any) -> None:
        raise NotImplementedError

    def remove(self, name: str) -> None:
        raise NotImplementedError

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value of a field."""
        found = self.get_all(name)
        return found[0] if found else default

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: Any) -> None:
        self.set(name, value)

    def __delitem__(self, name: str) -> None:
        self.remove(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.get_all(name))

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _ in self.items()))


class RequestFields(_Mapped):
    """The fields of a request. Reading gives what the client sent and what this plugin changed; changes are for the backend."""

    __slots__ = ("_exchange", "_kept")

    def __init__(self, exchange: Exchange, kept: Kept) -> None:
        self._exchange = exchange
        self._kept = kept

    def get_all(self, name: str) -> list[str]:
        """All values of a field."""
        wanted = name.lower().encode("utf-8")
        head = self._exchange.head
        found = [] if head is None else [bytes(value) for one, value in head.fields if one.lower() == wanted]
        for how, one, value in self._kept.edits:
            if one.lower() == wanted:
                found = [] if how == "remove" else [value] if how == "set" else [*found, value]
        return [_text(value) for value in found]

    def set(self, name: str, value: Any) -> None:
        """Replace all fields of this name by one."""
        self._kept.edits.append(("set", _name(name), _value(value)))

    def add(self, name: str, value: Any) -> None:
        """Put in one more field. There is one Host: it is replaced."""
        self._kept.edits.append(("set" if name.lower() == "host" else "add", _name(name), _value(value)))

    def remove(self, name: str) -> None:
        """Take out all fields of this name."""
        self._kept.edits.append(("remove", _name(name, removable), b""))

    def items(self) -> list[tuple[str, str]]:
        """All fields that the client sent, in their order."""
        head = self._exchange.head
        return [] if head is None else [(_text(bytes(name)), _text(bytes(value))) for name, value in head.fields]


class Request:
    """A request. The attributes are read only; `headers` may be changed, and `state` is the plugin's own."""

    __slots__ = ("_exchange", "_kept")

    def __init__(self, exchange: Exchange, kept: Kept) -> None:
        self._exchange = exchange
        self._kept = kept

    @property
    def method(self) -> str:
        return _text(self._exchange.method)

    @property
    def path(self) -> str:
        """The path in its canonical form, percent-encoded."""
        return _text(self._exchange.path)

    @property
    def query(self) -> str:
        """The query without "?", percent-encoded."""
        return _text(self._exchange.query)

    @property
    def args(self) -> dict[str, str]:
        """The parameters of the query, decoded; of several with one name the last."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    @property
    def host(self) -> str:
        """The host that the client asked for, with the port if it was given."""
        return _text(self._exchange.host)

    @property
    def scheme(self) -> str:
        return self._exchange.scheme

    @property
    def client(self) -> str:
        """The address of the client: the one that trusted proxies report, else that of the connection."""
        return self._exchange.client_ip

    @property
    def id(self) -> str:
        return _text(self._exchange.request_id)

    @property
    def user(self) -> str:
        """The name of the user who has shown who they are; "" = none."""
        return self._exchange.user

    @property
    def claims(self) -> Mapping[str, Any]:
        """The claims of a verified token."""
        return self._exchange.claims or {}

    @property
    def service(self) -> str:
        return "" if self._exchange.service is None else str(self._exchange.service.name)

    @property
    def location(self) -> str:
        """The path of the location, with its name if it has conditions; "" if none has been found."""
        return "" if self._exchange.location is None else str(self._exchange.location.label)

    @property
    def headers(self) -> RequestFields:
        return RequestFields(self._exchange, self._kept)

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies, as they were sent; of several with one name the first."""
        found: dict[str, str] = {}
        for line in self.headers.get_all("cookie"):
            for part in line.split(";"):
                name, equals, value = part.strip().partition("=")
                if equals:
                    found.setdefault(name, value.strip('"'))
        return found

    @property
    def state(self) -> dict[str, Any]:
        """For facts that this plugin keeps about this request from one hook to the next."""
        return self._kept.state

    def answer(
        self,
        status: int = 200,
        *,
        json: Any = None,
        text: str | None = None,
        body: bytes = b"",
        headers: Mapping[str, Any] | None = None,
    ) -> Answer:
        """An answer, to be returned by a hook."""
        made = answer_of((status, headers or {}, json if json is not None else text if text is not None else body))
        assert made is not None
        return made


class Fields(_Mapped):
    """The fields of a head that is about to be sent: a response, or a request for a backend."""

    __slots__ = ("_edits", "_fields")

    def __init__(self, edits: Edits, fields: Any) -> None:
        self._edits = edits
        self._fields = fields

    def items(self) -> list[tuple[str, str]]:
        """All fields as they would be sent now."""
        drop = self._edits.drop
        found = [(_text(bytes(name)), _text(bytes(value))) for name, value in self._fields if name.lower() not in drop]
        for line in self._edits.extra.splitlines():
            name, _, value = line.partition(b":")
            found.append((_text(name), _text(value.strip(b" \t"))))
        return found

    def get_all(self, name: str) -> list[str]:
        """All values of a field."""
        wanted = name.lower()
        return [value for one, value in self.items() if one.lower() == wanted]

    def set(self, name: str, value: Any) -> None:
        """Replace all fields of this name by one."""
        self._edits.set(_name(name), _value(value))

    def add(self, name: str, value: Any) -> None:
        """Put in one more field. There is one Host: it is replaced."""
        put = self._edits.set if name.lower() == "host" else self._edits.add
        put(_name(name), _value(value))

    def remove(self, name: str) -> None:
        """Take out all fields of this name."""
        self._edits.remove(_name(name, removable))


class Response:
    """A response on its way to the client. own: True if it is an answer of Terraster's or of a plugin's, False if it is a backend's."""

    __slots__ = ("_edits",)

    def __init__(self, edits: Edits) -> None:
        self._edits = edits

    @property
    def status(self) -> int:
        return self._edits.status

    @property
    def own(self) -> bool:
        return self._edits.own

    @property
    def headers(self) -> Fields:
        return Fields(self._edits, () if self._edits.head is None else self._edits.head.fields)

    def set_cookie(self, name: str, value: str, *, path: str = "/", max_age: int | None = None, secure: bool = False) -> None:
        """Set a cookie, with HttpOnly and SameSite=Lax."""
        more = f"; Max-Age={int(max_age)}" if max_age is not None else ""
        self.headers.add("Set-Cookie", f"{name}={value}; Path={path}{more}; HttpOnly; SameSite=Lax{'; Secure' * secure}")


class Upstream:
    """A request on its way to a backend: one attempt. backend: its URL"""

    __slots__ = ("_edits", "_exchange")

    def __init__(self, exchange: Exchange, edits: Edits) -> None:
        self._edits = edits
        self._exchange = exchange

    @property
    def backend(self) -> str:
        member = self._exchange.backend
        return "" if member is None else str(member.backend.url)

    @property
    def attempt(self) -> int:
        """The number of the attempt, from 1."""
        return max(self._exchange.tries, 1)

    @property
    def headers(self) -> Fields:
        return Fields(self._edits, () if self._exchange.head is None else self._exchange.head.fields)


class ErrorView:
    """An error that is about to be answered. reason: its type in Proxy-Status (RFC 9209). detail: a sentence"""

    __slots__ = ("detail", "reason", "status")

    def __init__(self, error: HttpError) -> None:
        self.status, self.reason, self.detail = error.status, error.reason, error.detail


class LogView:
    """The outcome of a request. duration: seconds. error: a type of RFC 9209, or "" """

    __slots__ = ("backend", "bytes_in", "bytes_out", "duration", "error", "status", "tries")

    def __init__(self, exchange: Exchange) -> None:
        self.status, self.duration, self.error, self.tries = exchange.status, exchange.duration, exchange.error, exchange.tries
        self.bytes_in, self.bytes_out = exchange.bytes_in, exchange.bytes_out
        self.backend = "" if exchange.backend is None else str(exchange.backend.backend.url)


def answer_of(returned: Any) -> Answer | None:
    """The answer that a hook returned: None, an `Answer`, a status, or (status, headers, body), where a body that is neither text nor octets
    becomes JSON. TypeError or ValueError for anything else."""
    if returned is None or isinstance(returned, Answer):
        return returned
    status, fields, body = (returned, {}, b"") if isinstance(returned, int) else _three(returned)
    if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError(f"the status of an answer must be a number from 200 to 599, not {status!r}")
    lines = [(_name(name), _value(value)) for name, value in (fields.items() if isinstance(fields, Mapping) else fields)]
    octets, kind = body_of(body)
    if status in _BODILESS:
        if octets and body is not None:
            raise ValueError(f"an answer with status {status} has no body")
        octets, kind = b"", b""
    if kind and not any(name.lower() == b"content-type" for name, _ in lines):
        lines.append((b"Content-Type", kind))
    return Answer(status, tuple(lines), octets)


def _three(returned: Any) -> tuple[Any, Any, Any]:
    if not isinstance(returned, tuple) or len(returned) != 3:
        raise TypeError(
            f"a hook returns None, request.answer(…), a status, or (status, headers, body), not {type(returned).__name__}"
        )
    return returned


def body_of(body: Any) -> tuple[bytes, bytes]:
    """The octets of a body, and its Content-Type; b"" if the octets do not say. TypeError for what JSON cannot say, ValueError if it is larger
    than `MOST`."""
    if isinstance(body, bytes | bytearray | memoryview):
        octets, kind = bytes(body), b""
    elif isinstance(body, str):
        octets, kind = body.encode("utf-8", "surrogateescape"), _TEXT
    else:
        octets, kind = json.dumps(body, allow_nan=False).encode(), _JSON
    if len(octets) > MOST:
        raise ValueError(f"a body may have {MOST >> 20} MiB, not {len(octets) / (1 << 20):.0f}")
    return octets, kind
