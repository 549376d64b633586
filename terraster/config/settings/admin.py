"""The management API and who may use it."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from .base import FilePath, Model, Networks, Port, Secret, SomeTime, Text, Whole, one_of
from .switches import OrWord, switched
from .tls import TlsSetting

__all__ = ["ApiRateLimit", "ApiSetting", "ApiSettings", "AuthSettings", "DatabaseSettings"]


class ApiRateLimit(Model):
    """How many requests one client may send to the management port."""

    requests_per_second: Annotated[float, Field(ge=0.0001, le=1_000_000)] = Field(description="Requests per second, lasting.")
    burst: Annotated[Whole, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="Requests at once after a pause. Default: one second's worth."
    )


class ApiSettings(Model):
    """Where the management API listens."""

    enabled: bool = Field(True, description="Open the management port.")
    host: Text | None = Field(
        None,
        description="Address to listen on, or a name: then requests with that Host only are answered, on all addresses if there is `tls` or "
        "`insecure`, else on loopback. Default: 127.0.0.1.",
    )
    port: Port | None = Field(None, description="Port of the management API. Default: `admin_port`, else 8081.")
    tls: TlsSetting | None = Field(None, description="TLS of the management port.")
    insecure: bool = Field(False, description="Allow plain HTTP on an address that others can reach.")
    audit_days: Annotated[Whole, Field(ge=1, le=36_500)] = Field(
        365, description="Days for which the audit log keeps its rows at least; it is removed in files of a month each."
    )
    allowed_ips: Networks = Field(
        (), description="Addresses and networks that may use the management port, as its socket has them. Default: all."
    )
    debug: bool = Field(False, description="Name the class of an exception in the answer to a request that failed by a defect.")
    rate_limit: ApiRateLimit | None = Field(
        None,
        description="How many requests one client may send to the management port; beyond it 429. `/healthz` and `/readyz` do not count.",
    )


ApiSetting = Annotated[ApiSettings, BeforeValidator(switched), OrWord()]


class DatabaseSettings(Model):
    """Where users and tokens are kept."""

    path: FilePath | None = Field(None, description="SQLite file; another spelling of `auth.db_path`.")


class AuthSettings(Model):
    """Users of the management API."""

    jwt_secret: Secret | None = Field(
        None,
        description="Secret that signs tokens, at least 32 octets; `file:/path` reads it from a file. A shorter or well-known one is not used. "
        "Default: one of this instance's own, kept in `state_dir`.",
    )
    db_path: FilePath | None = Field(
        None, description="SQLite file of users, sessions and tokens. Default: auth.db in `state_dir`."
    )
    password_min_length: Annotated[Whole, Field(ge=12, le=72)] | None = Field(
        None, description="Least number of characters in a password. Default: 12."
    )
    password_expiry_days: Annotated[Whole, Field(ge=0, le=36_500)] = Field(
        0, description="Days after which a password must be changed before anything else; 0: never."
    )
    password_history_limit: Annotated[Whole, Field(ge=0, le=24)] | None = Field(
        None, description="How many of a user's last passwords, the current one included, may not be used again. Default: 5."
    )
    password_history_size: Annotated[Whole, Field(ge=0, le=24)] | None = Field(
        None, description="Another spelling of `password_history_limit`."
    )
    token_cleanup_interval: SomeTime = Field(
        3600.0, description="Time between two removals of expired sessions and tokens. They are not accepted meanwhile."
    )

    @model_validator(mode="after")
    def _spelt_once(self) -> Self:
        one_of(self, "password_history_limit", "password_history_size")
        return self
