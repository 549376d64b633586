"""The steps at which a master may die.

Each of them calls `Step` with its name when it is done. In production that is `nothing`. A test gives a function that kills the process at
one step, and looks at what the next start finds: the old or the new, never one half.

    start, reload   `of_first` and `of_reload`, from the names of the participants
    the first time that sessions are signed: `KEY`, while the configuration is loaded
    order           `ORDER`; then the steps of a reload, without "loaded", if a weight changed
    edit            the steps of a reload, without "loaded", with those of `EDIT` before "edits prepared" and "edits committed"
    upgrade (USR2)  `UPGRADE`, and in the new master the steps of a start, with those of `TABLE`
    take-over from a master that was killed: the steps of a start, with those of `ADOPTION`
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

__all__ = ["ADOPTION", "EDIT", "KEY", "ORDER", "TABLE", "UPGRADE", "Step", "nothing", "of_first", "of_refresh", "of_reload"]

Step = Callable[[str], None]

KEY = ("key written", "key linked")
ORDER = ("overrides written", "overrides renamed")
EDIT = ("edits written", "edits renamed")
UPGRADE = ("successor forked", "pid file promoted", "control socket promoted")
TABLE = ("table found", "place taken")
ADOPTION = ("sockets adopted", *TABLE, "orphans dismissed")


def of_first(names: Iterable[str]) -> tuple[str, ...]:
    """The steps of a start. names: of all participants, in their order"""
    names = tuple(names)
    return (*(f"{name} prepared" for name in names), *(f"{name} committed" for name in names))


def of_refresh(names: Iterable[str]) -> tuple[str, ...]:
    """The steps of a change that reads no file: new addresses of names, a weight."""
    return (*of_first(names), "settled", "children told")


def of_reload(names: Iterable[str]) -> tuple[str, ...]:
    """The steps of a reload."""
    return ("loaded", *of_refresh(names))


def nothing(name: str) -> None:
    """A step in production."""
