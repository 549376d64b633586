"""The Snapshot: one configuration as frozen values, ready to be compiled into a Plan in each process.

A Snapshot is what travels from the master to its children, so it holds plain immutable values only: no sockets, no greenlets, no
tables. Every inherited setting is resolved here (backend over location over service over global over default), so whoever reads a
value never has to ask where it came from. Durations are seconds (float), sizes are octets (int). A timeout of 0 means "none".

Identity: what must survive a reload is keyed by stable ids. A backend's id is made of service name, location path and URL, a
location's of service name and path. The same text in two generations is the same thing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = [
    "AccessLog",
    "Backend",
    "HeaderRules",
    "HealthCheck",
    "Limits",
    "Listener",
    "Location",
    "Service",
    "Snapshot",
    "Timeouts",
    "backend_id",
    "location_id",
]


def location_id(service: str, path: str) -> str:
    """The stable id of a location."""
    return f"{service}{path}"


def backend_id(service: str, path: str, url: str) -> str:
    """The stable id of a backend: its service, its location, its URL."""
    return f"{service}{path} {url}"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """All in seconds, all idle-type (between two octets), 0 = none. ``tunnel`` also counts between octets, either way."""

    client_header: float = 30.0  # from the first octet of a head to its end (the one total: it bounds slow-loris)
    client_body: float = 60.0
    keepalive: float = 75.0  # an idle client connection between two requests
    connect: float = 5.0
    response: float = 60.0  # from the request sent to the response head
    read: float = 60.0  # between two reads of a response body; also between two writes to the client
    tunnel: float = 3600.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what a client may send. ``connections`` is per worker and only read at the top; 0 = none."""

    header_size: int = 32768  # octets of a whole head, request line included
    header_count: int = 100
    body_size: int = 0  # octets; 0 = unlimited
    connections: int = 0


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How a backend is probed. ``type`` none: never probed, always taken as healthy."""

    type: Literal["http", "tcp", "none"] = "http"
    path: str = "/health"
    interval: float = 10.0
    timeout: float = 2.0
    healthy: int = 2  # successes in a row that bring a down backend up
    unhealthy: int = 4  # failures in a row that take an up backend down
    skip_tls_verify: bool = False
    host: str = ""  # Host header; empty: the backend's own authority
    sni: str = ""  # TLS server name; empty: the backend's host name
    status: tuple[tuple[int, int], ...] = ((200, 399),)  # inclusive ranges that count as healthy; redirects are never followed
    body: str = ""  # text that must occur in the first 64 KiB of the body; empty: not looked at


@dataclass(frozen=True, slots=True)
class Backend:
    """One upstream. ``slot`` is its place in the shared table, leased by the master (-1: not leased yet)."""

    id: str
    url: str
    scheme: Literal["http", "https"]
    host: str  # without brackets for IPv6
    port: int
    base_path: str = ""  # "" or "/x" without a trailing slash; put before the path that is forwarded
    weight: int = 1  # 0: takes no new work
    max_connections: int = 0  # requests at once over all workers; 0 = no limit
    skip_tls_verify: bool = False
    sni: str = ""
    http2: bool = False
    health: HealthCheck = field(default_factory=HealthCheck)
    slot: int = -1

    @property
    def authority(self) -> str:
        """Host and port, as a Host field names them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class HeaderRules:
    """Edits of forwarded heads. Values may hold ``${remote_addr}`` ``${host}`` ``${uri}`` ``${method}``. Removal before setting."""

    set_request: tuple[tuple[str, str], ...] = ()
    remove_request: tuple[str, ...] = ()
    set_response: tuple[tuple[str, str], ...] = ()
    remove_response: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AccessLog:
    """Where a service's access lines go. ``path``: "" = off, "-" = standard output, else a file. ``format``: "json", the name of a
    format, or a format string."""

    path: str = "-"
    format: str = "json"
    fields: tuple[str, ...] = ()  # json: the fields to write, () = all
    redact_query: tuple[str, ...] = ("password", "token", "access_token", "refresh_token", "api_key", "secret")
    mask: str = "****"


@dataclass(frozen=True, slots=True)
class Location:
    """One path of a service. Exactly one of backends / redirect / https redirect decides what happens to a request."""

    id: str
    path: str  # canonical, starts with "/"; a prefix on segment boundaries
    policy: str = "round-robin"  # canonical spelling, with "-"
    rewrite: str = ""  # replaces the matched prefix in what is forwarded; "" = keep
    redirect: str = ""  # see docs/configuration.md, `redirect`; "" = none
    http_redirect: bool = False  # plain-HTTP requests go to https
    backends: tuple[Backend, ...] = ()
    slot: int = -1


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening address. ``address``: "127.0.0.1:8080", "[::1]:8080", ":8080" (all addresses, v4 and v6) or "unix:/path"."""

    address: str
    tls: bool = False
    proxy_protocol: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    """A virtual host. ``hosts``: lower case, exact, "*.example.com" or "*"; ``listeners``: addresses it answers on."""

    name: str
    hosts: tuple[str, ...]
    listeners: tuple[str, ...]
    locations: tuple[Location, ...]
    http_redirect: bool = False
    redirect_port: int = 443
    headers: HeaderRules = field(default_factory=HeaderRules)
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    access_log: AccessLog = field(default_factory=AccessLog)
    encoded_slashes: Literal["keep", "refuse"] = "keep"
    ignore_client_abort: bool = False  # True: a client's EOF while its backend works is taken for a half-close, not for leaving


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One whole configuration. ``generation`` counts from 1 and grows by one with each applied reload."""

    generation: int
    listeners: tuple[Listener, ...]
    services: tuple[Service, ...]
    workers: int = 1
    trusted_proxies: tuple[str, ...] = ()  # CIDRs whose X-Forwarded-* and PROXY headers are believed
    limits: Limits = field(default_factory=Limits)  # the global ones: heads are read before a service is known
    timeouts: Timeouts = field(default_factory=Timeouts)  # likewise
    admin_listen: str = "127.0.0.1:8081"  # "" = no management port
    admin_tls: bool = False  # the management port must speak TLS: where that is not there yet, it must not be opened
    metrics_listen: str = "127.0.0.1:9090"  # "" = no separate metrics port
    runtime_dir: str = "/run/terraster"
    state_dir: str = "/var/lib/terraster"
    drain_timeout: float = 30.0  # seconds SIGTERM waits for open requests
    log_level: str = "info"
    access_log: AccessLog = field(default_factory=AccessLog)  # for requests that no service took
    warnings: tuple[str, ...] = ()  # "FILE:LINE:COL: `tls` is not in effect yet", shown once at start and on --check
