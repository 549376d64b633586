"""The management API's own listener: its addresses, its TLS, its users, and the problems of its settings.

It has certificates as a service has them. So they are read, watched, named and counted with those of services: `secured` has them all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from .auth import Auth
from .cipher_suites import is_of_tls13
from .listeners import host_address, management_address
from .messages import Complaint
from .settings import Settings
from .signing import fault
from .snapshot import Service, Snapshot, Tls

__all__ = ["NAME", "admin_addresses", "auth", "errors", "name", "rate", "refusals", "secured", "tls", "warnings"]

NAME = "management API"
"""Its name for operators, where the name of a service stands."""

_IDLE = ("next_protos", "http2", "default", "cert_dir", "auto_cert", "domains", "ocsp")  # keys of `tls` that mean nothing here


def tls(top: Settings) -> Tls | None:
    """TLS of the management port; None: it speaks plain HTTP, or there is none."""
    api = top.management()
    written = api.tls
    if not api.enabled or written is None or not written.enabled:
        return None
    return Tls(
        files=written.files(),
        min_version=written.min_version,
        ciphers=tuple(name for name in written.cipher_suites if not is_of_tls13(name)),
        tickets=not written.session_tickets_disabled,
    )


def secured(snapshot: Snapshot) -> tuple[Service, ...]:
    """The services with TLS; and the management API, if it has TLS, as if it were the last of them."""
    found = tuple([service for service in snapshot.services if service.tls is not None])
    return found if snapshot.admin_tls is None else (*found, Service(NAME, (), (), (), tls=snapshot.admin_tls))


def admin_addresses(snapshot: Snapshot) -> tuple[str, ...]:
    """The addresses that the admin worker listens on, the control socket apart."""
    return tuple(address for address in (snapshot.admin_listen, snapshot.metrics_listen) if address)


def refusals(top: Settings) -> Iterator[Complaint]:
    """TLS without a certificate: a start refuses it, and a check warns of it."""
    written = tls(top)
    if written is not None and not written.files:
        words = (
            "`tls` needs `cert_file` and `key_file` (it names no certificate): Terraster does not start with the management port"
        )
        yield (_section(top), "tls"), True, f"{words} {management_address(top)}"


def errors(top: Settings) -> Iterator[Complaint]:
    """Keys of `tls` that would protect less than they say, and two places for one database."""
    written = top.management().tls
    if written is not None and written.client_auth is not None:
        words = "`client_auth` does not work for the management API: its clients would not be asked for certificates; remove it"
        yield (_section(top), "tls", "client_auth"), True, words
    one, other = top.database and top.database.path, top.auth and top.auth.db_path
    if one and other and one != other:
        yield ("database", "path"), True, "`database.path` and `auth.db_path` mean the same, and name two files: keep one"


def warnings(top: Settings) -> Iterator[Complaint]:
    """Keys of `tls` that mean nothing here, and a secret that protects nothing. That never stops a start: another one signs in its place."""
    secret = top.auth.jwt_secret if top.auth is not None else None
    if secret is not None and (why := fault(secret.get_secret_value())):
        words = f"`jwt_secret` {why}: it is not used, and a secret of this instance's own, kept in `state_dir`, signs instead"
        yield ("auth", "jwt_secret"), False, words
    written = top.management().tls
    if written is None or not written.enabled:
        return
    for key in _IDLE:
        if key in written.model_fields_set and getattr(written, key):
            yield (_section(top), "tls", key), True, f"`{key}` has no effect on the management API"


def _section(top: Settings) -> str:
    return "api" if top.api is not None else "admin_api"


def name(top: Settings) -> str:
    """The only name in Host that the management port answers for, in lower case; "" = any."""
    host = top.management().host or ""
    return "" if not host or host_address(host) else host.strip().lower().removesuffix(".")


def rate(top: Settings) -> tuple[float, int] | None:
    """Requests per second and burst of one client; None: any number."""
    limit = top.management().rate_limit
    return None if limit is None else (limit.requests_per_second, limit.burst or math.ceil(limit.requests_per_second))


def auth(top: Settings, state_dir: str) -> Auth:
    """The users of the API. state_dir: where the database is if none is named"""
    path = top.database.path if top.database is not None else None
    written = top.auth
    if written is None:
        return Auth(database=path or f"{state_dir}/auth.db")
    histories = [one for one in (written.password_history_limit, written.password_history_size) if one is not None]
    secret = "" if written.jwt_secret is None else written.jwt_secret.get_secret_value()
    return Auth(
        secret="" if fault(secret) else secret,
        database=written.db_path or path or f"{state_dir}/auth.db",
        min_length=written.password_min_length or 12,
        expiry_days=written.password_expiry_days,
        history=histories[0] if histories else Auth().history,
        cleanup_interval=written.token_cleanup_interval,
    )
