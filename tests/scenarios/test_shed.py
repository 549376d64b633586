"""Overload: a worker that sheds load refuses at once, and those that it serves do not wait ever longer."""

from __future__ import annotations

import time
from statistics import median

import pytest

from ..harness.backends import ok
from ..harness.client import get
from ..harness.nginx import Nginx
from ..harness.terraster_process import Terraster, service
from ..harness.waiting import wait_until
from ..harness.wrk import Wrk
from .test_grpc_answers import call, outcome

REQUEST = b"GET /hello HTTP/1.1\r\nHost: a.test\r\n\r\n"

OBEDIENT = """
refused = 0
function response(status) if status == 503 then refused = refused + 1 end end
function delay() if refused == 0 then return 0 end; refused = refused - 1; return math.random(500, 1500) end
"""
"""Clients of wrk that wait some second after a refusal, not all the same."""


def shedding(url: str, **keys: object):
    return service(url, middleware=[{"shed": keys}])


def refused(proxy: Terraster) -> int:
    """Refusals that were counted."""
    return proxy.status()["services"][0]["locations"][0]["filters"]["shed"]["refused"]


def test_memory(terraster, backend) -> None:
    """A worker has more than 1 MiB. Health is told, calls of gRPC get a status of theirs, and management answers."""
    origin = backend(answer=ok())
    proxy = terraster(shedding(origin.url, memory="1m", retry_after="7s"), http2=True)
    wait_until(lambda: get(proxy.address).status == 503)
    answer = get(proxy.address)
    assert (answer.status, answer.get("retry-after")) == (503, "7")
    assert "error=http_request_denied" in answer.get("proxy-status")
    assert outcome(call(proxy)[0]) == ("14", "shed: the worker is overloaded, it is short of memory")
    assert [get(proxy.address, "/healthz").status for _ in range(30)] == [200] * 30
    wait_until(lambda: refused(proxy) >= 3)
    proxy.reload(shedding(origin.url, memory="100g"), http2=True)
    assert [get(proxy.address).status for _ in range(30)] == [200] * 30


def waits(proxy: Terraster, seconds: float) -> list[float]:
    """How long a client waits for each response that it is served, ascending, seconds."""
    found = []
    end = time.monotonic() + seconds
    with proxy.connect() as client:
        while time.monotonic() < end:
            began = time.monotonic()
            if client.send(REQUEST).response().status == 200:
                found.append(time.monotonic() - began)
    return sorted(found)


@pytest.mark.nightly
@pytest.mark.alone
@pytest.mark.needs("wrk", "nginx")
def test_those_that_are_served_wait_less(fresh, stack, tmp_path) -> None:
    """2,000 clients without a pause at one worker. The slowest of a few hundred tell of this machine, so the median is compared."""
    origin = stack.enter_context(Nginx(tmp_path / "nginx"))
    proxy = fresh(service(origin.url), workers=1, access_log="off")
    script = tmp_path / "obedient.lua"
    script.write_text(OBEDIENT)
    with Wrk(f"{proxy.url}/hello", tmp_path / "wrk", connections=2000, script=script):
        wait_until(lambda: proxy.status()["services"][0]["locations"][0]["requests"] > 5000)
        before = waits(proxy, 4)
        proxy.reload(shedding(origin.url, loop_lag="20ms"))
        wait_until(lambda: refused(proxy) > 5000)
        after = waits(proxy, 4)
    for name, found in (("without shed", before), ("with shed", after)):
        slowest = found[int(len(found) * 0.99)]
        print(f"{name}: {len(found)} responses, half within {median(found) * 1000:.0f} ms, 99 % within {slowest * 1000:.0f} ms")
    assert median(after) < median(before) / 2
