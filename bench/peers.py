"""The compared proxies, and the backend behind them: each has a configuration, a command, and a wait until it answers.

Each proxy has one worker or thread, uses the same two backends in turn, keeps its connections to them, and adds X-Forwarded-For. With
logging on, it writes an access line for each request to a file. All other settings are the defaults.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import others
from place import Place, free_port, program
from wrk import message

__all__ = ["PEERS", "Backend", "Peer", "launch"]

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Running:
    """A process that this program started, and the file with its output."""

    process: subprocess.Popen[bytes]
    output: Path

    def wait_for(self, url: str, field: str = "", seconds: float = 20) -> None:
        """Return when ``url`` answers 200. Raises with the program's output if it ends or does not answer. field: a line of the head"""
        headers = dict([field.split(": ", 1)]) if field else {}
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise SystemExit(f"bench: no answer from {url}\n{self.output.read_text()[-4000:]}")

    def stop(self) -> None:
        """End a process: SIGTERM first, then SIGKILL."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start(command: list[str], folder: Path, name: str, prefix: tuple[str, ...] = (), **environment: str) -> Running:
    """Run ``command`` with ``folder/NAME.out`` as its standard output and error."""
    output = folder / f"{name}.out"
    with output.open("ab") as sink:
        process = subprocess.Popen(
            [*prefix, *command],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, **environment},
        )
    return Running(process, output)


NGINX_HEAD = """
daemon off;
worker_processes 1;
pid {folder}/{name}.pid;
error_log {folder}/{name}.error.log warn;
events {{ worker_connections 8192; }}
http {{
    client_body_temp_path {folder}/{name}.tmp; proxy_temp_path {folder}/{name}.tmp; fastcgi_temp_path {folder}/{name}.tmp;
    uwsgi_temp_path {folder}/{name}.tmp; scgi_temp_path {folder}/{name}.tmp;
"""


class Backend:
    """nginx as the backend of every proxy: /128, /100k, /1m, /page.html (32 KiB of text), /post (reads the whole body) and /health, on two
    ports, no access log. It answers calls of gRPC on two ports more (`calls`): it reads the message, and sends another one and a trailer."""

    def __init__(self, folder: Path, ports: tuple[int, int] | None = None, prefix: tuple[str, ...] = ()) -> None:
        self.ports = ports or (free_port(), free_port())
        content = folder / "content"
        content.mkdir()
        for name, size in (("100k", 100 * 1024), ("1m", 1024 * 1024)):
            (content / name).write_bytes(b"x" * size)
        self.calls = (free_port(), free_port())
        (content / "message").write_bytes(message(128))
        calls = " ".join(f"listen 127.0.0.1:{port} http2 backlog=4096;" for port in self.calls)
        words = [f"{number * number % 7919:x}" for number in range(8192)]
        (content / "page.html").write_text(
            "".join(f"<li>{one} {two}</li>\n" for one, two in zip(words, words[::-1], strict=True))[:32768]
        )
        listens = " ".join(f"listen 127.0.0.1:{port} backlog=4096;" for port in self.ports)
        config = folder / "backend.conf"
        config.write_text(
            NGINX_HEAD.format(folder=folder, name="backend")
            + f"""
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; keepalive_timeout 300s;
    server {{
        {listens}
        root {content};
        location = /health {{ return 200 "ok"; }}
        location = /128 {{ return 200 "{"x" * 128}"; }}
        # `return` answers before the body has come; a proxied request reads it first.
        location = /post {{ proxy_pass http://unix:{folder}/sink:/;
            proxy_pass_request_body off; proxy_set_header Content-Length ""; }}
    }}
    server {{
        {calls}
        location = /bench.Bench/Call {{ proxy_pass http://unix:{folder}/sink:/message; proxy_method GET; proxy_pass_request_body off;
            proxy_set_header Content-Length ""; proxy_hide_header Content-Length; add_trailer grpc-status 0; }}
    }}
    server {{
        listen unix:{folder}/sink; root {content}; default_type application/grpc;
        location / {{ return 200 "ok"; }}
        location = /message {{ }}
    }}
}}
"""
        )
        self.running = start([program("nginx"), "-e", f"{folder}/backend.error.log", "-c", str(config)], folder, "backend", prefix)
        for port in self.ports:
            self.running.wait_for(f"http://127.0.0.1:{port}/health")


@dataclass
class Peer:
    """One proxy under test. ``log``: True if it writes an access log. ``pid``: root of its process tree"""

    name: str
    log: bool
    url: str
    pid: int
    tls_url: str = ""  # "" = it has no TLS here
    h2c_url: str = ""  # of HTTP/2 in clear
    calls: bool = False  # it takes calls of gRPC
    running: Running | None = None
    log_file: Path | None = None
    samples: dict[str, list[object]] = field(default_factory=dict)

    def forget_log(self) -> None:
        """Empty the access log, so that the disk does not fill. The writers append, so the file starts again at 0."""
        if self.log_file is not None and self.log_file.exists():
            os.truncate(self.log_file, 0)


def nginx(place: Place) -> list[str]:
    """nginx as a proxy. Its access log is buffered, like Terraster's, because its default costs it a write for each request.

    It uses no temporary files. Otherwise it would write answers to the disk while a client is slow; the other proxies let the backend wait.
    """
    servers = " ".join(f"server 127.0.0.1:{port};" for port in place.backends)
    log = f"{place.log_file} combined buffer=64k flush=1s" if place.log_file else "off"
    upstream = calls = ""
    if place.calls:
        upstream = "upstream calls { " + " ".join(f"server 127.0.0.1:{port};" for port in place.calls) + " keepalive 128; }"
        calls = """location /bench.Bench/ {
            grpc_pass grpc://calls;
            grpc_set_header Host $http_host;
            grpc_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            grpc_set_header X-Forwarded-Proto $scheme;
            grpc_set_header X-Real-IP $remote_addr;
        }"""
    config = place.write(
        ".conf",
        NGINX_HEAD.format(folder=place.folder, name=place.name).replace("worker_processes 1", f"worker_processes {place.workers}")
        + f"""
    {place.around}
    access_log {log};
    upstream backends {{ {servers} keepalive 128; }}
    {upstream}
    server {{
        listen 127.0.0.1:{place.port} backlog=4096;
        listen 127.0.0.1:{place.tls_port} ssl http2 backlog=4096;
        listen 127.0.0.1:{place.h2c_port} http2 backlog=4096;
        keepalive_requests 100000000;
        ssl_certificate {place.certificate};
        ssl_certificate_key {place.certificate};
        ssl_protocols TLSv1.2 TLSv1.3;
        {calls}
        location / {{
            proxy_pass http://backends;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_max_temp_file_size 0;
            {place.here}
        }}
    }}
}}
""",
    )
    return [program("nginx"), "-e", f"{place.folder}/{place.name}.error.log", "-c", config]


def haproxy(place: Place) -> list[str]:
    """HAProxy with one thread; its log goes to standard output, one write a request (it has no buffered file)."""
    servers = "\n".join(f"    server s{port} 127.0.0.1:{port}" for port in place.backends)
    calls = choice = ""
    if place.calls:
        choice = "    use_backend calls if { path_beg /bench.Bench/ }\n"
        calls = "backend calls\n" + "".join(f"    server s{port} 127.0.0.1:{port} proto h2\n" for port in place.calls)
    log = "    log stdout format raw local0\n" if place.log_file else ""
    logging = "    log global\n    option httplog\n" if place.log_file else ""
    config = place.write(
        ".cfg",
        f"""
global
    nbthread {place.workers}
    maxconn 8192
{log}
defaults
    mode http
{logging}    option forwardfor
    http-reuse safe
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 75s
    balance roundrobin
frontend all
    bind 127.0.0.1:{place.port}
    bind 127.0.0.1:{place.tls_port} ssl crt {place.certificate} alpn h2,http/1.1
    bind 127.0.0.1:{place.h2c_port} proto h2
{place.here}
{choice}    default_backend backends
backend backends
{servers}
{calls}
{place.around}
""",
    )
    return [program("haproxy"), "-q", "-db", "-f", config]


def terraster(place: Place) -> list[str]:
    """Terraster from this checkout, with one worker."""
    backends = ", ".join(f"{{url: 'http://127.0.0.1:{port}'}}" for port in place.backends)
    calls = ", ".join(f"{{url: 'http://127.0.0.1:{port}', http2: true}}" for port in place.calls)
    of_calls = f", {{path: /bench.Bench/, health_check: off, backends: [{calls}]}}" if calls else ""
    below = f", {place.below}" if place.below else ""
    split = place.here.startswith("split by ")
    arms = f"{{weight: 90, backends: [{backends}]}}, {{weight: 10, backends: [{backends}]}}"
    whole = f"split: {{by: {place.here.removeprefix('split by ')}, to: [{arms}]}}" if split else f"backends: [{backends}]"
    locations = f"[{{path: /, {whole}{below}}}{of_calls}]"
    config = place.write(
        ".yaml",
        f"""
admin_port: {free_port()}
metrics: {{listen: "127.0.0.1:{free_port()}"}}
workers: {place.workers}
middleware: [{place.around}]
access_log: {f'"{place.log_file}"' if place.log_file else "off"}
runtime_dir: {place.folder}/{place.name}.run
state_dir: {place.folder}/{place.name}.state
services:
  - name: plain
    host: "*"
    listen: ["127.0.0.1:{place.port}", "127.0.0.1:{place.h2c_port}"]
    http2: true
    middleware: [{"" if split else place.here}]
    locations: {locations}
  - name: secure
    host: "*"
    listen: ["127.0.0.1:{place.tls_port}"]
    tls: {{cert_file: "{place.certificate}", http2: true}}
    locations: {locations}
""",
    )
    return [sys.executable, "-m", "terraster.cli.main", "--config", config]


PURE = "terraster-pure"
"""Terraster with its compiled rooms left out, whether there are any or not."""

PEERS: dict[str, Callable[[Place], list[str]]] = {
    "terraster": terraster,
    PURE: terraster,
    "nginx": nginx,
    "haproxy": haproxy,
    "envoy": others.envoy,
    "traefik": others.traefik,
    "caddy": others.caddy,
}


TLS = ("terraster", PURE, "nginx", "haproxy", "envoy")
"""The peers that speak TLS here."""

CALLS = ("terraster", PURE, "nginx", "haproxy", "envoy")
"""The peers that take calls of gRPC here."""


def certificate(folder: Path) -> Path:
    """A file with a certificate for a P-256 key that it issued itself, and the key."""
    file, key = folder / "site.pem", folder / "site.key"
    if not file.exists():
        make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=bench"
        subprocess.run(
            [*make.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(file)],
            check=True,
            capture_output=True,
        )
        file.write_bytes(file.read_bytes() + key.read_bytes())
        file.chmod(0o600)
    return file


def launch(
    name: str, log: bool, folder: Path, backends: tuple[int, int], prefix: tuple[str, ...] = (), label: str = "", **more: Any
) -> Peer:
    """Start a peer and return it when it answers through its backends. label: of its files. more: further facts of its `Place`."""
    label = label or f"{name}-{'log' if log else 'nolog'}"
    port, tls_port, h2c_port = free_port(), free_port(), free_port()
    log_file = (folder / f"{label}.out" if name in ("haproxy", "caddy") else folder / f"{label}.access.log") if log else None
    command = PEERS[name](Place(folder, label, port, tls_port, h2c_port, backends, log_file, certificate(folder), **more))
    environment = {"TERRASTER_PURE": "1"} if name == PURE else {}
    running = start(command, folder, label, prefix, **environment)
    url = f"http://127.0.0.1:{port}"
    running.wait_for(f"{url}/128", str(more.get("field", "")))
    tls_url = f"https://127.0.0.1:{tls_port}" if name in TLS else ""
    h2c_url = url if name == "envoy" else f"http://127.0.0.1:{h2c_port}"
    calls = name in CALLS and bool(more.get("calls"))
    return Peer(name, log, url, running.process.pid, tls_url, h2c_url, calls, running, log_file)
