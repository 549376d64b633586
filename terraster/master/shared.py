"""The shared table of a master: how large it is made."""

from __future__ import annotations

import resource

from terraster.config.snapshot import Snapshot
from terraster.errors import StartError
from terraster.state.leases import capacities
from terraster.state.table import Table

__all__ = ["make"]


def make(snapshot: Snapshot) -> Table:
    """A table for a first configuration. Raises StartError.

    Where the address space of a process is limited, the table takes a quarter of it at most.
    """
    backends = sum(len(location.backends) for service in snapshot.services for location in service.locations)
    locations = sum(len(service.locations) for service in snapshot.services)
    limit, _hard = resource.getrlimit(resource.RLIMIT_AS)
    room = None if limit == resource.RLIM_INFINITY else limit // 4
    try:
        return Table(*capacities(backends, locations, snapshot.workers, room))
    except OSError as error:
        reason = error.strerror or str(error)
        raise StartError(f"cannot make the shared table: {reason}; look at what `ulimit -v` and `ulimit -f` show") from error
