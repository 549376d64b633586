"""The changing half of the API on a running Terraster: backends, algorithms, locations, batches, reloads."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from ..harness.api import call
from ..harness.client import get
from ..harness.terraster_process import service
from .test_edits import answers, edited, named

__all__ = ["edited"]


def etag(proxy, name="site", path="/"):
    return call(proxy, "GET", "/api/config", service_name=name, path=path).etag


@pytest.mark.needs("curl")
def test_the_calls_of_the_original_page(edited, backend):
    """Word for word, but for the way in: over the control socket nobody has to log in."""
    proxy = edited(service("http://127.0.0.1:9", name="backend-api"))
    curl = ("curl", "-s", "--unix-socket", f"{proxy.runtime_dir}/control.sock")
    bearer = ("-H", "Authorization: Bearer eyJhbGciOiJIUzI1...", "-H", "Content-Type: application/json")

    def told(*words):
        return json.loads(subprocess.run([*curl, *words], capture_output=True, check=True).stdout)

    listed = told("http://localhost:8081/api/backends", *bearer)
    assert [one["url"] for one in listed["items"]] == ["http://127.0.0.1:9"]
    url = "http://localhost:8081/api/backends?service_name=backend-api"
    body = '{\n  "url": "http://127.0.0.1:8080",\n  "weight": 5\n}'
    added = told("-X", "POST", url, *bearer, "-d", body)
    assert added["changed"] == ["backend http://127.0.0.1:8080 added to backend-api/"]
    rows = told(url, *bearer)["items"]
    assert {one["url"]: one["weight"] for one in rows} == {"http://127.0.0.1:9": 1, "http://127.0.0.1:8080": 5}
    assert told("-X", "POST", url, *bearer, "-d", body)["status"] == 409
    gone = told("-X", "DELETE", url, *bearer, "-d", '{"url": "http://127.0.0.1:8080"}')
    assert gone["changed"] and len(told(url, *bearer)["items"]) == 1


def test_a_backend_from_its_first_to_its_last_request(edited, backend):
    one, two = named(backend, "one", "two")
    proxy = edited(one)
    body = {"url": two.url, "maxConnections": 7, "reason": "more load"}
    dry = call(proxy, "POST", "/api/backends", body, dry_run="true")
    assert (dry.status, dry.value["dry_run"], dry.value["edits"], answers(proxy)) == (200, True, [], {"one"})
    added = call(proxy, "POST", "/api/backends", body)
    assert (added.status, added.value["edits"][0]["value"]["max_connections"], answers(proxy)) == (201, 7, {"one", "two"})
    assert added.etag == etag(proxy) == added.value["locations"][0]["etag"]
    target = {"service_name": "site", "path": "/", "url": two.url}
    assert call(proxy, "PATCH", "/api/backends", {"weight": 9}, **target).status == 428
    stale = call(proxy, "PATCH", "/api/backends", {"weight": 9}, {"If-Match": '"else"'}, **target)
    assert (stale.status, stale.etag) == (412, added.etag)
    patched = call(proxy, "PATCH", "/api/backends", {"weight": 9}, {"If-Match": added.etag}, **target)
    assert patched.status == 200 and patched.etag != added.etag
    drained = call(
        proxy, "PATCH", "/api/backends", {"drain": True, "for": "10m", "reason": "disk"}, {"If-Match": patched.etag}, **target
    )
    assert drained.status == 200 and drained.value["changed"] == [f"backend {two.url} of site/ is draining"]
    (row,) = [row for row in call(proxy, "GET", "/api/backends").value["items"] if row["url"] == two.url]
    assert (row["state"], row["weight"], row["max_connections"], row["order"]["reason"]) == ("draining", 9, 7, "disk")
    late = call(proxy, "PATCH", "/api/backends", {"drain": False}, {"If-Match": patched.etag}, **target)
    assert (late.status, late.etag) == (412, drained.etag)
    enabled = call(proxy, "PATCH", "/api/backends", {"drain": False}, {"If-Match": drained.etag}, **target)
    assert enabled.status == 200 and answers(proxy) == {"one", "two"}
    assert call(proxy, "DELETE", "/api/backends", {"url": two.url}, {"If-Match": '"else"'}).status == 412, "honoured if it is sent"
    assert call(proxy, "DELETE", "/api/backends", url=two.url).status == 200 and answers(proxy) == {"one"}
    assert call(proxy, "GET", "/api/overrides").value["edits"] == []


def test_the_algorithm_and_the_connections_of_a_location(edited, backend):
    one, two = named(backend, "one", "two")
    proxy = edited(service(one.url, {"url": two.url, "max_connections": 3}, location={"lb_policy": "ip-hash"}))
    found = call(proxy, "GET", "/api/config", service_name="site")
    assert found.value == {"service_name": "site", "path": "/", "algorithm": "ip-hash", "max_connections": "mixed"}
    assert len(answers(proxy)) == 1
    body = {"algorithm": "round_robin", "max_connections": 50}
    assert call(proxy, "PUT", "/api/config", body, service_name="site").status == 428
    answer = call(proxy, "PUT", "/api/config", body, {"If-Match": found.etag}, service_name="site")
    assert answer.status == 200 and answers(proxy) == {"one", "two"}, "in effect at once"
    found = call(proxy, "GET", "/api/config", service_name="site", path="/")
    assert (found.value["algorithm"], found.value["max_connections"], found.etag) == ("round-robin", 50, answer.etag)
    wrong = call(proxy, "PUT", "/api/config", {"algorithm": "best"}, {"If-Match": found.etag}, service_name="site")
    assert wrong.status == 422 and "`lb_policy` names an unknown algorithm 'best'" in wrong.value["detail"]


def test_locations_come_change_and_go(edited, backend):
    one, two = named(backend, "one", "two")
    proxy = edited(one)
    added = call(proxy, "POST", "/api/locations", {"path": "/new", "backends": [two.url]}, service_name="site")
    assert added.status == 201 and get(proxy.address, "/new/x").body == b"two"
    again = call(proxy, "POST", "/api/locations", {"path": "/new", "backends": [two.url]}, service_name="site")
    assert again.status == 409
    where = {"service_name": "site", "path": "/new"}
    assert call(proxy, "DELETE", "/api/locations", **where).status == 428
    put = call(proxy, "PUT", "/api/locations", {"path": "/new", "redirect": "http://else.test"}, {"If-Match": added.etag}, **where)
    assert put.status == 200 and get(proxy.address, "/new/x").status == 308
    assert call(proxy, "DELETE", "/api/locations", None, {"If-Match": added.etag}, **where).status == 412
    assert call(proxy, "DELETE", "/api/locations", None, {"If-Match": put.etag}, **where).status == 200
    assert get(proxy.address, "/new/x").body == b"one" and call(proxy, "GET", "/api/overrides").value["edits"] == []


def test_a_batch_is_one_generation_or_nothing(edited, backend):
    one, two, three = named(backend, "one", "two", "three")
    proxy = edited(one)
    before = proxy.status()["generation"]
    changes = [
        {"kind": "backend.add", "service_name": "site", "url": two.url},
        {"kind": "backend.add", "service_name": "site", "url": three.url, "value": {"weight": 2}},
        {"kind": "location.set", "service_name": "site", "value": {"max_connections": 9}},
    ]
    made = call(proxy, "PATCH", "/api/config", {"changes": changes, "reason": "growth"}).value
    assert (made["generation"], len(made["changed"])) == (before + 1, 3) and answers(proxy, 20) == {"one", "two", "three"}
    wrong = [{"kind": "backend.remove", "url": two.url}, {"kind": "backend.remove", "url": "http://127.0.0.1:1"}]
    refused = call(proxy, "PATCH", "/api/config", {"changes": wrong})
    assert refused.status == 404 and proxy.status()["generation"] == before + 1 and answers(proxy, 20) == {"one", "two", "three"}
    (first, *_) = call(proxy, "GET", "/api/overrides").value["edits"]
    assert (first["words"], first["reason"]) == (f"backend {two.url} added to site/", "growth")
    assert call(proxy, "DELETE", f"/api/overrides/{first['number']}").status == 200 and answers(proxy, 20) == {"one", "three"}
    assert call(proxy, "DELETE", f"/api/overrides/{first['number']}").status == 404


def test_a_reload_and_its_rehearsal(edited, backend):
    one, two = named(backend, "one", "two")
    proxy = edited(one)
    proxy.write(service(two.url))
    dry = call(proxy, "POST", "/api/reload", dry_run="true").value
    assert dry["dry_run"] and dry["changes"] and answers(proxy) == {"one"}
    assert call(proxy, "POST", "/api/reload").value["ok"] and answers(proxy) == {"two"}
    proxy.write({**service(two.url), "colour": "red"})
    refused = call(proxy, "POST", "/api/reload")
    assert refused.status == 422 and "unknown key `colour`" in refused.value["errors"][0]["detail"] and answers(proxy) == {"two"}
    proxy.write(service(two.url))


def test_maintenance_of_a_service(edited, backend):
    (one,) = named(backend, "one")
    proxy = edited(one)
    tried = call(proxy, "POST", "/api/services/site/maintenance", {"on": True}, dry_run="true").value
    assert (tried["changed"], tried["maintenance"], len(tried["touches"])) == (True, None, 1)
    made = call(proxy, "POST", "/api/services/site/maintenance", {"on": True, "reason": "move"})
    assert made.status == 200 and made.value["maintenance"]["reason"] == "move" and get(proxy.address).status == 503
    assert call(proxy, "POST", "/api/services/site/maintenance", {"on": False}).value["maintenance"] is None
    assert answers(proxy) == {"one"}
    assert call(proxy, "POST", "/api/services/else/maintenance", {"on": True}).status == 404


def test_of_programs_that_saw_the_same_one_wins(edited, backend):
    proxy = edited(*named(backend, "one"))
    tag = {"If-Match": etag(proxy)}
    with ThreadPoolExecutor(6) as pool:
        found = list(
            pool.map(lambda n: call(proxy, "PUT", "/api/config", {"max_connections": n}, tag, service_name="site"), range(1, 7))
        )
    assert sorted(one.status for one in found) == [200, *[412] * 5]
    (won,) = [one for one in found if one.status == 200]
    assert {one.etag for one in found} == {won.etag} == {etag(proxy)}


def test_generations_their_differences_and_the_way_back(edited, backend):
    one, two = named(backend, "one", "two")
    proxy = edited(one)
    added = call(proxy, "POST", "/api/backends", {"url": two.url}).value
    (newest, before, *_) = call(proxy, "GET", "/api/generations").value["items"]
    assert (newest["generation"], newest["running"], newest["edits"]) == (added["generation"], True, [added["edits"][0]["number"]])
    found = call(proxy, "GET", "/api/generations/diff", old=before["generation"]).value
    assert found["changes"] == [f"~ service site: + backend {two.url}"]
    assert call(proxy, "POST", f"/api/generations/{before['generation']}/rollback", {"reason": "too slow"}).status == 200
    assert answers(proxy) == {"one"}
    assert call(proxy, "GET", "/api/generations").value["items"][0]["why"].endswith(": too slow")
    assert call(proxy, "GET", "/api/audit", limit=1).value["rows"][0]["reason"] == "too slow"
    assert call(proxy, "POST", "/api/generations/999999/rollback").status == 404
    number = call(proxy, "POST", "/api/backends", {"url": two.url}).value["edits"][0]["number"]
    assert call(proxy, "POST", f"/api/overrides/{number}/adopt").status == 200 and two.url in proxy.config_file.read_text()
    assert call(proxy, "GET", "/api/overrides").value["edits"] == [] and answers(proxy) == {"one", "two"}


def test_of_an_order_and_an_edit_that_saw_the_same_one_wins(edited, backend):
    proxy = edited(*named(backend, "one"))
    (url,) = [row["url"] for row in call(proxy, "GET", "/api/backends").value["items"]]

    values = count(100)  # each change is another one

    def program(number):
        if number % 2:
            where = {"service_name": "site", "path": "/", "url": url}
            body = {"drain": True, "reason": str(next(values))}
            return call(proxy, "PATCH", "/api/backends", body, {"If-Match": seen}, **where).status
        body = {"max_connections": next(values)}
        return call(proxy, "PUT", "/api/config", body, {"If-Match": seen}, service_name="site", path="/").status

    with ThreadPoolExecutor(4) as pool:
        for _ in range(6):
            seen = etag(proxy)
            assert sorted(pool.map(program, range(4))) == [200, 412, 412, 412]
    call(proxy, "PATCH", "/api/backends", {"drain": False}, {"If-Match": "*"}, service_name="site", path="/", url=url)


def test_the_service_of_a_backend_that_is_in_one_place_may_be_left_out_of_every_call(edited, backend):
    one, two = named(backend, "one", "two")
    proxy = edited(one)
    assert call(proxy, "POST", "/api/backends", {"url": two.url}).status == 201
    for body in ({"weight": 3}, {"drain": True}, {"drain": False}):
        assert call(proxy, "PATCH", "/api/backends", body, {"If-Match": "*"}, url=two.url).status == 200, body
    assert call(proxy, "DELETE", "/api/backends", url=two.url).status == 200


def test_a_change_of_a_batch_says_one_thing_only(edited, backend):
    one, two = named(backend, "one", "two")
    proxy = edited(one)
    changes = [
        {"kind": "backend.add", "url": two.url, "value": {"url": "http://127.0.0.1:1"}},
        {"kind": "backend.remove", "url": one.url, "value": {"weight": 3}},
        {"kind": "location.remove", "service_name": "site", "path": "/", "value": {"path": "/other"}},
    ]
    for change in changes:
        refused = call(proxy, "PATCH", "/api/config", {"changes": [change]})
        assert refused.status == 422 and "value" in refused.value["detail"], refused
    same = {"kind": "backend.add", "url": two.url, "value": {"url": two.url + "/"}}
    assert call(proxy, "PATCH", "/api/config", {"changes": [same]}, dry_run="true").status == 200
