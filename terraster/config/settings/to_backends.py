"""TLS towards backends: the types of its keys, which a backend, a location, a service and the top have alike."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from .. import addresses

__all__ = ["TLS_KEYS", "ServerName", "check_key"]

TLS_KEYS = ("skip_tls_verify", "sni", "ca_file", "client_cert", "client_key")
"""The keys, of which each is inherited by itself; but a `client_cert` comes with its key."""


def _server_name(value: object) -> str:
    return addresses.server_name(value) if value != "" else ""


ServerName = Annotated[str, BeforeValidator(_server_name), WithJsonSchema({"type": "string"})]


def check_key(written: Any) -> None:
    """Raise ValueError for a `client_key` whose certificate is not written beside it."""
    if written.client_key and not written.client_cert:
        raise ValueError("has `client_key` without `client_cert`")
