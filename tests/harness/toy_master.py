"""A real master whose children are toys, as a program: ``python toy_master.py FILE``, on the configuration in a JSON file. `Family` starts it.

    {"listen": ["127.0.0.1:1234"], "workers": 2, "services": {"shop": ["http://127.0.0.1:5555"]}, "check": {"type": "http", …}, …}

A toy proxy answers every request with JSON: its pid, its generation and the services it knows. ``/slow/S`` answers after S seconds,
``/count`` counts a request of the first location, ``/spin`` never comes back, ``/fail/B/N/KIND`` reports N failures of the B-th
backend, ``/states`` tells how the backends stand, ``/probes`` tells the greenlets that run in it. With `restless`, each load differs
from the last one. With `ledger`, one more participant writes down its calls there and refuses with `ledger_refuses`; with `steps`, all steps
are written down; with `die`, the process that reaches that step kills itself. With `sessions`, the first location has sessions, signed with
the key of the state directory, which every answer tells. A toy admin worker hands ``/status``, ``/reload`` and ``/stop`` on to the master,
``/order/ACTION/WEIGHT`` for the first backend, and ``/add``, an edit that adds one.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any


def main(path: str) -> int:
    from terraster.master import patching

    patching.patch()

    import gevent
    from gevent import socket as green
    from gevent.server import StreamServer

    from terraster.config.diff import patch
    from terraster.config.edits import Dormant, Edit
    from terraster.config.snapshot import (
        Backend,
        HealthCheck,
        Listener,
        Location,
        Outlier,
        Service,
        Snapshot,
        Sticky,
        backend_id,
        location_id,
    )
    from terraster.errors import ConfigError, Problem, StartError
    from terraster.master import children, reload
    from terraster.master.keys import cookie_key
    from terraster.master.operator.documents import Laid
    from terraster.master.participant import Participant, Proposal
    from terraster.master.run import run
    from terraster.state.cells import BackendCells, Seat, SeatBackend, SeatLocation
    from terraster.worker.process import Process

    def read() -> dict[str, Any]:
        with open(path) as file:
            settings: dict[str, Any] = json.load(file)
        return settings

    class Files:
        """Files that can be edited: backends can be added."""

        file = path
        last: Laid | None = None

        def read(self, generation: int, edits: Sequence[Edit], texts: Any = None) -> Laid:
            loaded = load(generation)
            dormant = {}
            for edit in edits:
                if edit.url in [one.url for one in loaded.services[0].locations[0].backends]:
                    dormant[edit.number] = Dormant("conflict", "it is there")
                    continue
                made = replace(loaded.services[0].locations[0].backends[0], id=backend_id("one", "/", edit.url), url=edit.url)
                (location,) = loaded.services[0].locations
                location = replace(location, backends=(*location.backends, made))
                loaded = replace(loaded, services=(replace(loaded.services[0], locations=(location,)), *loaded.services[1:]))
            self.last = Laid(loaded, dormant, {})
            return self.last

        def adopted(self, edits: Sequence[Edit]) -> Any:
            raise NotImplementedError

        def label(self, location: Any) -> str:
            return "/"

    def first(generation: int) -> Snapshot:
        return files.read(generation, ()).snapshot

    files = Files()

    def load(generation: int) -> Snapshot:
        settings = read()
        if "problem" in settings:
            raise ConfigError([Problem(path, 3, 7, settings["problem"])])
        check = HealthCheck(**settings.get("check", {"type": "none"}))
        state_dir = settings["runtime_dir"] + "/state"
        sticky = Sticky(key=cookie_key(state_dir, step)) if settings.get("sessions") else Sticky()
        services = []
        for name, urls in settings["services"].items():
            backends = []
            for url in urls:
                host, port = url.removeprefix("http://").split(":")
                backends.append(
                    Backend(id=backend_id(name, "/", url), url=url, scheme="http", host=host, port=int(port), health=check)
                )
            outlier = Outlier(**settings.get("outlier", {}))
            location = Location(id=location_id(name, "/"), path="/", backends=tuple(backends), outlier=outlier, sticky=sticky)
            services.append(Service(name=name, hosts=("*",), listeners=tuple(settings["listen"]), locations=(location,)))
        return Snapshot(
            generation=generation,
            listeners=tuple(Listener(address, tls=address in settings.get("tls", ())) for address in settings["listen"]),
            services=tuple(services),
            workers=settings.get("workers", 2),
            admin_listen=settings.get("admin", ""),
            metrics_listen="",
            runtime_dir=settings["runtime_dir"],
            state_dir=state_dir,
            drain_delay=settings.get("delay", 0.0),
            orphan_timeout=settings.get("orphan", 0.0),
            drain_timeout=settings.get("drain", 5.0) + (generation / 1000 if "restless" in settings else 0.0),
        )

    class Plan:
        def __init__(self, snapshot: Snapshot) -> None:
            self.snapshot, self.generation = snapshot, snapshot.generation

        def updated(self, change: Any) -> Plan:
            if any(service.name == "uncompilable" for service in change.services):
                raise ValueError("this service cannot be compiled")
            return Plan(patch(self.snapshot, change))

    class Toy(Process):
        def start(self) -> None:
            self.open = 0
            self.servers: dict[str, StreamServer] = {}
            self.serve(self.listeners)

        def serve(self, listeners: dict[str, Any]) -> None:
            for address, one in listeners.items():
                server = StreamServer(green.socket(one.family, one.type, fileno=os.dup(one.fileno())), self.handle)
                server.start()
                self.servers[address] = server

        def apply(self, change: Any, listeners: dict[str, Any]) -> None:
            if any(service.name == f"refused-by-{self.name}" for service in change.services):
                raise ValueError("I will not")
            gevent.sleep(read().get("apply_takes", 0))
            self.plan = self.plan.updated(change)
            if self.role == Seat.PROXY:
                for gone in change.listeners_removed:
                    self.servers.pop(gone.address).stop()
                    self.listeners.pop(gone.address).close()
                self.serve(listeners)
            self.listeners.update(listeners)

        def drain(self) -> None:
            for server in self.servers.values():
                server.stop_accepting()
                server.close()
            for one in self.listeners.values():
                one.close()

        def idle(self) -> bool:
            return self.open == 0

        def stop(self) -> None:
            self.log.info("%s worker flushed", self.name)

        def reopen(self) -> None:
            self.log.info("%s worker reopened", self.name)

        def handle(self, connection: Any, address: Any) -> None:
            self.open += 1
            self.view.q[self.view.base + Seat.ACCEPTED] += 1
            try:
                head = b""
                while b"\r\n\r\n" not in head:
                    more = connection.recv(4096)
                    if not more:
                        return
                    head += more
                body = json.dumps(self.answer(head.split()[1].decode())).encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            finally:
                connection.close()
                self.open -= 1

        def answer(self, path: str) -> dict[str, Any]:
            raise NotImplementedError

    class ToyProxy(Toy):
        role, name = Seat.PROXY, "proxy"

        def answer(self, path: str) -> dict[str, Any]:
            q = self.view.q
            if path.startswith("/slow/"):
                gevent.sleep(float(path.removeprefix("/slow/")))
            elif path == "/spin":
                while True:
                    pass
            elif path == "/count":
                location = self.plan.snapshot.services[0].locations[0]
                q[self.view.location_row(location.slot) + SeatLocation.BYTES_IN] += 7
                q[self.view.backends + location.backends[0].slot * SeatBackend.CELLS + SeatBackend.REQUESTS] += 1
            elif path == "/totals":
                location, table = self.plan.snapshot.services[0].locations[0], self.view.table
                return {
                    "bytes": table.location_sum(location.slot, SeatLocation.BYTES_IN),
                    "requests": table.backend_sum(location.backends[0].slot, SeatBackend.REQUESTS),
                    "seats": table.taken_seats(),
                }
            elif path.startswith("/fail/"):
                number, count, kind = path.removeprefix("/fail/").split("/")
                slot = self.plan.snapshot.services[0].locations[0].backends[int(number)].slot
                lease = q[self.view.table.backend(slot) + BackendCells.LEASE]
                q[self.view.backends + slot * SeatBackend.CELLS + SeatBackend.REQUESTS] += int(count)
                self.channel.send(("traffic", [(slot, lease, kind, 0, "refused", time.time())] * int(count)))
            elif path == "/states":
                rows = [self.view.table.backend(one.slot) for one in self.plan.snapshot.services[0].locations[0].backends]
                return {
                    "states": [q[row + BackendCells.STATE] for row in rows],
                    "admits": [q[row + BackendCells.ADMIT] for row in rows],
                }
            return {
                "pid": os.getpid(),
                "seat": self.seat,
                "generation": self.plan.generation,
                "services": [service.name for service in self.plan.snapshot.services],
                "key": self.plan.snapshot.services[0].locations[0].sticky.key.hex(),
                "descriptors": len(os.listdir("/proc/self/fd")),
            }

    class ToyAdmin(Toy):
        role, name = Seat.ADMIN, "admin"

        def answer(self, path: str) -> dict[str, Any]:
            verb, *rest = path.strip("/").split("/")
            if verb == "add":
                return self.ask("edit", changes=[{"kind": "backend.add", "service": "one", "url": "http://127.0.0.1:3"}])
            if verb != "order":
                return self.ask(verb)
            url = self.plan.snapshot.services[0].locations[0].backends[0].url
            weight = int(rest[1]) if len(rest) > 1 else None
            return self.ask("backend", action=rest[0], service="one", url=url, weight=weight)

    class Ledger(Participant):
        """Writes down what is asked of it; refuses while the file says so."""

        name = "ledger"

        def __init__(self) -> None:
            self.generation = 0

        def note(self, line: str) -> None:
            with open(read()["ledger"], "a") as file:
                file.write(f"{line}\n")

        def prepare(self, new: Proposal) -> None:
            self.note(f"prepare {new.snapshot.generation}")
            if "ledger_refuses" in read():
                raise StartError("the ledger is closed")

        def rollback(self) -> None:
            self.note("rollback")

        def commit(self, new: Proposal) -> None:
            self.generation = new.snapshot.generation
            self.note(f"commit {self.generation}")

        def settle(self, new: Proposal) -> None:
            self.note(f"settle {self.generation}")

        def start(self) -> None:
            self.note("start")

        def stop(self) -> None:
            self.note("stop")

        def detail(self) -> dict[str, int]:
            return {"generation": self.generation}

    def step(name: str) -> None:
        """Write down that it was reached, or die there."""
        settings = read()
        if "steps" in settings:
            with open(settings["steps"], "a") as file:
                file.write(f"{name}\n")
        if settings.get("die") == name:
            os.kill(os.getpid(), signal.SIGKILL)

    reload.PATIENCE = read().get("patience", reload.PATIENCE)
    children.HUNG = read().get("hung", children.HUNG)
    roles = {"proxy": ToyProxy, "admin": ToyAdmin}
    if read().get("broken"):
        ToyProxy.start = lambda self: 1 / 0  # type: ignore[assignment,method-assign,return-value]
    more = [Ledger()] if "ledger" in read() else []
    return run(first, roles, lambda snapshot, view: Plan(snapshot), more, step, documents=files)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
