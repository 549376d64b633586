"""Probes while the master itself stands still."""

from __future__ import annotations

import subprocess
import sys
import tempfile

from .harness.waiting import wait_until

_PROGRAM = """
from terraster.master import patching
patching.patch()
import socket, sys, time
import gevent
from gevent import socket as green
from terraster.config.snapshot import Backend, HealthCheck
from terraster.master.backends.probe import Aim, Probing

stall, answers = float(sys.argv[1]), sys.argv[2] == "answers"
listener = green.socket()
listener.bind(("127.0.0.1", 0))
listener.listen()
asked = []

def serve():
    while True:
        client, _address = listener.accept()
        gevent.spawn(answer, client)

def answer(client):
    client.recv(4096)
    asked.append(client)
    if answers:
        gevent.sleep(0.02)
        client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi")

gevent.spawn(serve)
check = HealthCheck(type="http", timeout=0.2)
backend = Backend(id="x", url="", scheme="http", host="127.0.0.1", port=listener.getsockname()[1], health=check)
probe = gevent.spawn(Probing().probe, Aim.of(backend))
while not asked:
    gevent.sleep(0.001)
end = time.monotonic() + stall
while time.monotonic() < end:
    pass
result = probe.get()
print(result.ok, len(asked), result.reason)
"""


def probe(stall: float, answers: str) -> str:
    """What became of a probe. A busy machine may stand still by itself, so its tests may ask again."""
    run = subprocess.run([sys.executable, "-c", _PROGRAM, str(stall), answers], capture_output=True, text=True, timeout=30)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_no_answer_while_the_master_stood_still_says_nothing() -> None:
    wait_until(lambda: probe(0.5, "answers").endswith("status 200"))


def test_a_backend_that_does_not_answer_is_down_all_the_same() -> None:
    wait_until(lambda: probe(0.0, "silence") == "False 1 no answer within 0.2 s")
    wait_until(lambda: probe(0.5, "silence") == "False 2 no answer within 0.2 s")


_FULL = """
from terraster.master import patching
patching.patch()
import sys, time
from gevent import monkey
from terraster.config.snapshot import Backend, HealthCheck
from terraster.master.backends.probe import Aim, Probing

path, plain = sys.argv[1], monkey.get_original("socket", "socket")
listener = plain(1)
listener.bind(path)
listener.listen(0)
waiting = []
while True:
    waiting.append(plain(1))
    waiting[-1].setblocking(False)
    try:
        waiting[-1].connect(path)
    except BlockingIOError:
        break
backend = Backend("x", f"unix:{path}", "http", "localhost", 80, address=f"unix:{path}", health=HealthCheck(timeout=1.0))
began, used = time.monotonic(), time.process_time()
result = Probing().probe(Aim.of(backend))
print(result.ok, result.reason, time.monotonic() - began >= 1.0, time.process_time() - used < 0.3, sep="; ")
"""


def test_a_socket_whose_queue_is_full_is_waited_for_without_work() -> None:
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        run = subprocess.run([sys.executable, "-c", _FULL, f"{folder}/s"], capture_output=True, text=True, timeout=60)
    assert (run.stdout, run.stderr) == ("False; no answer within 1 s; True; True\n", "")
