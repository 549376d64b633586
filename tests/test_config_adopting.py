"""Edits written into the text of a file: the lines that change, and the places that are refused."""

from __future__ import annotations

import difflib
from typing import Any

import pytest

from terraster.config.adopting import Unwritable, pasted, with_edit
from terraster.config.edits import Edit, value_of
from terraster.config.language import language
from terraster.filters.registry import KINDS

URL = "http://127.0.0.1:900"
TEXT = f"""\
# my file
port: 8080   # traffic
services:
  # the shop
  - name: shop
    locations:
      - path: /   # root
        backends:
          - {URL}1   # first
          # second is bigger
          - {{url: "{URL}2", weight: 3}}
          - url: {URL}3
            # why
            weight: 2  # two

      - {{path: /old, redirect: /new}}
      - path: /split
        split:
          to:
            - {{name: new, weight: 1, backends: ["{URL}1"]}}
            - weight: 9
              backends:
                - {URL}2
  - name: other
    locations: [{{path: /, backends: ["{URL}1"]}}]
admin_port: 8081
"""
TOP = f"port: 80\nbackends:\n  - {URL}1\n"


def edit(kind: str, url: str = "", location: str = "/", service: str = "shop", **value: Any) -> Edit:
    if kind == "backend.add":
        value = {"url": url, **value}
    return Edit(1, kind, service, location, url, value_of(value), by="ann")


def differences(one: Edit, service: int | None = 0, text: str = TEXT) -> list[str]:
    """The lines that went and came."""
    after = with_edit(text, service, one, {}, language(KINDS))
    return [line for line in difflib.ndiff(text.splitlines(), after.splitlines()) if line[0] in "+-"]


@pytest.mark.parametrize(
    ("one", "lines"),
    [
        (edit("backend.add", URL + "4"), [f"+           - url: {URL}4"]),
        (edit("backend.add", URL + "4", weight=5), [f"+           - url: {URL}4", "+             weight: 5"]),
        (edit("backend.remove", URL + "1"), [f"-           - {URL}1   # first"]),
        (edit("backend.remove", URL + "2"), [f'-           - {{url: "{URL}2", weight: 3}}']),
        (
            edit("backend.remove", URL + "3"),
            [f"-           - url: {URL}3", "-             # why", "-             weight: 2  # two"],
        ),
        (
            edit("backend.set", URL + "1", weight=5, max_connections=3),
            [
                f"-           - {URL}1   # first",
                f"+           - url: {URL}1   # first",
                "+             max_connections: 3",
                "+             weight: 5",
            ],
        ),
        (
            edit("backend.set", URL + "2", weight=15, max_connections=3),
            [f'-           - {{url: "{URL}2", weight: 3}}', f'+           - {{url: "{URL}2", weight: 15, max_connections: 3}}'],
        ),
        (edit("backend.set", URL + "3", weight=5), ["-             weight: 2  # two", "+             weight: 5  # two"]),
        (edit("location.set", lb_policy="ip-hash"), ["+         lb_policy: ip-hash"]),
        (edit("location.set", location="/split#2", lb_policy="ip-hash"), ["+               lb_policy: ip-hash"]),
        (edit("backend.add", URL + "9", "/split#2"), [f"+                 - url: {URL}9"]),
        (edit("location.remove", location="/old"), ["-       - {path: /old, redirect: /new}"]),
        (
            edit("location.replace", location="/old", path="/old", redirect="/x"),
            ["-       - {path: /old, redirect: /new}", "+       - path: /old", "+         redirect: /x"],
        ),
        (edit("location.add", location="/api", path="/api", redirect="/x"), ["+       - path: /api", "+         redirect: /x"]),
    ],
)
def test_only_the_lines_that_have_to_change_are_touched(one: Edit, lines: list[str]) -> None:
    assert sorted(line for line in differences(one) if line.strip("+- ")) == sorted(lines)


def test_the_backends_at_the_top() -> None:
    assert differences(edit("backend.add", URL + "2", service="default"), None, TOP) == [f"+   - url: {URL}2"]
    assert differences(edit("location.set", service="default", lb_policy="ip-hash"), None, TOP) == ["+ algorithm: ip-hash"]


@pytest.mark.parametrize(
    ("one", "service", "text", "why"),
    [
        (edit("backend.add", URL + "9", "/split#new"), 0, TEXT, "is written in one line"),
        (edit("backend.add", URL + "9"), 1, TEXT, "is written in one line"),
        (edit("backend.add", URL + "1"), 0, TEXT, "is in the file now"),
        (edit("backend.remove", URL + "7"), 0, TEXT, "there is no backend"),
        (edit("backend.add", URL + "9", "/gone"), 0, TEXT, "there is no location"),
        (edit("backend.add", URL + "9"), 0, TEXT.replace(f"- {URL}1 ", f"- &one {URL}1 "), "an anchor or an alias"),
        (edit("backend.add", URL + "9"), 0, TEXT.replace("\n", "\r\n"), "line ends of another system"),
        (edit("backend.add", URL + "9"), 0, TEXT.replace("port: 8080", "port: ${PORT}"), "the file has mistakes"),
    ],
)
def test_a_place_that_is_not_plain_is_refused(one: Edit, service: int, text: str, why: str) -> None:
    with pytest.raises(Unwritable, match=why):
        differences(one, service, text)


def test_the_yaml_to_paste() -> None:
    assert pasted(edit("backend.add", URL + "4", weight=5)) == f"# service shop, location /\n- url: {URL}4\n  weight: 5\n"
    assert "remove the backend" in pasted(edit("backend.remove", URL + "4"))
