"""Earlier releases of Terraster, from the archives in ``tests/releases``: unpacked, run, and upgraded from and to.

`Installed` is a Terraster that runs from a link to a release, as docs/operations.md describes it: who changes the link and sends USR2
gets the release behind it. A release runs with the packages that the tests have, so an archive has Terraster's own code only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

from .terraster_process import ROOT, Config, Terraster

__all__ = ["ARCHIVES", "Installed", "layout", "unpack", "without_extensions"]

FOLDER = ROOT / "tests" / "releases"
SHIMS = FOLDER / "shims"
"""Packages that releases imported and that the tests do not install."""

ARCHIVES = sorted(FOLDER.glob("*.tar.xz"))
"""The newest is the last: their names begin with the date."""


def unpack(archive: Path, folder: Path) -> Path:
    """The release, in a folder of its own."""
    release = folder / archive.name.removesuffix(".tar.xz")
    with tarfile.open(archive) as packed:
        packed.extractall(release, filter="data")
    return release


def without_extensions(folder: Path) -> Path:
    """This code as pure Python, in a folder of its own."""
    release = folder / "pure"
    left_out = shutil.ignore_patterns("*.so", "compiled.*.txt", "__pycache__")
    shutil.copytree(ROOT / "terraster", release / "terraster", ignore=left_out)
    return release


def layout(release: Path) -> str:
    """What the cells of a release's shared table mean, to be compared. Empty if it cannot hand its table over."""
    script = """
from terraster.state.cells import VERSION, fingerprint
try:
    from terraster.master.shared import COUNTERS
except ImportError:  # releases before took no note of them
    print(VERSION, fingerprint())
else:
    print(VERSION, fingerprint(COUNTERS))
"""
    done = subprocess.run([sys.executable, "-c", script], env=_environment(release), cwd=release, capture_output=True, text=True)
    assert done.returncode == 0 or "No module named 'terraster.state.cells'" in done.stderr, done.stderr
    return done.stdout.strip()


class Installed(Terraster):
    """A Terraster that runs what its link ``current`` leads to. Not started yet."""

    def __init__(self, folder: Path, release: Path, *services: Config, **keys: Any) -> None:
        super().__init__(folder, *services, start=False, **keys)
        self.link = folder / "current"
        self.root = f"{self.link}:{SHIMS}"
        self.install(release)

    def install(self, release: Path) -> None:
        """Have the link lead to a release."""
        new = self.link.with_name("next")
        new.symlink_to(release)
        new.replace(self.link)

    def command(self, *arguments: str) -> str:
        """What terrasterctl of the installed release says. Fails if it fails."""
        command = [sys.executable, "-m", "terraster.cli.ctl", "--runtime-dir", self.runtime_dir, *arguments]
        done = subprocess.run(command, env=_environment(self.link), cwd=self.folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout


def _environment(release: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{release}:{SHIMS}"}
