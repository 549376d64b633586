"""What an explanation says about a backend that operators and health checks keep from work."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest

from terraster.explain.candidates import candidates
from terraster.state.cells import BackendCells


@pytest.mark.parametrize(
    ("state", "note"),
    [
        ("draining", "draining by ann (disk)"),
        ("down", "down, drain ordered by ann (disk)"),
        ("ejected", "ejected, drain ordered by ann (disk)"),
    ],
)
def test_an_operator_is_named_for_what_was_ordered_and_not_for_what_health_checks_found(state: str, note: str) -> None:
    view = SimpleNamespace(q=defaultdict(int), table=SimpleNamespace(backend=lambda _: 100))
    backend = SimpleNamespace(id="b", display="http://a:1", priority=0)
    member = SimpleNamespace(view=view, slot=0, admit_at=1, weight=1, max_connections=0, backend=backend)
    member.state = lambda: BackendCells.STATES.index(state)
    member.active, member.is_up, member.has_room = lambda: 0, lambda: False, lambda: True
    location: Any = SimpleNamespace(members=[member], panic_at=2)
    (found,) = candidates(location, None, {"b": {"order": {"what": "drain", "by": "ann", "reason": "disk"}}})
    assert found.note == note
