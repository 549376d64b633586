"""References that a worker does not give back: millions of requests of many kinds, and counts of the same objects before and after.

    make compile
    python bench/references.py                         # 10 million requests: some minutes
    python bench/references.py --requests 300000       # a try

One Terraster with one worker serves small GETs, pipelined ones, bodies with a length and in chunks, HTTP/1.0, HTTP/2 in clear and over TLS,
TLS handshakes, answers of its own, backends that cannot be reached, requests that no server may accept, HEAD, and clients that break off. A
plugin of a service of its own counts within the worker, between two loads, when nothing is under way:

- how many blocks Python's allocator has given out, and how many objects the collector knows;
- the references of each object that lives as long as the process and that the collector can reach: None, True, small numbers, octets, text,
  functions, classes. A reference that is lost a request shows as one more a request.

Pools, memories of heads, lists of failures and free lists fill in the first half, rarely used ones last. The exit code is 1 if blocks or
objects grow in the second half by more than `SLACK` or by more than one in 1,000 requests, whichever is more, or the references of an object
have changed by more than that since `WARM` requests of each kind. Its lines name the objects that changed most.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from peers import Backend, certificate, start
from place import free_port, program
from tree import memory

WARM = 200_000
SLICE = 5  # seconds of each load
SLACK = 4000  # what memories of names, kept connections and the counting itself may add
RESET = struct.pack("ii", 1, 0)

PLUGIN = '''
import gc
import os
import sys
import types
from array import array

CONTAINERS = (dict, list, set, frozenset, tuple, types.CellType, types.FrameType)


class References:
    """Counts references between loads."""

    name = "references"

    def setup(self, context):
        self.held = None

    def on_request(self, request):
        for one in gc.get_objects():
            if type(one).__name__ == "Memory":  # fills for an hour, as each second has heads with another Date
                one.clear()
                one.met.clear()
                one.held = 0
        for _ in range(3):
            gc.collect()
        if self.held is None:
            self.held = self.lasting()
            self.before = array("q", (sys.getrefcount(one) for one in self.held))
            self.kinds = self.by_kind()
        blocks = sys.getallocatedblocks()
        drift = []
        for number, one in enumerate(self.held):
            change = sys.getrefcount(one) - self.before[number]
            if abs(change) > 100:
                drift.append((change, f"{type(one).__name__} {one!r:.60}"))
        drift.sort(key=lambda pair: -abs(pair[0]))
        kinds = self.by_kind()
        grown = sorted(((many - self.kinds.get(kind, 0), kind) for kind, many in kinds.items()), reverse=True)
        return request.answer(200, json={
            "pid": os.getpid(),
            "blocks": blocks,
            "objects": sum(kinds.values()),
            "watched": len(self.held),
            "drift": drift[:20],
            "kinds": [pair for pair in grown[:8] if pair[0] > 20],
        })

    def by_kind(self):
        kinds = {}
        for one in gc.get_objects():
            kind = type(one).__name__
            kinds[kind] = kinds.get(kind, 0) + 1
        return kinds

    def lasting(self):
        """Objects reachable from modules, functions and classes, but not those that come and go with connections, and not Cython's own types:
        Cython 3.3 takes a reference to the type of its generators with each of them, and the type lasts anyway."""
        gc.unfreeze()
        known = {}
        for one in gc.get_objects():
            if isinstance(one, (types.ModuleType, types.FunctionType, type, types.BuiltinFunctionType)):
                known[id(one)] = one
        edge = list(known.values())
        for _ in range(4):
            inner = []
            for one in gc.get_referents(*edge):
                if id(one) not in known:
                    known[id(one)] = one
                    inner.append(one)
            edge = inner
        for one in (None, True, False, b"", "", (), NotImplemented, *range(-5, 257), *(bytes((octet,)) for octet in range(256))):
            known[id(one)] = one
        return [one for one in known.values() if not isinstance(one, CONTAINERS) and type(one).__name__ != "_common_types_metatype"]
'''

CONFIG = """
admin_port: {admin}
metrics: {{listen: "127.0.0.1:{metrics}"}}
workers: 1
access_log: {{path: "{folder}/access.log"}}
plugin_directory: {folder}/plugins
middleware: [{{references: {{timeout: 60s}}}}]
runtime_dir: {folder}/run
state_dir: {folder}/state
listen: ["127.0.0.1:{port}"]
http2: true
services:
  - {{name: counts, host: counts.test, locations: [{{path: /, respond: {{status: 200}}}}]}}
  - {{name: plain, host: plain.test, plugin_disabled: true, locations: [{{path: /, backends: [{backends}]}}]}}
  - name: ruled
    host: ruled.test
    plugin_disabled: true
    middleware:
      - headers:
          request_headers: {{X-Set: "${{remote_addr}}"}}
          remove_request_headers: [X-Removed]
          response_headers: {{X-Answer: "1"}}
    locations: [{{path: /, backends: [{backends}]}}]
  - {{name: fixed, host: fixed.test, plugin_disabled: true, locations: [{{path: /, respond: {{status: 200, body: fixed}}}}]}}
  - {{name: dead, host: dead.test, plugin_disabled: true, locations: [{{path: /, health_check: off, backends: ["http://127.0.0.1:{dead}"]}}]}}
  - {{name: sticky, host: sticky.test, plugin_disabled: true, locations: [{{path: /, lb_policy: sticky-session, backends: [{backends}]}}]}}
  - name: secure
    host: "*"
    listen: ["127.0.0.1:{secure}"]
    plugin_disabled: true
    tls: {{cert_file: "{certificate}", http2: true}}
    locations: [{{path: /, backends: [{backends}]}}]
"""


class Odd(threading.Thread):
    """Clients that wrk cannot be: HEAD, and connections that break off at each point. done: requests that were begun"""

    def __init__(self, port: int, secure: int) -> None:
        super().__init__(daemon=True)
        self.done = 0
        self.over = threading.Event()
        self._port, self._secure = port, secure
        self._context = ssl.create_default_context()
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE

    def run(self) -> None:
        post = b"POST /post HTTP/1.1\r\nHost: plain.test\r\nContent-Length: 10240\r\n\r\n" + b"x" * 5000
        get = b"GET /100k HTTP/1.1\r\nHost: plain.test\r\n\r\n"
        pieces = (b"", b"GE", get[:30], get, get * 3, post, b"\x16\x03\x01\x02\x00\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        while not self.over.is_set():
            for piece in pieces:
                for port in (self._port, self._secure):
                    self._break_off(port, piece)
            self._heads()

    def _break_off(self, port: int, octets: bytes) -> None:
        try:
            with socket.create_connection(("127.0.0.1", port), 10) as client:
                if port == self._secure and octets[:1] in (b"G", b"P"):
                    client = self._context.wrap_socket(client)
                client.sendall(octets)
                self.done += 1
                if octets.endswith(b"\r\n\r\n"):
                    client.recv(4096)
                if self.done % 2:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                client.close()
        except OSError:
            pass  # the answer to what cannot be understood may end the connection first

    def _heads(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port), 10) as client:
            for _ in range(20):
                client.sendall(b"HEAD /100k HTTP/1.1\r\nHost: plain.test\r\n\r\n")
                held = b""
                while not held.endswith(b"\r\n\r\n"):
                    held += client.recv(4096) or b"\r\n\r\n"
                self.done += 1


def load(port: int, secure: int) -> int:
    """Some seconds of every kind at once; how many requests were answered."""
    url, lua = f"http://127.0.0.1:{port}/128", str(Path(__file__).parent / "lua" / "mix.lua")
    wrk = [program("wrk"), "-t1", f"-d{SLICE}s", "--timeout", "20s"]
    h2load = [program("h2load"), f"-D{SLICE}", "-m8"]
    commands = [
        [*wrk, "-c8", "-s", lua, url, "--", "1"],
        [*wrk, "-c32", "-s", lua, url, "--", "32"],
        [*wrk, "-c1", "-s", lua, "-H", "Connection: close", f"https://127.0.0.1:{secure}/128", "--", "1"],
        [*h2load, "-c2", f"https://127.0.0.1:{secure}/128"],
        [*h2load, "-c2", "-H", "Host: plain.test", "-H", ":authority: plain.test", url],
    ]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for command in commands]
    total = 0
    for command, process in zip(commands, running, strict=True):
        said = process.communicate(timeout=SLICE + 120)[0]
        if process.returncode:
            raise SystemExit(f"{command[0]}: {said}")
        if command[0].endswith("wrk"):
            total += int(json.loads(next(line for line in said.splitlines() if line.startswith("{")))["requests"])
        else:
            total += int(said.partition("requests: ")[2].split()[0])
    return total


def counts(port: int) -> dict[str, Any]:
    """Its counts, from the plugin."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"Host": "counts.test", "Connection": "close"})
    with urllib.request.urlopen(request, timeout=90) as response:
        found: dict[str, Any] = json.load(response)
    return found


def told(done: int, seconds: float, found: dict[str, Any], first: dict[str, Any], rss: int) -> str:
    """A line of the course."""
    most = "; ".join(f"{change:+,} {name}" for change, name in found["drift"][:3]) or "none above 100"
    return (
        f"{done:>12,} requests, {seconds:5.0f} s: blocks {found['blocks']:,} ({found['blocks'] - first['blocks']:+,}), "
        f"objects {found['objects']:,} ({found['objects'] - first['objects']:+,}), RSS {rss / 1048576:.1f} MiB, references: {most}"
    )


def watch(port: int, secure: int, wanted: int, log: Path) -> int:
    """Load and count in turn. Returns the exit code."""

    def settled() -> tuple[dict[str, Any], int]:
        time.sleep(3)  # kept connections of the load end, and what is due is done
        found = counts(port)
        return found, memory(found["pid"])[0]

    began, done, odd = time.monotonic(), 0, 0
    first: dict[str, Any] = {}
    middle: dict[str, Any] = {}
    while True:
        client = Odd(port, secure)
        client.start()
        until = done + (WARM if done < WARM else wanted // 10)
        while done < until:
            done += load(port, secure)
        client.over.set()
        client.join()
        odd += client.done
        os.truncate(log, 0)  # it is appended to
        found, rss = settled()
        first = first or found
        if done >= wanted // 2:
            middle = middle or found
        print(told(done, time.monotonic() - began, found, first, rss), flush=True)
        if done >= wanted + WARM:
            break
    print(f"{odd:,} requests more of clients that broke off or asked with HEAD; {found['watched']:,} lasting objects watched")
    for change, name in found["drift"]:
        print(f"  {change:+,} {name}")
    for change, name in found["kinds"]:
        print(f"  {change:+,} objects of {name}")
    grown = max(
        found["blocks"] - middle["blocks"], found["objects"] - middle["objects"], *(abs(one) for one, _ in found["drift"]), 0
    )
    most = max(SLACK, done // 2000)
    print(f"the greatest change: {grown:,} in {done:,} requests, {'within' if grown <= most else 'more than'} {most:,}")
    return int(grown > most)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=10_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "plugins").mkdir(mode=0o755)
        (folder / "plugins" / "references.py").write_text(PLUGIN)
        (folder / "plugins" / "references.py").chmod(0o644)
        backend = Backend(folder)
        port, secure = free_port(), free_port()
        values = {
            "admin": free_port(),
            "metrics": free_port(),
            "dead": free_port(),
            "folder": folder,
            "port": port,
            "secure": secure,
            "backends": ", ".join(f'"http://127.0.0.1:{one}"' for one in backend.ports),
            "certificate": certificate(folder),
        }
        (folder / "terraster.yaml").write_text(CONFIG.format(**values))
        proxy = start([sys.executable, "-m", "terraster.cli.main", "--config", f"{folder}/terraster.yaml"], folder, "terraster")
        try:
            proxy.wait_for(f"http://127.0.0.1:{port}/128", "Host: plain.test", 60)
            return watch(port, secure, arguments.requests, folder / "access.log")
        finally:
            proxy.stop()
            backend.running.stop()


if __name__ == "__main__":
    sys.exit(main())
