"""The contract of a reload, which is a two-phase commit.

    prepare, one after the other ─┬─ all agreed ─▶ commit, one after the other ─▶ settle ─▶ children are told
                                  └─ one refused ─▶ rollback, in the reverse order

The master has one tuple of participants. A start takes the same way: prepare, commit, then `Participant.start`. A new participant is one
class, and one name in that tuple.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

from gevent.event import Event

from terraster.config.diff import Change
from terraster.config.snapshot import Snapshot
from terraster.errors import StartError, TerrasterError
from terraster.logs.program import ProgramLog
from terraster.net.yielding import yield_to_loop

from .steps import Step

__all__ = ["Outcome", "Participant", "Plan", "Proposal", "commit", "prepare", "rollback"]


class Plan(Protocol):
    """A compiled configuration. The master keeps it for its children, which inherit it over the fork."""

    @property
    def generation(self) -> int: ...

    def updated(self, change: Change) -> Plan:
        """The plan after a change."""


class Proposal:
    """A configuration on its way.

    loaded:   as the file has it
    old:      the snapshot that runs meanwhile; None at the start of the master
    ending:   set when the master is told to stop; nobody waits any longer then
    patience: seconds that a participant may wait for the first results of new backends, None: as long as it thinks right

    Participants fill in, in their order: ``snapshot``, with operators' overrides, addresses and slots; ``change`` (None at the start) and
    ``plan``; ``notes``: what operators should know, a line each.
    """

    __slots__ = ("loaded", "old", "ending", "patience", "snapshot", "change", "plan", "notes")

    def __init__(
        self, loaded: Snapshot, old: Snapshot | None = None, ending: Event | None = None, patience: float | None = None
    ) -> None:
        self.loaded = self.snapshot = loaded
        self.old = old
        self.ending = ending
        self.patience = patience
        self.change: Change | None = None
        self.plan: Plan | None = None
        self.notes: list[str] = []


class Participant:
    """A part of the master that has to do with each new configuration. All methods run in the master, `abandon` apart."""

    name: ClassVar[str]
    """In the status, in log lines, and in the names of the steps."""

    def prepare(self, new: Proposal) -> None:
        """Get ready. May wait. Shows nothing yet. Raises ConfigError or StartError to refuse."""

    def rollback(self) -> None:
        """Take back what `prepare` did, as far as it came: this participant or another one refused."""

    def commit(self, new: Proposal) -> None:
        """The proposal is what runs from now on. Must not fail, and must not yield: no fork may see one half of it."""

    def settle(self, new: Proposal) -> None:
        """All have committed, and no child has been told yet: let go of what only the old one needed."""

    def start(self) -> None:
        """Once, after the first commit: begin to act without being asked."""

    def stop(self) -> None:
        """Once, at the end: act no longer. Not followed by another call."""

    def abandon(self) -> None:
        """In a forked child: close what only the master may hold."""

    def kept(self, new: Proposal) -> list[str]:
        """What `prepare` took from before because what is there now cannot be used, a line each: an operator who reloads should know."""
        return []

    def unchanged(self, new: Proposal) -> None:
        """The files say what runs already: the proposal is not committed, and `rollback` follows."""

    def detail(self) -> Any:
        """For the status, as JSON; None = nothing to say."""
        return None

    def trouble(self) -> Any:
        """As much of `detail` as the problems of the status need. It is asked for every few seconds, so one that has a row for each backend
        keeps to those that are not healthy."""
        return self.detail()


def prepare(participants: Sequence[Participant], new: Proposal, step: Step, log: ProgramLog) -> None:
    """The first phase. Other greenlets run between two participants. Raises ConfigError or StartError; everything is taken back then."""
    asked: list[Participant] = []
    try:
        for one in participants:
            asked.append(one)
            one.prepare(new)
            step(f"{one.name} prepared")
            yield_to_loop()
    except BaseException as error:
        rollback(asked)
        if isinstance(error, Exception) and not isinstance(error, TerrasterError):
            log.exception("%s: cannot prepare the new configuration", asked[-1].name)
            raise StartError(f"{asked[-1].name}: cannot prepare the new configuration: {type(error).__name__}: {error}") from error
        raise


def rollback(participants: Sequence[Participant]) -> None:
    """Take back the first phase, in the reverse order."""
    for one in reversed(participants):
        one.rollback()


def commit(participants: Sequence[Participant], new: Proposal, step: Step) -> None:
    """The second phase. Does not yield."""
    for one in participants:
        one.commit(new)
        step(f"{one.name} committed")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a reload ended.

    ok:         True if the new configuration runs everywhere. If not, the old one runs, untouched, unless `generation` is the new one
                (something broke after the commit, for example because Terraster was stopped)
    generation: the generation that runs now
    changes:    the changes, a line each
    problems:   why it did not work (``ok`` False), a line each
    notes:      changes that need more than a reload, and news that is not in effect yet, a line each
    kept:       what runs on as before because its new version is broken (plugins), a line each: all else is in effect
    replaced:   pids of children that did not acknowledge and were replaced
    seconds:    how long it took
    when:       time.time() of its end
    """

    ok: bool
    generation: int
    changes: list[str]
    problems: list[str]
    notes: list[str]
    kept: list[str]
    replaced: list[int]
    seconds: float
    when: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
