"""Locations that share paths: the one that a request gets, against a naive reading of the documentation; and spellings of paths."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terraster.config.match import order
from terraster.config.settings.match import MatchSettings
from terraster.errors import BadRequest
from terraster.policy.predicates import Predicate
from terraster.route.forked_spellings import ForkedSpellings
from terraster.route.forks import Candidate, Forks
from terraster.route.target import canonical

from .harness.spellings import INSIDE, OUTSIDE
from .test_policy_predicates import asked

Written = tuple[str, dict[str, Any] | None]
"""A location: its path and its `match`."""


def candidates(locations: list[Written], folds_case: bool = False) -> list[Candidate[int]]:
    """The locations, in the order in which they are tried; the payload is their number in the list."""
    made = []
    for number, (path, match) in enumerate(locations):
        frozen = None if match is None else MatchSettings.model_validate(match).frozen()
        test = Predicate(frozen, folds_case=folds_case) if frozen is not None and frozen.selects else None
        exact = frozen is not None and frozen.exact
        made.append((order(path, frozen), Candidate(path.encode(), exact, test, number)))
    return [candidate for _, candidate in sorted(made, key=lambda one: one[0])]


def located(
    locations: list[Written], target: bytes = b"/", fields: str = "", method: str = "GET", client: str = "10.1.2.3"
) -> int | None:
    exchange = asked(target, fields, method, client)
    return Forks(candidates(locations)).find(exchange, exchange.path)


ANY: Written = ("/api", None)
CANARY: Written = ("/api", {"headers": {"X-Canary": True}})
ONE: Written = ("/api", {"headers": {"X-Canary": "1"}})
READ: Written = ("/api", {"methods": ["GET", "HEAD"]})
BOTH: Written = ("/api", {"methods": "GET", "headers": {"X-Canary": True}})
EXACT: Written = ("/api", {"path": "exact"})
DEEP: Written = ("/api/v1", {"cookies": {"beta": "1"}})
ROOT: Written = ("/", None)
PATTERN: Written = ("/", {"path_regex": "/api/v[0-9]+(/.*)?"})


@pytest.mark.parametrize(
    ("locations", "target", "fields", "expected"),
    [
        ([ANY, CANARY], b"/api/x", "", 0),
        ([ANY, CANARY], b"/api/x", "X-Canary: 1", 1),
        ([CANARY, ONE], b"/api", "X-Canary: 1", 1),
        ([CANARY, ONE], b"/api", "X-Canary: 2", 0),
        ([CANARY, READ], b"/api", "X-Canary: 2", 0),
        ([READ, CANARY], b"/api", "X-Canary: 2", 0),
        ([READ, CANARY, BOTH], b"/api", "X-Canary: 2", 2),
        ([CANARY], b"/api", "", None),
        ([CANARY, ROOT], b"/api", "", 1),
        ([CANARY, ROOT], b"/apix", "X-Canary: 1", 1),
        ([EXACT, ANY, CANARY], b"/api", "X-Canary: 1", 0),
        ([EXACT, ANY, CANARY], b"/api/", "X-Canary: 1", 2),
        ([EXACT], b"/api/", "", None),
        ([EXACT, ROOT], b"/api/", "", 1),
        ([DEEP, ANY, ROOT], b"/api/v1/x", "Cookie: beta=1", 0),
        ([DEEP, ANY, ROOT], b"/api/v1/x", "Cookie: beta=2", 1),
        ([DEEP, CANARY, ROOT], b"/api/v1/x", "X-Canary: 1", 1),
        ([DEEP, CANARY, ROOT], b"/api/v1/x", "", 2),
        ([PATTERN, ANY], b"/api/v1", "", 1),
        ([PATTERN, READ, ROOT], b"/api/v1", "", 1),
        ([PATTERN, CANARY, ROOT], b"/api/v1", "", 0),
        ([PATTERN, CANARY, ROOT], b"/api/vx", "", 2),
        ([("/", {"path": "exact"}), ("/", {"methods": "GET"})], b"/", "", 0),
        ([("/", {"path": "exact"}), ("/", {"methods": "GET"})], b"/x", "", 1),
        ([("/a/", {"path": "exact"}), ("/a", {"path": "exact"})], b"/a/", "", 0),
        ([("/a/", {"path": "exact"}), ("/a", {"path": "exact"})], b"/a", "", 1),
        ([("/a/", {"methods": "GET"}), ("/a", None)], b"/a", "", 0),
    ],
)
def test_the_location_of_a_request(locations: list[Written], target: bytes, fields: str, expected: int | None) -> None:
    assert located(locations, target, fields) == expected


def test_a_location_that_nothing_reaches_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        Forks([Candidate(b"/a", False, None, 1), Candidate(b"/a/", False, None, 2)])


def test_the_candidates_of_a_path() -> None:
    forks = Forks(candidates([ANY, CANARY, DEEP, ROOT, EXACT, ("/b", {"path": "exact", "methods": "GET"})]))
    found = {path: [one.payload for one in forks.candidates(path)] for path in (b"/api", b"/api/v1/x", b"/api/x", b"/x", b"/b")}
    assert found == {b"/api": [4], b"/api/v1/x": [2, 1, 0], b"/api/x": [1, 0], b"/x": [3], b"/b": [5, 3]}


SEGMENT = st.sampled_from(["a", "b"])
PATH = st.lists(SEGMENT, max_size=3).map(lambda parts: "/" + "/".join(parts))
WANTED = st.sampled_from(["1", "2", "~[12]", "~.", "true", "false"])
CONDITIONS = st.fixed_dictionaries(
    {},
    optional={
        "path_regex": st.sampled_from(["/a.*", "/[ab]/b", ".*b", "/"]),
        "methods": st.lists(st.sampled_from(["GET", "PUT"]), min_size=1, max_size=2, unique=True),
        "headers": st.dictionaries(st.sampled_from(["X", "y"]), WANTED, min_size=1),
        "query": st.dictionaries(st.sampled_from(["x", "y"]), WANTED, min_size=1),
        "cookies": st.dictionaries(st.sampled_from(["x", "y"]), WANTED, min_size=1),
        "clients": st.lists(st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "::/0"]), min_size=1, max_size=2, unique=True),
    },
)
MATCH = st.one_of(
    st.none(),
    CONDITIONS.filter(bool),
    CONDITIONS.map(lambda match: {**{key: value for key, value in match.items() if key != "path_regex"}, "path": "exact"}),
)
PAIRS = st.lists(st.tuples(st.sampled_from("xy"), st.sampled_from(["1", "2", "", "3"])), max_size=3)


def naive(locations: list[Written], path: str, request: dict[str, Any]) -> int | None:
    """The first of all locations that fit, in the order of the manual."""

    def holds(wanted: str, values: list[str]) -> bool:
        if wanted in ("true", "false"):
            return bool(values) == (wanted == "true")
        return any(re.fullmatch(wanted[1:], value) if wanted[0] == "~" else wanted == value for value in values)

    def fits(number: int) -> bool:
        prefix, match = locations[number][0].rstrip("/"), locations[number][1] or {}
        if match.get("path") == "exact":
            if path != locations[number][0]:
                return False
        elif path != prefix and not path.startswith(f"{prefix}/"):
            return False
        if "path_regex" in match and not re.fullmatch(match["path_regex"], path):
            return False
        if "methods" in match and request["method"] not in match["methods"]:
            return False
        if "clients" in match and not any(
            request["client"].startswith(one[: one.index(".0")]) for one in match["clients"] if "." in one
        ):
            return False
        for key in ("headers", "query", "cookies"):
            for name, wanted in match.get(key, {}).items():
                if not holds(wanted, [value for spelling, value in request[key] if spelling == name.lower()]):
                    return False
        return True

    def rank(number: int) -> tuple[Any, ...]:
        prefix, match = locations[number][0].rstrip("/"), locations[number][1] or {}
        values = [wanted for key in ("headers", "query", "cookies") for wanted in match.get(key, {}).values()]
        flags = [key for key in ("path_regex", "methods", "clients") if key in match]
        return (
            match.get("path") != "exact",
            -len(prefix),
            -len(values) - len(flags),
            -len([wanted for wanted in values if wanted in ("1", "2")]),
            -len([wanted for wanted in values if wanted[0] == "~"]) - ("path_regex" in match),
            number,
        )

    return min(filter(fits, range(len(locations))), key=rank, default=None)


def distinct(locations: list[Written]) -> list[Written]:
    """Those that the loader would take together."""
    seen, kept = [], []
    for path, match in locations:
        frozen = None if match is None else MatchSettings.model_validate(match).frozen()
        if (path, frozen) not in seen:
            seen.append((path, frozen))
            kept.append((path, match))
    return kept


@settings(deadline=None)
@given(
    st.lists(st.tuples(PATH, MATCH), min_size=1, max_size=8).map(distinct),
    PATH,
    st.fixed_dictionaries(
        {
            "method": st.sampled_from(["GET", "PUT"]),
            "client": st.sampled_from(["10.1.1.1", "10.2.1.1", "192.0.2.1"]),
            "headers": PAIRS,
            "query": PAIRS,
            "cookies": PAIRS,
        }
    ),
)
def test_as_if_all_locations_were_tried(locations: list[Written], path: str, request: dict[str, Any]) -> None:
    query = "&".join(f"{name}={value}" for name, value in request["query"])
    assert parse_qsl(query, keep_blank_values=True) == request["query"]
    fields = [f"{name}: {value}" for name, value in request["headers"]]
    fields += [f"Cookie: {name}={value}" for name, value in request["cookies"]]
    target = f"{path}?{query}".encode()
    found = located(locations, target, "|".join(fields), request["method"], request["client"])
    assert found == naive(locations, path, request)


GUARDED: list[tuple[Written, tuple[str, ...]]] = [
    (("/", None), ()),
    (("/admin", {"methods": ["GET", "PUT"]}), ("a",)),
    (("/admin", {"clients": "192.0.2.0/24"}), ()),
    (("/admin/open", None), ()),
    (("/", {"path_regex": "/Secret/[0-9]+"}), ("b",)),
    (("/exact", {"path": "exact"}), ("c",)),
]


def where(target: bytes, **request: Any) -> str:
    """The path of the location of a target with its access filters; "400" if it is refused."""
    locations = [one for one, _ in GUARDED]
    try:
        path, query = canonical(target, False, True)
    except BadRequest:
        return "400"
    exchange = asked(b"%b?%b" % (path, query), **request)
    found = Forks(candidates(locations)).find(exchange, path)
    assert found is not None
    spellings = ForkedSpellings([(one, GUARDED[one.payload][1]) for one in candidates(locations, True)])
    if spellings.leads_round(exchange, path, found):
        return "400"
    return "".join([locations[found][0], *GUARDED[found][1]])


@pytest.mark.parametrize("target", INSIDE)
def test_no_spelling_leads_round(target: bytes) -> None:
    assert where(target) in ("/admina", "400")


@pytest.mark.parametrize("target", OUTSIDE)
def test_other_paths_are_served(target: bytes) -> None:
    assert where(target) == "/"


@pytest.mark.parametrize(
    ("target", "request_", "expected"),
    [
        (b"/admin/x.php", {}, "/admina"),
        (b"/admin/x.php", {"client": "192.0.2.1", "method": "POST"}, "/admin"),  # the lenient reading has the same conditions
        (b"/ADMIN/x", {"client": "192.0.2.1", "method": "POST"}, "/"),
        (b"/ADMIN/x", {"client": "192.0.2.1"}, "400"),
        (b"/ADMIN/x", {"method": "POST"}, "/"),
        (b"/admin/x", {"method": "POST"}, "/"),
        (b"/admin/open/x.php", {}, "/admin/open"),
        (b"/admin/OPEN", {}, "/admina"),
        (b"/admin/open;x", {}, "/admina"),  # the stricter one
        (b"/Secret/12", {}, "/b"),
        (b"/secret/12", {}, "400"),
        (b"/SECRET/12", {}, "400"),
        (b"/Secret/12;x", {}, "400"),
        (b"/Secret/12%3Fx", {}, "400"),
        (b"/Secret//12", {}, "/b"),
        (b"/Secret/ab", {}, "/"),
        (b"/exact", {}, "/exactc"),
        (b"/exact/", {}, "/"),
        (b"/exact/x", {}, "/"),
        (b"/EXACT", {}, "400"),
        (b"/exact;x", {}, "400"),
    ],
)
def test_which_location_counts(target: bytes, request_: dict[str, Any], expected: str) -> None:
    assert where(target, **request_) == expected
