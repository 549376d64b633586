"""Ways past access filters: which of them a check notes."""

from __future__ import annotations

from pathlib import Path

import pytest

from terraster.cli.main import main
from terraster.config.resolve import resolve
from terraster.filters.passages import passages

from .harness.configuration import load

AUTH = "middleware: [{basic_auth: {users: {a: '{SHA}0nofEXcSAJSXFLGvmfBIpBb11vQ='}}}]"
GUARDED = f"{{path: /admin, {AUTH}, backends: ['http://10.0.0.1']}}"
ARM = "{weight: 1, backends: ['http://10.0.0.1']}"
OPEN = "{path: /, backends: ['http://10.0.0.1']}"


def services(*several: tuple[str, ...]) -> str:
    lines = [
        f"- {{name: s{number}, host: s{number}.test, locations: [{', '.join(locations)}]}}"
        for number, locations in enumerate(several)
    ]
    return "services:\n" + "\n".join(lines) + "\n"


WAY = "without `basic_auth` of that location"


@pytest.mark.parametrize(
    "text, expected",
    [
        (services((GUARDED, OPEN)), []),
        (services((GUARDED, "{path: /admin/open, backends: ['http://10.0.0.1']}")), []),
        (services((GUARDED, "{path: /x, rewrite: /, backends: ['http://10.0.0.1']}")), ["s0/x reaches the backend of s0/admin"]),
        (services((GUARDED, "{path: /x, rewrite: /admin/deep, backends: ['http://10.0.0.1']}")), ["s0/x reaches"]),
        (services((GUARDED, "{path: /x, rewrite: /y, backends: ['http://10.0.0.1']}")), []),
        (services((GUARDED,), (OPEN,)), ["s1/ reaches the backend of s0/admin (http://10.0.0.1) "]),
        (services((GUARDED,), ("{path: /admin/x, backends: ['http://10.0.0.1']}",)), ["s1/admin/x reaches"]),
        (services((GUARDED,), ("{path: /adminx, backends: ['http://10.0.0.1']}",)), []),
        (services((GUARDED,), ("{path: /, backends: ['http://10.0.0.2']}",)), []),
        (services((GUARDED,), (GUARDED.replace("/admin", "/"),)), []),
        (services((GUARDED,), ("{path: /, backends: ['http://10.0.0.1/admin']}",)), ["s1/ reaches"]),
        (services((GUARDED, "{path: /x, backends: ['http://10.0.0.1/admin']}")), ["s0/x reaches"]),
        (services((f"{{path: /a, {AUTH}, rewrite: /, backends: ['http://10.0.0.1']}}", OPEN)), ["s0/ reaches the backend of s0/a"]),
        (services((OPEN,), (OPEN,)), []),
        (
            services((GUARDED,), (f"{{path: /, split: {{to: [{ARM}, {ARM.replace('0.1', '0.9')}]}}}}",)),
            ["s1/ reaches the backend of s0/admin"],
        ),
        (
            services((f"{{path: /, {AUTH}, split: {{to: [{ARM}, {ARM.replace('0.1', '0.9')}]}}}}",), (OPEN,)),
            ["s1/ reaches the backend of s0/ (2 backends) "],
        ),
        (
            services((GUARDED, "{path: /x, rewrite: [{match: '/x/(.*)', to: '/\\1'}], backends: ['http://10.0.0.1']}")),
            ["s0/x may reach the backend of s0/admin"],
        ),
    ],
)
def test_ways(tmp_path: Path, text: str, expected: list[str]) -> None:
    (tmp_path / "a.yaml").write_text(text)
    found = passages(resolve(load(tmp_path / "a.yaml"), 1), {"basic_auth"})
    assert len(found) == len(expected), found
    for one, words in zip(found, expected, strict=True):
        assert one.startswith(words) and one.endswith(WAY)


def guarded(path: str, match: str) -> str:
    return f"{{path: {path}, name: g, match: {match}, {AUTH}, backends: ['http://10.0.0.1']}}"


def unguarded(path: str, match: str) -> str:
    return f"{{path: {path}, name: o, match: {match}, backends: ['http://10.0.0.1']}}"


SHUT = f"{{path: /, {AUTH}, backends: ['http://10.0.0.1']}}"


@pytest.mark.parametrize(
    "text, expected",
    [
        (services((guarded("/", "{methods: POST}"), OPEN)), ["s0/ reaches the backend of s0/#g (http://10.0.0.1) "]),
        (services((guarded("/admin", "{methods: POST}"), OPEN)), ["s0/ reaches the backend of s0/admin#g"]),
        (services((guarded("/admin", "{headers: {X-A: true}}"), GUARDED, OPEN)), []),
        (services((guarded("/admin", "{methods: POST}"), "{path: /, backends: ['http://10.0.0.2']}")), []),
        (services((guarded("/admin", "{methods: POST}"), unguarded("/", "{methods: GET}"))), ["s0/#o reaches"]),
        (services((guarded("/admin", "{path: exact}"), OPEN)), ["s0/ reaches the backend of s0/admin#g"]),
        (services((guarded("/", "{path_regex: '/a/.*'}"), OPEN)), ["s0/ reaches the backend of s0/#g"]),
        (services((SHUT, unguarded("/", "{headers: {X-A: true}}"))), ["s0/#o reaches the backend of s0/ "]),
        (services((SHUT, unguarded("/", "{cookies: {a: '1'}, query: {a: '1'}}"))), ["s0/#o reaches the backend of s0/ "]),
        (services((SHUT, unguarded("/", "{clients: 10.0.0.0/8}"))), []),
        (services((SHUT, unguarded("/", "{methods: GET}"))), []),
        (services((SHUT, unguarded("/", "{path_regex: '/public/.*'}"))), []),
        (services((SHUT, unguarded("/public", "{headers: {X-A: true}}"))), []),
        (services((GUARDED,), (unguarded("/", "{clients: 10.0.0.0/8}"),)), ["s1/#o reaches the backend of s0/admin"]),
    ],
)
def test_ways_by_conditions(tmp_path: Path, text: str, expected: list[str]) -> None:
    test_ways(tmp_path, text, expected)


def test_a_check_notes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text("health_check: off\n" + services((GUARDED,), (OPEN,)))
    assert main(["--check", "--config", str(tmp_path / "a.yaml")]) == 0
    assert capsys.readouterr().err == f"note: s1/ reaches the backend of s0/admin (http://10.0.0.1) {WAY}\n"


def test_many_ways_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(services((GUARDED,), *[(OPEN,)] * 30))
    found = passages(resolve(load(tmp_path / "a.yaml"), 1), {"basic_auth"})
    assert len(found) == 21 and found[-1] == "and 10 more ways past access filters"
