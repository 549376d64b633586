"""The kinds of filters. Hooks are called in the order of their stages (`terraster.filters.contract.Stage`), and within a stage in this order.
The rules for headers have the last word about a head. Only what changes the body by the head, or looks at both, comes behind them."""

from __future__ import annotations

from .basic_auth import BasicAuth
from .buffer import Buffer
from .circuit_breaker import CircuitBreaker
from .compression import Compression
from .contract import Filter
from .cors import Cors
from .error_pages import ErrorPages
from .forward_auth import ForwardAuth
from .headers import Headers
from .ip_access import IpAccess
from .jwt import Jwt
from .limit_connections import LimitConnections
from .maintenance import Maintenance
from .mirror import Mirror
from .plugin import Plugin
from .rate_limit import RateLimit
from .redirect import Redirect
from .respond import Respond
from .security import Security
from .shed import Shed
from .slo import SloFilter
from .split import Split

__all__ = ["KINDS"]

KINDS: tuple[type[Filter], ...] = (
    IpAccess,
    Maintenance,
    Cors,
    Shed,
    LimitConnections,
    RateLimit,
    Redirect,
    BasicAuth,
    Jwt,
    ForwardAuth,
    Plugin,
    Respond,
    CircuitBreaker,
    SloFilter,
    ErrorPages,
    Buffer,
    Split,
    Security,
    Headers,
    Compression,
    Mirror,
)
