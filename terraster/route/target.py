"""Request targets: the one door for all rooms above. `terraster.route.target_reader` has the rules.

target.pyx is the compiled twin of this module: it sees at once that a path is canonical already, and hands every other target to the reader.
"""

from __future__ import annotations

from .target_reader import canonical, split_absolute

__all__ = ["canonical", "split_absolute"]
