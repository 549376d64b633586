"""Large libraries that few configurations need: each is imported at the first use of one of its names.

Together they take 9 MiB and a tenth of the CPU of a start. A module that uses one has its names for type checks and for running:

    if TYPE_CHECKING:
        import dns.name
    else:
        dns = Later("dns")

An `except` clause looks its names up when an exception comes, so it may name those of a library.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["Later"]


class Later:
    """A module or package that is imported at the first use. Submodules of a package are its attributes."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        module = import_module(self._name)
        try:
            found = getattr(module, name)
        except AttributeError:
            if not hasattr(module, "__path__"):
                raise
            found = import_module(f"{self._name}.{name}")
        setattr(self, name, found)
        return found
