"""When failed logins lock an account or an address. Pure: facts and a clock reading in, facts out.

An account is locked by `ACCOUNT` failures, whatever addresses they come from, and an address by `ADDRESS` failures, whatever accounts they
are for. A name that does not exist is counted like one that does, so a lock does not tell which names exist. A failure is forgotten when no
other follows within the window. A success forgets those of the account, but not those of the address: otherwise the owner of one account
could guess the passwords of others for ever.

Times are whole seconds since 1970, because they outlive the process. A record from the future (the clock was set back) counts for nothing.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

__all__ = ["ACCOUNT", "ADDRESS", "NONE", "Record", "Rule", "failed", "left", "network", "open_tries"]

_IPV6_PREFIX = 64


class Rule(NamedTuple):
    """most: failures that lock. window: seconds in which a failure counts after the last one. locked: seconds of the lock."""

    most: int
    window: int
    locked: int


ACCOUNT = Rule(5, 900, 900)
ADDRESS = Rule(50, 900, 900)


class Record(NamedTuple):
    """failures: how many, and last: when the last one was. until: the end of the lock, 0 for none."""

    failures: int
    last: int
    until: int


NONE = Record(0, 0, 0)


def left(record: Record, now: int) -> int:
    """The seconds that a lock still holds; 0: not locked."""
    return max(0, record.until - now) if record.last <= now else 0


def _counted(record: Record, rule: Rule, now: int) -> int:
    """The failures that still count."""
    stale = record.last > now or now - record.last > rule.window or (record.until and record.until <= now)
    return 0 if stale else record.failures


def open_tries(record: Record, rule: Rule, pending: int, now: int) -> bool:
    """True if another attempt may begin beside those under way. Each of them may turn out to be a failure."""
    return left(record, now) > 0 or _counted(record, rule, now) + pending < rule.most


def failed(record: Record, rule: Rule, now: int) -> Record:
    """The record after a failure. A lock that holds is not made longer."""
    if left(record, now):
        return record
    failures = _counted(record, rule, now) + 1
    return Record(failures, now, now + rule.locked if failures >= rule.most else 0)


def network(address: str) -> str:
    """The address as far as failures are concerned: an IPv6 client has a whole /64."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, _IPV6_PREFIX), strict=False))
