"""The connection from `terrasterctl` to a running Terraster: HTTP over the control socket in its runtime directory, or a signal to the
process in its pid file.

A pid file outlives a master that was killed. Its number may then belong to an unrelated process. So the master holds a lock (flock) on
the file as long as it lives, and the pid is a master's only while the lock is held. No process is signalled without that check.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from http.client import HTTPException
from typing import Any
from urllib.parse import urlencode

from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

__all__ = [
    "AT_ONCE",
    "DONE",
    "FAILED",
    "NOT_RUNNING",
    "RETRY",
    "SILENT",
    "UNKNOWN",
    "USAGE",
    "Absent",
    "Away",
    "Control",
    "Refused",
    "TooLate",
]

DONE, FAILED, USAGE, NOT_RUNNING, UNKNOWN = range(5)
"""Exit codes."""

AT_ONCE = 5.0  # seconds for an answer that needs no work
RETRY = 0.1  # seconds between two attempts to reach the admin worker
SILENT = 15.0  # seconds after which a stream that sends nothing, not even a comment, has broken off


class Away(Exception):
    """The admin worker does not answer on the control socket."""


class Absent(Away):
    """No process has the control socket open. (A master keeps it open while it has no admin worker.)"""


class Refused(Exception):
    """The command fails: Terraster refused it or gave no answer. ``code``: the exit code"""

    def __init__(self, text: str, code: int = FAILED) -> None:
        super().__init__(text)
        self.code = code


class TooLate(Refused):
    """The command was sent, but no answer came in time."""


class _UnixConnection(HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("terraster", timeout=timeout)
        self._path = path
        self._seconds = timeout

    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(self._seconds)
        try:
            sock.connect(self._path)
        except BaseException:
            sock.close()
            raise
        self.sock = sock


class Control:
    """The running Terraster of one runtime directory. timeout: seconds for the whole command"""

    def __init__(self, runtime_dir: str, timeout: float) -> None:
        self.runtime_dir = runtime_dir
        self.deadline = time.monotonic() + timeout
        self._socket = os.path.join(runtime_dir, "control.sock")

    def again(self, timeout: float) -> Control:
        """The same with its time to come. timeout: seconds"""
        return Control(self.runtime_dir, timeout)

    def left(self) -> float:
        """Seconds until the command gives up."""
        return self.deadline - time.monotonic()

    def look(self, path: str) -> dict[str, Any]:
        """Ask a question that a running admin worker answers at once. Raises Away or Refused.

        The master keeps the socket open while there is no admin worker. So a connection alone proves nothing.
        """
        try:
            return self.call("GET", path, within=AT_ONCE)
        except TooLate as error:
            raise Away(f"no answer within {AT_ONCE:g} s") from error

    def call(self, method: str, path: str, within: float | None = None, body: bytes | None = None, **query: str) -> dict[str, Any]:
        """Send one request and return its JSON. Raises Away (no admin worker, or it ended meanwhile) or Refused."""
        connection = _UnixConnection(self._socket, max(0.1, self.left() if within is None else within))
        try:
            connection.request(method, f"{path}?{urlencode(query)}" if query else path, body=body)
            response = connection.getresponse()
            value = json.loads(response.data)
        except PermissionError as error:
            raise Refused(f"{self._socket}: permission denied; be root or the user that Terraster runs as") from error
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise Absent(f"no process listens on {self._socket}") from error
        except TimeoutError as error:
            raise TooLate("no answer in time (--timeout)", UNKNOWN) from error
        except (OSError, HTTPError, ValueError) as error:
            raise Away(str(error)) from error
        finally:
            connection.close()
        if response.status == 503:
            raise Away(value["error"])
        if response.status not in (200, 422):
            raise Refused(value["error"])
        answer: dict[str, Any] = value
        return answer

    def exchange(self, method: str, path: str, body: dict[str, Any] | None, head: dict[str, str]) -> tuple[int, Any]:
        """One call of the management API: its status and its JSON, None if the answer has no body. Raises Away or Refused. head: fields"""
        connection = _UnixConnection(self._socket, max(0.1, self.left()))
        octets = None if body is None else json.dumps(body).encode()
        fields = head if octets is None else {**head, "Content-Type": "application/json"}
        try:
            connection.request(method, path, body=octets, headers=fields)
            response = connection.getresponse()
            return response.status, json.loads(response.data) if response.data else None
        except PermissionError as error:
            raise Refused(f"{self._socket}: permission denied; be root or the user that Terraster runs as") from error
        except TimeoutError as error:
            raise TooLate("no answer in time (--timeout)", UNKNOWN) from error
        except (OSError, HTTPError, ValueError) as error:
            raise Away(str(error)) from error
        finally:
            connection.close()

    def follow(self, path: str) -> Iterator[tuple[str, Any]]:
        """The events of a stream by name, with their data, until it ends. Raises Away if it breaks off, or Refused."""
        connection, head = self._to_follow()
        try:
            connection.request("GET", path, headers=head, preload_content=False)
            response = connection.getresponse()
            if response.status != 200:
                raise Refused(_detail(response.data, response.status))
            held = b""
            for piece in response.stream():
                *events, held = (held + piece).split(b"\n\n")
                for event in events:
                    fields = dict(line.partition(b": ")[::2] for line in event.split(b"\n"))
                    if fields.get(b"event") == b"ended":
                        return
                    if b"event" in fields:
                        yield fields[b"event"].decode(), json.loads(fields[b"data"])
        except PermissionError as error:
            raise Refused(f"{self._socket}: permission denied; be root or the user that Terraster runs as") from error
        except (OSError, HTTPError, HTTPException) as error:
            raise Away(str(error)) from error
        finally:
            connection.close()

    def _to_follow(self) -> tuple[HTTPConnection, dict[str, str]]:
        """A connection for a stream, and the fields of its request."""
        return _UnixConnection(self._socket, SILENT), {}

    def ask(self, method: str, path: str, question: bytes | None = None, **query: str) -> dict[str, Any]:
        """Send a request that no signal can replace. If the admin worker is away, wait for it a few seconds. Raises Refused.

        question: the body of a request that changes nothing, though its method is POST"""
        until = min(self.deadline, time.monotonic() + AT_ONCE)
        while True:
            try:
                self.look("/healthz")
                break
            except Away as away:
                pid = self.master()
                if time.monotonic() >= until:
                    raise Refused(f"Terraster runs (pid {pid}), but its admin worker does not answer: {away}") from None
            time.sleep(RETRY)
        try:
            return self.call(method, path, None, question, **query)
        except Away as away:
            code = FAILED if method == "GET" or question is not None else UNKNOWN
            raise Refused(f"the admin worker ended before it answered, so the outcome is unknown: {away}", code) from None

    def master(self) -> int:
        """The pid of the running master. Raises Refused if there is none."""
        path = os.path.join(self.runtime_dir, "terraster.pid")
        try:
            with open(path, "rb") as stream:
                if not _is_locked(stream.fileno()):
                    raise Refused(f"Terraster is not running: no process holds the lock on {path}", NOT_RUNNING)
                return int(stream.read(32))
        except FileNotFoundError:
            raise Refused(f"Terraster is not running: {path} does not exist", NOT_RUNNING) from None
        except OSError as error:
            raise Refused(f"{path}: {error.strerror}") from error
        except ValueError:
            raise Refused(f"{path} does not contain a pid") from None

    def signal(self, number: signal.Signals) -> int:
        """Send the master a signal. Returns its pid. Raises Refused."""
        pid = self.master()
        try:
            process = os.pidfd_open(pid)
        except ProcessLookupError:
            raise Refused("Terraster is not running", NOT_RUNNING) from None
        try:
            if self.master() != pid:  # only now is it certain that the descriptor is not of a later process with the same pid
                raise Refused("a new master took over meanwhile; try again")
            signal.pidfd_send_signal(process, number)
        except ProcessLookupError:
            raise Refused("Terraster is not running", NOT_RUNNING) from None
        except PermissionError:
            raise Refused(f"permission denied to signal process {pid}; be root or the user that Terraster runs as") from None
        finally:
            os.close(process)
        return pid


def _detail(data: bytes, status: int) -> str:
    """The reason in an answer that is a problem, else its status."""
    try:
        return str(json.loads(data)["detail"])
    except (ValueError, LookupError, TypeError):
        return f"the answer has the status {status}"


def _is_locked(descriptor: int) -> bool:
    """True if another process holds the lock on an open file."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared, so that two terrasterctl do not block each other
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False
