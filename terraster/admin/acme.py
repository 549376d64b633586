"""Certificates by ACME: which order is due, and what comes of it. In the admin worker, one order at a time.

`terraster.policy.renewal` decides when. An order runs in a process of its own (`terraster.certs.acme_client`), which this one starts, and
which asks it for what only Terraster can do: to count the order, and to have all workers answer the authority. The certificate is in a file
then, and the master takes it as it takes every file that changed.

One process on a host orders: it has a lock on the state directory. During an upgrade, or while an admin worker is replaced, the other one
waits for it. A process for an order holds the lock too, so an order that goes on behind a killed admin worker is not made twice.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gevent
from gevent.event import Event

from ..certs.acme_job import Job
from ..certs.acme_store import Store, folder, lock
from ..certs.certificate import CertificateError, read_certificate
from ..config.authority import Acme
from ..config.snapshot import Service, Snapshot
from ..errors import TerrasterError
from ..policy.renewal import Known, free_at, next_order, recent, renewal_time
from .acme_process import OrderProcess

__all__ = ["Orderer"]

_TURN = 60.0  # seconds between two looks at the clock, which may be set
_SOON = 2.0  # seconds until the next look where another process orders, or an upgrade is under way
_ASK_AGAIN = 6 * 3600.0  # seconds between two questions when to renew, where the authority does not say

Ask = Callable[..., dict[str, Any]]


class Orderer:
    """Orders the certificates of the running configuration.

    running: the configuration
    ask:     puts a question to the master; raises TerrasterError if it has gone
    log:     the program's log

    ``obtained``, ``failed``: orders, by how they ended, those before a restart included
    """

    def __init__(self, running: Callable[[], Snapshot], ask: Ask, log: Any) -> None:
        self._running = running
        self._ask = ask
        self._log = log
        self._wake = Event()
        self._lock: int | None = None
        self._store = Store("")
        self._known: dict[str, Known] = {}
        self._ask_again: dict[str, float] = {}
        self._why: dict[str, str] = {}  # of the last failure
        self._orders: dict[str, list[float]] = {}
        self._ordering = ""  # the service whose order is under way
        self._process = OrderProcess(self._answer)
        self._stopped = False
        self._interrupted = False  # True if an upgrade began under the order
        self._told = ""  # the last complaint, told once
        self.obtained = self.failed = 0

    def start(self) -> None:
        gevent.spawn(self._run)

    def changed(self) -> None:
        """Another configuration runs."""
        self._wake.set()

    def stop(self) -> None:
        """Begin nothing any longer. An order under way is broken off, and the next process resumes it."""
        self._stopped = True
        self._process.end()

    def counts(self) -> tuple[tuple[str, int], ...]:
        """Orders by how they ended, for the metric. Empty until this process may order and has read how many there were before it: a count
        that begins at 0 and then jumps would look like that many new orders."""
        if self._lock is None or not self._store.folder:
            return ()
        return ("obtained", self.obtained), ("failed", self.failed)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each service with `auto_cert`, for the status. Moments are time.time(), None = none."""
        snapshot, now = self._running(), time.time()
        found = []
        for service in _ordered(snapshot):
            known = self._known.get(service.name, Known())
            assert service.tls is not None and snapshot.acme is not None
            held = set(known.names) == set(service.tls.domains)
            state = (
                "ordering" if self._ordering == service.name else "failing" if known.failures else "obtained" if held else "waiting"
            )
            found.append(
                {
                    "service": service.name,
                    "names": list(service.tls.domains),
                    "authority": snapshot.acme.directory,
                    "challenge": service.tls.challenge,
                    "state": state,
                    "failures": known.failures,
                    "why": self._why.get(service.name, ""),
                    "has_certificate": bool(service.tls.certificates),
                    "next": self._next(snapshot.acme, service, now) if self._lock is not None else None,
                }
            )
        return found

    # One turn.

    def _run(self) -> None:
        while not self._stopped:
            self._wake.clear()
            try:
                seconds = self._turn()
                self._told = ""
            except (TerrasterError, OSError) as error:
                self._complain(f"certificates cannot be ordered now: {error}")
                seconds = _TURN
            except Exception:
                self._log.exception("certificates cannot be ordered now")
                seconds = _TURN
            self._wake.wait(min(max(seconds, 0.01), _TURN))

    def _complain(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self._log.error("%s", text)

    def _turn(self) -> float:
        """Do what is due, at most one order. Returns the seconds until the next turn."""
        snapshot = self._running()
        services = _ordered(snapshot)
        if snapshot.acme is None or not services:
            return math.inf
        if self._lock is None:
            self._lock = lock(snapshot.state_dir)
            if self._lock is None:
                return _SOON
            self._present()
        self._learn(snapshot.acme, snapshot.state_dir, services)
        now = time.time()
        asking = [] if snapshot.acme.renew_before else [one for one in services if self._ask_again.get(one.name, math.inf) <= now]
        if asking:
            self._ask_when_to_renew(snapshot.acme, asking)
            return 0.0
        due = {one.name: self._next(snapshot.acme, one, now) for one in services}
        first = min(services, key=lambda one: due[one.name])
        if due[first.name] > now:
            return min([due[first.name], *(self._ask_again.get(one.name, math.inf) for one in services)]) - now
        if not self._present():
            return _SOON
        self._order(snapshot.acme, first)
        return 0.0

    def _next(self, acme: Acme, service: Service, now: float) -> float:
        assert service.tls is not None
        names = service.tls.domains
        orders = [self._orders.get(name, []) for name in names]
        return next_order(self._known.get(service.name, Known()), names, acme.renew_before, orders, now)

    def _present(self) -> bool:
        """Have those answers given to an authority that are kept with orders under way, and no others. False if the master cannot have it done
        now."""
        return bool(self._ask("challenges")["ok"])

    # The facts that are kept.

    def _learn(self, acme: Acme, state_dir: str, services: list[Service]) -> None:
        """Read what is kept of services that are new."""
        store = Store(folder(state_dir, acme.directory))
        if store.folder != self._store.folder:
            self._store = store
            self._known, self._ask_again, self._why = {}, {}, {}
            kept = store.read("orders.json")
            try:
                self._orders = {str(name): [float(one) for one in moments] for name, moments in kept.get("orders", {}).items()}
                self.obtained, self.failed = int(kept.get("obtained", 0)), int(kept.get("failed", 0))
            except (AttributeError, TypeError, ValueError) as error:
                self._log.warning("the list of orders in %s is damaged (%s): it begins anew", store.folder, error)
                self._orders, self.obtained, self.failed = {}, 0, 0
        names = {service.name for service in services}
        self._known = {name: known for name, known in self._known.items() if name in names}
        for service in services:
            if service.name not in self._known:
                self._read(service)

    def _read(self, service: Service) -> None:
        try:
            self._take(service, self._store.record(service.name))
        except (TypeError, ValueError) as error:
            self._log.warning("what is kept of the orders for service %s is damaged (%s): it begins anew", service.name, error)
            self._take(service, {})

    def _take(self, service: Service, record: dict[str, Any]) -> None:
        name = service.name
        failures = int(record.get("failures", 0))
        self._why[name] = str(record.get("why", "")) if failures else ""
        self._ask_again[name] = float(record.get("ask_again", math.inf))
        self._known[name] = self._of_file(
            name,
            Known(
                suggested=float(record.get("suggested", 0.0)),
                failures=failures,
                failed_at=min(float(record.get("failed_at", 0.0)), time.time()),
                wait_until=float(record.get("wait_until", 0.0)),
                chance=float(record.get("chance", 0.5)),
            ),
        )
        if not self._known[name].names:
            assert service.tls is not None
            self._log.warning(
                "service %s has no certificate yet: until it is obtained, its TLS clients are refused; it is ordered for %s by %s",
                name,
                ", ".join(service.tls.domains),
                service.tls.challenge,
            )

    def _of_file(self, name: str, known: Known) -> Known:
        """With the facts of the certificate that was obtained last."""
        octets = self._store.certificate(name)
        try:
            found = read_certificate(name, octets, octets) if octets else None
        except CertificateError as error:
            self._log.error(
                "service %s: the certificate that was obtained cannot be used (%s): another one is ordered", name, error
            )
            found = None
        if found is None:
            return replace(known, names=(), not_before=0.0, not_after=0.0)
        return replace(known, names=found.names, not_before=found.not_before, not_after=found.not_after)

    def _keep(self, name: str) -> None:
        """Keep the facts that must survive a restart. If they cannot be written, they count all the same as long as this process lives."""
        known, again = self._known[name], self._ask_again.get(name, math.inf)
        record = {
            "suggested": known.suggested,
            "failures": known.failures,
            "failed_at": known.failed_at,
            "wait_until": known.wait_until,
            "chance": known.chance,
            "why": self._why.get(name, ""),
            **({"ask_again": again} if again < math.inf else {}),
        }
        try:
            self._store.keep_record(name, record)
            self._keep_orders()
        except OSError as error:
            self._log.error("what happened to the order of service %s cannot be kept: %s: %s", name, error.filename, error.strerror)

    def _keep_orders(self) -> None:
        now = time.time()
        self._orders = {name: kept for name, moments in self._orders.items() if (kept := recent(moments, now))}
        self._store.write("orders.json", {"orders": self._orders, "obtained": self.obtained, "failed": self.failed})

    # Orders.

    def _order(self, acme: Acme, service: Service) -> None:
        assert service.tls is not None
        name, names = service.name, service.tls.domains
        self._ordering, self._interrupted = name, False
        try:
            job = replace(_job(acme, self._store), service=name, names=names, challenge=service.tls.challenge)
            answer = self._do(job)
        finally:
            self._ordering = ""
        if self._stopped:
            return
        if self._interrupted and "done" not in answer:
            self._log.info("service %s: its order waits for the end of the upgrade", name)
            return  # the authority has not failed: nothing is counted, and the order is resumed
        if "done" in answer:
            self._succeeded(acme, name, answer["done"])
        else:
            self._failed(acme, service, str(answer["failed"]), float(answer.get("retry_after", 0.0)))
        self._present()

    def _succeeded(self, acme: Acme, name: str, facts: dict[str, Any]) -> None:
        known = Known(suggested=float(facts.get("suggested", 0.0)), chance=random.random())
        known = self._known[name] = self._of_file(name, known)
        self._ask_again[name] = float(facts["ask_again"]) if facts.get("suggested") else math.inf
        self._why[name] = ""
        self.obtained += 1
        self._keep(name)
        self._log.info(
            "service %s: obtained a certificate for %s, valid until %s, to be renewed about %s",
            name,
            ", ".join(known.names),
            _moment(known.not_after),
            _moment(renewal_time(known, acme.renew_before)),
        )
        self._ask("certificates")

    def _failed(self, acme: Acme, service: Service, why: str, retry_after: float) -> None:
        name, now = service.name, time.time()
        before = self._known[name]
        self._known[name] = replace(
            before,
            failures=before.failures + 1,
            failed_at=now,
            wait_until=now + retry_after if retry_after else 0.0,
            chance=random.random(),
        )
        self._why[name] = why
        self.failed += 1
        self._keep(name)
        self._log.error(
            "service %s: no certificate was obtained (failure %d): %s; tried again at %s",
            name,
            before.failures + 1,
            why,
            _moment(self._next(acme, service, now)),
        )

    def _ask_when_to_renew(self, acme: Acme, services: list[Service]) -> None:
        answer = self._do(replace(_job(acme, self._store), services=tuple(one.name for one in services)))
        found = answer.get("renewals", {})
        for service in services:
            facts, name = found.get(service.name, {}), service.name
            self._ask_again[name] = max(float(facts.get("ask_again", 0.0)), time.time() + (_TURN if facts else _ASK_AGAIN))
            if facts.get("suggested"):
                self._known[name] = replace(self._known[name], suggested=float(facts["suggested"]))
            self._keep(name)
        if "failed" in answer:
            self._log.warning("the authority cannot be asked when to renew: %s", answer["failed"])

    # The process.

    def _do(self, job: Job) -> dict[str, Any]:
        assert self._lock is not None
        return self._process.do(job, self._lock)

    def _answer(self, job: Job, message: dict[str, Any]) -> dict[str, Any]:
        if message["ask"] == "order":
            return self._count_order(job)
        answer = self._ask("challenges")
        self._interrupted = self._interrupted or bool(answer.get("upgrade"))
        return {"ok": answer["ok"], "why": "; ".join(answer.get("problems", ()))}

    def _count_order(self, job: Job) -> dict[str, Any]:
        """Count a new order before it is made."""
        now = time.time()
        for name in job.names:
            if free_at(self._orders.get(name, []), now) > now:
                return {"ok": False, "why": f"{name} was ordered too often within a day"}
        for name in job.names:
            self._orders.setdefault(name, []).append(now)
        try:
            self._keep_orders()
        except OSError as error:
            return {"ok": False, "why": f"the order cannot be counted: {error.filename}: {error.strerror}"}
        return {"ok": True}


def _ordered(snapshot: Snapshot) -> list[Service]:
    return [service for service in snapshot.services if service.tls is not None and service.tls.domains]


def _job(acme: Acme, store: Store) -> Job:
    return Job(
        folder=store.folder,
        directory=acme.directory,
        key_type=acme.key_type,
        email=acme.email,
        ca_file=acme.ca_file,
        dns_hook=acme.dns_hook,
        eab_kid=acme.eab_kid,
        eab_key=acme.eab_key,
    )


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
