"""Paths for both commands: the configuration file, and the runtime directory that it names."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from yaml.nodes import MappingNode, Node, ScalarNode

from .. import config
from ..config import nodes
from ..config.directories import runtime_dir
from ..config.regular import regular

__all__ = ["DEFAULT", "PACKAGED", "configuration", "find_runtime_dir"]

DEFAULT = "config.yaml"
"""The configuration file in the current directory, used if there is no ``--config``."""

PACKAGED = os.path.join(os.path.dirname(config.__file__), "default.yaml")
"""The configuration file of the package, used if there is no `DEFAULT` either."""

_LARGE = 32_768  # characters that take as long to parse as the patterns of `terraster.config.incremental` take to compile: 8 ms

_RUNTIME_DIR = re.compile(r"""^\{?(?:runtime_dir|"runtime_dir"|'runtime_dir')[ ]*:[ ]+(\S.*?),?$""", re.MULTILINE)


def configuration(given: str | None) -> str:
    """The path of the configuration file: ``given``, else `DEFAULT` if it exists, else `PACKAGED`."""
    if given is not None:
        return given
    return DEFAULT if os.path.exists(DEFAULT) else PACKAGED


def find_runtime_dir(file: str, environ: Mapping[str, str]) -> str:
    """The runtime directory that a configuration names, else this user's default. Raises OSError.

    The rest of the file may have any mistake, because terrasterctl must reach a running Terraster while its file is being repaired. If
    the file is not valid YAML, its line ``runtime_dir: …`` counts.
    """
    with open(file, encoding="utf-8-sig", errors="replace", opener=regular) as stream:
        text = stream.read()
    root = _compose(text)
    found = None
    if isinstance(root, MappingNode):
        _, node = nodes.find(root, ("runtime_dir",))
        found = node if node is not root else None
    elif root is not None and (line := _RUNTIME_DIR.search(text)) is not None:
        root = nodes.compose(line[1])
        found = None if isinstance(root, tuple) else root
    if isinstance(found, ScalarNode):
        value = nodes.Reader(environ).value(found, "runtime_dir")
        if isinstance(value, str) and value:
            return os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(file)), os.path.expanduser(value)))
    return runtime_dir(environ, os.geteuid())


def _compose(text: str) -> Node | nodes.Finding | None:
    """The nodes of a configuration. Of a large one without its services: ten thousand of them take a second to parse."""
    if len(text) > _LARGE:
        from ..config import incremental

        parts = incremental.cut(text)
        text = text if parts is None else parts.skeleton
    return nodes.compose(text)
