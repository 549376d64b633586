"""Shares under real traffic: 50,000 requests (100,000 every night) over four backends of weights 5:3:1:1 and equal speed, through two workers.

The load: h2load, HTTP/1.1, 64 kept connections, each asking again as soon as it was answered, so 64 requests are in flight at most;
GETs of five octets, one nginx with four ports. Counted in Terraster's table and at the backends.

The round robins are held to 1 % of each weight, those that go by load to 5 % (what a backend of weight 1 gets is 5,000 requests;
drawing at random alone makes some 1.4 % of difference there). Hashes and sessions go by clients, not by requests: for them many clients
come through a proxy that is trusted.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from ..harness.nginx import Nginx
from ..harness.ports import free_port
from ..harness.program import find
from ..harness.sizes import times
from ..harness.terraster_process import service
from ..harness.waiting import wait_until
from .test_metrics import total

pytestmark = pytest.mark.needs("nginx")

WEIGHTS = [5, 3, 1, 1]
EXACT, BY_LOAD = 0.01, 0.05  # parts of a weight by which a share may differ
CONNECTIONS = 64
CLIENTS = 3_000
SERVER = """
        access_log {folder}/{port}.log combined buffer=64k flush=200ms;
        location / {{ return 200 "$server_port"; }}
"""


class Origin(Nginx):
    """One nginx with a port for each weight: one process, so that all are equally quick whatever else the machine does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = [free_port() for _ in WEIGHTS]
        servers = [SERVER.format(folder=folder, port=port) for port in self.ports]
        more = [
            f"}} server {{ listen 127.0.0.1:{port} backlog=4096; {server}" for port, server in zip(self.ports, servers, strict=True)
        ]
        super().__init__(folder, servers[0] + "".join(more[1:]), self.ports[0])

    def came(self) -> list[int]:
        """Requests that each port has had, as nginx logged them."""
        return [(self.folder / f"{port}.log").read_bytes().count(b"\n") for port in self.ports]


@pytest.fixture
def origin(stack, tmp_path) -> Origin:
    return stack.enter_context(Origin(tmp_path / "nginx"))


@pytest.fixture
def before(terraster, origin):
    """Start a Terraster before them: ``before(algorithm, key of the location=…)``."""

    def start(algorithm: str, **keys):
        entries = [
            {"url": f"http://127.0.0.1:{port}", "weight": weight} for port, weight in zip(origin.ports, WEIGHTS, strict=True)
        ]
        site = service(*entries, location={"lb_policy": algorithm, **keys})
        return terraster(site, workers=2, access_log="off", trusted_proxies=["127.0.0.1"])

    return start


def load(proxy, count: int) -> None:
    """Send so many requests; all must be answered well."""
    command = [find("h2load"), "--h1", f"-n{count}", f"-c{CONNECTIONS}", "-t1", f"{proxy.url}/"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    assert f"{count} done, {count} succeeded" in said, said


def counted(proxy, origin) -> list[float]:
    """Attempts at each backend, as Terraster's table has them."""
    return [total(proxy, "terraster_backend_requests_total", f":{port}") for port in origin.ports]


def off(counts: list[float], weights: list[int]) -> list[float]:
    """By what part each differs from its weight."""
    return [round(count * sum(weights) / sum(counts) / weight - 1, 4) for count, weight in zip(counts, weights, strict=True)]


@pytest.mark.alone
@pytest.mark.needs("h2load")
@times(50_000, 100_000)
@pytest.mark.parametrize(
    ("algorithm", "weights", "part"),
    [
        ("round-robin", WEIGHTS, EXACT),
        ("weighted-round-robin", WEIGHTS, EXACT),
        ("least-connections", [1, 1, 1, 1], BY_LOAD),  # it knows no weights
        ("weighted-least-connections", WEIGHTS, BY_LOAD),
        ("random-two", WEIGHTS, BY_LOAD),
        ("response-time", WEIGHTS, BY_LOAD),
        ("adaptive", WEIGHTS, BY_LOAD),
    ],
)
def test_requests_are_shared_by_weight(before, origin, algorithm, weights, part, count: int) -> None:
    """Those that go by load may have three runs: each backend has its CPU from a machine that does other work too, and a fault of a
    balancer is there in every run."""
    proxy = before(algorithm)
    counts = [0.0] * len(weights)
    seen = []
    for _ in range(1 if part == EXACT else 3):
        earlier = counts
        load(proxy, count)
        counts = counted(proxy, origin)
        had = [now - then for now, then in zip(counts, earlier, strict=True)]
        assert sum(had) == count
        seen.append(off(had, weights))
        if max(map(abs, seen[-1])) <= part:
            break
    else:
        pytest.fail(f"not within {part} of the weights: {seen}")
    wait_until(lambda: origin.came() == counts, f"{counts} at the backends")


def addresses() -> list[str]:
    chance = Random(5311)
    return [str(chance.randrange(1, 224)) + "".join(f".{chance.randrange(256)}" for _ in range(3)) for _ in range(CLIENTS)]


def ask(client, fields: str):
    """One request on a kept connection."""
    answer = client.send(f"GET / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n\r\n".encode()).response()
    assert answer.status == 200, answer
    return answer


@pytest.mark.parametrize(
    ("algorithm", "keys", "field"),
    [
        ("ip-hash", {}, "X-Forwarded-For"),
        ("consistent-hash", {"hash_on": "header:X-Tenant"}, "X-Tenant"),
        ("consistent-hash", {"hash_on": "cookie:user"}, "Cookie: user="),
    ],
)
def test_hashes_share_clients_by_weight_and_keep_them(before, origin, algorithm, keys, field) -> None:
    """3,000 clients are shared as well as 3,000 throws of dice are (six standard deviations and what the ring is uneven by); each is
    at the same backend again through the other connection, which another worker may hold."""
    proxy = before(algorithm, **keys)
    start = field if field.endswith("=") else f"{field}: "
    with proxy.connect() as one, proxy.connect() as other:
        homes = {name: ask(one, start + name).body for name in addresses()}
        assert all(ask(other, start + name).body == homes[name] for name in addresses()[:500])
    had = Counter(homes.values())
    for port, weight in zip(origin.ports, WEIGHTS, strict=True):
        fair = weight / sum(WEIGHTS)
        bound = 6 * (fair * (1 - fair) / CLIENTS) ** 0.5 + 0.1 * fair
        assert abs(had[b"%d" % port] / CLIENTS - fair) <= bound, (had, weight)


def test_sessions_are_shared_by_weight_and_kept(before, origin) -> None:
    """New sessions go round by weight, within 1 %; whoever comes with a cookie stays, through any worker."""
    proxy = before("sticky-session")
    with proxy.connect() as one, proxy.connect() as other:
        sessions = [ask(one, "X-New: 1") for _ in range(1_000)]
        had = Counter(answer.body for answer in sessions)
        for answer in sessions[:300]:
            again = ask(other, f"Cookie: {answer.get('set-cookie').partition(';')[0]}")
            assert (again.body, again.get("set-cookie")) == (answer.body, None)
    assert max(map(abs, off([had[b"%d" % port] for port in origin.ports], WEIGHTS))) <= 0.01, had
