"""The files of the configuration, as far as edits need them: what makes a configuration of them and of edits.

The command line makes it (`terraster.cli.main`), as only that knows the files. A master without one knows no edits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from terraster.config.edits import Dormant, Edit
from terraster.config.snapshot import Snapshot

__all__ = ["Documents", "Laid"]


class Laid(NamedTuple):
    """A configuration with edits. dormant: why edits have no effect in it, by number; texts: what the files said"""

    snapshot: Snapshot
    dormant: dict[int, Dormant]
    texts: Mapping[str, bytes]


class Documents(Protocol):
    """The files of one master."""

    file: str
    """The main file."""

    last: Laid | None
    """The configuration that was made last."""

    def read(self, generation: int, edits: Sequence[Edit], texts: Mapping[str, bytes] | None = None) -> Laid:
        """The configuration that the files are now, or were (texts), with edits. Raises ConfigError or StartError; problems of an edit have its
        label as their file."""

    def label(self, location: Mapping[str, Any]) -> str:
        """The label that a location has by its document. Raises ValueError if the document is wrong where that counts."""

    def adopted(self, edits: Sequence[Edit]) -> tuple[Mapping[str, bytes], dict[str, bytes]]:
        """The texts of the files now, and those that change when edits are written into them. Raises `terraster.config.adopting.Unwritable`."""
