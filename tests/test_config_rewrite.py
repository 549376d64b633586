"""`rewrite`: text or rules, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from terraster.config.resolve import resolve
from terraster.errors import ConfigError

from .harness.configuration import load

LOCATION = "services:\n- name: s\n  locations:\n  - path: /a\n    backends: [http://h]\n    rewrite: "


@pytest.mark.parametrize(
    ("written", "prefix", "rules"),
    [
        ("/v1/", "/v1/", ()),
        (r"{match: '/a/([0-9]+)', to: '/b/\1'}", "", (("/a/([0-9]+)", r"/b/\1"),)),
        (
            r"[{match: /a/x, to: /b}, {match: '/a/(?P<n>.*)', to: '/c?n=\g<n>'}]",
            "",
            (("/a/x", "/b"), ("/a/(?P<n>.*)", r"/c?n=\g<n>")),
        ),
        ("[{match: /a/x, to: /b}, {prefix: /c}]", "/c", (("/a/x", "/b"),)),
    ],
)
def test_what_may_be_written(tmp_path: Path, written: str, prefix: str, rules: tuple[tuple[str, str], ...]) -> None:
    (tmp_path / "t.yaml").write_text(LOCATION + written)
    (location,) = resolve(load(str(tmp_path / "t.yaml")), 1).services[0].locations
    assert (location.rewrite, location.rewrites) == (prefix, rules)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("v1", "6:14: `rewrite` must start with \"/\", not 'v1'"),
        ("[{match: /a, to: v1}]", "6:31: `to` must start with \"/\", not 'v1'"),
        ("[{match: '/(a', to: /b}]", "6:23: `match` is not a regular expression of RE2: missing )"),
        (r"[{match: /a, to: '/\1'}]", r"has \1 in `to`, and `match` has 0 groups"),
        (r"[{match: '/(a)', to: '/\g<n>'}]", r"has \g<n> in `to`, and `match` has no group of this name"),
        (r"[{match: '/(a)', to: '/\0'}]", r"has a backslash that is not one of \1 to \9 or \g<name>"),
        ("[{match: /a, to: /b c}]", "contains characters that must be percent-encoded"),
        ("[{match: /a, to: '/b?c#d'}]", "contains characters that must be percent-encoded"),
        ("[{match: /a}]", "needs `match` and `to`"),
        ("[{prefix: /a, to: /b}]", "has `prefix` beside `match` or `to`: write two rules"),
        ("[{regex: /a, to: /b}]", "unknown key `regex`"),
    ],
)
def test_what_is_refused_is_told(tmp_path: Path, written: str, problem: str) -> None:
    (tmp_path / "t.yaml").write_text(LOCATION + written)
    with pytest.raises(ConfigError, match=r"t.yaml:6:\d+: ") as error:
        load(str(tmp_path / "t.yaml"))
    assert problem in str(error.value)
