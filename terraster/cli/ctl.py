"""`terrasterctl`: controls a running Terraster over the unix socket that its admin worker serves in `runtime_dir`.

    terrasterctl [--config FILE | --runtime-dir DIR | --url URL] [--json] [--timeout SECONDS]
                 reload [--dry-run] | diff | status [--all] | stop [--now] | edits … | generations | rollback N | why … | explain REQUEST |
                 backend drain|maintain|enable|weight|add|remove|list … | drain|undrain|ready --host HOST | maintenance on|off SERVICE |
                 probe SERVICE URL | log-level LEVEL | limits show|reset … |
                 mirror [SERVICE] | plugins | certificates | audit [verify] | events | requests | failures | tail | slo [SERVICE] | user … |
                 doctor | top | login URL | logout | completion bash|zsh|fish

Exit codes: 0 done; 1 failed (the reason is printed); 2 wrong command line; 3 Terraster is not running; 4 the command was sent, but its
outcome is unknown.

`terraster.cli.backend` has the commands for single backends, `terraster.cli.control` the connection to the running Terraster.

If the admin worker is away, `reload` and `stop` use the pid file and a signal instead, and print that. The master starts a new admin
worker within about a second, and `reload` then asks it for the outcome.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import sys
from collections.abc import Sequence
from typing import Any

from .. import __version__
from ..logs import journal
from . import (
    audit,
    backend,
    completion,
    differences,
    doctor,
    edits,
    events,
    explain_running,
    hosts,
    level,
    limits,
    login,
    maintenance,
    mirror,
    plugins,
    probe,
    reload,
    render,
    render_certificates,
    requests,
    slo,
    top,
    users,
    where,
)
from .control import DONE, FAILED, NOT_RUNNING, UNKNOWN, USAGE, Away, Control, Refused
from .explain import joined
from .inherited import clean
from .options import Parser, add_option, parse
from .output import OUTPUT, colourful, until_closed, width
from .watching import add_watch, watched

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns the exit code."""
    words = sys.argv[1:] if argv is None else argv
    if tuple(words[:3]) == completion.ASKED:
        return until_closed("terrasterctl", lambda: completion.answer(_parser(), _control, words[3:]))
    if tuple(words[:3]) == completion.ASKED_FOR_TERRASTER:
        return until_closed("terrasterctl", lambda: completion.answer_for_terraster(words[3:]))
    arguments = parse(_parser(), joined(words))
    return until_closed("terrasterctl", lambda: _command(arguments))


def _command(arguments: argparse.Namespace) -> int:
    try:
        if arguments.command == "top":
            top.prepared(arguments)
        return watched(_COMMANDS[arguments.command], _control(arguments), arguments)
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename == OUTPUT:
            raise
        return _fail(f"{error.filename}: {error.strerror}", FAILED, arguments.json)
    except Away as away:
        return _fail(f"the admin worker does not answer: {away}", FAILED, arguments.json)
    except Refused as refused:
        return _fail(str(refused), refused.code, arguments.json)


def _control(arguments: argparse.Namespace) -> Control:
    """The Terraster that is meant: that of a URL, else the one on this host. Raises Refused or OSError."""
    on_host = arguments.runtime_dir is not None or arguments.config is not None
    if arguments.remote and on_host:
        raise Refused("--url means another host: --config and --runtime-dir do not go with it", USAGE)
    url = getattr(arguments, "address", "") or arguments.remote or ("" if on_host else os.environ.get("TERRASTER_URL", ""))
    if url:
        from .remote import Remote  # for this alone: TLS takes long to import

        return Remote(url, arguments.timeout, os.environ, arguments.ca_file)
    runtime_dir = arguments.runtime_dir or where.find_runtime_dir(where.configuration(arguments.config), os.environ)
    return Control(runtime_dir, arguments.timeout)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="terrasterctl",
        description="Controls a running Terraster.",
        epilog="exit codes: 0 done; 1 failed; 2 wrong command line; 3 Terraster is not running; 4 command sent, outcome unknown",
        parents=[_shared({"config": None, "runtime_dir": None, "timeout": 120.0, "json": False, "remote": "", "ca_file": ""})],
        allow_abbrev=False,
    )
    add_option(parser, "version", action="version", version=f"terrasterctl {__version__}", help="print the version, and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    shared = _shared({})
    reload.add_command(commands, shared)
    differences.add_command(commands, shared)
    status = commands.add_parser("status", parents=[shared], help="show problems, services, backends and workers")
    add_watch(status)
    status.add_argument("--all", action="store_true", help="show every service, even of a large configuration")
    stop = commands.add_parser("stop", parents=[shared], help="finish open requests and stop; return when Terraster has ended")
    stop.add_argument("--now", action="store_true", help="do not wait for open requests")
    backend.add_commands(commands, shared)
    hosts.add_commands(commands, shared)
    probe.add_command(commands, shared)
    level.add_command(commands, shared)
    limits.add_command(commands, shared)
    explain_running.add_command(commands, shared)
    doctor.add_command(commands, shared)
    edits.add_command(commands, shared)
    maintenance.add_command(commands, shared)
    mirror.add_command(commands, shared)
    plugins.add_command(commands, shared)
    audit.add_command(commands, shared)
    users.add_command(commands, shared)
    top.add_command(commands, shared)
    login.add_commands(commands, shared)
    completion.add_command(commands, shared)
    events.add_command(commands, shared)
    requests.add_commands(commands, shared)
    slo.add_command(commands, shared)
    add_watch(
        commands.add_parser("certificates", parents=[shared], help="list the certificates in use, those that end soonest first")
    )
    return parser


def _shared(defaults: dict[str, Any]) -> Parser:
    """Options that are allowed before the command (with defaults) and after it (where they override only if given)."""
    shared = Parser(add_help=False, allow_abbrev=False)

    def add(name: str, **options: Any) -> None:
        add_option(shared, name, default=defaults.get(name.replace("-", "_"), argparse.SUPPRESS), **options)

    add("config", metavar="FILE", help="the configuration that names the runtime_dir (default: as for terraster)")
    add("runtime-dir", metavar="DIR", help="the runtime directory of the running Terraster")
    of_remote = {"metavar": "URL", "dest": "remote", "default": defaults.get("remote", argparse.SUPPRESS)}
    words = "another host, by its management API: see `login` (default: TERRASTER_URL, else this host)"
    shared.add_argument("--url", help=words, **of_remote)
    shared.add_argument("-url", help=argparse.SUPPRESS, **of_remote)
    add("ca-file", metavar="FILE", help="with a URL: the authorities that its certificate is verified by")
    add("timeout", metavar="SECONDS", type=float, help="seconds to wait for the outcome (default: 120)")
    add("json", action="store_true", help="print JSON")
    return shared


def _status(control: Control, arguments: argparse.Namespace) -> int:
    try:
        control.look("/healthz")
        document = control.call("GET", "/status")
    except Away as away:
        pid = control.master()
        raise Refused(f"Terraster runs (pid {pid}), but its admin worker does not answer: {away}") from None
    if arguments.json:
        print(json.dumps(document, indent=2))
    else:
        print(render.status(document, colour=colourful(), everything=arguments.all, width=width()), end="")
    return DONE


def _stop(control: Control, arguments: argparse.Namespace) -> int:
    there = False
    try:
        control.look("/healthz")
        there = True
        answer = control.call("POST", "/stop", graceful="false" if arguments.now else "true")
        pid: int = answer["pid"]
    except Away:
        try:
            pid = control.signal(signal.SIGQUIT if arguments.now else signal.SIGTERM)
        except Refused as refused:
            if there and refused.code == NOT_RUNNING:  # it ended before its admin worker could answer
                return _stopped(None, arguments.json)
            raise
        print("terrasterctl: the admin worker does not answer; sent the master a signal instead", file=sys.stderr)
    if not _wait_for_end(pid, control.left()):
        raise Refused(f"process {pid} was told to stop but still runs (see --timeout)", UNKNOWN)
    return _stopped(pid, arguments.json)


def _stopped(pid: int | None, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"ok": True, "pid": pid}))
    else:
        print(f"stopped (pid {pid})" if pid else "stopped")
    return DONE


def _certificates(control: Control, arguments: argparse.Namespace) -> int:
    document = control.ask("GET", "/status")
    if arguments.json:
        print(json.dumps({key: document[key] for key in ("ok", "now", "certificates", "certificate_orders")}, indent=2))
    else:
        print(render_certificates.certificates(document, colour=colourful(), width=width()), end="")
    return DONE


_COMMANDS = {
    "reload": reload.reload,
    "diff": differences.differences,
    "status": _status,
    "stop": _stop,
    "backend": backend.backend,
    "probe": probe.probe,
    "log-level": level.level,
    "limits": limits.limits,
    "drain": hosts.drain,
    "undrain": hosts.undrain,
    "ready": hosts.undrain,
    "doctor": doctor.doctor,
    "edits": edits.edits,
    "generations": edits.generations,
    "rollback": edits.rollback,
    "why": backend.why,
    "explain": explain_running.explain,
    "maintenance": maintenance.maintenance,
    "mirror": mirror.mirror,
    "plugins": plugins.plugins,
    "user": users.user,
    "certificates": _certificates,
    "audit": audit.audit,
    "completion": completion.completion,
    "top": top.top,
    "login": login.login,
    "logout": login.logout,
    "events": events.events,
    **requests.COMMANDS,
    "slo": slo.slo,
}


def _fail(text: str, code: int, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"ok": False, "problems": [text], "candidates": []}))
    print(journal.as_error(f"terrasterctl: {text}"), file=sys.stderr)
    return code


def _wait_for_end(pid: int, seconds: float) -> bool:
    """Wait until a process ends that is not a child of this one. Returns True if it has ended."""
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
    clean()
    sys.exit(main())
