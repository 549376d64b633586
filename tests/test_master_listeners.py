"""Listening sockets: every spelling of an address, stale and taken paths, what is inherited."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from terraster.config.snapshot import Snapshot
from terraster.errors import StartError
from terraster.master.listeners import HANDED_OVER, Listeners, control_address
from terraster.master.sockets import parse

from .harness.ports import free_port


def reachable(family: int, address: object) -> bool:
    with socket.socket(family) as one:
        one.settimeout(2)
        try:
            one.connect(address)  # type: ignore[arg-type]
        except OSError:
            return False
        return True


@pytest.mark.parametrize(
    ("address", "bound"),
    [
        ("127.0.0.1:80", (socket.AF_INET, ("127.0.0.1", 80))),
        ("[::1]:8080", (socket.AF_INET6, ("::1", 8080))),
        (":8080", (socket.AF_INET6, ("::", 8080))),
        ("unix:/run/x.sock", (socket.AF_UNIX, "/run/x.sock")),
        ("localhost:81", (socket.AF_INET, ("localhost", 81))),
    ],
)
def test_addresses(address: str, bound: object) -> None:
    assert parse(address) == bound


def test_v4_v6_dual_stack_and_unix(tmp_path: Path) -> None:
    listeners = Listeners()
    one, two, three = free_port(), free_port(), free_port()
    added = listeners.bind([f"127.0.0.1:{one}", f"[::1]:{two}", f":{three}", f"unix:{tmp_path}/s"])
    assert set(added) == set(listeners.open) and len(added) == 4
    assert reachable(socket.AF_INET, ("127.0.0.1", one)) and not reachable(socket.AF_INET6, ("::1", one))
    assert reachable(socket.AF_INET6, ("::1", two)) and not reachable(socket.AF_INET, ("127.0.0.1", two))
    assert reachable(socket.AF_INET, ("127.0.0.1", three)) and reachable(socket.AF_INET6, ("::1", three))
    assert reachable(socket.AF_UNIX, f"{tmp_path}/s")
    assert all(not one.getblocking() and not one.get_inheritable() for one in added.values())
    assert listeners.bind(list(added)) == {}
    listeners.close_all(unlink=True)
    assert not listeners.open and not os.listdir(tmp_path)


def test_binding_is_all_or_nothing(tmp_path: Path) -> None:
    taken, free, listeners = socket.socket(), free_port(), Listeners()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    address = f"127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(StartError, match=f"cannot listen on {address}: Address already in use"):
        listeners.bind([f"127.0.0.1:{free}", f"unix:{tmp_path}/s", address])
    assert not listeners.open and not os.listdir(tmp_path)
    assert not reachable(socket.AF_INET, ("127.0.0.1", free))
    taken.close()


def test_a_stale_socket_file_is_removed_a_used_one_is_not(tmp_path: Path) -> None:
    path = f"{tmp_path}/s"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    first, second = Listeners(), Listeners()
    first.bind([f"unix:{path}"])
    with pytest.raises(StartError, match="Address already in use"):
        second.bind([f"unix:{path}"])
    assert reachable(socket.AF_UNIX, path)
    first.close_all(unlink=True)


def test_a_file_that_is_no_socket_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("keep me")
    with pytest.raises(StartError, match="exists and is not a socket"):
        Listeners().bind([f"unix:{tmp_path}/notes"])
    assert (tmp_path / "notes").read_text() == "keep me"


def test_the_control_socket_is_for_its_owner_only(tmp_path: Path) -> None:
    snapshot = Snapshot(generation=1, listeners=(), services=(), runtime_dir=f"{tmp_path}/run")
    listeners = Listeners()
    listeners.bind_control(control_address(snapshot), aside=False)
    assert os.stat(tmp_path / "run").st_mode & 0o777 == 0o700
    assert os.stat(tmp_path / "run" / "control.sock").st_mode & 0o777 == 0o600
    listeners.close_all(unlink=True)


def test_an_existing_directory_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    listeners = Listeners()
    listeners.bind_control(f"unix:{tmp_path}/control.sock", aside=False)
    assert os.stat(tmp_path).st_mode & 0o777 == 0o755
    listeners.close_all(unlink=True)


def test_a_second_master_takes_the_control_path_only_when_promoted(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/control.sock"
    old, new = Listeners(), Listeners()
    old.bind_control(address, aside=False)
    new.bind_control(address, aside=True)
    assert len(os.listdir(tmp_path)) == 2
    old.close_all(unlink=False)
    assert not reachable(socket.AF_UNIX, f"{tmp_path}/control.sock")
    new.promote()
    assert os.listdir(tmp_path) == ["control.sock"] and reachable(socket.AF_UNIX, f"{tmp_path}/control.sock")
    new.close_all(unlink=True)


def test_sockets_are_handed_over_by_address(tmp_path: Path) -> None:
    port = free_port()
    old = Listeners()
    old.bind([f"127.0.0.1:{port}", f"unix:{tmp_path}/s"])
    old.bind_control(f"unix:{tmp_path}/control.sock", aside=False)
    before = {address: one.fileno() for address, one in old.open.items()}
    environ = {HANDED_OVER: old.hand_over(without=f"unix:{tmp_path}/control.sock")}
    new = Listeners()
    new.inherit(environ)
    assert environ == {}
    added = new.bind([f"127.0.0.1:{port}"])
    assert added[f"127.0.0.1:{port}"].fileno() == before[f"127.0.0.1:{port}"]
    assert new.unclaimed() == [f"unix:{tmp_path}/s"]
    old.open[f"127.0.0.1:{port}"].detach()
    old.open[f"unix:{tmp_path}/s"].detach()
    old.close_all(unlink=True)
    new.close_all(unlink=True)


def sends_at_once(listening: socket.socket) -> bool:
    """Whether Nagle's algorithm is off on a connection that is accepted there."""
    listening.setblocking(True)
    with socket.create_connection(listening.getsockname()[:2]), listening.accept()[0] as accepted:
        return accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_connections_send_at_once_wherever_the_socket_came_from(monkeypatch) -> None:
    one, two, three, four = (free_port() for _ in range(4))
    listeners = Listeners()
    with socket.create_server(("127.0.0.1", two)) as before, socket.create_server(("127.0.0.1", three)) as activated:
        assert not sends_at_once(before) and not sends_at_once(activated), "a plain socket does not"
        handed_over = {"activated": False, "open": {f"127.0.0.1:{two}": before.detach()}}
        monkeypatch.setattr("terraster.master.listeners._FIRST_ACTIVATED", activated.detach())
        environ = {HANDED_OVER: json.dumps(handed_over), "LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
        listeners.inherit(environ)
    opened = listeners.bind([f"127.0.0.1:{one}", f"127.0.0.1:{two}", f"127.0.0.1:{three}", f"[::1]:{four}"])
    assert [sends_at_once(listening) for listening in opened.values()] == [True] * 4
    assert listeners.activated and not listeners.unclaimed()
    listeners.close_all(unlink=True)


def probed_after(listening: socket.socket) -> int:
    """Seconds of silence after which the kernel probes a connection that is accepted there; 0: never."""
    listening.setblocking(True)
    with socket.create_connection(listening.getsockname()[:2]), listening.accept()[0] as accepted:
        probed = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        return accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) if probed else 0


def test_connections_are_probed_wherever_the_socket_came_from(monkeypatch, tmp_path: Path) -> None:
    one, two, three = (free_port() for _ in range(3))
    listeners = Listeners()
    with socket.create_server(("127.0.0.1", two)) as before, socket.create_server(("127.0.0.1", three)) as activated:
        handed_over = {"activated": False, "open": {f"127.0.0.1:{two}": before.detach()}}
        monkeypatch.setattr("terraster.master.listeners._FIRST_ACTIVATED", activated.detach())
        environ = {HANDED_OVER: json.dumps(handed_over), "LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
        listeners.inherit(environ)
    opened = listeners.bind([*(f"127.0.0.1:{port}" for port in (one, two, three)), f"unix:{tmp_path}/s"], 45.0)
    ports = [listening for listening in opened.values() if listening.family != socket.AF_UNIX]
    assert [probed_after(listening) for listening in ports] == [45] * 3
    listeners.keep_alive(0.0)
    assert [probed_after(listening) for listening in ports] == [0] * 3
    listeners.keep_alive(90.0)
    assert [probed_after(listening) for listening in ports] == [90] * 3
    listeners.close_all(unlink=True)


def test_descriptors_meant_for_another_process_are_not_touched() -> None:
    listeners = Listeners()
    listeners.inherit({"LISTEN_FDS": "2", "LISTEN_PID": str(os.getpid() + 1)})
    assert listeners.unclaimed() == [] and not listeners.activated
