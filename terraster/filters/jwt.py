"""`jwt`: a signed token for each request (RFC 7519, RFC 6750).

The keys come from a URL, a file or the configuration. Those of a URL are fetched by the admin worker (`terraster.admin.documents`); until it
has some, requests are answered with 503, because nothing can be said about their tokens. `terraster.policy.tokens` judges a token. Its
answer holds until the token ends, so a token is verified once in a worker.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from ..config.settings.base import Duration, FilePath, HeaderName, Names, Secret, SomeTime, Text, items
from ..config.settings.kinds import Fetch, FilterSettings, Source
from ..errors import CLIENT, US, HttpError
from ..exchange import Exchange
from ..policy import keys as key_sets
from ..policy import tokens
from ..state.view import SeatView
from ..wire.edits import ENDS, Edits, without
from ..wire.names import OURS
from .answer import Answer
from .contract import Counter, Filter, Place, Stage
from .credentials import cookie, field, parameter, spellings, without_cookie, without_parameter

__all__ = ["Jwt", "JwtSettings", "KeysUnknown"]

_SOURCES = ("jwks_url", "jwks_file", "key")
_REMEMBERED = 2048  # tokens of a place; their claims have 8 KiB at most


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None or parts.fragment:
        raise ValueError("must be an http or https URL without a user name")
    return value


def _algorithms(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in key_sets.ALGORITHMS:
            raise ValueError(f"names the unknown algorithm {name}; known are {', '.join(key_sets.ALGORITHMS)}")
    return names


def _on_one_line(value: object) -> object:
    """PEM on one line, as secrets are written."""
    return " ".join(value.split()) if isinstance(value, str) and "-----BEGIN " in value else value


def _values(value: object) -> tuple[str, ...]:
    found = [_scalar(one) for one in items(value, "a value")]
    if not found or None in found:
        raise ValueError("must be a value or a list of values")
    return tuple([one for one in found if one is not None])


def _scalar(value: object) -> str | None:
    """A text, number or truth value as text, None for anything else."""
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, bool | int | float) else None


_VALUE: dict[str, Any] = {"type": ["string", "number", "boolean"]}
_Values = Annotated[
    tuple[str, ...],
    BeforeValidator(_values),
    WithJsonSchema({"anyOf": [_VALUE, {"type": "array", "items": _VALUE, "minItems": 1}]}),
]


class JwtSettings(FilterSettings):
    """A signed token for each request (JWT)."""

    enabled: bool = Field(True, description="False: no token. `jwt: off` is short for that.")
    jwks_url: Annotated[Text, AfterValidator(_url)] | None = Field(
        None, description="The URL of the issuer's keys (JWKS). The admin worker fetches them; redirects are not followed."
    )
    jwks_refresh: SomeTime = Field(300.0, description="Time between two fetches. An unknown key leads to one earlier, after 30s.")
    jwks_ca_file: FilePath | None = Field(
        None, description="Authorities for the server of `jwks_url`, in PEM. Default: those of the system."
    )
    jwks_file: FilePath | None = Field(
        None, description="A file with the keys (JWKS). It is read again when it changes, without a reload."
    )
    key: Annotated[Secret, BeforeValidator(_on_one_line)] | None = Field(
        None,
        description="A single key in place of a set: a public key or a certificate in PEM, or a secret of 32 octets or more for HS256; "
        "`file:/path` reads it from a file.",
    )
    issuer: Text | None = Field(None, description="The `iss` that tokens must have. Default: any.")
    audience: Names = Field((), description="Of these, tokens must have one in `aud`. Default: any.")
    algorithms: Annotated[Names, AfterValidator(_algorithms)] = Field(
        (), description="Algorithms that tokens may be signed with. Default: all that their key allows."
    )
    leeway: Duration = Field(30.0, description="How far the clocks of the issuer and this host may differ.")
    header: HeaderName = Field(
        "Authorization",
        description="The field with the token: `Bearer TOKEN`; in fields other than Authorization, `Bearer` may be missing.",
    )
    cookie: Text | None = Field(
        None, description="The cookie with the token. Without `header` the token may then not be in a field."
    )
    query: Text | None = Field(
        None,
        description="The parameter of the query with the token; one that `access_log.redact_query` names. Without `header` the token may "
        "then not be in a field.",
    )
    claims_to_headers: dict[Text, HeaderName] = Field(
        default_factory=dict,
        description="Claims, and the fields in which the backend gets them. The client's own fields of these names are removed. "
        "`a.b` is the claim b inside of a.",
    )
    required_claims: dict[Text, _Values] = Field(
        default_factory=dict,
        description="Claims, and the value, or values of which one, that they must have; of a claim that is a list, one must be in it. "
        "Numbers and truth values are compared as text.",
    )
    realm: Text = Field("restricted", description="The realm of the challenge in a 401.")
    forward_credentials: bool = Field(True, description="True: the token goes on to the backend. False: it is removed.")

    @model_validator(mode="after")
    def _checked(self) -> Self:
        named = [name for name in _SOURCES if getattr(self, name)]
        if len(named) > 1:
            raise ValueError(f"has both `{named[0]}` and `{named[1]}`: keep one")
        if self.key is not None:
            try:
                allowed = key_sets.single(self.key.get_secret_value()).algorithms
            except ValueError as error:
                raise ValueError(f"has a `key` that {error}") from None
            if self.algorithms and allowed.isdisjoint(self.algorithms):
                raise ValueError(f"has a `key` for {', '.join(sorted(allowed))}, and allows none of them in `algorithms`")
        if not self.realm.isascii():
            raise ValueError("has a `realm` that is not ASCII")
        taken: set[str] = set()
        for name in self.claims_to_headers.values():
            lower = name.lower().replace("_", "-")
            if lower.encode() in OURS or lower.startswith("x-forwarded-") or lower in ("host", "cookie"):
                raise ValueError(f"puts a claim into {name}, which is not for claims")
            if lower in taken:
                raise ValueError(f"puts two claims into {name}")
            taken.add(lower)
            spellings(name)
        return self

    def over(self, wider: Self | None) -> Self:
        """Keys of a narrower level take the place of those of a wider one, wherever these come from."""
        made = super().over(wider)
        if wider is None or not any(getattr(self, name) for name in _SOURCES):
            return made
        return made.model_copy(update={name: getattr(self, name) for name in _SOURCES})

    def sources(self) -> tuple[Source, ...]:
        if self.jwks_url:
            how = Fetch(self.jwks_refresh, self.jwks_ca_file or "", "unknown_key")
            return (Source("jwks_url", self.jwks_url, key_sets.read_public, how),)
        if self.jwks_file:
            return (Source("jwks_file", self.jwks_file, key_sets.read_secret_too),)
        return ()

    def idle(self, beside: Collection[str]) -> Iterator[tuple[str, str]]:
        if not self.jwks_url:
            for key in ("jwks_refresh", "jwks_ca_file"):
                yield key, "has no effect without `jwks_url`"
        elif self.jwks_ca_file and self.jwks_url.startswith("http:"):
            yield "jwks_ca_file", "has no effect with a `jwks_url` of http"

    @property
    def field(self) -> bytes:
        """The field that may have the token, in lower case; b"" if none may."""
        if (self.cookie or self.query) and "header" not in self.model_fields_set:
            return b""
        return self.header.lower().encode("ascii")


class Jwt(Filter):
    """Refuses requests without a valid token."""

    __slots__ = (
        "_asked",
        "_challenge",
        "_cookie",
        "_drop",
        "_field",
        "_forbidden",
        "_forward",
        "_headers",
        "_keys",
        "_no_keys",
        "_query",
        "_refused",
        "_required",
        "_rules",
        "_unknown_key",
        "_verified",
    )

    name: ClassVar[str] = "jwt"
    stage: ClassVar[Stage] = Stage.AUTHENTICATION
    guards: ClassVar[bool] = True
    settings: ClassVar[type[FilterSettings]] = JwtSettings
    counters: ClassVar[tuple[Counter, ...]] = (
        Counter("asked", "Requests without a token, answered with 401."),
        Counter("refused", "Requests with a token that was not accepted, answered with 401."),
        Counter("unknown_key", "Of these, those whose key was not known."),
        Counter("forbidden", "Requests whose token had not the required claims, answered with 403."),
        Counter("no_keys", "Requests refused with 503 because the keys had not been fetched yet."),
    )

    def __init__(self, settings: JwtSettings, place: Place, view: SeatView) -> None:
        """Raises `ConfigError` if no level names keys, and for a parameter that the access log would show."""
        if not any(getattr(settings, name) for name in _SOURCES):
            raise place.problem(self.name, "needs `jwks_url`, `jwks_file` or `key`")
        self._asked, self._refused, self._unknown_key, self._forbidden, self._no_keys = (
            place.tally(counter.name) for counter in self.counters
        )
        self._keys = _keys(settings)
        self._rules = tokens.Rules(settings.issuer or "", settings.audience, settings.algorithms, settings.leeway)
        self._verified: dict[bytes, tuple[dict[str, Any], float]] = {}
        self._field = settings.field
        self._cookie = (settings.cookie or "").encode()
        self._query = (settings.query or "").encode()
        if settings.query:
            _must_be_masked(settings.query, place)
        self._required = tuple(settings.required_claims.items())
        self._headers = tuple((name, header.encode("ascii")) for name, header in settings.claims_to_headers.items())
        self._forward = settings.forward_credentials
        drop = [spellings(header) for header in settings.claims_to_headers.values()]
        if self._field and not self._forward:
            drop.append(spellings(self._field.decode()))
        self._drop: frozenset[bytes] = frozenset().union(*drop)
        realm = settings.realm.replace("\\", "\\\\").replace('"', '\\"')
        self._challenge = f'Bearer realm="{realm}"'

    def needs(self, hook: str) -> bool:
        return hook != "on_upstream" or bool(self._drop) or not self._forward

    def on_request(self, exchange: Exchange) -> Answer | None:
        token = self._token(exchange)
        if self._keys is None:
            self._no_keys.count()
            raise KeysUnknown
        if token is None:
            self._asked.count()
            raise self._refusal(401, "jwt: a token is needed", "")
        claims = self._claims(token, exchange.wall)
        for name, allowed in self._required:
            if not _has(tokens.claim(claims, name), allowed):
                self._forbidden.count()
                raise self._refusal(403, f"jwt: the token has not the required claim {name}", "insufficient_scope")
        exchange.claims = claims
        subject = claims.get("sub")
        if isinstance(subject, str):
            exchange.user = subject
        if self._query and not self._forward:
            exchange.query = without_parameter(exchange, self._query)
        return None

    def on_upstream(self, exchange: Exchange, edits: Edits) -> None:
        if edits.extra:
            edits.extra = without(edits.extra, self._drop)
        edits.drop |= self._drop
        claims = exchange.claims or {}
        for name, header in self._headers:
            value = _text(tokens.claim(claims, name))
            if value is not None:
                edits.add(header, value)
        if self._cookie and not self._forward and cookie(exchange, self._cookie) is not None:
            rest = without_cookie(exchange, self._cookie)
            edits.remove(b"cookie")
            if rest:
                edits.add(b"Cookie", rest)

    def _token(self, exchange: Exchange) -> bytes | None:
        """The token of a request, None if it has none. Raises `HttpError` 400 if it has several: a backend could read another one."""
        found: set[bytes | None] = set()
        if self._field:
            found.add(self._of_field(exchange))
        if self._cookie:
            found.add(cookie(exchange, self._cookie))
        if self._query:
            found.add(parameter(exchange, self._query))
        given = [token for token in found if token]
        if len(given) > 1:
            raise HttpError("jwt: more than one token", status=400, reason="http_request_error", blame=CLIENT)
        return given[0] if given else None

    def _of_field(self, exchange: Exchange) -> bytes | None:
        value = field(exchange, self._field)
        if value is None:
            return None
        scheme, space, token = value.strip(b" \t").partition(b" ")
        if space and scheme.lower() == b"bearer":
            return token.strip(b" ")
        return None if space or self._field == b"authorization" else scheme

    def _claims(self, token: bytes, now: float) -> dict[str, Any]:
        """The claims of a token. Raises `HttpError` 401. now: seconds since 1970."""
        digest = hashlib.blake2b(token, digest_size=32).digest()
        known = self._verified.get(digest)
        if known is not None and now < known[1]:
            return known[0]
        assert self._keys is not None
        try:
            found = tokens.verify(token, self._keys, self._rules, now)
        except tokens.Refused as refused:
            self._refused.count()
            if refused.unknown_key:
                self._unknown_key.count()
            raise self._refusal(401, f"jwt: {refused.words}", "invalid_token") from None
        if known is None and len(self._verified) >= _REMEMBERED:
            del self._verified[next(iter(self._verified))]
        self._verified[digest] = found
        return found[0]

    def _refusal(self, status: int, detail: str, error: str) -> HttpError:
        """error: the code of RFC 6750, section 3.1, "" if the request has no token."""
        challenge = f'{self._challenge}, error="{error}"' if error else self._challenge
        fields = ((b"WWW-Authenticate", challenge.encode("ascii")),)
        return HttpError(detail, status=status, reason="http_request_denied", blame=CLIENT, fields=fields)


class KeysUnknown(HttpError):
    """The keys that verify tokens have not been fetched yet."""

    status = 503
    blame = US
    reason = "destination_unavailable"

    def __init__(self) -> None:
        super().__init__("jwt: the keys that verify tokens are not known yet", retry_after=1)


def _keys(settings: JwtSettings) -> tuple[key_sets.Key, ...] | None:
    """The keys, None if they have not been fetched or read."""
    if settings.key is not None:
        return (key_sets.single(settings.key.get_secret_value()),)
    (source,) = settings.sources()
    octets = settings.contents.get(source.name)
    return None if octets is None else source.check(octets)  # type: ignore[return-value]


def _must_be_masked(query: str, place: Place) -> None:
    """Raises `ConfigError` if access lines would show this parameter."""
    service, location = place.service, place.location
    log = None if service is None else service.access_log
    if location is not None and location.access_log is not None:
        log = location.access_log
    if log is not None and log.path and query.lower() not in [key.lower() for key in log.redact_query]:
        words = f"reads tokens from the parameter `{query}`, which access lines show: name it in `access_log.redact_query`"
        raise place.problem(Jwt.name, words, "query")


def _has(value: Any, allowed: tuple[str, ...]) -> bool:
    """True if a claim has one of these values, or contains one."""
    found = value if isinstance(value, list) else [value]
    return not set(allowed).isdisjoint([_scalar(one) for one in found])


def _text(value: Any) -> bytes | None:
    """A claim as the value of a field, None if there is none."""
    if value is None:
        return None
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        value = ",".join(value)
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return text.encode("utf-8", "replace").translate(None, _CONTROLS)


_CONTROLS = bytes(octet for octet in range(32) if octet != 9) + b"\x7f" + ENDS
