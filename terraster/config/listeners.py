"""The addresses that a service answers on, and whether they speak TLS: one rule for the checks and for the resolver.

A service's own `port` and `listen` come first. Without them the top's count: `listen`, and `port`, in whose place `http_port`
stands for a service without TLS and `https_port` for one with it. If the top says nothing either: port 8080, or 443 with TLS.
The top's `tls` covers the services on the top's addresses that have no `tls` of their own. A TLS service without addresses of
its own that redirects plain HTTP listens on the top's `http_port` too.
"""

from __future__ import annotations

import ipaddress

from . import addresses
from .settings import MetricsSettings, ServiceSettings, Settings

__all__ = ["Rule", "host_address", "management_address", "metrics_address", "same_place"]


class Rule:
    """The rule for one configuration's top; `of` answers for each service."""

    def __init__(self, top: Settings) -> None:
        self._top_tls = top.tls is not None and top.tls.enabled
        listen = top.listen or ()
        self._clear = _with_port(listen, top.http_port or top.port) or (":8080",)
        self._secret = _with_port(listen, top.https_port or top.port) or (":443",)
        self._http_port = f":{top.http_port}" if top.http_port else ""
        self._proxy_protocol = top.proxy_protocol

    def tls(self, service: ServiceSettings) -> bool:
        """True if the service is for TLS clients."""
        if service.tls is not None:
            return service.tls.enabled
        if not self._top_tls:
            return False
        own = _with_port(service.listen or (), service.port)
        return all(address in self._secret for address in own)

    def of(self, service: ServiceSettings) -> tuple[tuple[str, bool], ...]:
        """The service's addresses, each with whether it speaks TLS there."""
        tls = self.tls(service)
        own = _with_port(service.listen or (), service.port)
        if own:
            return tuple((address, tls) for address in own)
        if not tls:
            return tuple((address, False) for address in self._clear)
        found = tuple((address, True) for address in self._secret)
        redirects = service.http_redirect or any(location.http_redirect for location in service.locations)
        if redirects and self._http_port and self._http_port not in self._secret:
            return (*found, (self._http_port, False))
        return found

    def proxy_protocol(self, service: ServiceSettings) -> bool:
        """True if its listeners expect a PROXY header."""
        return self._proxy_protocol if service.proxy_protocol is None else service.proxy_protocol


def _with_port(listen: tuple[str, ...], port: int | None) -> tuple[str, ...]:
    if not port or f":{port}" in listen:
        return listen
    return (*listen, f":{port}")


def management_address(top: Settings) -> str:
    """The address of the management API; "" for none. If `host` is a name, that is all addresses with TLS or `insecure`, else loopback."""
    api = top.management()
    if not api.enabled:
        return ""
    port = api.port or top.admin_port or 8081
    host = host_address(api.host or "127.0.0.1")
    if not host:
        if api.insecure or (api.tls is not None and api.tls.enabled):
            return f":{port}"
        host = "127.0.0.1"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def host_address(host: str) -> str:
    """The address that `api.host` is, or "" if it is a name. "localhost" is 127.0.0.1."""
    text = host.strip().lower().removeprefix("[").removesuffix("]")
    if text == "localhost":
        return "127.0.0.1"
    if text == "*":
        return "0.0.0.0"
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""


def metrics_address(top: Settings) -> str:
    """Where metrics are scraped beside the management port; "" for nowhere."""
    return (top.metrics or MetricsSettings.model_validate({})).listen


def same_place(one: str, other: str) -> bool:
    """True if two canonical addresses cannot both be bound."""
    return one == other or addresses.overlap(one, other)
