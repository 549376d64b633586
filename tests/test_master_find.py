"""The location that an operator means, where several locations have one path."""

from __future__ import annotations

from dataclasses import replace

import pytest

from terraster.config.match import Match
from terraster.config.snapshot import Backend, Location, Service, Snapshot, backend_id, location_id
from terraster.master.operator.find import Unfound, find

PLAIN = Location(location_id("shop", "/api"), "/api")
CANARY = Location(location_id("shop", "/api#canary"), "/api", match=Match(methods=("GET",)), mark="canary")
URL = "http://10.0.0.1"


def snapshot(*locations: Location) -> Snapshot:
    made = [replace(one, backends=(Backend(backend_id("shop", one.label, URL), URL, "http", "10.0.0.1", 80),)) for one in locations]
    return Snapshot(1, (), (Service("shop", ("*",), (":80",), tuple(made)),))


@pytest.mark.parametrize(
    ("there", "path", "found"),
    [
        ((CANARY, PLAIN), "/api", "shop/api"),
        ((CANARY, PLAIN), "/api#canary", "shop/api#canary"),
        ((CANARY,), "/api", "shop/api#canary"),
        ((CANARY,), "/api/", "shop/api#canary"),
        ((CANARY,), "", "shop/api#canary"),
    ],
)
def test_a_path_or_a_label(there: tuple[Location, ...], path: str, found: str) -> None:
    assert find(snapshot(*there), "shop", path, URL)[1].id == found


@pytest.mark.parametrize(
    ("there", "path", "words"),
    [
        ((CANARY, PLAIN), "", f"{URL} is in several locations of shop: shop/api#canary {URL}, shop/api {URL}"),
        ((CANARY, replace(CANARY, id="shop/api#b", mark="b")), "/api", f"{URL} is in several locations of shop"),
        ((CANARY, PLAIN), "/api#b", "service shop has no location /api#b with backends; there are shop/api#canary, shop/api"),
    ],
)
def test_what_is_not_clear(there: tuple[Location, ...], path: str, words: str) -> None:
    with pytest.raises(Unfound) as caught:
        find(snapshot(*there), "shop", path, URL)
    assert str(caught.value).startswith(words)
