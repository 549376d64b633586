"""`terrasterctl`: steers a running Terraster over the unix socket that its admin worker serves in `runtime_dir`.

    terrasterctl [--config FILE | --runtime-dir DIR] [--json] [--timeout SECONDS] reload | status [--all] | stop [--now]

Exit codes: 0 done; 1 it did not work (and why); 2 the command line cannot be used; 3 Terraster is not running; 4 it was told,
but how that ended is not known.

When the admin worker is away, `reload` and `stop` use the pid file and a signal instead, and say so. The master starts a new
admin worker within a second or so, so `reload` then still learns how it went.

A pid file outlives a master that was killed, and its number may belong to anybody by then. So the master holds a lock on it
(flock) for as long as it lives: only while somebody does, the pid in it is a master's. Nothing is signalled without that test.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from .. import __version__
from . import render, where
from .output import until_closed

__all__ = ["main"]

DONE, FAILED, _USAGE, NOT_RUNNING, UNKNOWN = range(5)

_AT_ONCE = 5.0  # seconds for an answer that needs no work
_RETRY = 0.1  # seconds between two looks whether the admin worker is back


class _Away(Exception):
    """Nobody answers on the control socket."""


class _Absent(_Away):
    """Nobody even holds it open, as a master does while it has no admin worker: there is none, or not yet."""


class _Refused(Exception):
    """The answer is no, or there is none to be had."""

    def __init__(self, text: str, code: int = FAILED) -> None:
        super().__init__(text)
        self.code = code


class _TooLate(_Refused):
    """It was told, but did not answer in time."""


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


class _Control:
    """The Terraster of one runtime directory."""

    def __init__(self, runtime_dir: str, timeout: float) -> None:
        self.runtime_dir = runtime_dir
        self.deadline = time.monotonic() + timeout
        self._socket = os.path.join(runtime_dir, "control.sock")

    def left(self) -> float:
        """Seconds until the command gives up."""
        return self.deadline - time.monotonic()

    def look(self, path: str) -> dict[str, Any]:
        """A question that is answered at once if anybody is there at all. Raises _Away or _Refused.

        The master keeps the socket open while there is no admin worker, so that connecting to it proves nothing.
        """
        try:
            return self.call("GET", path, within=_AT_ONCE)
        except _TooLate as error:
            raise _Away(f"no answer within {_AT_ONCE:g} s") from error

    def call(self, method: str, path: str, within: float | None = None, **query: str) -> dict[str, Any]:
        """One request; its JSON. Raises _Away (nobody there, or it went away meanwhile) or _Refused."""
        connection = _UnixConnection(self._socket, max(0.1, self.left() if within is None else within))
        try:
            connection.request(method, f"{path}?{urlencode(query)}" if query else path)
            response = connection.getresponse()
            value = json.loads(response.data)
        except PermissionError as error:
            raise _Refused(f"{self._socket}: permission denied; be root or the user that Terraster runs as") from error
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise _Absent(f"nobody listens on {self._socket}") from error
        except TimeoutError as error:
            raise _TooLate("no answer in time (--timeout)", UNKNOWN) from error
        except (OSError, HTTPError, ValueError) as error:
            raise _Away(str(error)) from error
        finally:
            connection.close()
        if response.status == 503:
            raise _Away(value["error"])
        if response.status not in (200, 422):
            raise _Refused(value["error"])
        answer: dict[str, Any] = value
        return answer

    def master(self) -> int:
        """The pid of the running master. Raises _Refused if there is none."""
        path = os.path.join(self.runtime_dir, "terraster.pid")
        try:
            with open(path, "rb") as stream:
                if not _is_locked(stream.fileno()):
                    raise _Refused(f"Terraster is not running: nobody holds {path}", NOT_RUNNING)
                return int(stream.read(32))
        except FileNotFoundError:
            raise _Refused(f"Terraster is not running: there is no {path}", NOT_RUNNING) from None
        except OSError as error:
            raise _Refused(f"{path}: {error.strerror}") from error
        except ValueError:
            raise _Refused(f"{path} holds no pid") from None

    def signal(self, number: signal.Signals) -> int:
        """Send the master a signal; its pid. Raises _Refused."""
        pid = self.master()
        try:
            process = os.pidfd_open(pid)
        except ProcessLookupError:
            raise _Refused("Terraster is not running", NOT_RUNNING) from None
        try:
            if self.master() != pid:  # only now is it certain that the descriptor is not of a process that came after it
                raise _Refused("the master changed meanwhile; try again")
            signal.pidfd_send_signal(process, number)
        except ProcessLookupError:
            raise _Refused("Terraster is not running", NOT_RUNNING) from None
        except PermissionError:
            raise _Refused(f"may not signal process {pid}; be root or the user that Terraster runs as") from None
        finally:
            os.close(process)
        return pid


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns the exit code."""
    arguments = _parser().parse_args(sys.argv[1:] if argv is None else argv)
    return until_closed(lambda: _command(arguments))


def _command(arguments: argparse.Namespace) -> int:
    try:
        runtime_dir = arguments.runtime_dir or where.find_runtime_dir(where.configuration(arguments.config), os.environ)
        return _COMMANDS[arguments.command](_Control(runtime_dir, arguments.timeout), arguments)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _say_no(f"{error.filename}: {error.strerror}", FAILED, arguments.json)
    except _Away as away:
        return _say_no(f"the admin worker does not answer: {away}", FAILED, arguments.json)
    except _Refused as refused:
        return _say_no(str(refused), refused.code, arguments.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="terrasterctl",
        description="Steers a running Terraster.",
        epilog="exit codes: 0 done; 1 it did not work; 2 wrong usage; 3 Terraster is not running; 4 told, outcome unknown",
        parents=[_shared({"config": None, "runtime_dir": None, "timeout": 120.0, "json": False})],
        allow_abbrev=False,
    )
    parser.add_argument("--version", "-version", action="version", version=f"terrasterctl {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    shared = _shared({})
    commands.add_parser("reload", parents=[shared], help="run the changed configuration, and say what changed or why not")
    status = commands.add_parser("status", parents=[shared], help="what is wrong, services, backends, workers")
    status.add_argument("--all", action="store_true", help="every service, also of a large configuration")
    stop = commands.add_parser("stop", parents=[shared], help="finish open requests, stop, and wait for it")
    stop.add_argument("--now", action="store_true", help="do not wait for open requests")
    return parser


def _shared(defaults: dict[str, Any]) -> argparse.ArgumentParser:
    """Options that may stand before the command (with defaults) and behind it (where they override only if given)."""
    shared = argparse.ArgumentParser(add_help=False, allow_abbrev=False)

    def add(name: str, **options: Any) -> None:
        default = defaults.get(name.replace("-", "_"), argparse.SUPPRESS)
        shared.add_argument(f"--{name}", f"-{name}", default=default, **options)

    add("config", metavar="FILE", help="the configuration whose runtime_dir is meant (default: as for terraster)")
    add("runtime-dir", metavar="DIR", help="the runtime directory itself")
    add("timeout", metavar="SECONDS", type=float, help="how long to wait for the outcome (default: 120)")
    add("json", action="store_true", help="for programs")
    return shared


def _reload(control: _Control, arguments: argparse.Namespace) -> int:
    began = time.time()
    try:
        control.look("/healthz")
        outcome = control.call("POST", "/reload", why="terrasterctl")
    except _Away:
        try:
            outcome = _outcome_since(control, began, at_least=0.0)  # it may have gone away over this very reload
        except _Away:
            control.signal(signal.SIGHUP)
            print("terrasterctl: the admin worker is away; told the master by signal instead", file=sys.stderr)
            try:
                outcome = _outcome_since(control, began, at_least=15.0)
            except _Away:
                raise _Refused("the reload was asked for; how it ended stands in Terraster's log", UNKNOWN) from None
    if arguments.json:
        print(json.dumps(outcome, indent=2))
        return DONE if outcome["ok"] else FAILED
    if not outcome["ok"]:
        print(f"terrasterctl: not reloaded, generation {outcome['generation']} goes on:", file=sys.stderr)
        for problem in outcome["problems"]:
            print(f"  {problem}", file=sys.stderr)
        return FAILED
    for line in outcome["changes"] or ["nothing changed"]:
        print(line)
    for line in outcome["notes"]:
        print(f"note: {line}")
    if outcome["replaced"]:
        print(f"note: replaced, as they did not take it over: {', '.join(map(str, outcome['replaced']))}")
    print(f"generation {outcome['generation']} in {outcome['seconds'] * 1000:.0f} ms")
    return DONE


def _outcome_since(control: _Control, moment: float, at_least: float) -> dict[str, Any]:
    """The outcome of the last reload that ended after ``moment`` (time.time()). Waits ``at_least`` seconds. Raises _Away."""
    until = min(control.deadline, time.monotonic() + at_least)
    while True:
        try:
            last: dict[str, Any] | None = control.look("/reload")["last_reload"]
            if last is not None and last["when"] >= moment:
                return last
        except _Away:
            pass
        if time.monotonic() >= until:
            raise _Away("no outcome")
        time.sleep(_RETRY)


def _status(control: _Control, arguments: argparse.Namespace) -> int:
    try:
        control.look("/healthz")
        document = control.call("GET", "/status")
    except _Away as away:
        pid = control.master()
        raise _Refused(f"Terraster runs (pid {pid}), but its admin worker does not answer: {away}") from None
    if arguments.json:
        print(json.dumps(document, indent=2))
    else:
        print(render.status(document, colour=_colourful(), everything=arguments.all, width=_width()), end="")
    return DONE


def _stop(control: _Control, arguments: argparse.Namespace) -> int:
    there = False
    try:
        control.look("/healthz")
        there = True
        answer = control.call("POST", "/stop", graceful="false" if arguments.now else "true")
        pid: int = answer["pid"]
    except _Away:
        try:
            pid = control.signal(signal.SIGQUIT if arguments.now else signal.SIGTERM)
        except _Refused as refused:
            if there and refused.code == NOT_RUNNING:  # it ended before its admin worker could say so
                return _stopped(None, arguments.json)
            raise
        print("terrasterctl: the admin worker is away; told the master by signal instead", file=sys.stderr)
    if not _wait_for_end(pid, control.left()):
        raise _Refused(f"process {pid} was told to stop, but it still runs (--timeout)", UNKNOWN)
    return _stopped(pid, arguments.json)


def _stopped(pid: int | None, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"ok": True, "pid": pid}))
    else:
        print(f"stopped (pid {pid})" if pid else "stopped")
    return DONE


_COMMANDS = {"reload": _reload, "status": _status, "stop": _stop}


def _say_no(text: str, code: int, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"ok": False, "error": text}))
    print(f"terrasterctl: {text}", file=sys.stderr)
    return code


def _colourful() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _width() -> int:
    """Columns to fill: those of the terminal, a fixed number where there is none."""
    return shutil.get_terminal_size((render.WIDTH, 24)).columns if sys.stdout.isatty() else render.WIDTH


def _is_locked(descriptor: int) -> bool:
    """Whether another process holds the lock on an open file."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two terrasterctl are not in each other's way
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def _wait_for_end(pid: int, seconds: float) -> bool:
    """Wait until a process (nobody's child of ours) has gone; whether it has."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(watched, select.POLLIN)
        return bool(poll.poll(max(0, int(seconds * 1000))))
    finally:
        os.close(watched)


if __name__ == "__main__":
    sys.exit(main())
