"""The reading half of the API on a running Terraster."""

from __future__ import annotations

import json

import jsonschema
import pytest

from ..harness.api import call
from ..harness.terraster_process import service

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
        ("/api/backends", {"path": "/"}, 422, "`path` needs `service_name`"),
        ("/api/services", {"limit": 501}, 422, ""),
        ("/api/services", {"cursor": "!"}, 422, "the cursor"),
        ("/api/services", {"fields": "name,colour"}, 422, "there is no field colour"),
        ("/api/services", {"colour": "red"}, 422, "parameters of listServices: limit, cursor, fields, service_name"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(terraster, path, query, status, words):
    told = call(terraster(*SERVICES), "GET", path, **query)
    assert told.status == status and told.fields["content-type"] == "application/problem+json"
    assert words in told.value["detail"] + json.dumps(told.value.get("errors", []), ensure_ascii=False)


def test_answers_are_as_the_document_says(terraster):
    running = terraster(*SERVICES)
    document = call(running, "GET", "/openapi.json").value
    for path in ("/api/services", "/api/locations", "/api/backends"):
        schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        value = call(running, "GET", path).value
        assert value["items"]
        jsonschema.validate(value, {**schema, "components": document["components"]})
        name = schema["$ref"].rpartition("/")[2].replace("Page", "Row")
        assert set(value["items"][0]) == set(document["components"]["schemas"][name]["properties"])


def test_a_head_has_the_head_of_a_get(terraster):
    running = terraster(*SERVICES)
    get, head = (call(running, method, "/api/services") for method in ("GET", "HEAD"))
    assert head.status == 200 and head.body == b"" and head.fields["content-length"] == str(len(get.body))


def test_the_management_port_knows_nobody_without_users(terraster):
    running = terraster(*SERVICES)
    answer = running.admin("/api/services")
    assert answer.status == 401 and b"terrasterctl user add NAME --role admin" in answer.body
    assert running.admin("/openapi.json").status == 200
    assert running.admin("/api/nothing").status == 404
