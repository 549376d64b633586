"""What operators do to all backends of one host: found in all services, changed in one write, once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from terraster.config.snapshot import Snapshot
from terraster.master.operator.host_commands import HostCommands

from .test_master_commands import Master, snapshot

SERVICES = {
    "shop": {"/": ["http://10.0.0.1:80", "http://10.0.0.2:80"], "/api": ["http://10.0.0.1:8080/v1"]},
    "blog": {"/": ["https://10.0.0.1:8443", "http://blog.test:80"]},
}
ON_ONE = ["shop/ http://10.0.0.1:80", "shop/api http://10.0.0.1:8080/v1", "blog/ https://10.0.0.1:8443"]


def resolved(snapshot: Snapshot) -> Snapshot:
    """`blog.test` has two addresses, one of them that of the host."""
    services = []
    for service in snapshot.services:
        locations = []
        for location in service.locations:
            backends: list[Any] = []
            for one in location.backends:
                if one.host == "blog.test":
                    backends += [
                        replace(one, id=f"{one.id}@{address}", address=address, endpoint=address)
                        for address in ("10.0.0.1", "10.0.0.9")
                    ]
                else:
                    backends.append(one)
            locations.append(replace(location, backends=tuple(backends)))
        services.append(replace(service, locations=tuple(locations)))
    return replace(snapshot, services=tuple(services))


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Master]:
    made = Master(tmp_path)
    made.run(snapshot(SERVICES))
    yield made
    made.agenda.stop()
    made.orders.stop()


def hosts(master: Master) -> HostCommands:
    log: Any = master.log
    running: Any = master.running
    return HostCommands(running, master.overrides, master.orders, master.accounts, log)


def changed(answer: dict[str, Any]) -> list[str]:
    assert answer["ok"], answer
    return [one["id"] for one in answer["backends"] if one["changed"]]


def test_all_services_in_one_write(master: Master) -> None:
    writes = []
    keep = master.overrides._write
    master.overrides._write = lambda entries: (writes.append(len(entries)), keep(entries))  # type: ignore[method-assign,func-returns-value,assignment]
    tried = hosts(master).host("drain", "10.0.0.1", dry_run=True)
    assert changed(tried) == ON_ONE and master.state(ON_ONE[0]) == "up" and writes == []
    answer = hosts(master).host("drain", "10.0.0.1", 60.0, reason="disk", by="ann")
    assert changed(answer) == ON_ONE and writes == [3]
    assert [master.state(name) for name in ON_ONE] == ["draining"] * 3 and master.state("shop/ http://10.0.0.2:80") == "up"
    assert {(one["by"], one["reason"], one["state"]) for one in answer["backends"]} == {("ann", "disk", "draining")}
    assert answer["backends"][0]["before"] == {"state": "up", "order": None} and answer["backends"][0]["until"]
    assert answer["notes"] == ["no backend of shop/api takes new work now"]
    kept = json.loads(Path(os.path.join(master.overrides.path)).read_text())["backends"]
    assert sorted(kept) == sorted(ON_ONE)


def test_again_it_changes_nothing(master: Master) -> None:
    assert len(changed(hosts(master).host("drain", "10.0.0.1", reason="disk"))) == 3
    assert changed(hosts(master).host("drain", "10.0.0.1")) == []
    assert changed(hosts(master).host("maintain", "10.0.0.1")) == ON_ONE
    assert changed(hosts(master).host("enable", "10.0.0.1")) == ON_ONE
    assert changed(hosts(master).host("enable", "10.0.0.1")) == [] and master.state(ON_ONE[0]) == "up"


def test_what_is_in_maintenance_is_not_drained_instead(master: Master) -> None:
    first, *rest = ON_ONE
    assert master.commands.backend("maintain", "shop", "/", "http://10.0.0.1:80", seconds=600.0, reason="broken")["ok"]
    answer = hosts(master).host("drain", "10.0.0.1", 60.0)
    assert changed(answer) == rest and master.state(first) == "maintenance" != master.state(rest[0])
    assert f"backend {first} stays in maintenance" in answer["notes"]
    assert changed(hosts(master).host("drain", "10.0.0.1")) == ON_ONE, "the drain lasts longer"
    assert master.state(first) == "draining"


def test_an_endpoint_of_a_backend_in_maintenance_is_not_drained_instead(tmp_path: Path) -> None:
    master = Master(tmp_path, resolved)
    try:
        master.run(snapshot(SERVICES))
        assert hosts(master).host("maintain", "blog.test")["ok"]
        assert changed(hosts(master).host("drain", "10.0.0.1")) == ON_ONE
        assert master.state("blog/ http://blog.test:80@10.0.0.1") == "maintenance"
    finally:
        master.agenda.stop()
        master.orders.stop()


def test_a_name_and_its_addresses(tmp_path: Path) -> None:
    master = Master(tmp_path, resolved)
    try:
        master.run(snapshot(SERVICES))
        endpoint = "blog/ http://blog.test:80@10.0.0.1"
        assert changed(hosts(master).host("drain", "10.0.0.1")) == [*ON_ONE, endpoint]
        assert (master.state(endpoint), master.state("blog/ http://blog.test:80@10.0.0.9")) == ("draining", "up")
        answer = hosts(master).host("drain", "BLOG.test.")
        assert changed(answer) == ["blog/ http://blog.test:80"] and len(answer["backends"][0]["running"]) == 2
        assert master.state("blog/ http://blog.test:80@10.0.0.9") == "draining"
        notes = hosts(master).host("enable", "10.0.0.1")["notes"]
        assert notes == ["the order for all endpoints of http://blog.test:80 still holds; `enable` http://blog.test:80 ends it"]
    finally:
        master.agenda.stop()
        master.orders.stop()


def test_refusals(master: Master) -> None:
    answer = hosts(master).host("drain", "10.0.0.11")
    assert not answer["ok"] and answer["problems"][0].startswith("no backend is on host 10.0.0.11; did you mean")
    assert answer["candidates"] == ["10.0.0.1", "10.0.0.2", "blog.test"]
    assert answer["code"] == "unknown"
    master.run(snapshot({"bare": {"/": []}}))
    assert hosts(master).host("drain", "10.0.0.1")["code"] == "unknown", "also where no backend is on any host"
    master.run(snapshot(SERVICES))
    assert not hosts(master).host("drain", "10.0.0.1", seconds=-1.0)["ok"]
    assert not hosts(master).host("stop", "10.0.0.1")["ok"]
    os.mkdir(f"{master.overrides.path}.new")  # nothing can be written
    answer = hosts(master).host("drain", "10.0.0.1")
    assert not answer["ok"] and "nothing was changed" in answer["problems"][0] and master.state(ON_ONE[0]) == "up"


@pytest.mark.parametrize("spelling", ["[::1]", "::1", "0:0:0:0:0:0:0:1"])
def test_spellings_of_an_address(master: Master, spelling: str) -> None:
    loaded = snapshot({"six": {"/": ["http://one:80"]}})
    (service,) = loaded.services
    (location,) = service.locations
    backend = replace(location.backends[0], host="::1")
    master.run(replace(loaded, services=(replace(service, locations=(replace(location, backends=(backend,)),)),)))
    assert changed(hosts(master).host("drain", spelling)) == [backend.id]
