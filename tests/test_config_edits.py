"""Edits: what they make of the documents of a configuration, which of them are kept, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from terraster.config.edits import Edit, compacted, from_json, to_json, value_of
from terraster.config.loader import Loader
from terraster.config.resolve import resolve
from terraster.config.snapshot import Location
from terraster.errors import ConfigError
from terraster.filters.registry import KINDS

ONE, TWO, THREE = (f"http://127.0.0.1:{port}" for port in (9001, 9002, 9003))

TEXT = f"""\
port: 8080
services:
  - name: shop
    locations:
      - path: /
        backends:
          - {TWO}
          - {{url: "{ONE}", weight: 3}}
      - {{path: /old, redirect: /new}}
      - path: /split
        split:
          to:
            - {{name: new, weight: 1, backends: ["{ONE}"]}}
            - {{weight: 9, backends: ["{TWO}"]}}
"""
TOP = f"""\
port: 8080
algorithm: round-robin
backends:
  - url: {ONE}
  - {TWO}
"""


class Files:
    """One file, loaded with edits."""

    def __init__(self, folder: Path, text: str = TEXT) -> None:
        self.path = folder / "terraster.yaml"
        self.path.write_text(text)
        self.loader = Loader({}, kinds=KINDS)

    def load(self, *edits: Edit, again: bool = False) -> dict[str, Location]:
        """The locations of the first service, by place."""
        texts = self.loader.texts if again else None
        settings = self.loader.load(str(self.path), edits=edits, texts=texts)
        return {one.place: one for one in resolve(settings, 1, environ={}, secret=bytes(32)).services[0].locations}

    def refused(self, *edits: Edit) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self.load(*edits)
        return [str(problem).replace(str(self.path), "FILE") for problem in caught.value.problems]

    def asleep(self, *edits: Edit) -> dict[int, tuple[str, str]]:
        """Load, and why edits did nothing."""
        self.load(*edits)
        return {number: (why.code, why.words) for number, why in self.loader.dormant.items()}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def edit(kind: str, url: str = "", number: int = 1, location: str = "/", until: float = 0.0, **value: Any) -> Edit:
    if kind == "backend.add":
        value = {"url": url, **value}
    return Edit(number, kind, value.pop("service", "shop"), location, url, value_of(value), by="ann", until=until)


def backends(location: Location) -> list[tuple[str, int, int]]:
    return [(one.url, one.weight, one.max_connections) for one in location.backends]


def test_each_kind_changes_what_it_says_and_nothing_else(files: Files) -> None:
    plain = files.load()
    assert backends(files.load(edit("backend.add", THREE, weight=5))["/"]) == [(TWO, 1, 0), (ONE, 3, 0), (THREE, 5, 0)]
    assert backends(files.load(edit("backend.remove", f"{TWO}/"))["/"]) == [(ONE, 3, 0)]
    assert backends(files.load(edit("backend.set", TWO, max_connections=7))["/"]) == [(TWO, 1, 7), (ONE, 3, 0)]
    found = files.load(edit("location.set", lb_policy="ip-hash", max_connections=2))["/"]
    assert found.policy == "ip-hash" and [one.max_connections for one in found.backends] == [2, 2]
    added = files.load(edit("location.add", location="/api", path="/api", backends=[ONE]))
    assert [*added] == ["/", "/api", *[*plain][1:]] and {**added, "/api": None} == {**plain, "/api": None}
    assert "/old" not in files.load(edit("location.remove", location="/old"))
    replaced = files.load(edit("location.replace", location="/old", path="/old", redirect="/elsewhere"))
    assert replaced["/old"].redirect == "/elsewhere"


def test_an_arm_is_a_place(files: Files) -> None:
    found = files.load(
        edit("backend.add", THREE, location="/split#2"), edit("location.set", number=2, location="/split#new", lb_policy="ip-hash")
    )
    assert backends(found["/split#2"]) == [(TWO, 1, 0), (THREE, 1, 0)] and backends(found["/split#new"]) == [(ONE, 1, 0)]
    assert (found["/split#new"].policy, found["/split#2"].policy) == ("ip-hash", "round-robin")


def test_the_backends_at_the_top_are_a_service(tmp_path: Path) -> None:
    files = Files(tmp_path, TOP)
    found = files.load(
        edit("backend.add", THREE, service="default"), edit("location.set", number=2, service="default", lb_policy="ip-hash")
    )["/"]
    assert [one.url for one in found.backends] == [ONE, TWO, THREE] and found.policy == "ip-hash"
    assert files.refused(edit("backend.add", THREE, service="default", weight="x")) == [
        "edit 1 by ann: `weight` must be a whole number"
    ]
    other = Files(tmp_path, TOP + "services:\n  - {name: shop, port: 8082, locations: [{path: /, redirect: 'http://a'}]}\n")
    assert other.asleep(edit("location.set", service="default", lb_policy="ip-hash"))[1][0] == "conflict", "others inherit it"


def test_a_problem_names_the_edit_and_one_of_the_file_its_line(files: Files) -> None:
    assert files.refused(edit("backend.add", THREE, weihgt=3)) == ["edit 1 by ann: unknown key `weihgt`; did you mean `weight`?"]
    both = edit("backend.remove", TWO), edit("backend.remove", ONE, number=2)
    assert files.refused(*both) == ["edit 2 by ann: location / has neither `backends` nor `redirect`: it cannot answer requests"]
    files.path.write_text(TEXT.replace("weight: 3", "weight: -3"))
    assert files.refused(edit("backend.remove", TWO)) == ["FILE:8:52: `weight` must be at least 0"], (
        "its place in the file, not in the list now"
    )


def test_values_are_read_as_those_of_a_file(files: Files) -> None:
    rules = {"response_headers": {"X-Price": "5$", "X-Host": "${host}"}}
    found = files.load(edit("location.add", location="/p", path="/p", backends=[ONE], headers=rules, http_redirect=False))["/p"]
    written = Files(
        files.path.parent,
        TEXT
        + f"      - {{path: /p, backends: ['{ONE}'], headers: {json.dumps(rules).replace('5$', '5$$')}, http_redirect: off}}\n",
    )
    assert written.load()["/p"] == found


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (edit("backend.add", ONE), ("conflict", f"backend {ONE} of shop/ is in the file now")),
        (edit("backend.remove", THREE), ("unknown", f"there is no backend {THREE} in shop/")),
        (edit("backend.set", THREE, weight=1), ("unknown", f"there is no backend {THREE} in shop/")),
        (edit("backend.add", THREE, location="/gone"), ("unknown", "there is no location shop/gone")),
        (edit("backend.add", THREE, service="else"), ("unknown", "there is no service else")),
        (edit("location.add", location="/old", path="/old", redirect="/x"), ("conflict", "there is a location shop/old already")),
    ],
)
def test_an_edit_without_anything_to_change_is_dormant(files: Files, one: Edit, why: tuple[str, str]) -> None:
    assert files.asleep(one, edit("backend.add", "http://127.0.0.1:9004", number=2)) == {1: why}
    assert files.load(one)["/"] == files.load()["/"]


def test_edits_work_on_the_texts_of_an_earlier_load(files: Files) -> None:
    files.load()
    files.path.write_text("nonsense: [")
    assert len(files.load(edit("backend.add", THREE), again=True)["/"].backends) == 3
    files.path.write_text(TEXT.replace("weight: 3", "weight: 4"))
    assert backends(files.load(edit("backend.add", THREE))["/"])[1] == (ONE, 4, 0)


def test_a_service_that_is_parsed_as_a_whole_can_be_edited(tmp_path: Path) -> None:
    files = Files(tmp_path, TEXT.replace(f"- {TWO}\n", f"- &two {TWO}\n", 1))
    assert len(files.load(edit("backend.add", THREE))["/"].backends) == 3


def test_what_an_edit_makes_meaningless_is_not_kept() -> None:
    def after(*edits: Edit) -> list[tuple[int, str, str]]:
        kept: tuple[Edit, ...] = ()
        for one in edits:
            kept = compacted(kept, one, {})
        return [(one.number, one.kind, one.value) for one in kept]

    add, remove = edit("backend.add", THREE), edit("backend.remove", THREE, number=2)
    assert after(add, remove) == []
    assert after(remove) == [(2, "backend.remove", "{}")]
    again = edit("backend.remove", THREE, number=4)
    assert after(remove, edit("backend.add", THREE, number=3), again) == [(2, "backend.remove", "{}")]
    first, second = edit("backend.set", ONE, weight=1, max_connections=2), edit("backend.set", ONE, number=2, weight=5)
    assert after(first, second) == [(1, "backend.set", '{"max_connections": 2}'), (2, "backend.set", '{"weight": 5}')]
    assert after(first, edit("backend.set", TWO, number=2, weight=5))[0] == (1, "backend.set", first.value), "another backend"
    for_a_while = edit("backend.set", ONE, number=2, until=99.0, weight=5)
    assert len(after(first, for_a_while)) == 2 and len(after(first, for_a_while, edit("backend.set", ONE, number=3, weight=1))) == 2
    new = edit("location.add", location="/n", path="/n")
    replaced = edit("location.replace", location="/n", number=3, path="/n", redirect="/x")
    assert after(new, edit("backend.add", ONE, location="/n", number=2), replaced) == [(3, "location.add", replaced.value)]
    assert after(new, edit("location.remove", location="/n", number=2)) == []
    assert len(after(new, edit("location.remove", location="/", number=2))) == 2


def test_many_changes_to_and_fro_leave_few_edits() -> None:
    kept: tuple[Edit, ...] = ()
    for number in range(1, 400, 4):
        kept = compacted(kept, edit("backend.add", THREE, number=number), {})
        kept = compacted(kept, edit("location.set", number=number + 1, max_connections=number), {})
        kept = compacted(kept, edit("backend.set", THREE, number=number + 2, weight=number), {})
        kept = compacted(kept, edit("backend.remove", THREE, number=number + 3), {})
    assert [one.kind for one in kept] == ["location.set"]


def test_an_edit_outlives_its_file() -> None:
    one = edit("backend.add", THREE, number=7, until=5.0, weight=2)
    assert from_json(json.loads(json.dumps(to_json(one)))) == one
    for wrong in (
        {},
        [],
        {**to_json(one), "kind": "else"},
        {**to_json(one), "number": 0},
        {**to_json(one), "by": 3},
        {**to_json(one), "when": "x"},
    ):
        with pytest.raises(ValueError):
            from_json(wrong)


@pytest.mark.parametrize(
    "value",
    [{"url": "http://${SECRET}.test"}, {"weight": None}, [], {"a": {"b": [None]}}, {"sni": "${HOME:-x}"}, {"a": "x" * 300_000}],
)
def test_a_value_that_cannot_be_an_edit(value: Any) -> None:
    with pytest.raises(ValueError):
        value_of(value)
