"""Two small backends to try Terraster with: `terraster --demo`.

Each is a process of its own (``python -m terraster.cli.demo NAME HOST PORT``) that answers

    /health           200
    /slow?ms=N        after N milliseconds (at most a minute)
    /stream?events=N  N server-sent events, five a second
    anything else     its name, and the request as it arrived, as JSON

A backend ends when its standard input ends, that is when the process that started it has ended.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from ..config.host_patterns import examples, is_pattern
from ..config.snapshot import Snapshot
from ..errors import StartError
from . import where

__all__ = ["Running", "addresses", "advice", "start", "stop"]

HOW_MANY = 2
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class Running:
    """A demo backend that accepts connections."""

    name: str
    address: tuple[str, int]
    process: subprocess.Popen[str]


def addresses(snapshot: Snapshot) -> list[tuple[str, int]]:
    """The addresses for the demo backends: the first backends of the configuration that are on this host. Raises StartError if none
    is."""
    found: dict[tuple[str, int], None] = {}
    for service in snapshot.services:
        for location in service.locations:
            for backend in location.backends:
                if backend.host in _LOOPBACK and backend.scheme == "http" and not backend.socket:
                    found[backend.host, backend.port] = None
    if not found:
        raise StartError(
            "--demo: the configuration has no http backend on 127.0.0.1, [::1] or localhost that a demo backend could replace"
        )
    return list(found)[:HOW_MANY]


def start(wanted: list[tuple[str, int]]) -> list[Running]:
    """Start a backend on each address and wait until all listen. If one cannot, raises StartError and leaves none running."""
    started: list[Running] = []
    for number, (host, port) in enumerate(wanted, 1):
        name = f"demo-{number}"
        command = [sys.executable, "-m", "terraster.cli.demo", name, host, str(port)]
        home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        path = os.pathsep.join(part for part in (home, os.environ.get("PYTHONPATH", "")) if part)
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is for Terraster, which still has requests to finish
        )
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        if line != "ready":
            stop([*started, Running(name, (host, port), process)])
            raise StartError(f"--demo: the backend on {host}:{port} cannot start: {line or 'it ended at once'}")
        started.append(Running(name, (host, port), process))
    return started


def stop(backends: Iterable[Running]) -> None:
    """End these backends and wait until they have ended."""
    for backend in backends:
        backend.process.terminate()
    for backend in backends:
        backend.process.wait()


def _some_name(host: str) -> str:
    """A name that a host of a service is for."""
    return next(iter(examples(host)), "…") if is_pattern(host) else host.replace("*", "demo")


def advice(snapshot: Snapshot, file: str, backends: list[Running]) -> str:
    """Commands to try next, as text for the terminal."""
    tries = []
    if snapshot.listeners:
        first = snapshot.listeners[0].address
        services = [one for one in snapshot.services if first in one.listeners]
        service = next((one for one in services if any(location.backends for location in one.locations)), None)
        host = "" if service is None or "*" in service.hosts else f" -H 'Host: {_some_name(service.hosts[0])}'"
        tries += [
            (f"curl{host} {_url(first)}/", "several times: the backends take turns"),
            (f"curl{host} '{_url(first)}/slow?ms=2000'", "a slow answer"),
            (f"curl{host} -N {_url(first)}/stream", "events, each as it is sent"),
        ]
    ctl = _ctl() if file == where.configuration(None) else f"{_ctl()} --config {shlex.quote(file)}"
    tries += [(f"{ctl} status", "problems, backends, workers"), (f"{ctl} reload", "after a change of the file")]
    if snapshot.metrics_listen:
        tries.append((f"curl {_url(snapshot.metrics_listen)}/metrics", "what Prometheus scrapes"))
    width = max(len(command) for command, _ in tries)
    return "\n".join(
        [
            *(f"{backend.name} listens on http://{backend.address[0]}:{backend.address[1]}" for backend in backends),
            "",
            "Try, in another terminal:",
            "",
            *(f"  {command.ljust(width)}   {what}" for command, what in tries),
            "",
            f"Stop with Ctrl-C, or: {ctl} stop",
            "",
        ]
    )


def _ctl() -> str:
    """A path of terrasterctl that can be pasted into a shell: the one beside this program or its interpreter."""
    for program in (sys.argv[0], sys.executable):
        beside = os.path.join(os.path.dirname(os.path.abspath(program)), "terrasterctl")
        if os.access(beside, os.X_OK):
            below = os.path.relpath(beside)
            return shlex.quote(beside if below.startswith("..") else below)
    return "terrasterctl"


def _url(address: str) -> str:
    host, _, port = address.rpartition(":")
    return f"http://{host or '127.0.0.1'}:{port}"


def _application(name: str) -> Any:
    import gevent

    def events(count: int) -> Iterator[bytes]:
        for number in range(1, count + 1):
            yield f"id: {number}\ndata: {name} says {number}\n\n".encode()
            gevent.sleep(0.2)

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        query = parse_qs(environ["QUERY_STRING"])
        path = environ["PATH_INFO"]
        if path == "/health":
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"ok\n"]
        if path == "/stream":
            start_response("200 OK", [("Content-Type", "text/event-stream"), ("Cache-Control", "no-store")])
            return events(_number(query, "events", 10, 1000))
        if path == "/slow":
            gevent.sleep(_number(query, "ms", 1000, 60000) / 1000)
        body = environ["wsgi.input"].read(65536)
        seen = {
            "backend": name,
            "method": environ["REQUEST_METHOD"],
            "path": path,
            "query": environ["QUERY_STRING"],
            "headers": {
                key[5:].replace("_", "-").lower(): value for key, value in sorted(environ.items()) if key.startswith("HTTP_")
            },
            "body": body.decode("utf-8", "replace"),
        }
        answer = json.dumps(seen, indent=2).encode() + b"\n"
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(answer))), ("X-Demo-Backend", name)]
        start_response("200 OK", headers)
        return [answer]

    return application


def _number(query: dict[str, list[str]], name: str, default: int, most: int) -> int:
    text = query.get(name, [""])[0]
    return min(int(text), most) if text.isdecimal() and len(text) < 9 else default


def _serve(name: str, host: str, port: int) -> int:
    """Run a demo backend until standard input ends. Prints "ready", or the reason why it cannot listen."""
    import gevent
    from gevent import socket as gevent_socket
    from gevent.os import tp_read
    from gevent.pywsgi import WSGIServer

    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = gevent_socket.socket(family, kind, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # an upgrade (USR2) has the new Terraster start its own backends while the old ones still listen
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )  # accepted sockets inherit it; without it events arrive 40 ms late
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        print(error.strerror, flush=True)
        return 1
    server = WSGIServer(listener, _application(name), log=None, environ={"SERVER_NAME": name})
    server.start()
    print("ready", flush=True)
    gevent.spawn(tp_read, 0, 1).join()
    return 0


if __name__ == "__main__":
    sys.exit(_serve(sys.argv[1], sys.argv[2], int(sys.argv[3])))
