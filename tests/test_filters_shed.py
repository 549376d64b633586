"""Shedding of load: what may be written, and whom it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from terraster.errors import US, ConfigError, HttpError
from terraster.filters.contract import Stage
from terraster.filters.shed import Shed

from .test_filters_limits import SERVICE, asked, compiled


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("{}", "`shed` says nothing of `loop_lag` or `memory`, here or on a wider level"),
        ("{loop_lag: 4ms}", "`loop_lag` must be at least 0.005"),
        ("{loop_lag: 61s}", "`loop_lag` must be at most 60"),
        ("{memory: 1k}", "`memory` must be at least 1048576"),
        ("{memory: 0%}", "`memory` must be more than 0%"),
        ("{memory: 101%}", "`memory` must be a share from 0 to 100%"),
        ("{memory: 0.8}", "`memory` must be a size like 8192, 64k or 10M"),
        ("{memory: 1g, retry_after: 0}", "`retry_after` must be more than 0"),
    ],
)
def test_mistakes(tmp_path: Path, settings: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        compiled(tmp_path, f"{SERVICE}        middleware: [{{shed: {settings}}}]\n")
    assert str(error.value.problems[0]).endswith(f": {problem}")


@pytest.mark.parametrize("limit", ["loop_lag: 50ms", "memory: 1g", "memory: 80%", "memory: 100%"])
def test_a_refusal_says_when_to_try_again(tmp_path: Path, limit: str) -> None:
    plan = compiled(tmp_path, f"{SERVICE}        middleware: [{{shed: {{{limit}, retry_after: 1500ms}}}}]\n")
    (hook,) = plan.services["s"].locations[0].on_request
    assert hook(asked()) is None
    gates = plan.runtime.gates
    (gate,) = [*gates.by_lag.values(), *gates.by_memory.values(), *gates.by_share.values()]
    gate.share = 1.0
    with pytest.raises(HttpError, match="overloaded") as error:
        hook(asked())
    refusal = error.value
    assert (refusal.status, refusal.retry_after, refusal.reason, refusal.blame) == (503, 2, "http_request_denied", US)


@pytest.mark.parametrize(
    ("path", "served"),
    [
        (b"/healthz", True),
        (b"/readyz", True),
        (b"/grpc.health.v1.Health/Check", True),
        (b"/grpc.health.v1.Health/Watch", True),
        (b"/healthz/x", False),
        (b"/", False),
    ],
)
def test_who_asks_how_a_backend_is_gets_an_answer(tmp_path: Path, path: bytes, served: bool) -> None:
    plan = compiled(tmp_path, f"{SERVICE}        middleware: [{{shed: {{loop_lag: 50ms, memory: 1g}}}}]\n")
    plan.runtime.gates.lag(0.05).share = plan.runtime.gates.memory(1 << 30).share = 1.0
    (hook,) = plan.services["s"].locations[0].on_request
    try:
        hook(asked(path=path))
    except HttpError:
        assert not served
    else:
        assert served


def test_a_location_that_switches_it_off_asks_nothing_and_has_nothing_measured(tmp_path: Path) -> None:
    plan = compiled(tmp_path, f"{SERVICE}        middleware: [{{shed: {{enabled: off, loop_lag: 50ms}}}}]\n")
    assert not plan.services["s"].locations[0].on_request
    assert not plan.runtime.gates.by_lag


def test_its_place_is_among_the_limits() -> None:
    assert Shed.stage is Stage.LIMITS
