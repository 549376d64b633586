"""The memory of this process's cgroup, and its limit: of a container, or of a unit of systemd (kernel documentation, cgroup-v2, "Memory").

Counted is the memory that the kernel cannot give back at once: all but the file cache that was not used lately, as in the working set of
Kubernetes. The kernel ends a process when the memory of any cgroup around it is full, so the fullest of them is told.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["Cgroup"]

ROOT = Path("/sys/fs/cgroup")
ITSELF = Path("/proc/self/cgroup")


class Cgroup:
    """The cgroups that this process is in, which are those at its start.

    root: where the hierarchy is mounted; itself: the file that names the process's cgroup
    """

    __slots__ = ("_folders",)

    def __init__(self, root: Path = ROOT, itself: Path = ITSELF) -> None:
        self._folders = tuple(_folders(root, itself))

    def used(self) -> float:
        """The used part of the limit that is nearest, 0 to 1 and a bit; 0.0 if there is no limit. Takes some 50 µs for each cgroup."""
        return max(map(_used, self._folders), default=0.0)

    def is_limited(self) -> bool:
        """True if there is a limit now."""
        return max([_number(folder / "memory.max") for folder in self._folders], default=0) > 0


def _folders(root: Path, itself: Path) -> list[Path]:
    try:
        lines = itself.read_text("ascii", "replace").splitlines()
    except OSError:
        return []
    names = [line[4:] for line in lines if line.startswith("0::/")]  # version 2
    if not names:
        return []
    here = root / names[0]
    found = [here]
    while here != root:
        here = here.parent
        found.append(here)
    return found


def _used(folder: Path) -> float:
    limit, used = _number(folder / "memory.max"), _number(folder / "memory.current")
    if not limit:
        return 0.0
    return max(0, used - _inactive(folder / "memory.stat")) / limit


def _number(file: Path) -> int:
    """The number in a file; 0 for "max", and where there is no such file: the root of the hierarchy has none."""
    try:
        text = file.read_text("ascii").strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0


def _inactive(file: Path) -> int:
    """The octets of the file cache that were not used lately."""
    try:
        lines = file.read_text("ascii").splitlines()
    except OSError:
        return 0
    found = [int(line.split(" ")[1]) for line in lines if line.startswith("inactive_file ")]
    return found[0] if found else 0
