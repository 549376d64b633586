"""The health check of a backend is made when an operator asks; the answer to one that fails is kept with the change of the state."""

from __future__ import annotations

import json

from ..harness.api import call
from ..harness.backends import ok
from ..harness.terraster_process import service
from ..harness.waiting import wait_until

SICK = b"HTTP/1.1 503 No\r\nContent-Length: 33\r\n\r\nno database\r\npassword=hunter2 abc\n"


def test_now_and_in_the_history(terraster, backend):
    answers = [SICK]

    def script(peer):
        while peer.request():
            peer.send(answers[0])

    one, other = backend(script), backend(answer=SICK)
    often = {"type": "http", "path": "/health", "interval": "50ms", "thresholds": {"unhealthy": 1}}
    seldom = {**often, "interval": "1h"}
    answers[0] = ok()
    proxy = terraster(
        service(one.url, name="shop", host="a.test", health_check=often),
        service(other.url, name="blog", host="b.test", health_check=seldom),
    )
    answers[0] = SICK
    target = {"service_name": "blog", "url": other.url}
    events = wait_until(
        lambda: [
            event
            for event in call(proxy, "GET", "/api/events", kind="backend").value["events"]
            if "status 503" in event["text"] and event["target"].endswith(one.url)  # other tests left events, too
        ]
    )
    assert events[0]["answer"] == "no database password=**** abc", events
    (explained,) = json.loads(proxy.ctl("why", "shop", one.url, "--json").stdout)["backends"]
    assert explained["day"]["changes"][0]["answer"] == explained["endpoints"][0]["last_probes"][0]["answer"] == events[0]["answer"]
    assert "it answered: no database password=**** abc" in " ".join(proxy.ctl("why", "shop", one.url).stdout.split())
    told = proxy.ctl("probe", "blog", other.url)
    assert told.returncode == 1 and "FAILED" in told.stdout and "status 503" in told.stdout and "hunter2" not in told.stdout
    wait_until(
        lambda: call(proxy, "POST", "/api/backends/probe", **target).status == 429, "one within a second of another is refused"
    )
    found = wait_until(lambda: (told := call(proxy, "POST", "/api/backends/probe", **target)).status == 200 and told.value)
    (probe,) = found["probes"]
    assert (probe["ok"], probe["status"], probe["answer"]) == (False, 503, "no database password=**** abc")
    (row,) = call(proxy, "GET", "/api/backends", service_name="blog").value["items"]
    assert row["probes"] == 0, "a probe on demand counts for nothing, and the first one was before there was a place to count it"
    assert call(proxy, "POST", "/api/backends/probe", service_name="blog", url="http://10.0.0.9").status == 404
