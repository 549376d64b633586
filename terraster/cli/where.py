"""Where things are: the configuration that both commands mean, and the runtime directory it names."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

import yaml

from .. import config
from ..config.resolve import runtime_dir

__all__ = ["DEFAULT", "PACKAGED", "configuration", "find_runtime_dir"]

DEFAULT = "config.yaml"
"""Taken from the current directory when no ``--config`` is given."""

PACKAGED = os.path.join(os.path.dirname(config.__file__), "default.yaml")
"""Taken when there is no `DEFAULT` either."""

_RUNTIME_DIR = re.compile(r"^(?:runtime_dir|\"runtime_dir\"|'runtime_dir')[ ]*:[ ]+(\S.*)$", re.MULTILINE)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def configuration(given: str | None) -> str:
    """The configuration file: the one given, else ``config.yaml`` here, else the packaged default."""
    if given is not None:
        return given
    return DEFAULT if os.path.exists(DEFAULT) else PACKAGED


def find_runtime_dir(file: str, environ: Mapping[str, str]) -> str:
    """The runtime directory that a configuration names, whatever else is wrong with it; else this user's default. Raises OSError.

    Only the line ``runtime_dir: …`` is looked at: terrasterctl must reach a running Terraster while its file is being repaired, and
    must not parse 10,000 services to do so.
    """
    with open(file, encoding="utf-8", errors="replace") as stream:
        found = _RUNTIME_DIR.search(stream.read())
    if found is not None:
        try:
            value = yaml.safe_load(found[1])
        except yaml.YAMLError:
            value = None
        if isinstance(value, str) and value:
            return _VARIABLE.sub(lambda match: environ.get(match[1]) or match[2] or "", value)
    return runtime_dir(environ, os.geteuid())
