"""Two configurations compared by values: what each says of a key, and where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from terraster.config.comparing import MOST
from terraster.config.edits import Edit
from terraster.config.loader import Loader
from terraster.config.rules import Rules
from terraster.filters.registry import KINDS

ONE, TWO = "http://10.0.0.1:80", "http://10.0.0.2:80"


def base() -> dict[str, Any]:
    return {
        "timeouts": {"read": "30s"},
        "services": [
            {
                "name": "shop",
                "host": "shop.test",
                "locations": [{"path": "/", "backends": [{"url": ONE}, {"url": TWO, "weight": 2}]}],
            },
            {"name": "blog", "host": "blog.test", "locations": [{"path": "/", "backends": [{"url": ONE}]}]},
        ],
    }


class Files:
    def __init__(self, folder: Path) -> None:
        self.file = str(folder / "t.yaml")
        self.loader = Loader({}, kinds=KINDS)

    def rules(self, document: dict[str, Any] | str, *edits: Edit) -> Rules:
        text = document if isinstance(document, str) else json.dumps(document, indent=1)
        Path(self.file).write_text(text)
        made = self.loader.rules(
            self.file,
            services_dir=None,
            api_config=None,
            log_configs=(),
            edits=edits,
            texts={self.file: text.encode()},
        )
        assert made.known, made.problems
        return made

    def differences(self, new: dict[str, Any] | str, *edits: Edit, old: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        return self.rules(old or base(), *edits).compared(self.rules(new))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def told(found: list[dict[str, Any]]) -> list[str]:
    return [
        f"{one['service']}{one['location']} {one['key']}: {one['old']['words']} ({one['old']['origin']}) "
        f"> {one['new']['words']} ({one['new']['origin']})"
        for one in found
    ]


def changed(**keys: Any) -> dict[str, Any]:
    return {**base(), **keys}


def in_location(**keys: Any) -> dict[str, Any]:
    made = base()
    made["services"][0]["locations"][0].update(keys)
    return made


@pytest.mark.parametrize(
    ("new", "lines"),
    [
        (base(), []),
        (changed(timeouts={"read": "0.5m"}), []),
        (changed(services=base()["services"][::-1]), []),
        (changed(timeouts={"read": "1m"}), [" timeouts.read: 30s (file) > 60s (file)"]),
        (changed(timeouts={}), [" timeouts.read: 30s (file) > 60s (default)"]),
        (changed(timeouts={"read": "60s"}), [" timeouts.read: 30s (file) > 60s (file)"]),
        (changed(services=base()["services"][:1]), ["blog : there (file) > not there (none)"]),
        (in_location(timeouts={"read": "30s"}), []),
        (in_location(timeouts={"read": "5s"}), ["shop/ timeouts.read: 30s (top) > 5s (file)"]),
        (in_location(timeouts={"connect": "7s"}), ["shop/ timeouts.connect: 5s (default) > 7s (file)"]),
        (
            in_location(backends=[{"url": TWO, "weight": 2}, {"url": ONE}]),
            [f"shop/ backends: {ONE}, {TWO} (file) > {TWO}, {ONE} (file)"],
        ),
        (in_location(backends=[{"url": ONE}]), [f"shop/ backends[{TWO}]: there (file) > not there (none)"]),
        (
            in_location(backends=[{"url": ONE}, {"url": TWO, "weight": 3}]),
            [f"shop/ backends[{TWO}].weight: 2 (file) > 3 (file)"],
        ),
        (in_location(compression={"level": 3}), ["shop/ middleware.compression: not there (none) > there (file)"]),
        (in_location(match={"headers": {"X-Api-Key": "abc"}}), None),
    ],
)
def test_values_are_compared_not_texts(files: Files, new: dict[str, Any], lines: list[str] | None) -> None:
    found = told(files.differences(new))
    if lines is None:
        assert "abc" not in json.dumps(files.differences(new)) and found
    else:
        assert found == lines


def test_each_side_has_its_place(files: Files) -> None:
    (one,) = files.differences("# a line more\n" + json.dumps(changed(timeouts={"read": "1m"}), indent=1))
    places = [one[side]["place"].removeprefix(files.file) for side in ("old", "new")]
    assert places == [":3:3", ":4:3"]


def test_secrets_are_compared_and_not_shown(files: Files) -> None:
    old, new = (changed(auth={"jwt_secret": letter * 40}) for letter in "ab")
    found = files.differences(new, old=old)
    assert told(found) == [" auth.jwt_secret: (hidden) (file) > (hidden) (file)"]
    headers = [in_location(headers={"request_headers": {"Authorization": f"Basic {word}"}}) for word in ("first", "second")]
    found = files.differences(headers[1], old=headers[0])
    assert len(found) == 1 and "first" not in json.dumps(found) and "second" not in json.dumps(found)


def test_values_of_a_location_are_told_without_what_may_be_a_password(files: Files) -> None:
    location = {
        "path": "/x",
        "match": {"headers": {"X-Foo": "hush"}, "query": {"a": "hush"}, "methods": ["GET"]},
        "health_check": {"path": "/ok", "method": "POST", "headers": {"X-Foo": "hush"}, "request_body": "hush"},
        "middleware": [
            {"forward_auth": {"url": "http://10.0.0.9/check?by=hush"}},
            {"headers": {"request_headers": {"X-Zone": "a"}}},
        ],
        "backends": [{"url": ONE}],
    }
    rules = files.rules({"services": [{"name": "shop", "host": "shop.test", "locations": [location]}]})
    found = {one["key"]: one["value"] for one in rules.values("shop", "/x#GET+header:x-foo+query:a")}
    assert "hush" not in json.dumps(found)
    assert found["match.headers"] == {"x-foo": "(hidden)"} and found["match.methods"] == ["GET"]
    assert found["health_check.headers"] == {"X-Foo": "(hidden)"} and found["health_check.path"] == "/ok"
    assert found["middleware.forward_auth.url"] == "http://10.0.0.9/check?…"
    assert found["middleware.headers.request_headers"] == {"X-Zone": "a"}


def test_edits_are_named_where_a_place_would_be(files: Files) -> None:
    edits = (
        Edit(7, "backend.add", "shop", "/", "http://10.0.0.3:80", '{"url": "http://10.0.0.3:80"}', by="ann"),
        Edit(8, "backend.set", "shop", "/", TWO, '{"weight": 9}', by="ann"),
        Edit(9, "backend.remove", "blog", "/", ONE, by="bob"),
    )
    with_second = base()
    with_second["services"][1]["locations"][0]["backends"].append({"url": TWO})
    found = {one["key"]: one for one in files.differences(with_second, *edits, old=with_second)}
    assert {key: one["old"]["place"] for key, one in found.items()} == {
        "backends[http://10.0.0.3:80]": "edit 7 by ann",
        f"backends[{TWO}].weight": "edit 8 by ann",
        f"backends[{ONE}]": "edit 9 by bob",
    }
    assert {one["old"]["origin"] for one in found.values()} == {"edit"}
    assert found[f"backends[{TWO}].weight"]["new"]["words"] == "2"


def test_the_number_of_differences_is_bounded(files: Files) -> None:
    backends = [{"url": f"http://10.0.{number // 250}.{number % 250 + 1}:80"} for number in range(MOST + 50)]
    new = [{**one, "weight": 3} for one in backends]
    assert len(files.differences(in_location(backends=new), old=in_location(backends=backends))) == MOST
