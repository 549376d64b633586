"""Requests that are lost when a proxy is upgraded in place or restarted under socket activation: `python bench/drains.py` (see README.md).

Four loads run at once, all the time: wrk on kept connections, 200 kept connections with a think time, a connection per request that waits
5 ms before it asks, and WebSockets. The clients count. Meanwhile the proxy is upgraded or restarted again and again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from drain_loads import Loads
from peers import NGINX_HEAD, ROOT, start
from place import free_port, program

DRAIN = 3  # seconds for tunnels
_STEP = 30.0  # seconds for one step of an upgrade
_IDLE = 20  # connections that are silent when the drain begins


def wait_for(truth: Callable[[], Any], what: str, seconds: float = _STEP) -> Any:
    """The value of ``truth()`` as soon as it holds."""
    end = time.monotonic() + seconds
    while not (value := truth()):
        if time.monotonic() > end:
            raise SystemExit(f"drains: no {what} within {seconds:g} s")
        time.sleep(0.01)
    return value


def gone(pid: int) -> bool:
    """True if a process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def number_in(path: Path) -> int:
    """The pid in a file, 0 if there is none."""
    try:
        return int(path.read_text() or "0")
    except (FileNotFoundError, ValueError):
        return 0


class Proxy:
    """A proxy on a listening socket that this program holds, as a service manager does.

    pid: of its master. goodbye: the signal that drains it. launcher: a command in front
    """

    goodbye = signal.SIGTERM
    launcher: tuple[str, ...] = ()

    def __init__(self, folder: Path, backend: int) -> None:
        self.folder = folder
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.address = self.listener.getsockname()
        self.command = self.configure(backend)
        self.pid = 0
        self.launch()

    @property
    def name(self) -> str:
        return type(self).__name__

    @property
    def said(self) -> str:
        return (self.folder / f"{self.name}.out").read_text()

    def configure(self, backend: int) -> list[str]:
        """Write the configuration, and return the command."""
        raise NotImplementedError

    def ready(self) -> bool:
        """True if the master with this pid serves."""
        raise NotImplementedError

    def launch(self) -> None:
        """Start it on the held socket, which becomes descriptor 3."""
        held = self.listener.fileno()
        environ = "LISTEN_FDS='1', LISTEN_PID=str(os.getpid()), NGINX='3;'"
        script = f"import os, sys; os.dup2({held}, 3); os.environ.update(dict({environ})); os.execvp(sys.argv[1], sys.argv[1:])"
        output = self.folder / f"{self.name}.out"
        self._began = len(self.said) if output.exists() else 0
        with output.open("ab") as sink:
            process = subprocess.Popen(
                [sys.executable, "-c", script, *self.launcher, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                pass_fds=[held],
            )
        self._process = process
        self.pid = process.pid
        wait_for(self.ready, f"start of {self.name}")

    def leave(self, pid: int, number: int) -> None:
        """Drain a master and wait for its end."""
        os.kill(pid, number)
        self._drained = time.monotonic()
        wait_for(lambda: self._process.poll() is not None if self._process.pid == pid else gone(pid), f"end of {self.name}", 60)

    def upgrade(self) -> float:
        """Upgrade in place. Returns when the drain began."""
        raise NotImplementedError

    def restart(self) -> float:
        """Stop it, then start it on the same socket. Returns when the drain began."""
        self.leave(self.pid, self.goodbye)
        began = self._drained
        self.launch()
        return began

    def close(self) -> None:
        self.leave(self.pid, self.goodbye)
        self.listener.close()


class Terraster(Proxy):
    def configure(self, backend: int) -> list[str]:
        self.run = self.folder / "run"
        path = self.folder / "terraster.yaml"
        path.write_text(
            f"""
listen: "127.0.0.1:{self.address[1]}"
admin_port: {free_port()}
metrics: {{listen: "127.0.0.1:{free_port()}"}}
workers: 1
access_log: off
drain_timeout: {DRAIN}s
runtime_dir: {self.run}
state_dir: {self.folder}/state
health_check: {{type: none}}
backends: ["http://127.0.0.1:{backend}"]
"""
        )
        return [sys.executable, "-m", "terraster.cli.main", "--config", str(path)]

    def ready(self) -> bool:
        return "ready: generation" in self.said[self._began :]

    def upgrade(self) -> float:
        old, self._began = self.pid, len(self.said)
        os.kill(old, signal.SIGUSR2)
        wait_for(self.ready, "new master")
        self.pid = wait_for(lambda: number_in(self.run / "terraster.pid.2"), "pid of the new master")
        self.leave(old, signal.SIGTERM)
        wait_for(lambda: number_in(self.run / "terraster.pid") == self.pid, "promotion")
        return self._drained


class Nginx(Proxy):
    goodbye = signal.SIGQUIT
    launcher = ("sh", "-c", '"$@" & sleep 1', "sh")  # nginx ignores USR2 while the parent that started it lives

    def configure(self, backend: int) -> list[str]:
        self.pid_file = self.folder / "proxy.pid"
        path = self.folder / "nginx.conf"
        head = NGINX_HEAD.format(folder=self.folder, name="proxy")
        path.write_text(
            ("user root;\n" if os.geteuid() == 0 else "")
            + f"worker_shutdown_timeout {DRAIN}s;"
            + head
            + f"""
    access_log off;
    upstream backend {{ server 127.0.0.1:{backend}; keepalive 128; }}
    map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
    server {{
        listen 127.0.0.1:{self.address[1]} backlog=4096;
        location / {{
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_max_temp_file_size 0;
        }}
    }}
}}
"""
        )
        return [program("nginx"), "-e", f"{self.folder}/proxy.error.log", "-c", str(path)]

    def _workers(self, pid: int) -> bool:
        try:
            return bool(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        except FileNotFoundError:
            return False

    def ready(self) -> bool:
        return self._process.poll() is not None  # the shell

    def launch(self) -> None:
        super().launch()
        self.pid = wait_for(lambda: number_in(self.pid_file), "pid of nginx")
        wait_for(lambda: self._workers(self.pid), "workers of nginx")

    def upgrade(self) -> float:
        old = self.pid
        os.kill(old, signal.SIGUSR2)
        wait_for(lambda: number_in(self.pid_file) not in (0, old), "new master")
        self.pid = number_in(self.pid_file)
        wait_for(lambda: self._workers(self.pid), "workers of the new master")
        os.kill(old, signal.SIGWINCH)
        self.leave(old, signal.SIGQUIT)
        return self._drained


PROXIES = {"terraster": Terraster, "nginx": Nginx}


class Wrk:
    """wrk on kept connections, until it is stopped."""

    def __init__(self, address: tuple[str, int], connections: int) -> None:
        command = [
            program("wrk"),
            "-t1",
            f"-c{connections}",
            "-d7200s",
            "--timeout",
            "30s",
            f"http://{address[0]}:{address[1]}/wrk",
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def stop(self) -> dict[str, int]:
        """The numbers of requests and of losses."""
        self._process.send_signal(signal.SIGINT)
        text, _ = self._process.communicate(timeout=60)
        found = re.search(r"(\d+) requests in", text)
        if found is None:
            raise SystemExit(f"drains: wrk said\n{text}")
        lost = sum(map(int, re.findall(r"(?:connect|read|write|timeout|Non-2xx or 3xx responses:) (\d+)", text)))
        return {"answered": int(found[1]) - lost, "lost": lost}


def measure(name: str, what: str, rounds: int, folder: Path, backend: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Upgrade or restart a proxy under the loads."""
    folder.mkdir()
    proxy = PROXIES[name](folder, backend)
    loads = Loads(proxy.address, kept=arguments.kept, sockets=arguments.websockets)
    wrk = Wrk(proxy.address, arguments.connections)
    idle, took = [], []
    try:
        loads.start()
        time.sleep(2)
        for number in range(1, rounds + 1):
            ended = loads.idle(_IDLE)
            began = time.monotonic()
            drained = getattr(proxy, what)()
            took.append(time.monotonic() - began)
            idle.append(ended.result(60) - drained)
            lost = sum(counts.lost for counts in loads.counts.values())
            print(
                f"{name} {what} {number}: {took[-1]:.1f} s, idle ones gone after {idle[-1]:.1f} s, lost so far {lost}",
                file=sys.stderr,
                flush=True,
            )
            time.sleep(1)
    finally:
        of_wrk = wrk.stop()
        loads.stop()
        proxy.close()
    for kind, counts in loads.counts.items():
        for reason in counts.why[:3]:
            print(f"  {kind}: {reason}", file=sys.stderr)
    return {
        "proxy": name,
        "what": what,
        "rounds": rounds,
        "requests": of_wrk["answered"] + sum(counts.answered for counts in loads.counts.values()),
        "wrk": of_wrk["lost"],
        **{kind: loads.counts[kind].lost for kind in ("kept", "fresh", "websocket")},
        "closed": loads.counts["websocket"].ended,
        "idle": max(idle),
        "seconds": statistics.median(took),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| proxy | | requests | lost: wrk | kept | fresh | messages | closed WebSockets | idle ones gone after | one takes |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            row["proxy"],
            f"{row['rounds']} × {row['what']}",
            f"{row['requests']:,}",
            row["wrk"],
            row["kept"],
            row["fresh"],
            row["websocket"],
        ]
        cells += [row["closed"], f"{row['idle']:.1f} s", f"{row['seconds']:.1f} s"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="upgrades, and restarts, of each proxy")
    parser.add_argument("--proxies", default="terraster,nginx")
    parser.add_argument("--what", default="upgrade,restart")
    parser.add_argument("--kept", type=int, default=200, help="kept connections with a think time of 50 ms")
    parser.add_argument("--websockets", type=int, default=50)
    parser.add_argument("--connections", type=int, default=8, help="of wrk")
    parser.add_argument("--json", type=Path, help="write the rows there")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="terraster-drains-") as directory:
        folder = Path(directory)
        port = free_port()
        backend = start([sys.executable, str(Path(__file__).with_name("drain_loads.py")), str(port)], folder, "backend")
        try:
            backend.wait_for(f"http://127.0.0.1:{port}/1")
            for name in arguments.proxies.split(","):
                for what in arguments.what.split(","):
                    rows.append(measure(name, what, arguments.rounds, folder / f"{name}-{what}", port, arguments))
        finally:
            backend.stop()
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
