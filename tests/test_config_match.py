"""`match`: what is refused and where, what a location is called, the order of locations of one path, and those that get no request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from terraster.config.match import Match, covers, mark
from terraster.config.resolve import resolve
from terraster.config.settings import Settings
from terraster.config.snapshot import Location
from terraster.errors import ConfigError

from .harness.configuration import Loader

HOME = {"redirect": "https://elsewhere.test"}


def load(tmp_path: Path, *locations: dict[str, Any]) -> Settings:
    file = tmp_path / "t.yaml"
    lines = [f"  - {json.dumps({'path': '/', **HOME, **location})}" for location in locations]
    file.write_text("services:\n- name: s\n  host: s.test\n  locations:\n" + "\n".join(lines) + "\n")
    return Loader({}).load(str(file))


def matching(*matches: Any) -> list[dict[str, Any]]:
    return [{} if match is None else {"match": match} for match in matches]


def located(tmp_path: Path, *locations: dict[str, Any]) -> list[Location]:
    return list(resolve(load(tmp_path, *locations), 1).services[0].locations)


@pytest.mark.parametrize(
    ("match", "words"),
    [
        ({}, "`match` is empty"),
        ({"path": "regex"}, "`path` must be `exact` or `prefix`"),
        ({"path": "exact", "path_regex": "/a"}, "`match` has `path: exact` and `path_regex`: keep one"),
        ({"path_regex": "/(a"}, "`path_regex` is not a regular expression of RE2: missing ): /(a"),
        ({"methods": "get"}, "`methods` names get: methods are in capitals, GET"),
        ({"methods": ["GET", "GET"]}, "`methods` names GET twice"),
        ({"methods": []}, "`methods` must not be empty"),
        ({"methods": "CONNECT"}, "`methods` names CONNECT, which is not served"),
        ({"methods": "G T"}, "`methods` names 'G T', which is not a method"),
        ({"clients": "10.0.0.0/33"}, "`clients` "),
        ({"clients": ["10.0.0.0/8", "10.0.0.0/8"]}, "`clients` names 10.0.0.0/8 twice"),
        ({"clients": []}, "`clients` must not be empty"),
        ({"headers": {}}, "`headers` must not be empty"),
        ({"headers": {"X-A": "~(a"}}, "`X-A` is not a regular expression of RE2"),
        ({"headers": {"X-A": "~"}}, "`X-A` has no regular expression behind ~"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "`headers` names x-a twice"),
        ({"headers": {"X A": "1"}}, "`headers` names 'X A', which is not a valid name of a header field"),
        ({"headers": {"Host": "a"}}, "`headers` names Host: `host` of the service chooses by it"),
        ({"headers": {"Content-Length": "1"}}, "`headers` names Content-Length, which belongs to one connection"),
        ({"headers": {"X-Forwarded-For": "1"}}, "`headers` names X-Forwarded-For, which Terraster itself writes"),
        ({"headers": {"Cookie": "1"}}, "`headers` names Cookie: write `cookies`"),
        ({"cookies": {"a b": "1"}}, "`cookies` names 'a b', which is not a valid name of a cookie"),
        ({"query": {}}, "`query` must not be empty"),
        ({"header": {"a": "1"}}, "unknown key `header`; did you mean `headers`?"),
    ],
)
def test_what_is_refused(tmp_path: Path, match: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, {"match": match})
    (problem,) = caught.value.problems
    assert problem.message.startswith(words) and problem.line == 5


@pytest.mark.parametrize("name", ["a b", "a/b", "", "ä", "a#b", "x" * 65])
def test_a_name_is_one_word(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="`name`"):
        load(tmp_path, {"name": name})


@pytest.mark.parametrize(
    ("location", "label"),
    [
        ({}, "/"),
        ({"path": "/api/"}, "/api/"),
        ({"name": "a"}, "/#a"),
        ({"match": {"path": "prefix"}}, "/"),
        ({"match": {"path": "exact"}, "path": "/a"}, "/a#exact"),
        ({"match": {"path": "exact"}, "path": "/a", "name": "b"}, "/a#b"),
        ({"match": {"methods": ["PUT", "GET"]}}, "/#GET,PUT"),
        ({"match": {"headers": {"X-B": True, "X-A": False}}}, "/#no-header:x-a+header:x-b"),
        (
            {"match": {"headers": {"X-Key": "secret"}, "cookies": {"k": "secret"}, "query": {"q": "~secret"}}},
            "/#header:x-key+query:q+cookie:k",
        ),
        ({"match": {"clients": ["unix", "10.0.0.0/8"]}}, "/#client:10.0.0.0/8,unix"),
        ({"match": {"path_regex": "/a b%"}}, "/#~/a%20b%25"),
        ({"match": {"query": {"a b": True}}}, "/#query:a%20b"),
    ],
)
def test_a_location_is_called_by_its_path_and_its_name_or_conditions(tmp_path: Path, location: dict[str, Any], label: str) -> None:
    (made,) = located(tmp_path, {**location, "backends": ["http://10.0.0.1"], "redirect": "/r"})
    assert (made.label, made.id, made.backends[0].id) == (label, f"s{label}", f"s{label} http://10.0.0.1")
    assert "secret" not in made.id and " " not in made.id


def test_conditions_are_called_alike_in_any_order() -> None:
    one = {"methods": ["GET", "PUT"], "headers": {"X-A": "1", "X-B": "2"}, "clients": ["10.0.0.0/8", "unix"]}
    other = {"clients": ["unix", "10.0.0.0/8"], "headers": {"x-b": "2", "x-a": "1"}, "methods": ["PUT", "GET"]}
    from terraster.config.settings.match import MatchSettings

    frozen = [MatchSettings.model_validate(match).frozen() for match in (one, other)]
    assert frozen[0] == frozen[1] and mark(frozen[0], "") == mark(frozen[1], "")


@pytest.mark.parametrize(
    ("matches", "order"),
    [
        ([None, {"methods": "GET"}], [1, 0]),
        ([{"methods": "GET"}, {"path": "exact"}], [1, 0]),
        ([{"path": "exact"}, {"path": "exact", "methods": "GET"}], [1, 0]),
        ([{"methods": "GET"}, {"clients": "10.0.0.0/8"}], [0, 1]),
        ([{"clients": "10.0.0.0/8"}, {"methods": "GET"}], [0, 1]),
        ([{"headers": {"A": True}}, {"headers": {"A": "~.*"}}, {"headers": {"A": "1"}}], [2, 1, 0]),
        ([{"headers": {"A": "1"}}, {"headers": {"A": True}, "query": {"b": True}}], [1, 0]),
        ([{"headers": {"A": True, "B": True}}, {"query": {"a": "1"}, "cookies": {"b": False}}], [1, 0]),
        ([{"methods": "GET"}, {"path_regex": "/a"}], [1, 0]),
    ],
)
def test_the_order_of_locations_of_one_path(tmp_path: Path, matches: list[Any], order: list[int]) -> None:
    locations = [{**one, "name": str(number), "path": "/p"} for number, one in enumerate(matching(*matches))]
    assert [location.mark for location in located(tmp_path, *locations)] == [str(number) for number in order]


def problems(tmp_path: Path, *locations: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, *locations)
    return [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems]


def test_what_is_there_twice_is_named_with_both_places(tmp_path: Path) -> None:
    same = {"methods": ["GET", "PUT"]}
    assert problems(tmp_path, *matching(same, None, {"methods": ["PUT", "GET"]})) == [
        "t.yaml:7:14: `path` / is defined twice in service `s` with the same `match`, first in t.yaml:5:14"
    ]
    assert problems(tmp_path, *matching(None, {"path": "prefix"})) == ["t.yaml:6:14: `path` / is defined twice in service `s`"]
    assert problems(tmp_path, *matching({"headers": {"A": "1"}}, {"headers": {"a": "2"}})) == [
        "t.yaml:6:14: two locations are called s/#header:a, the other one in t.yaml:5:14: give each a `name` of its own"
    ]
    named = [{"name": "x", **one} for one in matching({"headers": {"A": "1"}}, {"headers": {"a": "2"}})]
    assert problems(tmp_path, *named) == [
        "t.yaml:6:65: two locations are called s/#x, the other one in t.yaml:5:14: give each a `name` of its own"
    ]


TO = [{"name": "x", "weight": 1, "backends": ["http://10.0.0.1"]}, {"weight": 1, "backends": ["http://10.0.0.2"]}]


def test_arms_of_a_location_with_conditions(tmp_path: Path) -> None:
    """They come behind it, and each is called by it and its own name."""
    split: dict[str, Any] = {"split": {"by": "client-ip", "to": TO}}
    file = tmp_path / "t.yaml"
    locations: list[dict[str, Any]] = [{"path": "/", **HOME}, {"path": "/", "name": "c", "match": {"methods": "GET"}, **split}]
    service = {"name": "s", "host": "*", "locations": locations}
    file.write_text(json.dumps({"services": [service]}))
    made = resolve(Loader({}).load(str(file)), 1).services[0].locations
    assert [one.id for one in made] == ["s/#c", "s/#c#x", "s/#c#2", "s/"]
    assert [one.place for one in made] == ["/#c", "/#c#x", "/#c#2", "/"]
    assert [backend.id for one in made for backend in one.backends] == ["s/#c#x http://10.0.0.1", "s/#c#2 http://10.0.0.2"]
    locations[1:] = [{"path": "/", "name": "x", "match": {"methods": "GET"}, **HOME}]
    locations[0] = {"path": "/", **split}
    file.write_text(json.dumps({"services": [service]}))
    with pytest.raises(ConfigError, match="two locations are called s/#x, the other one in .*t.yaml:1:"):
        Loader({}).load(str(file))


@pytest.mark.parametrize(
    ("matches", "unreached", "first"),
    [
        ([{"methods": ["GET", "PUT"]}, {"methods": "PUT"}], 1, 0),
        ([{"methods": ["PUT"]}, {"methods": ["GET", "PUT"]}], None, None),
        ([{"clients": "10.0.0.0/8"}, {"clients": ["10.1.0.0/16", "10.2.3.4"]}], 1, 0),
        ([{"clients": "10.0.0.0/8"}, {"clients": ["10.1.0.0/16", "unix"]}], None, None),
        ([{"clients": "::/0"}, {"clients": "10.1.0.0/16"}], None, None),
        ([{"clients": "10.1.0.0/16"}, {"clients": "10.0.0.0/8"}], None, None),
        ([{"methods": "GET"}, {"headers": {"A": "1"}}], None, None),
        ([{"headers": {"A": True}}, {"headers": {"A": "1"}}], None, None),
        ([{"headers": {"A": True, "C": True}}, {"headers": {"A": "1"}, "methods": "GET"}], None, None),
        ([{"query": {"a": True}, "methods": ["GET", "PUT"]}, {"query": {"a": True}, "methods": "GET"}], 1, 0),
        ([{"headers": {"A": "~.*", "B": True}}, {"headers": {"A": "~.*", "B": False}}], None, None),
        ([{"path": "exact"}, {"methods": "GET"}, None], None, None),
    ],
)
def test_a_location_that_another_one_hides(tmp_path: Path, matches: list[Any], unreached: int | None, first: int | None) -> None:
    locations = [{**one, "name": f"n{number}"} for number, one in enumerate(matching(*matches))]
    found = [line.replace(f"{tmp_path}/", "") for line in load(tmp_path, *locations).warnings]
    expected = []
    if unreached is not None and first is not None:
        expected = [
            f"t.yaml:{5 + unreached}:14: `path` / gets no request: s/#n{first} in t.yaml:{5 + first}:14 comes first and takes all of them"
        ]
    assert found == expected


@pytest.mark.parametrize(
    ("path", "pattern", "warned"),
    [
        ("/shop", "/api/.*", True),
        ("/api", "/api/v[0-9]+", False),
        ("/api/v1", "/api/?v[0-9]", False),
        ("/api/v1", "^/api/v[0-9]", False),
        ("/api", "/ap*i", False),
        ("/api", "/a|/b", False),
        ("/api", "api", True),
        ("/a.b", r"/a\.b/.*", False),
        ("/a.b", r"/a\.c/.*", True),
        ("/", ".*", False),
    ],
)
def test_an_expression_that_no_path_below_the_prefix_matches(tmp_path: Path, path: str, pattern: str, warned: bool) -> None:
    found = load(tmp_path, {"path": path, "match": {"path_regex": pattern}}).warnings
    assert [line.partition(": ")[2] for line in found] == [
        f"`path` {path} gets no request: no path below it matches `path_regex` {pattern}"
    ] * warned


def test_two_places_are_in_the_right_lines_of_a_file_that_is_read_in_pieces(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    place = "    - path: {}\n      match: {{methods: GET}}\n      redirect: https://b.test\n"
    head = "- name: {0}\n  host: {0}.test\n  locations:\n"
    text = "services:\n" + head.format("a") + place.format("/") + place.format("/y")
    text += head.format("b") + place.format("/x") + place.format("/y") + place.format("/y")
    file.write_text(text)
    loader = Loader({})
    for _ in range(2):
        with pytest.raises(ConfigError) as caught:
            loader.load(str(file))
        (problem,) = caught.value.problems
        lines = text.split("\n")
        assert problem.line == len(lines) - 3
        assert problem.message.endswith(f"first in {file}:{len(lines) - 6}:13")


def test_covering_is_reflexive_and_plain_covers_all() -> None:
    some = Match(methods=("GET",), headers=(("a", "1"),), clients=("10.0.0.0/8", "unix"))
    assert covers(some, some) and covers(None, some) and covers(Match(exact=True), some) and not covers(some, None)
