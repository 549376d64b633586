"""The extensions beside the modules: Python may import all of them or none.

Compiled rooms share C structures. Where one of them is missing, the others read and write fields at the wrong places, up to a crash, and no
import says so. So the build (setup.py) writes a list of the rooms that it compiled and of the sources that they were made of, and `import
terraster` compares it with the files that are there, before any room is imported (3 ms). Where they differ, every module runs from its `.py`:
who edits one sees the edit work.

The list is one file for each kind of extension, such as ``terraster/compiled.cpython-311-x86_64-linux-gnu.txt``, and as `sha256sum` writes it:
a line for each `.py`, `.pyx` and `.pxd` that was compiled. It says nothing of the octets of the extensions, because packagers strip them: one
that was replaced by its namesake of another build is not noticed. A line with "#" in front says how, or why nothing was compiled.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from hashlib import sha256
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)

__all__ = ["OFF", "PACKAGE", "NOT_COMPILED", "beside", "changed", "choose", "read_list", "rooms_of"]

PACKAGE = os.path.dirname(__file__)

OFF = os.environ.get("TERRASTER_PURE", "") not in ("", "0")
"""True if ``TERRASTER_PURE`` switches the extensions off."""

NOT_COMPILED = "# not compiled: "
"""The beginning of the line that says why a build went on without the compiler."""

_LIST = os.path.join(PACKAGE, f"compiled{EXTENSION_SUFFIXES[0].removesuffix('.so')}.txt")


def read_list() -> tuple[dict[str, str], str]:
    """The list of the build: the SHA-256 of each source, by its path below the package, and the line that begins with "#". Empty without
    a list."""
    try:
        with open(_LIST, encoding="utf-8") as stream:
            lines = stream.read().splitlines()
    except OSError:  # nothing was compiled, or the package is in a zip
        return {}, ""
    pairs = (line.partition("  ") for line in lines if not line.startswith("#"))
    return {path: digest for digest, _, path in pairs}, next((line for line in lines if line.startswith("#")), "")


def rooms_of(paths: set[str]) -> set[str]:
    """The rooms that these files make when they are compiled, by their names below `terraster`: each `.pyx`, and each `.py` with a `.pxd`."""
    stems = {path.rpartition(".")[0] for path in paths if path.endswith(".pyx")}
    typed = {path.removesuffix(".pxd") for path in paths if path.endswith(".pxd")}
    return {stem.replace(os.sep, ".") for stem in stems | {one for one in typed if f"{one}.py" in paths}}


def beside() -> tuple[set[str], set[str]]:
    """The rooms with an extension that this Python imports, and the paths of all files that could be compiled. Reads the folders."""
    compiled: set[str] = set()
    paths: set[str] = set()
    for folder, folders, names in os.walk(PACKAGE):
        folders[:] = [name for name in folders if name != "__pycache__"]
        inside = "" if folder == PACKAGE else folder[len(PACKAGE) + 1 :] + os.sep
        for name in names:
            stem, dot, rest = name.partition(".")
            if rest in ("py", "pyx", "pxd"):
                paths.add(inside + name)
            elif dot + rest in EXTENSION_SUFFIXES:
                compiled.add((inside + stem).replace(os.sep, "."))
    return compiled, paths


def changed(listed: Mapping[str, str]) -> tuple[str, ...]:
    """The rooms of those sources whose octets are not those of the list, sorted. A source that is not installed has not changed."""
    found = set()
    for path, digest in listed.items():
        try:
            with open(os.path.join(PACKAGE, path), "rb") as stream:
                octets = stream.read()
        except OSError:
            continue
        if sha256(octets).hexdigest() != digest:
            found.add(path.rpartition(".")[0].replace(os.sep, "."))
    return tuple(sorted(found))


def choose() -> None:
    """Let Python import every module of Terraster from its `.py`, if it has to. Called once, before the first of them is imported."""
    listed, _ = read_list()
    if OFF or rooms_of(set(listed)) ^ beside()[0] or changed(listed):
        sys.path_hooks.insert(0, _sources)
        sys.path_importer_cache.pop(PACKAGE, None)  # this module was found by a finder that knows extensions


def _sources(path: str) -> FileFinder:
    """A hook of `sys.path_hooks`, which takes the folders of Terraster and no others."""
    if (path != PACKAGE and not path.startswith(PACKAGE + os.sep)) or not os.path.isdir(path):  # which it is not in a zip
        raise ImportError(f"{path} is not a folder of Terraster", path=path)
    return FileFinder(path, (SourceFileLoader, SOURCE_SUFFIXES), (SourcelessFileLoader, BYTECODE_SUFFIXES))
