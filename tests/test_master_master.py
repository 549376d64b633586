"""Scenarios with a real master: start, supervision, signals, the end."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .harness.family import Family
from .harness.ports import free_port
from .harness.program import is_gone


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionRefusedError:
        return True
    return False


def runtime_files(family: Family) -> list[str]:
    """The files in the runtime directory; the state directory is in there."""
    return [name for name in os.listdir(family.runtime) if name != "state"]


def test_both_roles_serve_and_term_ends_everything() -> None:
    with Family(workers=2) as family:
        assert family.get()["generation"] == 1
        assert len(family.children("proxy")) == 2 and len(family.children("admin")) == 1
        assert sorted(worker["seat"] for worker in family.ask("status")["workers"]) == [1, 2, 3]
        everybody = family.family()
        assert os.path.exists(f"{family.runtime}/terraster.pid")
        family.process.terminate()
        assert family.process.wait(5) == 0
        assert all(is_gone(pid) for pid in everybody)
        assert runtime_files(family) == []
        assert family.log().count("flushed") == 3


def test_term_drains_open_requests() -> None:
    with Family(workers=1) as family:
        answers: list[object] = []
        slow = threading.Thread(target=lambda: answers.append(family.get("/slow/1.0")))
        slow.start()
        family.wait_until(lambda: family.children()[0]["accepted"] == 1)
        family.process.terminate()
        family.wait_until(lambda: refuses(family.port), 0.8)
        assert not answers
        slow.join()
        assert answers and family.process.wait(5) == 0


def test_the_drain_has_a_deadline() -> None:
    with Family(workers=1, drain=0.3) as family:
        threading.Thread(target=lambda: pytest.raises(OSError, family.get, "/slow/20"), daemon=True).start()
        family.wait_until(lambda: family.children()[0]["accepted"] == 1)
        started = time.monotonic()
        family.process.terminate()
        assert family.process.wait(5) == 0
        assert 0.3 <= time.monotonic() - started < 2.0
        assert "leaves although requests are still open" in family.log()


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGINT])
def test_quit_and_int_end_at_once(number: signal.Signals) -> None:
    with Family(workers=1, drain=20) as family:
        threading.Thread(target=lambda: pytest.raises(OSError, family.get, "/slow/20"), daemon=True).start()
        family.wait_until(lambda: family.children()[0]["accepted"] == 1)
        started = time.monotonic()
        family.process.send_signal(number)
        assert family.process.wait(5) == 0
        assert time.monotonic() - started < 2.0
        assert "flushed" in family.log()


def test_quit_ends_a_drain() -> None:
    with Family(workers=1, drain=20) as family:
        threading.Thread(target=lambda: pytest.raises(OSError, family.get, "/slow/20"), daemon=True).start()
        family.wait_until(lambda: family.children()[0]["accepted"] == 1)
        family.process.terminate()
        family.until("SIGTERM: stopping")
        family.process.send_signal(signal.SIGQUIT)
        assert family.process.wait(3) == 0


def test_a_killed_worker_is_replaced_within_a_second_and_its_counts_stay() -> None:
    with Family(workers=2) as family:
        for _ in range(20):
            family.get("/count")
        victim = family.children()[0]["pid"]
        os.kill(victim, signal.SIGKILL)
        started = time.monotonic()
        family.wait_until(lambda: len(family.pids() - {victim}) == 2, 1.0)
        assert time.monotonic() - started < 1.0
        living = sorted(worker["seat"] for worker in family.ask("status")["workers"])
        assert family.get("/totals") == {"bytes": 140, "requests": 20, "seats": living}
        assert family.ask("status")["restarts"] == 1
        assert f"proxy worker {victim} in seat" in family.log() and "killed by SIGKILL" in family.log()


def test_a_worker_killed_again_and_again_is_replaced_at_once_each_time() -> None:
    with Family(workers=2) as family:
        for _ in range(3):
            oldest = max(family.children(), key=lambda worker: worker["age"])
            family.wait_until(lambda pid=oldest["pid"]: next(w for w in family.children() if w["pid"] == pid)["age"] > 0.7)
            os.kill(oldest["pid"], signal.SIGKILL)
            family.wait_until(lambda pid=oldest["pid"]: len(family.pids() - {pid}) == 2, 1.0)
        seats = [worker["seat"] for worker in family.children()]
        assert len(set(seats)) == 2 and max(seats) <= 4


def test_the_admin_worker_is_replaced_too() -> None:
    with Family(workers=1) as family:
        (before,) = family.pids("admin")
        os.kill(before, signal.SIGKILL)
        family.wait_until(lambda: family.pids("admin") - {before})
        assert family.get()


def test_a_hung_worker_is_killed_and_replaced() -> None:
    with Family(workers=1, hung=2.0) as family:
        (before,) = family.pids()
        threading.Thread(target=lambda: pytest.raises(OSError, family.get, "/spin", timeout=30), daemon=True).start()
        family.until("hangs: no heartbeat", 10)
        family.until("it was at:")
        family.wait_until(lambda: family.pids() - {before})
        assert family.get()["pid"] != before


def test_the_children_leave_when_the_master_is_killed() -> None:
    with Family(workers=2) as family:
        threading.Thread(target=lambda: pytest.raises(OSError, family.get, "/slow/20"), daemon=True).start()
        family.wait_until(lambda: sum(worker["accepted"] for worker in family.children()) == 1)
        everybody = family.family()
        assert len(everybody) == 3
        family.process.kill()
        family.wait_until(lambda: all(is_gone(pid) for pid in everybody), 3.0)


def test_ttin_and_ttou_change_the_number_of_workers() -> None:
    with Family(workers=1) as family:
        first = family.pids()
        family.process.send_signal(signal.SIGTTIN)
        family.wait_until(lambda: len(family.pids()) == 2 and family.pids() > first)
        family.process.send_signal(signal.SIGTTOU)
        family.wait_until(lambda: len(family.family()) == 2)
        family.process.send_signal(signal.SIGTTOU)
        family.process.send_signal(signal.SIGUSR1)
        family.until("admin worker reopened")
        assert len(family.pids()) == 1


def test_usr1_reopens_the_logs_everywhere() -> None:
    with Family(workers=2) as family:
        family.process.send_signal(signal.SIGUSR1)
        family.wait_until(lambda: family.log().count("worker reopened") == 3)


def test_children_hold_no_descriptors_of_the_master_or_of_each_other() -> None:
    with Family(workers=3) as family:
        first = {family.get()["pid"]: family.get()["descriptors"] for _ in range(20)}
        os.kill(min(first), signal.SIGKILL)
        family.wait_until(lambda: len(family.pids() - {min(first)}) == 3)
        later = [family.get()["descriptors"] for _ in range(20)]
        assert max(later) <= max(first.values()) <= min(first.values()) + 1


# Starts that fail.


def refused(family: Family) -> tuple[int, str]:
    family.start()
    try:
        return family.process.wait(15), family.log()
    finally:
        family.__exit__()


def test_a_port_in_use_stops_the_start_and_nothing_is_left_behind(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        code, log = refused(Family(listen=[address], runtime_dir=str(tmp_path / "deep" / "run")))
    assert code == 1 and os.listdir(tmp_path) == []
    assert f"cannot start: cannot listen on {address}: Address already in use" in log


def test_a_start_that_fails_leaves_directories_that_were_there(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        (tmp_path / "run").mkdir(0o700)
        code, _log = refused(Family(listen=[f"127.0.0.1:{other.getsockname()[1]}"], runtime_dir=str(tmp_path / "run")))
    assert code == 1 and os.listdir(tmp_path) == ["run"]


def test_an_unusable_configuration_has_exit_code_2() -> None:
    code, log = refused(Family(problem="unknown key `prot`; did you mean `port`?"))
    assert code == 2
    assert "family.json:3:7: unknown key `prot`" in log


def test_tls_is_refused_rather_than_served_in_clear() -> None:
    code, log = refused(Family(listen=["127.0.0.1:0"], tls=["127.0.0.1:0"]))
    assert code == 1
    assert "service one: `tls` names no certificate" in log


def test_a_worker_that_cannot_start_stops_the_start(tmp_path: Path) -> None:
    code, log = refused(Family(broken=True, runtime_dir=str(tmp_path / "run")))
    assert code == 1 and os.listdir(tmp_path) == []
    assert "ZeroDivisionError" in log and "the proxy worker cannot start" in log


def test_a_second_master_is_refused_and_the_first_goes_on() -> None:
    with Family(workers=1) as first:
        code, log = refused(Family(runtime_dir=first.runtime))
        assert code == 1 and "Already running" in log
        assert first.ask("status")["pid"] == first.pid


def test_the_pid_of_another_program_in_the_pid_file_is_no_obstacle() -> None:
    family = Family(workers=1)
    os.mkdir(family.runtime, 0o700)
    with open(f"{family.runtime}/terraster.pid", "w") as file:
        file.write(f"{os.getpid()}\n")
    with family, open(f"{family.runtime}/terraster.pid") as file:
        assert int(file.read()) == family.pid
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_lock_goes_with_the_master_and_not_with_its_children() -> None:
    with Family(workers=1, drain=20) as family:
        threading.Thread(target=lambda: pytest.raises(OSError, family.get, "/slow/20"), daemon=True).start()
        family.wait_until(lambda: family.children()[0]["accepted"] == 1)
        everybody = family.family()
        family.process.kill()
        family.process.wait()
        assert any(not is_gone(pid) for pid in everybody)
        with open(f"{family.runtime}/terraster.pid") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        family.wait_until(lambda: all(is_gone(pid) for pid in everybody), 3.0)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: os.symlink(tempfile.gettempdir(), path), "is not a directory"),
        (lambda path: open(path, "w").close(), "is not a directory"),
        (lambda path: (os.mkdir(path), os.chmod(path, 0o770)), r"may be written to by others (mode 770)"),
        (lambda path: (os.mkdir(path), os.chmod(path, 0o777)), r"may be written to by others (mode 777)"),
    ],
    ids=["symlink", "file", "group", "others"],
)
def test_a_runtime_directory_that_somebody_else_could_use_is_refused(make: Callable[[str], object], why: str) -> None:
    family = Family(workers=1)
    make(family.runtime)
    code, log = refused(family)
    assert code == 1 and f"cannot start: the runtime directory {family.runtime} {why}" in log


def test_unix_listeners_are_for_everybody_and_the_control_socket_is_not() -> None:
    family = Family(workers=1)
    path = f"{family.directory.name}/web.sock"
    family.write(listen=[f"127.0.0.1:{family.port}", f"unix:{path}"])
    with family:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o666
        assert stat.S_IMODE(os.stat(f"{family.runtime}/control.sock").st_mode) == 0o600


def test_a_stale_pid_file_and_stale_sockets_are_no_obstacle() -> None:
    with Family(workers=1) as family:
        path = f"{family.directory.name}/web.sock"
        family.write(listen=[f"127.0.0.1:{family.port}", f"unix:{path}"])
        assert family.ask("reload")["ok"]
        family.wait_until(lambda: os.path.exists(f"{family.runtime}/state/generations/2.json"))  # it is written soon after
        everybody = family.family()
        family.process.kill()
        family.process.wait()
        family.wait_until(lambda: all(is_gone(pid) for pid in everybody), 10.0)
        assert os.path.exists(path)
        family.start()
        family.wait_until(lambda: family.log().count("ready: ") == 2)
        assert family.get()["generation"] == 3, "numbers go on"


# Upgrade in place.


def test_usr2_hands_over_to_a_new_master_without_a_refused_connection() -> None:
    path = ""
    with Family(workers=1) as family:
        path = f"{family.directory.name}/web.sock"
        family.write(listen=[f"127.0.0.1:{family.port}", f"unix:{path}"])
        assert family.ask("reload")["ok"]
        with family.traffic() as failed:
            family.process.send_signal(signal.SIGUSR2)
            family.wait_until(lambda: family.log().count("ready: ") == 2)
            with open(f"{family.runtime}/terraster.pid.2") as file:
                successor = int(file.read())
            try:
                assert family.ask("status")["pid"] == family.pid
                family.process.terminate()
                assert family.process.wait(10) == 0
                family.until("the old master has gone")
                family.wait_until(lambda: family.ask("status")["pid"] == successor)
                with open(f"{family.runtime}/terraster.pid") as file:
                    assert int(file.read()) == successor
                    with pytest.raises(BlockingIOError):
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                assert sorted(runtime_files(family)) == ["control.sock", "terraster.pid"]
                with socket.socket(socket.AF_UNIX) as one:
                    one.connect(path)
                lost = list(failed)
            finally:
                os.kill(successor, signal.SIGTERM)
                family.wait_until(lambda: is_gone(successor))
        assert lost == []
        assert not os.path.exists(path)


def test_a_successor_that_cannot_start_leaves_the_old_master_alone() -> None:
    with Family(workers=1) as family:
        family.write(problem="nonsense")
        family.process.send_signal(signal.SIGUSR2)
        family.until(r"the new master \(pid \d+\) ended; this one goes on")
        assert family.get() and family.ask("status")["pid"] == family.pid
        assert sorted(runtime_files(family)) == ["control.sock", "terraster.pid"]
        family.write()
        family.process.terminate()
        assert family.process.wait(5) == 0 and runtime_files(family) == []


# The service manager.


class Manager:
    """The receiving end of sd_notify."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.settimeout(10)

    def next(self, wanted: str) -> str:
        """The next message that contains ``wanted``."""
        while True:
            message = self.socket.recv(4096).decode()
            if wanted in message:
                return message


def test_the_service_manager_is_told() -> None:
    family = Family(workers=1)
    path = f"{family.directory.name}/notify"
    manager = Manager(path)
    family.environ = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000"}
    with family:
        assert "STATUS=generation 1, 1 worker, 1 service" in manager.next("READY=1")
        manager.next("WATCHDOG=1")
        manager.next("WATCHDOG=1")
        family.write(drain=4)
        assert family.ask("reload")["ok"]
        assert "MONOTONIC_USEC=" in manager.next("RELOADING=1")
        assert "STATUS=generation 2" in manager.next("READY=1")
        os.kill(family.pid, signal.SIGSTOP)
        manager.socket.settimeout(0.7)
        with pytest.raises(TimeoutError):
            while True:
                manager.next("WATCHDOG=1")
        os.kill(family.pid, signal.SIGCONT)
        manager.socket.settimeout(10)
        manager.next("WATCHDOG=1")
        family.process.terminate()
        manager.next("STOPPING=1")
        assert family.process.wait(5) == 0
    manager.socket.close()


def test_socket_activation() -> None:
    with socket.socket() as ours, socket.socket() as strange:
        for one in (ours, strange):
            one.bind(("127.0.0.1", 0))
            one.listen()
        family = Family(listen=[f"127.0.0.1:{ours.getsockname()[1]}"], workers=1)
        family.port = ours.getsockname()[1]
        number = f"{family.directory.name}/number"
        family.environ = {"LISTEN_FDS": "2"}
        keep = (os.dup(ours.fileno()), os.dup(strange.fileno()))
        launcher = f"import os, sys; os.environ['LISTEN_PID'] = str(os.getpid()); open({number!r}, 'w').close(); "
        launcher += f"os.dup2({keep[0]}, 300), os.dup2({keep[1]}, 301); os.dup2(300, 3), os.dup2(301, 4); "
        launcher += "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
        family.command = ["-c", launcher]
        family.keep = keep
        with family:
            assert family.get()["generation"] == 1
            assert f"127.0.0.1:{strange.getsockname()[1]}, which was handed over to us: closed" in family.log()


def test_a_relative_port_for_everything_answers_on_both_families() -> None:
    port = free_port()
    family = Family(listen=[f":{port}"], workers=1)
    family.port = port
    with family:
        assert family.get()
        with socket.create_connection(("::1", port), 5):
            pass


def test_workers_of_a_killed_master_stay_if_the_next_one_cannot_start() -> None:
    """It has taken over their listening sockets by then, but its own workers do not come up."""
    with Family(workers=1, orphan=60.0) as family:
        orphans = family.family()
        family.process.kill()
        family.process.wait()
        family.write(broken=True)
        family.start()
        try:
            assert family.process.wait(20) == 1 and "the proxy worker cannot start" in family.log()
            assert family.get()["pid"] in orphans and not any(is_gone(pid) for pid in orphans)
        finally:
            for pid in orphans:
                os.kill(pid, signal.SIGKILL)
