"""Operators' commands for all backends of one host, in all services at once: drain, maintenance, and their end.

    command ─▶ find the backends ─▶ write all to the overrides, in one write ─▶ `Orders.apply`, cells that all workers read

It holds for the backends that are configured when it is given, and only for them: each has an order of its own afterwards, which
`terraster.master.operator.commands` can end. A host name and an address are different hosts, unless the name resolves to it: then the command
holds for the one endpoint that has the address.

Answers are plain dicts for JSON: ``ok``, and ``problems`` where it is False. Master only; any greenlet.
"""

from __future__ import annotations

import ipaddress
import time
from typing import Any

from terraster.config.messages import suggestion
from terraster.config.snapshot import Backend, Snapshot
from terraster.errors import StartError
from terraster.logs.program import ProgramLog
from terraster.master.running import Running

from .account import Accounts, refusal
from .action import DRAIN, ENABLE, MAINTENANCE, Action, Entry
from .commands import LONGEST, plain, said
from .find import Found, backends, base, endpoint_id
from .orders import Orders
from .overrides import Overrides

__all__ = ["HostCommands", "on_host"]

_ACTIONS = {"drain": DRAIN, "maintain": MAINTENANCE, "enable": ENABLE}

Target = tuple[Found, Backend | None]
"""A configured backend, and its endpoint if only this one is on the host."""


class HostCommands:
    """The commands of one master."""

    def __init__(self, running: Running, overrides: Overrides, orders: Orders, accounts: Accounts, log: ProgramLog) -> None:
        self._running = running
        self._overrides = overrides
        self._orders = orders
        self._accounts = accounts
        self._log = log

    def host(
        self, action: str, host: str, seconds: float = 0.0, reason: str = "", by: str = "", dry_run: bool = False
    ) -> dict[str, Any]:
        """Drain, maintain or enable every backend of a host.

        action:  "drain", "maintain", "enable"
        host:    a name or an address, without a port
        seconds: after which it ends by itself, 0 = never
        dry_run: do nothing, and say what would be done

        Answer: ``host action dry_run``, ``changed`` (the number of backends), ``backends`` (each as `Accounts.short` has it after the
        command, with ``changed``, ``before`` and ``running``: the ids under which it runs), ``notes``.
        """
        if action not in _ACTIONS:
            return refusal(f"there is no action {action!r}; there are {', '.join(_ACTIONS)}")
        if not 0 <= seconds <= LONGEST:
            return refusal(f"the time must be between 0 and {LONGEST:.0f} seconds")
        self._overrides.reread()
        self._orders.catch_up()
        found = on_host(self._running.loaded, self._running.snapshot, host)
        if not found:
            hosts = sorted({one.host for _, _, one in backends(self._running.loaded) if not one.socket})
            return {**refusal(f"no backend is on host {host}{suggestion(host, hosts)}", hosts), "code": "unknown"}
        now = time.time()
        order = Action(_ACTIONS[action], now, plain(by), plain(reason), now + seconds if seconds and action != "enable" else 0.0)
        names = {_name(target): target for target in found}
        before = {name: self._accounts.short(*target) for name, target in names.items()}
        more = [name for name, target in names.items() if self._is_more(name, target, order)]
        wanted = {name: order for name in names if name not in more and self._differs(name, order)}
        if not dry_run and wanted:
            try:
                self._overrides.record_all(wanted)
            except StartError as error:
                return refusal(f"{error}; nothing was changed")
            for name in wanted:
                self._log.info("backend %s: %s, with all of host %s", name, said(order), plain(host))
            self._orders.apply()
        rows = [
            {
                **self._accounts.short(*target),
                "changed": name in wanted,
                "before": {key: before[name][key] for key in ("state", "order")},
                "running": self._accounts.ids(*target),
            }
            for name, target in names.items()
        ]
        return {
            "ok": True,
            "host": host,
            "action": action,
            "dry_run": dry_run,
            "changed": len(wanted),
            "backends": rows,
            "notes": [f"backend {name} stays in maintenance" for name in more] + self._notes(found, action, dry_run),
        }

    def _differs(self, name: str, order: Action) -> bool:
        """True if an order would change anything of a backend."""
        known = self._overrides.entries.get(name, Entry()).order
        if order.what == ENABLE:
            return known is not None
        return (
            known is None or known.what != order.what or bool(known.until or order.until) or order.reason not in ("", known.reason)
        )

    def _is_more(self, name: str, target: Target, order: Action) -> bool:
        """True if a backend is in maintenance for at least as long as an order would drain it: its sessions would come back to it."""
        entries = self._overrides.entries
        known = entries.get(name, Entry()).order or entries.get(target[0][2].id, Entry()).order
        if known is None or order.what != DRAIN or known.what != MAINTENANCE:
            return False
        return not known.until or 0 < order.until <= known.until

    def _notes(self, found: list[Target], action: str, dry_run: bool) -> list[str]:
        """The locations that take no new work now; those endpoints for which the order of their whole backend still holds."""
        notes = []
        if action == "enable":
            for target in found:
                if target[1] is not None and self._overrides.entries.get(target[0][2].id, Entry()).order is not None:
                    notes.append(
                        f"the order for all endpoints of {target[0][2].url} still holds; `enable` {target[0][2].url} ends it"
                    )
        elif not dry_run:
            places = {target[0][1].id: target[0] for target in found}
            notes += [
                f"no backend of {name} takes new work now" for name, one in places.items() if not self._accounts.takes_work(one)
            ]
        return list(dict.fromkeys(notes))


def on_host(loaded: Snapshot, running: Snapshot, host: str) -> list[Target]:
    """The backends whose URL has a host, with any port, and the endpoints of other names that have it as address. loaded: as configured;
    running: with the addresses of names"""
    wanted = _spelt(host)
    found: list[Target] = []
    configured = {backend.id: (service, location, backend) for service, location, backend in backends(loaded)}
    whole = {name for name, one in configured.items() if not one[2].socket and _spelt(one[2].host) == wanted}
    found += [(configured[name], None) for name in configured if name in whole]
    for _, _, one in backends(running):
        name = base(one.id, configured)
        if (
            name in configured
            and name not in whole
            and endpoint_id(name, one)
            and wanted in (_spelt(one.address), _spelt(one.host))
        ):
            found.append((configured[name], one))
    return found


def _spelt(host: str) -> str:
    """A host in the one spelling that is compared."""
    bare = host.strip().removeprefix("[").removesuffix("]").rstrip(".").lower()
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return bare


def _name(target: Target) -> str:
    """The id under which orders about it are kept."""
    (_, _, backend), endpoint = target
    return backend.id if endpoint is None else endpoint_id(backend.id, endpoint)
