"""Listening sockets: the master binds them all before the first fork, and its children inherit them or get them by SCM_RIGHTS.

Addresses are written as in the configuration: "127.0.0.1:8080", "[::1]:8080", ":8080" (every address, IPv4 and IPv6 through one
dual-stack socket), "unix:/path". A socket comes from one of three places:

- inherited from the service manager (socket activation, sd_listen_fds(3)): matched by the address it is bound to;
- inherited from the master before us (USR2), which names address and descriptor in the environment;
- bound here.

Sockets are plain ones, never gevent's: those belong to a hub, and each child has its own. Nobody accepts on them in the master.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from contextlib import suppress

from terraster.config.management import admin_addresses
from terraster.config.snapshot import Snapshot
from terraster.errors import StartError
from terraster.net import tcp_keepalive

from . import sockets
from .holders import holder
from .participant import Participant, Proposal

__all__ = ["HANDED_OVER", "Asks", "Listeners", "addresses", "control_address", "nobody"]

Asks = Callable[[str], str]

HANDED_OVER = "TERRASTER_LISTENERS"  # JSON from an old master to the new one: {"activated": bool, "open": {address: descriptor}}
_FIRST_ACTIVATED = 3


def control_address(snapshot: Snapshot) -> str:
    """Where terrasterctl reaches the admin worker."""
    return f"unix:{snapshot.runtime_dir}/control.sock"


def addresses(snapshot: Snapshot) -> list[str]:
    """The addresses that a snapshot listens on, without the control socket's."""
    wanted = [*(listener.address for listener in snapshot.listeners), *admin_addresses(snapshot)]
    return list(dict.fromkeys(wanted))


def nobody(_address: str) -> str:
    """Of no address it is known who asks for it."""
    return ""


class Listeners(Participant):
    """The open listening sockets, by address. Master only.

    open:      address → socket
    asks:      ``asks(address)``: who asks for it in the configuration, and where; "" = unknown
    aside:     another master still serves under our paths (USR2): see `bind_control`
    activated: True if the service manager owns the sockets (then their paths are not ours to remove)
    """

    name = "listeners"

    def __init__(self, *, aside: bool = False, asks: Asks = nobody) -> None:
        self._asks = asks
        self._aside = aside
        self._added: dict[str, socket.socket] = {}
        self.open: dict[str, socket.socket] = {}
        self.activated = False
        self._inherited: dict[str, socket.socket] = {}
        self._unclaimed: list[socket.socket] = []
        self._renamed: dict[str, str] = {}
        self._control = ""
        self._files: dict[str, tuple[int, int]] = {}  # address of a unix socket → device and inode of its file

    def inherit(self, environ: MutableMapping[str, str]) -> None:
        """Take over what the environment announces, and remove it from there, as it is meant for this process only."""
        handed_over = environ.pop(HANDED_OVER, "")
        if handed_over:
            before = json.loads(handed_over)
            self.activated = before["activated"]
            self._inherited = {address: sockets.adopt(fd) for address, fd in before["open"].items()}
        count, pid = environ.pop("LISTEN_FDS", "0"), environ.pop("LISTEN_PID", "")
        environ.pop("LISTEN_FDNAMES", None)
        if pid == str(os.getpid()) and count.isdigit():
            self._unclaimed = [sockets.adopt(fd) for fd in range(_FIRST_ACTIVATED, _FIRST_ACTIVATED + int(count))]
            self.activated = self.activated or bool(self._unclaimed)

    def prepare(self, new: Proposal) -> None:
        """Bind what is new. At the start that includes the control socket."""
        self._added = self.bind(addresses(new.snapshot), new.snapshot.tcp_keepalive)
        if new.old is None:
            self.bind_control(control_address(new.snapshot), aside=self._aside)
            for name in self.unclaimed():
                new.notes.append(f"no listener of the configuration is {name}, which was handed over to us: closed")

    def rollback(self) -> None:
        self.close(self._added)
        self._added = {}

    def commit(self, new: Proposal) -> None:
        self._added = {}
        self.keep_alive(new.snapshot.tcp_keepalive)

    def settle(self, new: Proposal) -> None:
        """Close the master's copies of removed listeners before the workers close theirs: the last one to close a socket has to accept the
        connections that wait there."""
        if new.old is not None:
            gone = set(addresses(new.old)).difference(addresses(new.snapshot))
            self.close(gone, unlink=not self.activated)

    def detail(self) -> list[str]:
        return list(self.open)

    def adopt(self, descriptors: Mapping[str, int], activated: bool) -> None:
        """Take over listening sockets of workers whose master has gone, by address. They are as good as inherited ones."""
        self.activated = self.activated or activated
        self._aside = self._aside or bool(descriptors)
        self._inherited.update({address: sockets.adopt(descriptor) for address, descriptor in descriptors.items()})

    def lacking(self, addresses: Iterable[str]) -> list[str]:
        """The addresses that another process listens on and has not handed over."""
        return [address for address in addresses if address not in self._inherited and self._is_taken(address)]

    def _is_taken(self, address: str) -> bool:
        if any(sockets.is_at(one, address) for one in self._unclaimed):
            return False
        try:
            one = sockets.bind(address)
        except OSError as error:
            return error.errno == errno.EADDRINUSE
        one.close()
        sockets.unlink(address)
        return False

    def bind(self, addresses: Iterable[str], keepalive: float = 0.0) -> dict[str, socket.socket]:
        """Open what is not open yet; returns the new ones. All or nothing: StartError names the first that cannot be had.

        keepalive: `Snapshot.tcp_keepalive`, for the new ones
        """
        added: dict[str, socket.socket] = {}
        try:
            for address in addresses:
                if address not in self.open and address not in added:
                    added[address] = self._claim(address) or sockets.bind(address)
        except OSError as error:
            for bound, one in added.items():
                one.close()
                sockets.unlink(bound)
            reason = _reason(error)
            if error.errno == errno.EADDRINUSE and (mine := self._overlapping(address, added)):
                reason = f"{reason}: {self._advice(address, mine, added)}"
            elif advice := _remedy(error, address):
                reason = f"{reason}: {advice}"
            if asked := self._asks(address):
                reason = f"{reason} (asked for by {asked})"
            raise StartError(f"cannot listen on {address}: {reason}") from error
        tcp_keepalive.apply(keepalive, added.values())
        self.open.update(added)
        for address in added:
            self._note(address)
        return added

    def keep_alive(self, seconds: float) -> None:
        """Use another `Snapshot.tcp_keepalive` for all connections that are accepted from now on, whichever process accepts them."""
        tcp_keepalive.apply(seconds, self.open.values())

    def bind_control(self, address: str, *, aside: bool) -> None:
        """Open the control socket: only its owner (and root) may connect, in a directory of its own when we have to make one.

        aside: another master still serves under this path (USR2); bind beside it until `promote`
        """
        path = address.removeprefix("unix:")
        self._control = address
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        bound = f"{path}.{os.getpid()}" if aside else path
        if not aside:
            sockets.forget_dead(path)
        try:
            self.open[address] = sockets.bind(f"unix:{bound}", mode=0o600)
        except OSError as error:
            raise StartError(f"cannot listen on {address}: {_reason(error)}") from error
        if aside:
            self._renamed[bound] = path
        self._note(address, bound)

    def promote(self) -> None:
        """The old master has gone: what was bound beside its sockets takes their names. A file that was removed meanwhile is `lost`."""
        for bound, path in self._renamed.items():
            with suppress(FileNotFoundError):
                os.replace(bound, path)
        self._renamed.clear()

    def give_name(self, successor: int) -> None:
        """Let a successor have the name of the control socket, which it has bound beside ours."""
        path = self._control.removeprefix("unix:")
        with suppress(FileNotFoundError):
            os.replace(f"{path}.{successor}", path)
            self._files.pop(self._control, None)

    def forget_successor(self, successor: int) -> None:
        """Remove the control socket of a successor that has ended."""
        sockets.unlink(f"{self._control}.{successor}")

    def lost(self) -> list[str]:
        """The addresses of unix sockets that no client can reach: their files were removed, or replaced by others. Not those of the
        service manager."""
        return [
            address
            for address, known in self._files.items()
            if address in self.open and (address == self._control or not self.activated) and sockets.inode(address) != known
        ]

    def restore(self, address: str) -> None:
        """Make a lost socket again. Raises OSError, also where another process listens on the path by now."""
        made = sockets.bind(address, 0o600 if address == self._control else None)
        self.open[address].close()
        self.open[address] = made
        self._note(address)

    def _note(self, address: str, path: str = "") -> None:
        if address.startswith("unix:"):
            self._files[address] = sockets.inode(f"unix:{path}" if path else address)

    def close(self, addresses: Iterable[str], *, unlink: bool = True) -> None:
        """Close sockets here; children that inherited them close their own."""
        for address in list(addresses):
            one = self.open.pop(address, None)
            if one is not None:
                one.close()
                known = self._files.pop(address, None)
                if unlink and known is not None and sockets.inode(address) == known:
                    sockets.unlink(address)

    def close_all(self, *, unlink: bool) -> None:
        """Close every socket. ``unlink``: remove unix sockets from the file system too, unless they belong to another process."""
        for bound in self._renamed:
            sockets.unlink(f"unix:{bound}")
        for address in list(self.open):
            self.close([address], unlink=unlink and (address == self._control or not self.activated))

    def unclaimed(self) -> list[str]:
        """Addresses of sockets from the service manager that no listener asked for; they are closed with this call."""
        names = [sockets.name(one) for one in (*self._unclaimed, *self._inherited.values())]
        for one in (*self._unclaimed, *self._inherited.values()):
            one.close()
        self._unclaimed = []
        self._inherited = {}
        return names

    def hand_over(self, without: str) -> str:
        """The value of `HANDED_OVER` for a successor, with the descriptors made inheritable. Called in the process that will
        exec."""
        descriptors = {}
        for address, one in self.open.items():
            if address != without:
                one.set_inheritable(True)
                descriptors[address] = one.fileno()
        return json.dumps({"activated": self.activated, "open": descriptors})

    def _overlapping(self, address: str, added: Iterable[str]) -> str:
        """An address of ours that takes the port of another one, or ""."""
        family, where = sockets.parse(address)
        if isinstance(where, str):
            return ""
        for one in (*added, *self.open, *self._inherited):
            other, place = sockets.parse(one)
            if one == address or isinstance(place, str) or place[1] != where[1]:
                continue
            dual = [wide for wide in (address, one) if wide.startswith(":")]
            if dual or (other == family and {place[0], where[0]} & {"0.0.0.0", "::"}):
                return one
        return ""

    def _advice(self, address: str, mine: str, added: Iterable[str]) -> str:
        if mine in added:
            return f"it overlaps {mine}, which is configured too; one of them is enough"
        return (
            f"it overlaps {mine}, which this Terraster holds until the new configuration runs; take {mine} away by one reload and "
            f"add {address} by the next, or restart Terraster"
        )

    def _claim(self, address: str) -> socket.socket | None:
        inherited = self._inherited.pop(address, None)
        for one in self._unclaimed:
            if sockets.is_at(one, address):
                self._unclaimed.remove(one)
                if inherited is not None:
                    inherited.close()  # the same socket once more, from a worker
                return one
        return inherited


def _remedy(error: OSError, address: str) -> str:
    """Advice for an operator whose address cannot be had, "" if there is none."""
    _family, where = sockets.parse(address)
    if isinstance(where, str):
        return "another process serves there" if error.errno == errno.EADDRINUSE else ""
    port = where[1]
    match error.errno:
        case errno.EADDRINUSE:
            return f"{holder(port) or 'another process'} listens there; end it, or configure another port"
        case errno.EACCES:
            return f"port {port} is for root; start as root or with CAP_NET_BIND_SERVICE, or configure a port from 1024 on"
        case errno.EADDRNOTAVAIL:
            return "no interface of this host has this address; `ip address` shows those it has"
    return ""


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
