"""All checks, in the order in which they are told, and what they need to know of the configuration."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from terraster.certs.backend_files import credentials_of
from terraster.config.management import secured
from terraster.config.snapshot import Snapshot
from terraster.master.sockets import BACKLOG

from . import certificates, clock, descriptors, memory, names, network, places, running
from .finding import Finding
from .places import READ, WRITE, Use, User
from .proc import Proc, Process

__all__ = ["Look", "examine", "processes", "run_user", "uses"]

_UNIX = "unix:"


@dataclass(frozen=True, slots=True)
class Look:
    """The values that the checks need.

    proc:      the kernel's values
    snapshot:  the configuration of the file, None: it cannot be read
    status:    of the running Terraster, see `running.check`; pid, why: likewise
    user:      the one that Terraster runs as
    soft, hard: limits of descriptors
    before:    `net/netstat` when the command began
    now, jumped, kernel: the clock, see `clock.check`
    asked:     look-ups of names
    """

    proc: Proc
    snapshot: Snapshot | None
    status: Mapping[str, Any] | None
    pid: int
    why: str
    user: User
    soft: int
    hard: int
    before: Mapping[str, int]
    now: float
    jumped: float = 0.0
    kernel: clock.Kernel | None = None
    asked: list[names.Asked] = field(default_factory=list)


def examine(look: Look) -> Iterator[Finding]:
    """All findings. Reads files, and asks nobody."""
    proc, snapshot = look.proc, look.snapshot
    yield from running.check(look.status, look.pid, look.why, look.now)
    yield from descriptors.used(processes(proc, look.status, look.pid))
    yield from clock.check(look.now, look.kernel, look.jumped)
    yield from network.dropped(look.before, proc.counters("net/netstat"))
    yield from network.conntrack(proc)
    yield from network.memory(proc)
    yield from memory.check(proc)
    if snapshot is None:
        return
    yield from descriptors.limits(snapshot, look.soft, look.hard)
    yield from network.backlog(proc, snapshot, BACKLOG)
    yield from network.ports(proc, snapshot)
    yield from places.permissions(uses(snapshot), look.user)
    yield from places.keys(key for _, key in _key_files(snapshot))
    yield from places.disks(_directories(snapshot))
    yield from certificates.check(snapshot, look.now)
    yield from names.check(look.asked)


def processes(proc: Proc, status: Mapping[str, Any] | None, pid: int) -> list[Process]:
    """The processes of the running Terraster."""
    named = {pid: "the master"} if pid else {}
    for worker in (status or {}).get("workers", ()):
        role = worker["role"]
        named[worker["pid"]] = f"proxy worker {worker['seat']}" if role == "proxy" else f"the {role} worker"
    return [found for number, name in named.items() if (found := proc.process(number, name)) is not None]


def run_user(uid: int) -> User:
    """A user by its number, with its groups."""
    try:
        known = pwd.getpwuid(uid)
    except KeyError:
        return User(uid, frozenset(), str(uid))
    return User(uid, frozenset(os.getgrouplist(known.pw_name, known.pw_gid)), known.pw_name)


def uses(snapshot: Snapshot) -> list[Use]:
    """The files and directories that the configuration needs. `state_dir` and `runtime_dir` count once they are there: systemd makes them
    with more rights than Terraster has."""
    found = [
        Use(path, f"`{key}`", READ | WRITE, is_directory=True)
        for key, path in (("state_dir", snapshot.state_dir), ("runtime_dir", snapshot.runtime_dir))
        if os.path.isdir(path)
    ]
    found += [Use(path, "a log", WRITE, made=True) for path in _logs(snapshot)]
    for certificate, key in _key_files(snapshot):
        found.append(Use(certificate, "a certificate", READ))
        found.append(Use(key, "a private key", READ))
    for _, credentials in credentials_of(snapshot):
        found += [Use(path, "a file for TLS towards a backend", READ) for files in credentials.files() for path in files]
    for listener in snapshot.listeners:
        if listener.address.startswith(_UNIX):
            path = listener.address.removeprefix(_UNIX)
            found.append(Use(os.path.dirname(path), f"the socket {path}", WRITE, is_directory=True))
    sockets = {
        backend.socket: backend.url
        for service in snapshot.services
        for location in service.locations
        for backend in location.backends
        if backend.socket
    }
    found += [Use(path, f"the socket of backend {url}", WRITE) for path, url in sockets.items() if os.path.exists(path)]
    return list(dict.fromkeys(found))


def _key_files(snapshot: Snapshot) -> list[tuple[str, str]]:
    return [pair for service in secured(snapshot) if service.tls is not None for pair in service.tls.files]


def _logs(snapshot: Snapshot) -> list[str]:
    logs = [snapshot.access_log]
    for service in snapshot.services:
        logs.append(service.access_log)
        logs += [location.access_log for location in service.locations if location.access_log is not None]
    return list(dict.fromkeys([*snapshot.program_log.files(), *(path for log in dict.fromkeys(logs) for path in log.files())]))


def _directories(snapshot: Snapshot) -> list[tuple[str, str]]:
    return [(snapshot.state_dir, "`state_dir`"), *((os.path.dirname(path), "a log") for path in _logs(snapshot))]
