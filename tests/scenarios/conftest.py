"""Fixtures of the scenarios: what a fixture starts, it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ..harness.backends import Backend, Peer, Request, always
from ..harness.terraster_process import Terraster, service

Answer = bytes | Callable[[Request], bytes | None]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What is entered here is left, in reverse order, when the scenario ends."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def backend(stack: ExitStack) -> Callable[..., Backend]:
    """Make a backend: ``backend(answer=…)`` answers every request alike, ``backend(script)`` runs a script per connection."""

    def make(script: Callable[[Peer], None] | None = None, *, answer: Answer | None = None) -> Backend:
        if script is None:
            assert answer is not None
            script = always(answer)
        return stack.enter_context(Backend(script))

    return make


@pytest.fixture
def terraster(tmp_path: Path, stack: ExitStack) -> Callable[..., Terraster]:
    """Start a Terraster: ``terraster(backend, …, key=…)`` or ``terraster(service(…), …, key=…)``."""
    count = 0

    def start(*parts: Any, **keys: Any) -> Terraster:
        nonlocal count
        count += 1
        services = [part for part in parts if isinstance(part, dict)]
        urls = [part.url for part in parts if not isinstance(part, dict)]
        if urls:
            services.insert(0, service(*urls))
        return stack.enter_context(Terraster(tmp_path / f"terraster{count}", *services, **keys))

    return start
