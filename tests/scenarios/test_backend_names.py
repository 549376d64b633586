"""Backends with a name: it is shown beside the URL, and is taken in its place."""

from __future__ import annotations

from ..harness.backends import ok
from ..harness.client import get
from ..harness.ports import free_port
from ..harness.terraster_process import service
from ..harness.waiting import wait_until


def state(proxy, at: int = 0) -> dict:
    """One backend of the only location, as the status has it."""
    return proxy.status()["services"][0]["locations"][0]["backends"][at]


def test_the_access_log_has_a_field_for_it(terraster, backend) -> None:
    origin = backend(answer=ok())
    dead = f"http://127.0.0.1:{free_port()}"
    proxy = terraster(
        service({"url": origin.url, "name": "db1.zone1"}, host="one.test", name="one"),
        service(origin.url, host="two.test", name="two"),
        service({"url": dead, "name": "db9"}, host="dead.test", name="dead"),
    )
    assert [get(proxy.address, host=f"{host}.test").status for host in ("one", "two", "dead")] == [200, 200, 502]
    lines = {line["service"]: line for line in proxy.log(3)}
    assert {(line["upstream"], line["upstream_name"]) for line in lines.values()} == {
        (origin.url, "db1.zone1"),
        (origin.url, ""),
        (dead, "db9"),
    }
    assert lines["dead"]["detail"].startswith(f"db9 ({dead}): no connection to the backend (ECONNREFUSED)")


def test_metrics_keep_their_labels_and_one_more_has_the_name(terraster, backend) -> None:
    one, two = backend(answer=ok()), backend(answer=ok())
    found = terraster(service({"url": one.url, "name": "db1"}, two.url)).metrics()
    assert found[f'terraster_backend_info{{backend="{one.url}",location="/",name="db1",service="site"}}'] == 1
    assert len([name for name in found if name.startswith("terraster_backend_info")]) == 1
    assert [found[f'terraster_backend_up{{backend="{url}",location="/",service="site"}}'] for url in (one.url, two.url)] == [1, 1]


def test_operators_use_it_and_see_it(terraster, backend) -> None:
    one, two = backend(answer=ok(b"one")), backend(answer=ok(b"two"))
    proxy = terraster(service({"url": one.url, "name": "db1"}, {"url": two.url, "name": "db2"}))
    said = proxy.ctl("backend", "drain", "site", "db1", "--reason", "a disk").stdout
    assert said.startswith(f"site/ db1 ({one.url}) is draining")
    assert {get(proxy.address).body for _ in range(4)} == {b"two"}
    assert state(proxy)["name"] == "db1"
    assert f"site/ db1 ({one.url}) is draining" in proxy.ctl("why", "db1").stdout
    listed = proxy.ctl("backend", "list").stdout
    assert f"db1 {one.url}" in listed
    assert f"site/: db1 ({one.url}): draining" in listed
    assert f"backend db1 ({one.url}) of site/: drain" in proxy.said
    refused = proxy.ctl("backend", "drain", "site", "db3")
    assert (refused.returncode, refused.stderr) == (1, "terrasterctl: site has no backend db3; did you mean db2, db1?\n")
    assert proxy.ctl("backend", "enable", "site", "db1").returncode == 0


def test_problems_name_it(terraster) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    proxy = terraster(service({"url": url, "name": "db1"}), health_check={"type": "tcp", "interval": "0.1s"})
    wait_until(lambda: state(proxy)["state"] == "down" and state(proxy)["reason"] == "connection refused")
    (problem,) = [one for one in proxy.status()["problems"] if one["kind"] == "backend-down"]
    assert (problem["backend"], problem["backend_name"]) == (url, "db1")
    assert f"site/: db1 ({url}) has been down" in proxy.ctl("status").stdout
    assert f"backend db1 ({url}) of site/ is down" in proxy.said


def test_a_new_name_changes_nothing_else(terraster, backend) -> None:
    origin = backend(answer=ok())
    proxy = terraster(service(origin.url))
    with proxy.connect() as client:
        for name in ("db1", "db2"):
            assert client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").response().status == 200
            changes = proxy.reload(service({"url": origin.url, "name": name}))["changes"]
        assert changes == [f"~ service site: ~ backend db2 ({origin.url}): name db1 → db2"]
        assert client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").response().status == 200
    wait_until(lambda: state(proxy)["requests"] == 3)
    assert len(origin.peers) == 1, "its connection is kept"
