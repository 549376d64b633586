"""Spellings of a path below a location with an access filter: each lies in that location, or is refused."""

from __future__ import annotations

import pytest

from terraster.errors import BadRequest
from terraster.route.prefix import Prefixes
from terraster.route.spellings import Spellings, lenient
from terraster.route.target import canonical

from .harness.spellings import INSIDE, MERGED, OUTSIDE

GUARDED = [("/", ()), ("/admin", ("a",)), ("/admin/open", ()), ("/Shop/x%2Fy", ("b",))]
PREFIXES = Prefixes([(path.encode(), path) for path, _ in GUARDED])
SPELLINGS = Spellings([(path.encode(), path, guards) for path, guards in GUARDED])


def located(target: bytes, refuse: bool, merge: bool = True) -> str:
    """The location of a target; "400" if it is refused."""
    try:
        path, _ = canonical(target, refuse, merge)
    except BadRequest:
        return "400"
    found = PREFIXES.find(path)
    assert found is not None
    return "400" if SPELLINGS.leads_round(path, found) else found


@pytest.mark.parametrize("refuse, merge", [(True, True), (False, True), (False, False)])
@pytest.mark.parametrize("target", INSIDE)
def test_no_spelling_leads_round(target: bytes, refuse: bool, merge: bool) -> None:
    assert located(target, refuse, merge) in ("/admin", "400")


@pytest.mark.parametrize("target", MERGED)
def test_slashes_are_merged_before_dot_segments_are_resolved(target: bytes) -> None:
    assert located(target, True) == "/admin"
    assert located(target, True, merge=False) == "/"


@pytest.mark.parametrize("refuse, merge", [(True, True), (False, True), (False, False)])
@pytest.mark.parametrize("target", OUTSIDE)
def test_other_paths_are_served(target: bytes, refuse: bool, merge: bool) -> None:
    assert located(target, refuse, merge) == "/"


@pytest.mark.parametrize(
    ("target", "location"),
    [
        (b"/admin/open/x", "/admin/open"),
        (b"/admin/open;x", "400"),  # lies below /admin, but a lenient server takes it for /admin/open: it has the stricter filters
        (b"/admin/OPEN", "/admin"),
        (b"/shop/x/y", "400"),
        (b"/Shop/x%2Fy", "/Shop/x%2Fy"),
        (b"/shop", "/"),
    ],
)
def test_which_location_counts(target: bytes, location: str) -> None:
    expected = "/admin" if target == b"/admin/open;x" else location
    assert located(target, False) == expected


@pytest.mark.parametrize(
    ("path", "read"),
    [
        (b"/", b"/"),
        (b"/Admin/./x//y/", b"/admin/x/y"),
        (b"/a;b=c/d;e", b"/a/d"),
        (b"/%2561", b"/a"),
        (b"/x%5C..%5Cadmin", b"/admin"),
        (b"/..%2F..%2Fa", b"/a"),
        (b"/admin.%20./b%2500c", b"/admin/b"),
        (b"/a%2fb", b"/a/b"),
        (b"/a%3Fb/c%2523d", b"/a/c"),
        (b"/%", b"/%"),
    ],
)
def test_the_most_lenient_reading(path: bytes, read: bytes) -> None:
    assert lenient(path) == read
    assert lenient(read) == read


def test_filters_that_are_the_same_are_no_reason() -> None:
    same = Spellings([(b"/", "/", ("a",)), (b"/admin", "/admin", ("a",))])
    assert not same.leads_round(b"/ADMIN", "/")
    other = Spellings([(b"/", "/", ("a",)), (b"/admin", "/admin", ("b",))])
    assert other.leads_round(b"/ADMIN", "/")
