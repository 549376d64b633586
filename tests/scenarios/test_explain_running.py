"""`terrasterctl explain`: the answer is by what is running, and a question changes nothing."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from terraster.master.shared import COUNTERS
from terraster.state.cells import BackendCells, MasterCells, Seat
from terraster.state.table import Table

from ..harness.backends import ok
from ..harness.client import get
from ..harness.issuer import jwks, token
from ..harness.shapes import unlawful
from ..harness.terraster_process import Terraster, service
from ..harness.waiting import wait_until


def explained(proxy: Terraster, request: str, *options: str) -> Any:
    """The JSON of an answer with one course."""
    result = proxy.ctl("explain", request, *options, "--json")
    assert result.returncode == 0, result
    return json.loads(result.stdout)


def course(proxy: Terraster, target: str, *options: str) -> Any:
    """The course of a GET."""
    (found,) = explained(proxy, f"GET {proxy.url}{target}", *options)["courses"]
    return found


def notes(found: Any) -> dict[str, str]:
    """The notes on the backends by their URLs."""
    return {one["url"]: one["note"] for one in found["candidates"]}


def picked(found: Any) -> list[str]:
    return [one["url"] for one in found["candidates"] if one["picked"]]


def table_of(proxy: Terraster) -> Table:
    """The shared table of a running Terraster."""
    for descriptor in os.listdir(f"/proc/{proxy.pid}/fd"):
        path = f"/proc/{proxy.pid}/fd/{descriptor}"
        if os.readlink(path).startswith("/memfd:terraster "):
            table = Table.adopt(os.open(path, os.O_RDWR), COUNTERS)
            table.own, table.master = 0, table.master_of(0)
            return table
    raise AssertionError("it has no table")


def cells(table: Table) -> dict[int, int]:
    """All cells that are not 0, by their index, but those that time alone changes."""
    found = {}
    size, at = os.fstat(table.descriptor).st_size, 0
    while at < size:
        try:
            begin = os.lseek(table.descriptor, at, os.SEEK_DATA)
        except OSError:  # no more data
            break
        at = os.lseek(table.descriptor, begin, os.SEEK_HOLE)
        values = memoryview(os.pread(table.descriptor, at - begin, begin)).cast("Q")
        found.update((begin // 8 + index, value) for index, value in enumerate(values) if value)
    own = (Seat.HEARTBEAT, *range(Seat.LAG_TIME, Seat.LAG_LONGEST + 1))  # what a process tells of itself, all the time
    beats = {table.master + MasterCells.HEARTBEAT, *(table.seat(seat) + cell for seat in table.taken_seats() for cell in own)}
    return {index: value for index, value in found.items() if index not in beats}


def test_the_states_of_backends_are_those_of_now(fresh, backend) -> None:
    """Drained, in maintenance, with another weight: the answer follows at once, and names the operator."""
    one, two, three = (backend(answer=ok()) for _ in range(3))
    proxy = fresh(service(one.url, two.url, three.url, location={"lb_policy": "least-connections"}))
    assert explained(proxy, f"GET {proxy.url}/")["generation"] == 1
    assert notes(course(proxy, "/")) == {one.url: "", two.url: "", three.url: ""}
    proxy.ctl("backend", "drain", "site", one.url, "--reason", "disk")
    proxy.ctl("backend", "maintain", "site", two.url)
    proxy.ctl("backend", "weight", "site", three.url, "7")
    answer = explained(proxy, f"GET {proxy.url}/x")
    assert answer["generation"] == proxy.status()["generation"] == 2
    (found,) = answer["courses"]
    by = next(action["by"] for action in [proxy.status()["services"][0]["locations"][0]["backends"][0]["order"]])
    assert notes(found) == {
        one.url: f"draining by {by} (disk)",
        two.url: f"maintenance by {by}",
        three.url: f"weight by {by}, configured 1",
    }
    assert [(state["state"], state["takes"]) for state in found["candidates"]] == [
        ("draining", False),
        ("maintenance", False),
        ("up", True),
    ]
    assert picked(found) == [three.url]
    proxy.ctl("backend", "maintain", "site", three.url)
    assert (course(proxy, "/")["status"], course(proxy, "/")["reason"]) == (503, "no healthy backend")
    assert get(proxy.address).status == 503
    text = proxy.ctl("explain", "GET", f"{proxy.url}/").stdout.splitlines()  # without quotes
    assert text[0] == f"GET {proxy.url}/ from 192.0.2.1"
    assert text[1] == "by generation 2, which is running"
    assert f"           {one.url}, weight 1, 0 in flight, draining by {by} (disk)" in text


def test_maintenance_of_a_service_and_a_reload(terraster, backend) -> None:
    origin = backend(answer=ok())
    proxy = terraster(origin)
    assert proxy.ctl("maintenance", "on", "site").returncode == 0
    assert course(proxy, "/")["reason"] == "maintenance: the service is under maintenance"
    assert proxy.ctl("maintenance", "off", "site").returncode == 0
    assert course(proxy, "/")["status"] is None
    proxy.reload(service(origin.url, name="other", path="/new"))
    assert (course(proxy, "/new")["service"], course(proxy, "/")["status"]) == ("other", 404)


def test_files_that_have_changed_since(terraster, backend) -> None:
    """The running configuration is explained, and a note says that the lines may be others."""
    origin = backend(answer=ok())
    proxy = terraster(origin)
    place = course(proxy, "/")["place"]
    assert place.startswith(f"{proxy.config_file}:")
    assert explained(proxy, f"GET {proxy.url}/")["stale"] == []
    proxy.write(service(origin.url, name="other", path="/new"))
    result = proxy.ctl("explain", f"GET {proxy.url}/")
    assert "service    site, by its host *\n" in result.stdout
    assert result.stderr == (
        f"note: {proxy.config_file} changed after the last reload, so lines may be those of a rule that does not run\n"
    )


def test_edits_above_the_files(fresh, backend) -> None:
    """A note names those of the service: its lines are those of the files."""
    one, two = backend(answer=ok()), backend(answer=ok())
    proxy = fresh(one)
    assert explained(proxy, f"GET {proxy.url}/")["edits"] == []
    assert proxy.ctl("backend", "add", "site", two.url).returncode == 0
    (edit,) = (answer := explained(proxy, f"GET {proxy.url}/"))["edits"]
    assert [each["url"] for each in answer["courses"][0]["candidates"]] == [one.url, two.url]
    result = proxy.ctl("explain", f"GET {proxy.url}/")
    assert result.stderr == f"note: edit {edit['number']} by {edit['by']} is above the files: {edit['words']}\n"
    assert not unlawful("explain", answer)


def test_files_that_cannot_be_used(terraster, backend) -> None:
    """The running configuration is explained all the same; its rules have no lines."""
    proxy = terraster(backend(answer=ok()))
    assert explained(proxy, f"GET {proxy.url}/")["lines"] is True
    proxy.config_file.write_text("services: [")
    result = proxy.ctl("explain", f"GET {proxy.url}/", find_by="runtime dir")
    assert "location   /\n" in result.stdout
    assert result.stderr == "note: rules have no lines, because the configuration on disk cannot be used as it is\n"


def test_circuits_slow_starts_and_full_backends(fresh, backend) -> None:
    """The master writes them into cells; here the test does, while the master has no reason to."""
    one, two = backend(answer=ok()), backend(answer=ok())
    proxy = fresh(service({"url": one.url, "max_connections": 2}, {"url": two.url, "max_connections": 2}, queue={"timeout": "3s"}))
    table = table_of(proxy)
    first, second = (table.backend(slot) for slot in range(2))
    table.q[first + BackendCells.CIRCUIT], table.q[first + BackendCells.ADMIT] = 1, BackendCells.NONE
    table.q[second + BackendCells.ADMIT], table.q[second + BackendCells.RAMP] = BackendCells.RAMPING, 400
    found = course(proxy, "/")
    assert notes(found) == {one.url: "circuit open", two.url: "slow start, 40% of its share"}
    assert picked(found) == [two.url]
    table.q[first + BackendCells.CIRCUIT], table.q[first + BackendCells.ADMIT] = 2, BackendCells.TRIAL
    table.q[table.seat_backend(1, 1)] = 2  # ACTIVE of the only proxy worker
    assert notes(course(proxy, "/")) == {
        one.url: "circuit half-open: few requests try it",
        two.url: "slow start, 40% of its share, full, 2 of 2 requests",
    }
    table.q[table.seat_backend(1, 0)] = 2
    found = course(proxy, "/")
    assert (found["status"], found["reason"]) == (
        None,
        "all backends are at their limit: the request waits in the queue, for 3 s at most",
    )
    table.q[table.seat_backend(1, 0)] = table.q[table.seat_backend(1, 1)] = 0


def test_limits_of_a_client(terraster, backend) -> None:
    """What a client has used up in traffic is used up in the answer, for this client and for no other, and a question uses up nothing."""
    limit = {"rate_limit": {"requests_per_second": 0.001, "burst": 2}}
    proxy = terraster(service(backend(answer=ok()).url, middleware=[limit]))
    for _ in range(3):
        assert course(proxy, "/", "--client", "127.0.0.1")["status"] is None
    assert get(proxy.address).status == 200
    assert course(proxy, "/", "--client", "127.0.0.1")["status"] is None
    assert get(proxy.address).status == 200
    assert course(proxy, "/", "--client", "127.0.0.1")["status"] == get(proxy.address).status == 429
    assert course(proxy, "/")["status"] is None


def test_the_keys_of_tokens_that_are_in_use(terraster, backend) -> None:
    """They were fetched, and the answer judges a token by them."""
    issuer = backend(answer=ok(jwks("ec")))
    proxy = terraster(service(backend(answer=ok()).url, middleware=[{"jwt": {"jwks_url": f"{issuer.url}/keys", "issuer": "us"}}]))
    good, other = (f"Authorization: Bearer {token('ec', exp=4_102_444_800, iss=name).decode()}" for name in ("us", "them"))
    wait_until(lambda: get(proxy.address, fields=f"{good}\r\n").status == 200)
    assert course(proxy, "/", "-H", good)["status"] is None
    assert course(proxy, "/", "-H", other)["status"] == get(proxy.address, fields=f"{other}\r\n").status == 401
    assert course(proxy, "/")["reason"] == "jwt: a token is needed"


def test_a_question_changes_no_cell(fresh, backend) -> None:
    """No counter, no limit, no connection count and no measurement, whatever filters and algorithms it asks."""
    urls = [backend(answer=ok()).url for _ in range(3)]
    several = [
        {"rate_limit": {"requests_per_second": 5, "burst": 5}},
        {"limit_connections": {"per_client": 3}},
        {"basic_auth": {"users": {"u": "{SHA}UWuXg/ylF+7L0dBk2i0WUxCxl1k="}}},
        {"mirror": {"to": urls[0], "percent": 100}},
        {"compression": {"types": ["text/*"]}},
    ]
    policies = ("round-robin", "least-connections", "random-two", "response-time", "adaptive", "consistent-hash", "sticky-session")
    locations = [
        {"path": f"/{policy}", "lb_policy": policy, "backends": [{"url": url, "max_connections": 5} for url in urls]}
        for policy in policies
    ]
    locations.append(
        {"path": "/split", "split": {"by": "cookie", "to": [{"weight": 1, "backends": [{"url": url}]} for url in urls]}}
    )
    locations.append({"path": "/denied", "middleware": [{"ip_access": {"deny": ["192.0.2.0/24"]}}], "backends": [{"url": urls[0]}]})
    proxy = fresh({"name": "site", "host": "*", "middleware": several, "locations": locations}, workers=2)
    table = table_of(proxy)
    user = ("-H", "Authorization: Basic dTpw")
    for policy in policies:
        assert get(proxy.address, f"/{policy}", fields="Authorization: Basic dTpw\r\n").status in (200, 429)

    def still() -> Any:
        before = cells(table)
        time.sleep(0.1)  # copies for mirrors are sent after the answers
        return before if cells(table) == before else None

    before = wait_until(still)
    assert len(before) > 100
    for place in (*policies, "split"):
        found = course(proxy, f"/{place}", *user, "--client", "192.0.2.99")
        assert len(picked(found)) == 1, found
    assert course(proxy, "/split")["status"] == 401
    assert course(proxy, "/denied")["status"] == 403
    assert course(proxy, "/nowhere", *user)["status"] == 404
    after = cells(table)
    assert {
        index: (before.get(index), after.get(index))
        for index in before.keys() | after.keys()
        if before.get(index) != after.get(index)
    } == {}


def test_refusals(terraster, backend) -> None:
    proxy = terraster(backend(answer=ok()))

    def refused(code: int, words: str, *arguments: str) -> None:
        result = proxy.ctl("explain", *arguments)
        assert (result.returncode, result.stdout) == (code, ""), result
        assert words in result.stderr

    refused(2, "its URL does not begin with http:// or https:// and a host", "nonsense")
    refused(2, "'x' is not a valid IP address", "http://a.test/", "--client", "x")
    refused(1, f"no listener :1; there are 127.0.0.1:{proxy.port}", "http://a.test/", "--listener", ":1")
    long = [word for number in range(9) for word in ("-H", f"X-Long: {'x' * 8000}")]
    refused(2, "the request is longer than the 65536 octets that can be explained", f"GET {proxy.url}/", *long)
    result = proxy.ctl("explain", f"GET {proxy.url}/", *long[:10], "--json")
    assert json.loads(result.stdout)["courses"][0]["status"] == get(proxy.address, fields=f"X-Long: {'x' * 40000}\r\n").status
