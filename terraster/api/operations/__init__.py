"""The table of operations. A family is a module here, and one line in `table`."""

from __future__ import annotations

from ..deps import Deps
from ..operation import Operation
from . import (
    audit,
    auth,
    backends,
    comparing,
    config,
    effective,
    explain,
    generations,
    history,
    hosts,
    levels,
    limits,
    overrides,
    probes,
    reading,
    requests,
    services,
    slo,
    stream,
    top,
    users,
)

__all__ = ["table"]


def table(deps: Deps) -> tuple[Operation, ...]:
    """All operations, in the order of the manual."""
    return (
        *services.operations(deps),
        *backends.operations(deps),
        *hosts.operations(deps),
        *config.operations(deps),
        *effective.operations(deps),
        *comparing.operations(deps),
        *overrides.operations(deps),
        *reading.operations(deps),
        *probes.operations(deps),
        *levels.operations(deps),
        *limits.operations(deps),
        *top.operations(deps),
        *explain.operations(deps),
        *requests.operations(deps),
        *generations.operations(deps),
        *auth.operations(deps),
        *users.operations(deps),
        *audit.operations(deps),
        *history.operations(deps),
        *slo.operations(deps),
        *stream.operations(deps),
    )
