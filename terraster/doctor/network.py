"""The kernel's side of connections: queues of listening sockets, what is dropped, ports, tracked connections, memory of TCP.

Counters of the kernel begin at the start of the network namespace. So what they have counted may be long past: it is a note, and a problem only
if it grows while one looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from terraster.config.addresses import port_of
from terraster.config.snapshot import Snapshot

from .finding import Finding
from .proc import Proc

__all__ = ["backlog", "conntrack", "dropped", "memory", "ports"]

_FULL, _NEARLY = 0.95, 0.8
_FEW_PORTS = 10_000

_LOST = {
    "ListenOverflows": ("connections of clients, as the queue of a listening socket was full", "queue"),
    "ListenDrops": ("connections of clients at a listening socket, for lack of memory or of a route", "memory"),
    "TCPReqQFullDrop": ("connections of clients, as the queue of those that begin was full and SYN cookies are off", "queue"),
    "TCPBacklogDrop": ("packets, as a socket had too many of them waiting", "memory"),
    "TCPAbortOnMemory": ("connections, as TCP had no memory left", "memory"),
    "TCPRcvQDrop": ("packets, as the memory of a socket was full", "memory"),
}
_WAYS = {
    "queue": "Raise `net.core.somaxconn`, add workers, and look for a worker that hangs: `terrasterctl status`.",
    "memory": "Raise `net.ipv4.tcp_mem`, or give the host more memory; bound connections with `limits.connections`.",
}


def backlog(proc: Proc, snapshot: Snapshot, asked: int) -> Iterator[Finding]:
    """The queues of clients that nobody has accepted yet. asked: the length that Terraster asks for"""
    most = proc.number("sys/net/core/somaxconn")
    if most is not None and most < min(asked, 1024):
        yield Finding(
            "backlog",
            "warning",
            f"The kernel lets {most} connections wait to be accepted (`net.core.somaxconn`); Terraster asks for {asked}.",
            "When many clients come at once, as after an outage, those beyond are dropped and try again after a second or more.",
            f"sysctl -w net.core.somaxconn={asked}, and write it into /etc/sysctl.d; then restart Terraster.",
        )
    room = min(asked, most or asked)
    own = {port for one in snapshot.listeners if (port := port_of(one.address))}
    for one in proc.listening():
        if one.port in own and one.waiting >= _NEARLY * room:
            yield Finding(
                "backlog",
                "problem",
                f"{one.waiting} connections to port {one.port} wait to be accepted; there is room for {room}.",
                "The workers do not keep up, or hang. Clients beyond that are dropped.",
                "Look at the workers with `terrasterctl status`; add workers, or raise `limits.connections` if they have reached it.",
            )
    if proc.number("sys/net/ipv4/tcp_syncookies") == 0:
        yield Finding(
            "backlog",
            "warning",
            "SYN cookies are off (`net.ipv4.tcp_syncookies`).",
            "A flood of SYNs then fills the queue of connections that begin, and no client gets in.",
            "sysctl -w net.ipv4.tcp_syncookies=1, and write it into /etc/sysctl.d.",
        )


def dropped(before: Mapping[str, int], now: Mapping[str, int]) -> Iterator[Finding]:
    """Connections and packets that the kernel drops. before, now: `net/netstat` at two moments"""
    before, now = _apart(before), _apart(now)
    for name, (words, way) in _LOST.items():
        grown = now.get(name, 0) - before.get(name, now.get(name, 0))
        if grown > 0:
            yield Finding(
                "drops",
                "problem",
                f"The kernel drops {words}: {grown} while this command looked ({name}).",
                "Clients notice it as connections that take seconds, or fail.",
                _WAYS[way],
            )
        elif now.get(name, 0) > 0:
            yield Finding(
                "drops",
                "note",
                f"The kernel has dropped {words}: {now[name]} since the start ({name}); none while this command looked.",
                "It may be long past. If the number grows between two calls, clients notice it.",
                _WAYS[way],
            )

    if cookies := now.get("SyncookiesSent", 0):
        grown = cookies - before.get("SyncookiesSent", cookies)
        yield Finding(
            "drops",
            "warning" if grown > 0 else "note",
            f"The kernel has sent {cookies} SYN cookies since the start (SyncookiesSent), {max(0, grown) or 'none'} while this command looked.",
            "More connections began at once than its queue takes: many clients, or a flood. Clients get in all the same.",
            "Raise `net.ipv4.tcp_max_syn_backlog` and `net.core.somaxconn` if the clients are real.",
        )


def _apart(counters: Mapping[str, int]) -> dict[str, int]:
    """The counters, with those in ListenDrops that ListenOverflows does not have already."""
    if "ListenDrops" not in counters:
        return dict(counters)
    return {**counters, "ListenDrops": max(0, counters["ListenDrops"] - counters.get("ListenOverflows", 0))}


def ports(proc: Proc, snapshot: Snapshot) -> Iterator[Finding]:
    """Ports of connections to backends."""
    given = proc.numbers("sys/net/ipv4/ip_local_port_range")
    if len(given) != 2:
        return
    first, last = given
    count, sockets = last - first + 1, proc.sockets()
    busy = sockets.get("inuse", 0) + sockets.get("tw", 0)
    if count < _FEW_PORTS:
        yield Finding(
            "ports",
            "warning",
            f"Connections that this host opens have {count} ports ({first} to {last}, `net.ipv4.ip_local_port_range`).",
            "Each connection to one backend needs a port of its own, also for a minute after its end. Without one, requests fail with 502.",
            'sysctl -w net.ipv4.ip_local_port_range="1024 65535", and write it into /etc/sysctl.d.',
        )
    if busy >= _NEARLY * count:
        yield Finding(
            "ports",
            "warning",
            f"{busy} TCP connections are open or have just ended ({sockets.get('tw', 0)} of them), and this host has {count} ports.",
            "If most of them go to one backend, its next connections fail for lack of a port.",
            "Keep more connections to backends (`connection_pool.max_idle`), or widen `net.ipv4.ip_local_port_range`.",
        )
    reserved = _ranges(proc.text("sys/net/ipv4/ip_local_reserved_ports") or "")
    mine = sorted({port for one in snapshot.listeners if (port := port_of(one.address)) and first <= port <= last})
    if taken := [port for port in mine if not any(low <= port <= high for low, high in reserved)]:
        yield Finding(
            "ports",
            "note",
            f"Terraster listens on {', '.join(map(str, taken[:5]))}, among the ports of outgoing connections ({first} to {last}).",
            "While Terraster is stopped, such a connection may take the port, and the next start fails.",
            f"sysctl -w net.ipv4.ip_local_reserved_ports={','.join(map(str, taken[:5]))}, and write it into /etc/sysctl.d.",
        )


def conntrack(proc: Proc) -> Iterator[Finding]:
    """The table of the packet filter."""
    used, most = proc.number("sys/net/netfilter/nf_conntrack_count"), proc.number("sys/net/netfilter/nf_conntrack_max")
    if used is not None and most and used >= _NEARLY * most:
        yield Finding(
            "conntrack",
            "problem" if used >= _FULL * most else "warning",
            f"The packet filter tracks {used} connections of at most {most} (`net.netfilter.nf_conntrack_max`).",
            "When its table is full, the kernel drops packets of new connections, of all programs on this host.",
            f"sysctl -w net.netfilter.nf_conntrack_max={most * 4}, or leave Terraster's ports untracked (`NOTRACK`).",
        )


def memory(proc: Proc) -> Iterator[Finding]:
    """The memory of all TCP sockets."""
    marks, used = proc.numbers("sys/net/ipv4/tcp_mem"), proc.sockets().get("mem", 0)
    if len(marks) == 3 and used >= marks[1]:
        yield Finding(
            "tcp-memory",
            "problem" if used >= marks[2] else "warning",
            f"TCP uses {used} pages of memory; from {marks[1]} on the kernel saves, and from {marks[2]} on it drops (`net.ipv4.tcp_mem`).",
            "Connections become slow, and break off at the last mark.",
            "Raise `net.ipv4.tcp_mem`, or bound connections with `limits.connections` and slow clients with `timeouts`.",
        )


def _ranges(text: str) -> list[tuple[int, int]]:
    found = []
    for part in text.strip().split(","):
        low, _, high = part.partition("-")
        if low.isdigit():
            found.append((int(low), int(high or low)))
    return found
