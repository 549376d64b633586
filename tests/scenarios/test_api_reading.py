"""The reading half of the API on a running Terraster."""

from __future__ import annotations

import json

import jsonschema
import pytest

from ..harness.api import call
from ..harness.backends import ok
from ..harness.client import exchange
from ..harness.shapes import unlawful
from ..harness.terraster_process import service
from ..harness.waiting import wait_until

READ = [
    f"/api/{name}"
    for name in (
        "services",
        "locations",
        "backends",
        "health",
        "probes",
        "stats",
        "limits",
        "status",
        "why",
        "certificates",
        "plugins",
        "generations",
        "config",
        "config/effective",
        "slo",
    )
]

SERVICES = [
    service("http://127.0.0.1:9", "http://127.0.0.1:10", name="shop", host="shop.test"),
    service("http://127.0.0.1:9", name="blog", host="blog.test"),
]


def test_services_locations_and_backends_are_listed_in_their_order(terraster):
    running = terraster(*SERVICES)
    services = call(running, "GET", "/api/services").value
    assert [(one["name"], one["hosts"], one["backends"]) for one in services["items"]] == [
        ("blog", ["blog.test"], 1),
        ("shop", ["shop.test"], 2),
    ]
    assert services["next"] is None
    places = call(running, "GET", "/api/locations", service_name="shop").value["items"]
    assert [(one["service_name"], one["path"], one["policy"], one["backends"]) for one in places] == [
        ("shop", "/", "round-robin", 2)
    ]
    backends = call(running, "GET", "/api/backends", service_name="shop", path="/", fields="url,state").value["items"]
    assert sorted(one["url"] for one in backends) == ["http://127.0.0.1:10", "http://127.0.0.1:9"]
    assert {tuple(one) for one in backends} == {("url", "state")}


def test_pages_have_each_item_once_and_tell_the_next(terraster):
    running = terraster(*SERVICES)
    seen, cursor = [], ""
    for _ in range(5):
        page = call(running, "GET", "/api/backends", limit=1, cursor=cursor).value
        seen += [(one["service_name"], one["url"]) for one in page["items"]]
        if page["next"] is None:
            break
        cursor = page["next"]
    assert sorted(seen) == [("blog", "http://127.0.0.1:9"), ("shop", "http://127.0.0.1:10"), ("shop", "http://127.0.0.1:9")]
    assert call(running, "GET", "/api/backends", state="down").value == {"items": [], "next": None}


@pytest.mark.parametrize(
    ("path", "query", "status", "words"),
    [
        ("/api/services", {"service_name": "shopp"}, 404, "did you mean `shop`?"),
        ("/api/backends", {"service_name": "shop", "path": "/x"}, 404, "no location /x"),
        ("/api/config/effective", {}, 409, "name the service by `service_name`: there are 2"),
        ("/api/services", {"limit": 501}, 422, ""),
        ("/api/services", {"cursor": "YQ"}, 404, "the cursor"),
        ("/api/services", {"fields": "name,colour"}, 422, "there is no field colour"),
        ("/api/services", {"colour": "red"}, 422, "parameters of listServices: limit, cursor, fields, service_name"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(terraster, path, query, status, words):
    told = call(terraster(*SERVICES), "GET", path, **query)
    assert told.status == status and told.fields["content-type"] == "application/problem+json"
    assert words in told.value["detail"] + json.dumps(told.value.get("errors", []), ensure_ascii=False)


def test_every_answer_is_as_the_document_says(terraster):
    running = terraster(
        service(
            "http://127.0.0.1:9",
            name="shop",
            host="shop.test",
            middleware=[{"rate_limit": {"requests_per_second": 5}}],
            slo={"availability": 99.9},
        ),
        SERVICES[1],
    )
    assert call(running, "POST", "/api/nothing").status == 404
    assert running.ctl("backend", "drain", "shop", "http://127.0.0.1:9", "--reason", "by test").returncode == 0
    document = call(running, "GET", "/openapi.json").value
    needed = {
        "/api/why": {"url": "http://127.0.0.1:9", "service_name": "shop"},
        "/api/config": {"service_name": "shop"},
        "/api/config/effective": {"service_name": "shop"},
    }
    empty = {"/api/certificates", "/api/plugins"}
    for path in READ:
        schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        told = call(running, "GET", path, **needed.get(path, {}))
        assert told.status == 200, (path, told)
        jsonschema.validate(told.value, {**schema, "components": document["components"]})
        if "next" in told.value and path not in empty:
            assert told.value["items"], path
            name = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["properties"]["items"]["items"]["$ref"]
            assert set(told.value["items"][0]) == set(document["components"]["schemas"][name.rpartition("/")[2]]["properties"])
    assert running.ctl("backend", "enable", "shop", "http://127.0.0.1:9").returncode == 0
    objectives = json.loads(running.ctl("slo", "--json", "shop").stdout)
    assert not unlawful("slo", objectives) and [one["text"] for one in objectives["objectives"]] == ["availability 99.9 %"]


def test_health_and_stats_cover_every_location(terraster, backend):
    origin = backend(answer=ok(b"hello"))
    places = [{"path": path, "backends": [origin.url]} for path in ("/", "/a", "/b")]
    running = terraster({"name": "shop", "host": "*", "locations": places}, SERVICES[1])
    for path in ("/", "/a", "/b/c"):
        assert exchange(running.address, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()).status == 200
    rows = wait_until(lambda: counted(running, 3))
    assert [(one["path"], one["requests"], one["responses"]) for one in rows] == [
        (path, 1, {"2xx": 1}) for path in ("/", "/a", "/b")
    ]
    health = call(running, "GET", "/api/health", service_name="shop").value["items"]
    assert [(one["path"], one["health"], one["backends_up"], one["unhealthy"]) for one in health] == [
        (path, "healthy", 1, []) for path in ("/", "/a", "/b")
    ]
    assert running.ctl("backend", "maintain", "shop/a", origin.url, "--reason", "disk").returncode == 0
    (one,) = call(running, "GET", "/api/health", service_name="shop", path="/a").value["items"]
    assert one["health"] == "down" and [(bad["state"], bad["reason"]) for bad in one["unhealthy"]] == [("maintenance", "disk")]
    (row,) = call(running, "GET", "/api/config/effective", service_name="shop", path="/a").value["overrides"]
    assert (row["kind"], row["service_name"], row["path"], row["url"], row["reason"]) == ("order", "shop", "/a", origin.url, "disk")
    assert running.ctl("backend", "enable", "shop/a", origin.url).returncode == 0


def counted(running, requests: int) -> list[dict] | None:
    rows = call(running, "GET", "/api/stats", service_name="shop").value["items"]
    return rows if sum(one["requests"] for one in rows) == requests else None


def test_the_configuration_of_a_location_says_where_each_value_comes_from(terraster):
    running = terraster(service("http://127.0.0.1:9", name="idle"))
    running.reload(
        {
            "name": "shop",
            "host": "shop.test",
            "timeouts": {"read": "7s"},
            "locations": [
                {
                    "path": "/",
                    "lb_policy": "least-connections",
                    "headers": {"request_headers": {"X-A": "b", "Authorization": "Basic c2VjcmV0"}},
                    "backends": [{"url": "http://127.0.0.1:9", "max_connections": 3}, {"url": "http://127.0.0.1:10"}],
                },
                {"path": "/one", "backends": [{"url": "http://127.0.0.1:9", "max_connections": 4}]},
            ],
        },
        timeouts={"read": "9s", "connect": "2s"},
    )
    told = call(running, "GET", "/api/config/effective", path="/").value
    values = {one["key"]: one for one in told["values"]}
    lines = running.config_file.read_text().splitlines()

    def written(key: str) -> tuple[str, str]:
        file, line, _ = values[key]["place"].rsplit(":", 2)
        assert file == str(running.config_file)
        return values[key]["origin"], lines[int(line) - 1].strip()

    assert written("timeouts.read") == ("service", "read: 7s")
    assert written("timeouts.connect") == ("top", "connect: 2s")
    assert written("lb_policy") == ("location", "lb_policy: least-connections")
    assert values["slow_start"]["origin"] == "default" and values["slow_start"]["place"] == ""
    assert "c2VjcmV0" not in json.dumps(told) and "X-A" in json.dumps(told)


def test_a_head_has_the_head_of_a_get(terraster):
    running = terraster(*SERVICES)
    get, head = (call(running, method, "/api/services") for method in ("GET", "HEAD"))
    assert head.status == 200 and head.body == b"" and head.fields["content-length"] == str(len(get.body))


def test_the_management_port_knows_nobody_without_users(terraster, tmp_path):
    running = terraster(*SERVICES, auth={"db_path": str(tmp_path / "none.db")})
    answer = running.admin("/api/services")
    assert answer.status == 401 and b"terrasterctl user add NAME --role admin" in answer.body
    assert running.admin("/openapi.json").status == 200
    assert running.admin("/api/nothing").status == 404
