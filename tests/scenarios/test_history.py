"""The past outlives the processes: what happened, and how much was asked, is told by terrasterctl and the API."""

from __future__ import annotations

import os
import signal

from ..harness.backends import ok
from ..harness.client import get
from ..harness.terraster_process import service
from ..harness.waiting import wait_until


def texts(proxy, **query: str) -> list[str]:
    return [f"{one['kind']} {one['target']} {one['text']}" for one in proxy.control("GET", "/events", **query)["events"]][::-1]


def test_the_timeline_tells_what_happened_and_outlives_all_processes(fresh, backend) -> None:
    one = backend(answer=ok())
    site = service(one.url)
    proxy = fresh(site)
    assert proxy.ctl("backend", "drain", "site", one.url, "--reason", "disk swap").returncode == 0
    proxy.reload(site, workers=2)
    victim = proxy.workers()[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: any(text.startswith("worker ") and str(victim) in text for text in texts(proxy)))
    found = texts(proxy)
    for begin in (f"backend site/ {one.url} draining: disk swap", "reload ", "operator site/"):
        assert any(text.startswith(begin) for text in found), (begin, found)
    assert texts(proxy, kind="backend") == [text for text in found if text.startswith("backend ")]
    events = f"{proxy.base['state_dir']}/history"
    wait_until(lambda: any(name.endswith(".events") for name in os.listdir(events)) and str(victim) in _all(events))
    os.kill(proxy.pid, signal.SIGKILL)
    proxy.program.wait()
    proxy.start()
    assert set(found) <= set(texts(proxy)), "after a restart"
    shown = proxy.ctl("why", "site", one.url)
    assert shown.returncode == 0 and "in the last day" in shown.stdout and "draining: disk swap" in shown.stdout
    wide = proxy.ctl("events", "--kind", "worker")
    assert wide.returncode == 0 and str(victim) in wide.stdout


def test_minutes_outlive_a_restart(fresh, backend) -> None:
    busy = backend(answer=ok(status=b"503 Busy"))
    sites = service(backend(answer=ok()).url), service(busy.url, name="busy", host="busy.test", slo={"availability": 99})
    proxy = fresh(*sites)
    wait_until(lambda: os.path.exists(f"{proxy.base['state_dir']}/history/lock"))
    proxy.status()  # the first look at the counters is over
    for number in range(12):
        get(proxy.address, host="busy.test" if number % 4 == 3 else "site.test")
    wait_until(lambda: sum(one["locations"][0]["requests"] for one in proxy.status()["services"]) == 12)
    proxy.reload(*sites, drain_timeout="7s")
    assert proxy.ctl("stop").returncode == 0
    assert proxy.program is not None
    proxy.start()
    assert any("drain_timeout" in text for text in texts(proxy, kind="reload")), "the last seconds are kept, too"
    asked = {name: proxy.control("GET", "/api/history", service_name=name) for name in ("site", "busy")}
    assert {name: sum(row[1] for row in found["locations"][0]["minutes"]) for name, found in asked.items()} == {
        "site": 9,
        "busy": 3,
    }
    assert sum(row[3] for row in asked["busy"]["locations"][0]["minutes"]) == 3 and asked["site"]["step"] == 60
    (objective,) = proxy.control("GET", "/api/slo")["items"]
    assert (objective["service_name"], objective["requests"], objective["bad"], objective["budget_left"]) == ("busy", 3, 3, 0)
    day = proxy.control("GET", "/why", service="busy", url=busy.url)["backends"][0]["day"]
    assert (day["attempts"], day["errors"], sum(one["errors"] for one in day["minutes"])) == (3, 3, 3)


def _all(directory: str) -> str:
    found = ""
    for name in os.listdir(directory):
        if name.endswith(".events"):
            with open(os.path.join(directory, name)) as stream:
                found += stream.read()
    return found
