"""Why a log could not be written to a file. Workers open it themselves, when it is too late to refuse the configuration."""

from __future__ import annotations

import os

from . import descriptors

__all__ = ["unwritable"]


def unwritable(what: str, file: str) -> str:
    """Why nothing can be written to this file, in words; "" if something can. what: the log's name in these words. Creates nothing."""
    descriptor = descriptors.behind(file)
    if descriptor is not None:
        why = descriptors.unusable(descriptor)
        return f"the {what} cannot be written to {descriptors.described(file)}: {why}" if why else ""
    if os.path.exists(file):
        return f"the {what} {file} cannot be written to" if os.path.isdir(file) or not os.access(file, os.W_OK) else ""
    folder = os.path.dirname(file) or "."
    if not os.path.isdir(folder):
        return f"the {what} {file} cannot be created: there is no directory {folder}"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"the {what} {file} cannot be created: no file can be created in {folder}"
    return ""
