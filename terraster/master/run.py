"""A process that is the master until it ends: how it reports what keeps it from starting, and its exit code."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from terraster.errors import ConfigError, StartError
from terraster.logs import journal
from terraster.worker.process import Process

from .listeners import Asks, nobody
from .master import Master
from .operator.documents import Documents
from .participant import Participant
from .reload import Load, Placed, as_it_is
from .running import Compile
from .steps import Step, nothing

__all__ = ["run"]


def run(
    load: Load,
    roles: Mapping[str, type[Process]],
    compile: Compile,
    more: Sequence[Participant] = (),
    step: Step = nothing,
    asks: Asks = nobody,
    placed: Placed = as_it_is,
    documents: Documents | None = None,
) -> int:
    """Be the master until a signal or an operator stops it. `terraster.master.patching.patch` was called before.

    load:    reads the configuration and gives it as generation n: ``load(n) -> Snapshot``; raises ConfigError
    roles:   "proxy" and "admin" (or only one of them) → the `Process` subclass that does it
    compile: ``compile(snapshot, view) -> plan``, where ``plan.updated(change) -> plan``
    more:    participants of each reload, behind those of the master
    step:    see `terraster.master.steps`
    asks:    ``asks(address) -> str``: who asks for a listening address in the configuration, and where, for errors; "" = unknown
    placed:  ``placed(words_or_problem) -> str``: why a configuration cannot run, with its place if there is one
    documents: the files, if they can be edited while Terraster runs

    Returns the exit code of the process. 0: stopped on request; 1: could not start (StartError, or a child that cannot start); 2: the
    configuration cannot be used. Problems are printed to standard error. In a child this function does not return.
    """
    master: Master | None = None
    try:
        master = Master(load, roles, compile, more, step, asks, placed, documents)
        master.run()
    except ConfigError as error:
        print(journal.as_error("\n".join([placed(problem) for problem in error.problems])), file=sys.stderr)
        return 2
    except StartError as error:
        print(journal.as_error(f"terraster: cannot start: {placed(str(error))}"), file=sys.stderr)
        return 1
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    finally:
        if master is not None:
            master.log.close()
    return 0
