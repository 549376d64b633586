"""The process that talks to an authority, as the admin worker sees it (`terraster.certs.acme_client`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import gevent
from gevent import socket

import terraster

from ..certs.acme_job import Job

__all__ = ["OrderProcess"]

_LONGEST = 900.0  # seconds after which it is killed: every wait within it is shorter


class OrderProcess:
    """Starts it for each job, one at a time, and answers its questions.

    answer: ``answer(job, question)`` gives the answer
    """

    def __init__(self, answer: Callable[[Job, dict[str, Any]], dict[str, Any]]) -> None:
        self._answer = answer
        self._process: subprocess.Popen[bytes] | None = None

    def end(self) -> None:
        """Break off the job under way, if there is one. A call of the program for dns-01 is not cut off; the process ends after it."""
        if self._process is not None:
            self._process.terminate()

    def do(self, job: Job, lock: int) -> dict[str, Any]:
        """Have a job done. Returns the last message; {"failed": …} if the process ended without one.

        lock: the descriptor of the lock for orders, which the process holds too"""
        near, far = socket.socketpair()
        environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(terraster.__file__))}
        environment.pop("NOTIFY_SOCKET", None)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "terraster.certs.acme_client", str(far.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(far.fileno(), lock),
                cwd="/",
                env=environment,
            )
        except OSError as error:
            near.close()
            return {"failed": f"the process that talks to the authority cannot be started: {error.strerror}"}
        finally:
            far.close()
        try:
            with gevent.Timeout(_LONGEST, False):
                answer = self._converse(near, job)
                if answer is not None:
                    return answer
                while self._process.poll() is None:  # it has closed its end, so it is about to end
                    gevent.sleep(0.01)
            code = self._process.poll()
            how = "was not done in time" if code is None else f"ended with {code}"
            return {"failed": f"the process that talks to the authority {how}"}
        finally:
            near.close()
            self._process.kill()
            while self._process.poll() is None:
                gevent.sleep(0.01)
            self._process = None

    def _converse(self, near: Any, job: Job) -> dict[str, Any] | None:
        """Answer the process's questions, until its last message; None if it ends without one."""
        received = b""
        try:
            near.sendall(json.dumps(asdict(job)).encode() + b"\n")
            while True:
                while b"\n" not in received:
                    octets = near.recv(65536)
                    if not octets:
                        return None
                    received += octets
                line, _, received = received.partition(b"\n")
                message: dict[str, Any] = json.loads(line)
                if "ask" not in message:
                    return message
                near.sendall(json.dumps(self._answer(job, message)).encode() + b"\n")
        except ConnectionError:
            return None
