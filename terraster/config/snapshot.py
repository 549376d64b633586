"""The Snapshot: one configuration as frozen values, ready to be compiled into a Plan in each process.

A Snapshot is what travels from the master to its children, so it holds plain immutable values only: no sockets, no greenlets, no
tables. Every inherited setting is resolved here (backend over location over service over global over default), so a
reader of a value never has to ask where it came from. Durations are seconds (float), sizes are octets (int). A timeout of 0 means "none".

The module is longer than 400 lines because it is one value, whose parts are read together.

Identity: what must survive a reload is keyed by stable ids. A backend's id is made of service name, location label and URL, a
location's of service name and label. The same text in two generations is the same thing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from terraster.wire.http2.limits import Limits as Http2Limits

from .alerting import Alerting
from .auth import Auth
from .authority import Acme
from .client_auth import ClientAuth
from .credentials import Certificate, Credentials, Staple
from .ids import backend_id, label, location_id
from .loggers import AccessLog, ProgramLogger
from .match import Match
from .min_rate import MinRate
from .plugin import Plugin
from .slo import Slo
from .tracing import Sampling, Tracing

if TYPE_CHECKING:
    from .settings.kinds import FilterSettings
    from .splitting import Split

__all__ = [
    "BACKUP",
    "AccessLog",
    "Alerting",
    "Auth",
    "Backend",
    "Breaker",
    "Certificate",
    "ConnectionPool",
    "Credentials",
    "Filters",
    "HealthCheck",
    "Http2Limits",
    "Limits",
    "Listener",
    "Location",
    "Outlier",
    "Plugin",
    "Queue",
    "Retry",
    "Service",
    "Snapshot",
    "Staple",
    "Statuses",
    "Sticky",
    "Timeouts",
    "backend_id",
    "location_id",
]


BACKUP = 1001
"""The priority of a `backup`: behind the last that can be written."""


Filters = tuple[tuple[str, "FilterSettings"], ...]
"""The filters of a place: names of kinds, and what holds for each of their entries there. Entries of one kind lie side by side, those that a
wider level wrote first."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """All in seconds, all but two idle-type (between two octets), 0 = none. ``tunnel`` also counts between octets, either way."""

    client_header: float = 30.0  # from the first octet of a head to its end (a total: it bounds slow-loris)
    client_body: float = 60.0
    keepalive: float = 75.0  # an idle client connection between two requests
    connect: float = 5.0
    response: float = 60.0  # from the request sent to the response head
    read: float = 60.0  # between two reads of a response body; also between two writes to the client
    tunnel: float = 3600.0
    total: float = 0.0  # the whole exchange, from the head to the last octet of the answer; the other total


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what a client may send. ``connections`` is per worker and only read at the top; 0 = none."""

    header_size: int = 32768  # octets of a whole head, request line included
    header_count: int = 100
    body_size: int = 0  # octets; 0 = unlimited
    connections: int = 0
    min_rate: MinRate = MinRate()


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How a backend is probed. ``type`` none: never probed, always taken as healthy."""

    type: Literal["http", "tcp", "grpc", "none"] = "http"
    path: str = "/health"
    interval: float = 10.0
    fast_interval: float = 2.0  # while the last probe contradicts the state; at most `interval`
    timeout: float = 2.0
    healthy: int = 2  # successes in a row that bring a down backend up
    unhealthy: int = 4  # failures in a row that take an up backend down
    skip_tls_verify: bool = False
    host: str = ""  # Host header; empty: the backend's own authority
    sni: str = ""  # TLS server name; empty: the backend's host name
    ca_file: str = ""  # this and the next two: "" = the backend's; what the files hold is in `Backend.probe_credentials`
    client_cert: str = ""
    client_key: str = ""
    status: tuple[tuple[int, int], ...] = ((200, 399),)  # inclusive ranges that count as healthy; redirects are never followed
    body: str = ""  # text that must occur in the first 64 KiB of the body; empty: not looked at
    port: int = 0  # 0: the backend's
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()  # names and values; they replace those that a probe sends by itself
    request_body: str = ""
    service: str = ""  # the service that `type: grpc` asks about; empty: the server as a whole


Statuses = tuple[tuple[int, int], ...]
"""Ranges of response statuses, both ends included."""


@dataclass(frozen=True, slots=True)
class Outlier:
    """When a backend is ejected for what traffic saw of it. A count of 0 and a ratio of 0.0 mean "not looked at"."""

    failures: int = 5  # attempts in a row without a proper response
    connect_errors: int = 3  # attempts in a row without a connection
    bad_statuses: int = 0  # responses in a row with one of `statuses`
    statuses: Statuses = ((502, 504),)
    ratio: float = 0.0  # share of attempts within `window` that failed or were answered with one of `statuses`, 0 … 1
    window: float = 10.0
    min_requests: int = 20  # attempts within `window` below which `ratio` is not looked at
    time: float = 10.0  # of the first ejection; the n-th in a row lasts n times as long
    max_time: float = 300.0
    max_ejected: float = 0.5  # share of a location's backends that may be ejected, counted with the one about to be


@dataclass(frozen=True, slots=True)
class Breaker:
    """The circuit of a backend: `threshold` failures in a row open it for `timeout`; then `probes` requests may try it."""

    threshold: int = 5
    timeout: float = 30.0
    probes: int = 1
    statuses: Statuses = ((500, 599),)  # that count as failures, beside attempts without a proper response


@dataclass(frozen=True, slots=True)
class Retry:
    """When an attempt that failed is followed by another one."""

    attempts: int = 3  # the first included
    on: Statuses = ()  # statuses that are tried again, where the method allows it
    idempotency_key: bool = False  # a request with the field Idempotency-Key counts as idempotent
    per_try_timeout: float = 0.0  # from the request sent to its response head; 0 = only the other timeouts
    budget: float = 0.2  # retries per request, over the last ten seconds or so
    min_per_second: float = 3.0  # retries that are allowed whatever the budget says, over all workers
    backoff: float = 0.025  # wait before the second retry, doubled for each further one, less up to a half by chance
    body_size: int = 65536  # octets of a request body that are kept to be sent again
    response_size: int = 0  # octets up to which a response of known length is held back until it is whole; 0 = never
    hedge: float = 0.0  # percentile of latency after which another backend is asked as well; 0 = never


@dataclass(frozen=True, slots=True)
class Queue:
    """Requests that wait for a backend with room, first come, first served."""

    size: int = 100  # over all workers; 0 = none may wait
    timeout: float = 5.0


@dataclass(frozen=True, slots=True)
class ConnectionPool:
    """Connections to one backend, over all workers."""

    max_idle: int = -1  # idle ones that are kept; -1 = 256 in each worker
    max_open: int = 0  # at once, busy or idle; 0 = no limit
    idle_timeout: float = 55.0


@dataclass(frozen=True, slots=True)
class Sticky:
    """The cookie that keeps a client at its backend."""

    name: str = ""  # "" = "terraster-" and something of the location's own
    path: str = ""  # "" = the location's
    domain: str = ""  # "" = none
    ttl: float = 0.0  # 0 = until the browser is closed
    secure: Literal["auto", "always", "never"] = "auto"  # auto: where the client came by https
    same_site: Literal["lax", "strict", "none", ""] = "lax"
    algorithm: str = "round-robin"  # how the backend of a new session is chosen
    key: bytes = field(default=b"", repr=False)  # what the cookies are signed with


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
    priority: int = 0  # tier; the lowest is used first, the next where no backend of it has room; `backup` is BACKUP
    srv: bool = False  # `host` names SRV records that say which hosts and ports; `port` is 0 until they are known
    address: str = ""  # the IP address that `host` was resolved to; "" where it is one itself, or is not resolved; or "unix:/path"
    endpoint: str = ""  # which of several of the same URL; the id ends in "@" and this
    name: str = ""  # what people call it; its identity is the id
    send_proxy: Literal["", "v1", "v2"] = ""  # version of the PROXY header that its connections begin with
    credentials: Credentials = field(default_factory=Credentials)  # an https backend's
    probe_credentials: Credentials = field(default_factory=Credentials)  # those of health checks
    slot: int = -1

    @property
    def label(self) -> str:
        """Its URL, and which of several endpoints it is."""
        return f"{self.url} ({self.endpoint})" if self.endpoint else self.url

    @property
    def display(self) -> str:
        """The backend in texts for operators: its label, after its name if it has one."""
        return f"{self.name} ({self.label})" if self.name else self.label

    @property
    def socket(self) -> str:
        """The path of its unix socket, "" if it has none."""
        return self.address[5:] if self.address.startswith("unix:") else ""

    @property
    def authority(self) -> str:
        """Host and port, as a Host field names them. A backend on a unix socket has no port, and is called localhost."""
        if self.address.startswith("unix:"):
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Departed:
    """Counters of endpoints that DNS no longer returns, kept so that the URL's totals never decrease. Made by
    `terraster.state.leases`."""

    url: str
    sums: tuple[int, ...] = ()  # `Table.backend_counters` of slots that were given back, added up
    slots: tuple[tuple[str, int], ...] = ()  # ids and slots whose counters may still grow


@dataclass(frozen=True, slots=True)
class Location:
    """One path of a service. Exactly one of backends / redirect / https redirect decides what happens to a request."""

    id: str
    path: str  # canonical, starts with "/"; a prefix on segment boundaries
    policy: str = "round-robin"  # canonical spelling, with "-"
    rewrite: str = ""  # replaces the matched prefix in what is forwarded; "" = keep
    rewrites: tuple[tuple[str, str], ...] = ()  # patterns and the paths in their place; they come before `rewrite`
    redirect: str = ""  # see docs/configuration.md, `redirect`; "" = none
    http_redirect: bool = False  # plain-HTTP requests go to https
    backends: tuple[Backend, ...] = ()
    hash_on: str = "client-ip"  # or "path", "header:NAME", "cookie:NAME", "query:NAME"; consistent-hash only
    hash_balance_factor: float = 0.0  # a backend gets at most so many times its fair share at once; 0 = no bound
    sticky: Sticky = field(default_factory=Sticky)  # sticky-session only
    slow_start: float = 0.0  # seconds over which a backend that comes (back) gets more and more
    panic_threshold: float = 0.0  # share of healthy backends below which all are used, 0 … 1
    outlier: Outlier | None = field(default_factory=Outlier)
    breaker: Breaker | None = None
    slo: Slo | None = None
    retry: Retry = field(default_factory=Retry)
    queue: Queue = field(default_factory=Queue)
    pool: ConnectionPool = field(default_factory=ConnectionPool)
    filters: Filters = ()
    timeouts: Timeouts | None = None  # here and in the next three None means: the service's
    body_size: int | None = None
    min_rate: MinRate | None = None
    access_log: AccessLog | None = None
    ignore_client_abort: bool | None = None
    split: Split | None = None  # its requests go to the locations of the arms, and it has no backends
    arm: str = ""  # the name of the arm that it is of another location with the same path (`terraster.config.splitting`)
    match: Match | None = None  # conditions beside the path; None: none
    mark: str = ""  # tells it from other locations of its path
    slot: int = -1
    departed: tuple[Departed, ...] = ()

    @property
    def label(self) -> str:
        """Its path, and what tells it from others of its path."""
        return label(self.path, self.mark)

    @property
    def place(self) -> str:
        """Its label in texts for operators; an arm's with its name."""
        return label(self.label, self.arm)

    @property
    def forwards(self) -> bool:
        """True if requests go to backends, its own or those of arms."""
        return bool(self.backends) or self.split is not None


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening address. ``address``: "127.0.0.1:8080", "[::1]:8080", ":8080" (all addresses, v4 and v6) or "unix:/path"."""

    address: str
    tls: bool = False
    proxy_protocol: bool = False
    slot: int = -1  # with ``tls``: a location's slot of the shared table, in which its handshakes are counted
    http2: Http2Limits | None = None  # without ``tls``: of clients that begin with HTTP/2; None: it is not spoken there

    @property
    def id(self) -> str:
        """The stable id of its slot. No location has this one."""
        return f"TLS listener {self.address}"


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS towards the clients of a service."""

    files: tuple[tuple[str, str], ...] = ()  # certificate and key, absolute names
    min_version: Literal["1.2", "1.3"] = "1.2"
    ciphers: tuple[str, ...] = ()  # of TLS 1.2, OpenSSL's names; () = Mozilla's "intermediate"
    tickets: bool = True
    protocols: tuple[str, ...] = ("http/1.1",)  # ALPN, best first
    default: bool = False  # takes clients whose name no service on the listener has
    client_auth: ClientAuth | None = None  # None: clients are not asked for certificates
    folders: tuple[str, ...] = ()  # searched for certificates of hosts that `files` do not cover, in this order
    certificates: tuple[Certificate, ...] = ()  # of `files`, then the obtained one, then those of `folders`; filled by the master
    domains: tuple[str, ...] = ()  # names of a certificate that is obtained by ACME
    challenge: str = ""  # how they are proved: "http-01", "tls-alpn-01", "dns-01"
    ocsp: str = ""  # where OCSP responses come from: "fetch", or an absolute file name; "" = none are sent
    staples: tuple[Staple, ...] = ()  # filled by the master; certificates without a response are left out

    def admission(self) -> tuple[object, ...]:
        """The settings that decide which clients the service admits. A handshake with others is not for it (RFC 9110, section 15.5.20)."""
        return self.min_version, self.ciphers, None if self.client_auth is None else self.client_auth.admission()


@dataclass(frozen=True, slots=True)
class Service:
    """A virtual host. ``hosts``: lower case, exact, "*.example.com", "*" or "~" and an expression; ``listeners``: its addresses."""

    name: str
    hosts: tuple[str, ...]
    listeners: tuple[str, ...]
    locations: tuple[Location, ...]
    http_redirect: bool = False
    redirect_port: int = 443
    filters: Filters = ()  # of answers that are made before a location is known
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    access_log: AccessLog = field(default_factory=AccessLog)
    encoded_slashes: Literal["keep", "refuse", "auto"] = "auto"  # auto: refuse if the locations differ in their access filters
    merge_slashes: bool = True
    underscores: Literal["drop", "pass"] = "drop"
    strict_responses: bool = False
    ignore_client_abort: bool = False  # True: a client's EOF while its backend works is taken for a half-close, not for leaving
    tls: Tls | None = None  # None: served in clear
    http2: Http2Limits | None = None  # over TLS; in clear those of the listener count. None: not spoken
    tracing: Sampling | None = None  # None: no request is recorded


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
    admin_tls: Tls | None = None  # of the management port; None: it speaks plain HTTP
    auth: Auth = Auth()  # users of the API there
    admin_rate: tuple[float, int] | None = None  # requests per second and burst of one client there; None: any
    audit_days: int = 365  # for which rows of the audit log are kept at least
    admin_allowed: tuple[str, ...] = ()  # networks of its clients; () = all
    admin_host: str = ""  # the only name in Host that it answers for; "" = any
    admin_debug: bool = False  # failures name the exception's class
    metrics_listen: str = "127.0.0.1:9090"  # "" = no separate metrics port
    runtime_dir: str = "/run/terraster"
    state_dir: str = "/var/lib/terraster"
    tcp_keepalive: float = 60.0  # seconds of silence before the kernel's first keepalive probe; 0 = no probes
    drain_timeout: float = 30.0  # seconds SIGTERM waits for open requests
    drain_delay: float = 0.0  # seconds before that in which everything goes on and readyz says 503
    drain_jitter: float = 10.0  # seconds over which the tunnels of an old location end
    max_generations: int = 16  # old generations that a worker keeps for connections
    orphan_timeout: float = 30.0  # seconds that workers serve on after the master died; 0 = they leave at once
    log_level: str = "info"
    program_log: ProgramLogger = field(default_factory=ProgramLogger)
    access_log: AccessLog = field(default_factory=AccessLog)  # for requests that no service took
    filters: Filters = ()  # of answers that are made before a service is known
    plugins: tuple[Plugin, ...] = ()  # those that a service uses, by name
    ticket_key_lifetime: float = 43200.0  # seconds after which session tickets are written with another key
    certificate_check: float = 30.0  # seconds between two looks at the files of certificates
    certificate_threshold: float = 30 * 86400.0  # seconds before its end from which on a certificate is expiring
    alerting: Alerting | None = None  # None: no mail
    acme: Acme | None = None  # None: no service needs it
    tracing: Tracing | None = None  # where spans go; None: no request is recorded
    sampling: Sampling | None = None  # of requests that no service took; None: none is recorded
    nameservers: tuple[str, ...] = ()  # "IP" or "IP:PORT" that names of backends are asked of; () = the system's
    warnings: tuple[str, ...] = ()  # "FILE:LINE:COL: `weight` has no effect …", shown once at start and on --check
