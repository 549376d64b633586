"""The default directories for run-time files and for state that survives a restart.

Apart from `terraster.config.resolve`, because terrasterctl asks for it too and needs none of the configuration's models for that.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["runtime_dir", "state_dir"]


def runtime_dir(environ: Mapping[str, str], uid: int) -> str:
    """The default directory of sockets and the pid file: systemd's if set, else this user's."""
    if given := _first(environ, "RUNTIME_DIRECTORY"):
        return given
    if uid == 0:
        return "/run/terraster"
    base = _base(environ, "XDG_RUNTIME_DIR")
    return f"{base}/terraster" if base else f"/tmp/terraster-{uid}"


def state_dir(environ: Mapping[str, str], uid: int) -> str:
    """The default directory of state: systemd's if set, else this user's."""
    if given := _first(environ, "STATE_DIRECTORY"):
        return given
    if uid == 0:
        return "/var/lib/terraster"
    if base := _base(environ, "XDG_STATE_HOME"):
        return f"{base}/terraster"
    home = _base(environ, "HOME")
    return f"{home}/.local/state/terraster" if home else f"/tmp/terraster-{uid}/state"


def _first(environ: Mapping[str, str], name: str) -> str:
    """The first directory that systemd made for the service (RuntimeDirectory=, StateDirectory=: systemd.exec(5)), or ""."""
    first = environ.get(name, "").partition(":")[0]
    return first if first.startswith("/") else ""


def _base(environ: Mapping[str, str], name: str) -> str:
    """A directory to put ours into, without a slash at its end; "" if it is not set, not absolute, or the root (a user without a
    home has that for one)."""
    base = environ.get(name, "").rstrip("/")
    return base if base.startswith("/") else ""
