"""Prefixes: the longest one wins, and it ends where a segment ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.route.prefix import FEW, Prefixes

MANY = [f"/other/{number}" for number in range(FEW + 1)]


def find(paths: list[str], path: bytes) -> str | None:
    return Prefixes([(prefix.encode(), prefix) for prefix in paths]).find(path)


@pytest.mark.parametrize("others", [[], MANY], ids=["few", "many"])
@pytest.mark.parametrize(
    ("prefixes", "path", "found"),
    [
        (["/"], b"/", "/"),
        (["/"], b"/a/b", "/"),
        (["/api"], b"/api", "/api"),
        (["/api"], b"/api/", "/api"),
        (["/api"], b"/api/x/y", "/api"),
        (["/api"], b"/apifoo", None),
        (["/api"], b"/ap", None),
        (["/api"], b"/", None),
        (["/api"], b"//api", None),
        (["/api/"], b"/api", "/api/"),
        (["/api/"], b"/api/x", "/api/"),
        (["/", "/api", "/api/v1"], b"/api/v1/x", "/api/v1"),
        (["/", "/api", "/api/v1"], b"/api/v10", "/api"),
        (["/", "/api", "/api/v1"], b"/apiary", "/"),
        (["/a/b/c", "/a"], b"/a/b", "/a"),
        (["/a"], b"/a//b", "/a"),
        ([], b"/", None),
    ],
)
def test_longest_on_segment_boundaries(prefixes: list[str], others: list[str], path: bytes, found: str | None) -> None:
    assert find(prefixes + others, path) == found


@pytest.mark.parametrize("paths", [["/a", "/a"], ["/a", "/a/"], ["/", "/"], ["a"], [""]])
def test_refused(paths: list[str]) -> None:
    with pytest.raises(ValueError, match="prefix"):
        find(paths, b"/a")


SEGMENTS = st.lists(st.sampled_from(["a", "b", "ab", ""]), max_size=5).map(lambda parts: "/" + "/".join(parts))


@given(st.lists(SEGMENTS, max_size=4 * FEW, unique_by=lambda path: path.rstrip("/")), SEGMENTS)
def test_as_if_all_prefixes_were_tried(prefixes: list[str], path: str) -> None:
    fitting = [prefix for prefix in prefixes if path == prefix.rstrip("/") or path.startswith(prefix.rstrip("/") + "/")]
    assert find(prefixes, path.encode()) == max(fitting, key=lambda prefix: len(prefix.rstrip("/")), default=None)
