"""Look-ups of names in the master: the hosts file, then DNS, with the time that an answer may be used.

The system's resolver (`getaddrinfo`) tells no TTL, so DNS is asked here. dnspython makes and reads the messages; the sockets are
the master's own, cooperative ones: no threads, and only the greenlet that asks waits.

    hosts file ─▶ localhost (RFC 6761) ─▶ DNS ─▶ what else the system knows

- The hosts file and resolv.conf are read again when they have changed.
- Each server has one second in a first round and two in a second; the one that answered last is asked first. A server that answers
  with a failure (SERVFAIL, REFUSED …) is passed over, and octets that do not answer the question are ignored.
- Answers over UDP may have 1232 octets (EDNS, RFC 6891): seventy addresses or so. A truncated answer is asked for again over TCP
  (RFC 7766). A server that does not understand EDNS is asked without, and so is every server in the second round.
- The search list of resolv.conf counts, with its ``ndots``. With name servers of Terraster's own there is none: names are whole.
- CNAMEs are followed within an answer, and by further questions where the answer lacks the target; the least TTL of the chain counts
  (RFC 1034, 3.6.2).
- A and AAAA are asked for at the same time. Once one of them brought usable addresses, the other one is waited for 50 ms only (RFC 8305, 3).
  An answer that comes later is used by the next look-up, which is made soon.
- An AAAA counts where the kernel has a way to it (RFC 6724, rule 1), a loopback one only where there is no A.
- SRV as in RFC 2782; the targets are looked up like any other name.
- A name that does not exist in DNS is looked up by gevent's resolver (c-ares) before it counts as absent. Names that only NSS modules know
  (mDNS) are not found: such modules need threads, and the master has none, as it forks.

Master only; every call may wait.

The module is longer than 400 lines because a look-up tries its sources in one order, and they share their rules on late answers.
"""

from __future__ import annotations

import ipaddress
import math
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import gevent
from gevent import get_hub
from gevent import socket as green

from terraster.later import Later

from .resolv_conf import SystemFile, is_address, parse_hosts, parse_resolv_conf

if TYPE_CHECKING:
    import dns.exception
    import dns.flags
    import dns.message
    import dns.name
    import dns.rcode
    import dns.rdatatype
else:
    dns = Later("dns")

__all__ = ["Resolution", "Endpoint", "Resolver", "Unresolved"]

_ROUNDS = (1.0, 2.0)  # seconds that each server has, by round
_SYSTEM = 3.0  # seconds that the system's resolver has
_FOREVER = 10.0  # seconds that an answer without a TTL is used
_MOST_WEIGHT = 256  # that SRV weights are scaled to; more would cost a hash ring dear and say nothing more
_DATAGRAM = 65535
_PORT = 53
_PAYLOAD = 1232  # octets over UDP that are not fragmented on the way (DNS flag day 2020)
_RESOLUTION_DELAY = 0.05  # seconds that the addresses of one family wait for the other's
_SOON = 5.0  # seconds that an answer is used at most while it is not known whether there is another family
_LONGEST_CHAIN = 8  # questions that a chain of CNAMEs may take


class Unresolved(Exception):
    """A look-up that failed; the text completes "the name … does not resolve:"."""


class _Late(Unresolved):
    """A look-up that is not over."""


class _Absent(Unresolved):
    """DNS says that there is no such name, or nothing of the kind asked for."""


_Attempt = tuple[list[str], float] | Unresolved  # addresses and their time to live


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One address of a name. ``target`` and ``port``: of an SRV record, else "" and 0. ``weight`` is at least 1."""

    address: str
    target: str = ""
    port: int = 0
    weight: int = 1
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Resolution:
    """``endpoints``: sorted, never empty. ``ttl``: seconds that the answer may be used, as it came."""

    endpoints: tuple[Endpoint, ...]
    ttl: float


class Resolver:
    """Looks names up.

    nameservers: "IP", "IP:PORT" or "[IPv6]:PORT" each; () = those of resolv.conf
    """

    def __init__(
        self, nameservers: Sequence[str] = (), *, resolv_conf: str = "/etc/resolv.conf", hosts: str = "/etc/hosts"
    ) -> None:
        self.nameservers = tuple(nameservers)
        self._system = SystemFile(resolv_conf, parse_resolv_conf)
        self._hosts = SystemFile(hosts, parse_hosts)
        self._last_good = ""
        self._sockets: set[int] = set()
        self._plain: set[str] = set()  # servers that do not understand EDNS
        self._late: dict[tuple[str, str], _Attempt] = {}  # by name and kind: answers that nobody waited for

    def abandon(self) -> None:
        """In a forked child: close the descriptors of look-ups under way; see `Probing.abandon`."""
        for fd in self._sockets:
            os.close(fd)
        self._sockets = set()

    def addresses(self, name: str, before: Iterable[Endpoint] = ()) -> Resolution:
        """The addresses of a host name (lower case). Raises `Unresolved`. ``before``: the last good answer, of which the addresses
        of a family stay if the look-up of that family alone fails."""
        if known := self._of_hosts(name):
            return Resolution(_endpoints(known), _FOREVER)
        kinds = ("A", "AAAA")
        asking = [gevent.spawn(self._attempt, name, kind) for kind in kinds]
        try:
            first = gevent.wait(asking, count=1)[0].get()
            gevent.wait(asking, timeout=_RESOLUTION_DELAY if _is_usable(first) else None)
        except BaseException:
            gevent.killall(asking)
            raise
        found = [self._now_or_before(name, kind, one) for kind, one in zip(kinds, asking, strict=True)]
        failures = [one for one in found if isinstance(one, Unresolved)]
        ttl, addresses = math.inf, []
        for version, one in zip((4, 6), found, strict=True):
            if isinstance(one, tuple):
                ttl = min(ttl, one[1])
                addresses += one[0]
            elif not isinstance(one, _Absent):
                addresses += [place.address for place in before if ipaddress.ip_address(place.address).version == version]
        if any(isinstance(one, _Late) for one in found):
            ttl = min(ttl, _SOON)
        if ttl == math.inf:
            if not all(isinstance(one, _Absent) for one in failures):
                raise next(one for one in failures if not isinstance(one, _Absent))
            if self.nameservers:
                raise failures[0]
            return Resolution(_endpoints(self._ask_the_system(name, failures[0])), _FOREVER)
        return Resolution(_endpoints(addresses), ttl)

    def _now_or_before(self, name: str, kind: str, asking: gevent.Greenlet[..., _Attempt]) -> _Attempt:
        """The result of an attempt. If it is not over: the result of the last late one, and this one is noted when it is over."""
        if asking.ready():
            self._late.pop((name, kind), None)
            brought: _Attempt = asking.get()
            return brought
        asking.link_value(partial(self._came_late, name, kind))
        return self._late.get((name, kind), _Late("no answer yet"))

    def _came_late(self, name: str, kind: str, asking: gevent.Greenlet[..., _Attempt]) -> None:
        self._late[name, kind] = asking.get()

    def services(self, name: str, before: Iterable[Endpoint] = ()) -> Resolution:
        """The endpoints of the SRV records of a name. Raises `Unresolved`. A target that does not resolve keeps what it had in
        ``before``, or is left out."""
        records, ttl = self._resolve(name, "SRV")
        kept: dict[str, list[Endpoint]] = {}
        for one in before:
            kept.setdefault(one.target, []).append(one)
        named = [(_text(record.target), record) for record in records if record.target != dns.name.root]
        if not named:
            raise _Absent("its SRV records say that there is no such service")
        asked = {target: gevent.spawn(self._of_target, target, kept.get(target, ())) for target, _record in named}
        try:
            gevent.joinall(asked.values())
        finally:
            gevent.killall(asked.values())
        weights = _scaled([record.weight for _target, record in named])
        endpoints: list[Endpoint] = []
        failure: Unresolved | None = None
        for (target, record), weight in zip(named, weights, strict=True):
            answer = asked[target].get()
            if isinstance(answer, Unresolved):
                failure = answer
                continue
            ttl = min(ttl, answer.ttl)
            endpoints.extend(Endpoint(one.address, target, record.port, weight, record.priority) for one in answer.endpoints)
        if not endpoints:
            raise Unresolved(f"none of its SRV targets resolves: {failure}")
        return Resolution(tuple(sorted(_merged(endpoints))), ttl)

    def _of_target(self, target: str, before: Iterable[Endpoint]) -> Resolution | Unresolved:
        try:
            return Resolution(_endpoints([target]), _FOREVER) if is_address(target) else self.addresses(target, before)
        except Unresolved as error:
            known = [one.address for one in before]
            return error if isinstance(error, _Absent) or not known else Resolution(_endpoints(known), 1.0)

    def _attempt(self, name: str, kind: str) -> _Attempt:
        try:
            records, ttl = self._resolve(name, kind)
        except Unresolved as error:
            return error
        return [record.address for record in records], ttl

    def _resolve(self, name: str, kind: str) -> tuple[list[Any], float]:
        """The records of one kind, by the search list, and the seconds they may be used. Raises `Unresolved`."""
        absent: Unresolved | None = None
        for candidate in self._candidates(name):
            try:
                return self._query(candidate, kind)
            except _Absent as error:
                absent = absent or error
        raise absent or Unresolved("DNS cannot be asked for a name like this")

    def _candidates(self, name: str) -> list[dns.name.Name]:
        try:
            asked = dns.name.from_text(name, None)
        except dns.exception.DNSException:
            return []
        if asked.is_absolute():
            return [asked]
        system = self._system.read()
        searched = []
        for suffix in () if self.nameservers else system.search:
            try:
                searched.append(asked.concatenate(suffix))
            except dns.exception.DNSException:
                continue  # longer than a name can be
        whole = asked.concatenate(dns.name.root)
        return [whole, *searched] if name.count(".") >= system.ndots else [*searched, whole]

    def _query(self, name: dns.name.Name, kind: str) -> tuple[list[Any], float]:
        """Ask for the records of a name, and of the name that it stands for. Raises `_Absent` when a server says so, else `Unresolved` with
        what the last server did."""
        ttl = math.inf
        for _ in range(_LONGEST_CHAIN):
            records, life, name = self._query_once(name, kind)
            ttl = min(ttl, life)
            if records:
                return records, ttl
        raise Unresolved("its chain of names has no end")

    def _query_once(self, name: dns.name.Name, kind: str) -> tuple[list[Any], float, dns.name.Name]:
        """Ask the servers in turn. The records, the seconds they may be used, and the name that has them: where there is a name but no
        records, that one is to be asked for. Raises as `_query`."""
        servers = list(self.nameservers or self._system.read().servers)
        servers.sort(key=lambda server: server != self._last_good)
        why = "there is no name server"
        for number, seconds in enumerate(_ROUNDS):
            for server in servers:
                try:
                    reply = self._ask(server, name, kind, seconds, edns=number == 0)
                except TimeoutError:
                    why = f"no answer from name server {server}"
                    continue
                except OSError as error:
                    why = f"name server {server} cannot be asked: {(error.strerror or str(error)).lower()}"
                    continue
                if reply.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                    why = f"name server {server} answers {dns.rcode.to_text(reply.rcode())}"
                    continue
                self._last_good = server
                if reply.rcode() == dns.rcode.NXDOMAIN:
                    raise _Absent("there is no such name")
                try:
                    chain = reply.resolve_chaining()
                except dns.exception.DNSException:
                    why = f"name server {server} answers with a chain of names that has no end"
                    continue
                if chain.answer is None and (chain.canonical_name == name or _denies(reply)):
                    raise _Absent(f"it has no {kind} record" if kind == "SRV" else "it has no address")
                return list(chain.answer or ()), float(chain.minimum_ttl), chain.canonical_name
        raise Unresolved(why)

    def _ask(self, server: str, name: dns.name.Name, kind: str, seconds: float, *, edns: bool) -> dns.message.QueryMessage:
        """One question to one server, twice if it does not understand EDNS. Raises OSError; TimeoutError, one of them, when it does not
        answer in time."""
        edns = edns and server not in self._plain
        query = dns.message.make_query(name, kind, use_edns=0 if edns else -1, payload=_PAYLOAD)
        address = _server_address(server)
        with gevent.Timeout(seconds, TimeoutError()):
            reply = self._over_udp(address, query)
            if edns and reply.rcode() in (dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS):
                self._plain.add(server)
                query = dns.message.make_query(name, kind)
                reply = self._over_udp(address, query)
            if reply.flags & dns.flags.TC:
                reply = self._over_tcp(address, query)
        return reply

    def _over_udp(self, address: tuple[str, int], query: dns.message.Message) -> dns.message.QueryMessage:
        # The socket is connected: the kernel drops what comes from elsewhere, and tells at once where nobody listens.
        with self._socket(address, socket.SOCK_DGRAM) as asking:
            asking.connect(address)
            asking.send(query.to_wire())
            while True:
                reply = _read(asking.recv(_DATAGRAM), query)
                if reply is not None:
                    return reply

    def _over_tcp(self, address: tuple[str, int], query: dns.message.Message) -> dns.message.QueryMessage:
        with self._socket(address, socket.SOCK_STREAM) as asking:
            asking.connect(address)
            wire = query.to_wire()
            asking.sendall(struct.pack("!H", len(wire)) + wire)
            with asking.makefile("rb") as stream:
                while True:
                    size = stream.read(2)
                    data = stream.read(*struct.unpack("!H", size)) if len(size) == 2 else b""
                    if not data:
                        raise OSError("it closed the connection")
                    reply = _read(data, query)
                    if reply is not None:
                        return reply

    @contextmanager
    def _socket(self, address: tuple[str, int], kind: int) -> Iterator[green.socket]:
        asking = green.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, kind)
        fd = asking.fileno()
        self._sockets.add(fd)
        try:
            yield asking
        finally:
            asking.close()
            self._sockets.discard(fd)

    def _of_hosts(self, name: str) -> list[str]:
        name = name.removesuffix(".")
        if known := self._hosts.read().get(name):
            return known
        return ["127.0.0.1"] if name == "localhost" or name.endswith(".localhost") else []

    def _ask_the_system(self, name: str, failure: Unresolved) -> list[str]:
        try:
            with gevent.Timeout(_SYSTEM, TimeoutError("name resolution")):
                found = get_hub().resolver.getaddrinfo(name, None, 0, socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise failure from None
        return [str(address[0]) for _family, _kind, _protocol, _name, address in found if is_address(str(address[0]))]


def _read(data: bytes, query: dns.message.Message) -> dns.message.QueryMessage | None:
    """A message, if it is the answer to a question."""
    try:
        reply = dns.message.from_wire(data, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return None
    return reply if isinstance(reply, dns.message.QueryMessage) and query.is_response(reply) else None


def _denies(reply: dns.message.Message) -> bool:
    """True if an answer without records says that there are none, and not only that this server does not know (RFC 2308, 2.2)."""
    return any(found.rdtype == dns.rdatatype.SOA for found in reply.authority)


def _is_usable(found: _Attempt) -> bool:
    """True if an attempt brought an address that can be connected to."""
    if isinstance(found, Unresolved):
        return False
    return any(ipaddress.ip_address(one).version == 4 or _is_reachable(one) for one in found[0])


def _server_address(server: str) -> tuple[str, int]:
    """ "IP", "IP:PORT" or "[IPv6]:PORT" in parts."""
    if is_address(server):
        return server, _PORT
    host, _colon, port = server.rpartition(":")
    return host.strip("[]"), int(port)


def _endpoints(addresses: Iterable[str]) -> tuple[Endpoint, ...]:
    """Those addresses that can be used, sorted."""
    known = {ipaddress.ip_address(one) for one in addresses}
    four = {one for one in known if one.version == 4}
    usable = {one for one in known - four if not one.is_loopback and _is_reachable(str(one))} if four else known
    return tuple(sorted(Endpoint(str(one)) for one in four | usable))


def _merged(endpoints: Iterable[Endpoint]) -> Iterable[Endpoint]:
    """One for each place: several records of the same target and port count together, in the first of their tiers."""
    merged: dict[tuple[str, str, int], Endpoint] = {}
    for one in endpoints:
        spot = one.address, one.target, one.port
        known = merged.get(spot)
        if known is not None:
            one = replace(one, weight=known.weight + one.weight, priority=min(known.priority, one.priority))
        merged[spot] = one
    return merged.values()


def _is_reachable(address: str) -> bool:
    """True if the kernel has a route to an IPv6 address. No packet is sent."""
    try:
        with green.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asking:
            asking.connect((address, _PORT))
    except OSError:
        return False
    return True


def _scaled(weights: list[int]) -> list[int]:
    """SRV weights (0 … 65535) as small numbers of the same proportions, as far as possible; none is below 1."""
    weights = [max(1, weight) for weight in weights]
    divisor = max(math.gcd(*weights), max(weights) / _MOST_WEIGHT)
    return [max(1, round(weight / divisor)) for weight in weights]


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()
