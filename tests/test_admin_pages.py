"""The dashboard's files: each is served, each that a page names exists, and nothing in them needs what the policy refuses."""

from __future__ import annotations

import re
from urllib.parse import urljoin

import pytest

from terraster.admin import pages

ROUTES = pages.routes()
SCRIPTS = sorted(path for path in ROUTES if path.endswith(".js"))


def body(path: str) -> str:
    octets = ROUTES[path]["GET"]({}).body
    assert isinstance(octets, bytes)
    return octets.decode()


def test_what_the_page_loads_is_there() -> None:
    named = re.findall(r'(?:href|src)="(dashboard/[^"]+)"', body("/"))
    assert len(named) == 3 and all(f"/{path}" in ROUTES for path in named)


def test_what_the_page_of_the_api_loads_is_there() -> None:
    found = pages.reference()
    octets = found["/docs"]["GET"]({}).body
    assert isinstance(octets, bytes)
    named = re.findall(r'(?:rel="icon" href|stylesheet" href|src)="([^"]+)"', octets.decode())
    assert len(named) == 3 and all(path in {**ROUTES, **found} for path in named)


@pytest.mark.parametrize("path", SCRIPTS)
def test_what_a_script_imports_is_there_and_used(path) -> None:
    text = body(path)
    for names, file in re.findall(r'import \{([^}]+)\} from "([^"]+)"', text):
        found = urljoin(path, file)
        assert found in ROUTES
        for name in (one.strip() for one in names.split(",")):
            assert re.search(rf"export (async )?(function[*]?|const|class) {name}\b", body(found)), (path, name)
            assert len(re.findall(rf"\b{name}\b", text)) > 1, f"{path} does not use {name}"


@pytest.mark.parametrize("path", SCRIPTS)
def test_texts_never_become_markup(path) -> None:
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setTimeout\([\"']", body(path)
    )


@pytest.mark.parametrize("path", ["/", *(path for path in ROUTES if path.endswith(".svg"))])
def test_nothing_is_inline_and_nothing_comes_from_elsewhere(path) -> None:
    text = body(path)
    assert not re.search(r"<style|\bstyle=|\bon[a-z]+=|<script(?![^>]*\bsrc=)", text)
    assert not re.search(r'(?:href|src)="(?:https?:)?//', text)


def test_every_answer_has_the_policy() -> None:
    for path, methods in ROUTES.items():
        answer = methods["GET"]({})
        assert dict(answer.headers)["Content-Security-Policy"] == pages.POLICY, path
        assert dict(answer.headers)["X-Frame-Options"] == "DENY"
