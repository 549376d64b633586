"""Fixed answers, seen by a client."""

from __future__ import annotations

from ..harness.backends import ok
from ..harness.client import get
from ..harness.terraster_process import backends


def test_a_service_that_answers_itself_but_for_one_location(terraster, backend) -> None:
    origin = backend(answer=lambda request: ok(b"from the backend"))
    proxy = terraster(
        {
            "name": "site",
            "respond": {"status": 503, "body": "closed", "headers": {"Retry-After": 60}},
            "locations": [
                {"path": "/shop"},
                {"path": "/live", "respond": {"body": "live"}},
                {"path": "/open", "respond": "off", "backends": backends(origin.url)},
            ],
        }
    )
    for path, status, body in [
        ("/shop/x", 503, b"closed"),
        ("/nowhere", 503, b"closed"),
        ("/live", 200, b"live"),
        ("/open/x", 200, b"from the backend"),
    ]:
        answer = get(proxy.address, path)
        assert (answer.status, answer.body) == (status, body), path
    assert get(proxy.address, "/shop").get("retry-after") == "60"
    places = {place["path"]: place["filters"] for place in proxy.status()["services"][0]["locations"]}
    assert places == {"/shop": {"respond": {"answers": 2}}, "/live": {"respond": {"answers": 1}}, "/open": {}}
