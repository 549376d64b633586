"""The place of a peer in the comparison: its folder, port, files and program, and a network of its own."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Place", "free_port", "isolate", "program"]

INSIDE = "BENCH_MTU"  # set in the environment of a run within a network namespace


def free_port() -> int:
    """A port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def program(name: str) -> str:
    """The full path of an installed program.

    It is also looked for next to this Python (wheels), and in Debian's directory of nginx and haproxy, which a user's PATH may lack.
    """
    path = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin")
    if path is None:
        raise SystemExit(f"bench: {name} is not installed")
    return path


def isolate(mtu: int) -> None:
    """Run this program anew in a network namespace whose loopback has this MTU, unless it does. Needs root or user namespaces."""
    if os.environ.get(INSIDE) == str(mtu):
        return
    command = [program("unshare"), "--net", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c"]
    script = f'{program("ip")} link set lo up mtu {mtu} && exec "$0" "$@"'
    os.execve(command[0], [*command, script, sys.executable, *sys.argv], {**os.environ, INSIDE: str(mtu)})


@dataclass(frozen=True)
class Place:
    """The place of a peer: its folder, the name of its files, its ports, its backends, its access log (None: off), and the file with a
    certificate and its key.

    calls: ports of backends for gRPC, which speak HTTP/2 in clear; () = none.
    here, around: text for its configuration: for the requests, and beside that. Terraster has `middleware` entries in both; nginx directives
    of the location and of `http`; HAProxy lines of the frontend, and whole sections. "split by KEY" is a `split` of Terraster's
    location. below: keys of Terraster's location. field: a line of the head that requests must have. workers: processes or threads.
    """

    folder: Path
    name: str
    port: int
    tls_port: int
    h2c_port: int
    backends: tuple[int, int]
    log_file: Path | None
    certificate: Path
    calls: tuple[int, ...] = ()
    here: str = ""
    around: str = ""
    below: str = ""
    field: str = ""
    workers: int = 1

    def write(self, suffix: str, text: str) -> str:
        """Write a configuration file and return its path."""
        path = self.folder / f"{self.name}{suffix}"
        path.write_text(text)
        return str(path)
