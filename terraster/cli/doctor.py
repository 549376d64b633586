"""`terrasterctl doctor`: looks at the host, the files and the running processes for what makes traffic fail, and says what to do.

The imports inside the functions are intended: certificates and name servers take 0.3 s to import, and other commands need neither.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import textwrap
import time
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, TerrasterError
from . import where
from .control import Away, Control, Refused
from .output import colourful, width
from .table import BOLD, DIM, GREEN, PLAIN, RED

if TYPE_CHECKING:
    from ..config.snapshot import Snapshot
    from ..doctor.examination import Look
    from ..doctor.finding import Finding
    from ..doctor.proc import Proc

__all__ = ["add_command", "doctor"]

_LOOKS = 0.5  # seconds between two looks at the kernel's counters
_COLOURS = {"problem": RED, "warning": BOLD, "note": DIM}
_ORDER = ("problem", "warning", "note")


def add_command(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command to those of terrasterctl. shared: the options of all commands."""
    commands.add_parser(
        "doctor",
        parents=[shared],
        help="look for what makes traffic fail: descriptors, queues, clock, permissions, DNS, certificates, disks, the kernel",
    )


def doctor(control: Control, arguments: argparse.Namespace) -> int:
    """The command `doctor`. Returns 0 if nothing but notes were found, 1 for warnings, 2 for problems. Raises Refused."""
    if not control.runtime_dir:
        raise Refused("`doctor` looks at the host that it runs on: run it on the host of Terraster, without --url")
    from ..doctor.examination import examine
    from ..doctor.finding import exit_code
    from ..doctor.proc import Proc

    look, findings = _look(control, where.configuration(arguments.config), Proc())
    findings += examine(look)
    findings.sort(key=lambda one: _ORDER.index(one.severity))
    code = exit_code(findings)
    if arguments.json:
        document = {"ok": code == 0, "now": look.now, "running": look.pid > 0, "findings": [one._asdict() for one in findings]}
        print(json.dumps(document, indent=2))
    else:
        print(shown(findings, colour=colourful(), width=width()), end="")
    return code


def shown(findings: list[Finding], *, colour: bool, width: int) -> str:
    """The text for people."""
    text = ""
    for one in findings:
        head = f"{one.severity.upper()}  {one.check}"
        text += f"{_COLOURS[one.severity]}{head}{PLAIN}\n" if colour else f"{head}\n"
        for words in (one.what, one.reason, f"To do: {one.do}"):
            text += textwrap.fill(words, width, initial_indent="  ", subsequent_indent="    ", break_long_words=False) + "\n"
    counts = [(sum(one.severity == word for one in findings), word) for word in _ORDER]
    said = ", ".join(f"{count} {word}{'s' * (count != 1)}" for count, word in counts if count)
    end = said or "nothing found"
    return text + (f"{GREEN}{end}{PLAIN}\n" if colour and not said else f"{end}\n")


def _look(control: Control, file: str, proc: Proc) -> tuple[Look, list[Finding]]:
    """Gather the values. Takes a second. The findings: of the configuration, if it cannot be read."""
    from ..doctor import clock, names
    from ..doctor.examination import Look, processes, run_user

    began, before = time.monotonic(), proc.counters("net/netstat")
    offset = time.time() - began
    status, pid, why = _status(control)
    snapshot, findings = _configuration(file)
    asked = [] if snapshot is None else names.ask(names.wanted(snapshot), snapshot.nameservers)
    workers = [one for one in processes(proc, status, pid) if one.name.startswith("proxy")]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if workers:
        soft = hard = workers[0].limit or -1
    if (left := began + _LOOKS - time.monotonic()) > 0:
        time.sleep(left)
    look = Look(
        proc=proc,
        snapshot=snapshot,
        status=status,
        pid=pid,
        why=why,
        user=run_user(_uid(proc, pid, snapshot)),
        soft=soft,
        hard=hard,
        before=before,
        now=time.time(),
        jumped=time.time() - time.monotonic() - offset,
        kernel=clock.kernel(),
        asked=asked,
    )
    return look, findings


def _status(control: Control) -> tuple[dict[str, Any] | None, int, str]:
    """The status, the master's pid (0: it does not run), and why there is no status."""
    try:
        pid = control.master()
    except Refused as refused:
        return None, 0, str(refused)
    try:
        control.look("/healthz")
        return control.call("GET", "/status"), pid, ""
    except (Away, Refused) as error:
        return None, pid, str(error)


def _configuration(file: str) -> tuple[Snapshot | None, list[Finding]]:
    from ..config.language import taken
    from ..config.loader import Loader
    from ..config.resolve import resolve
    from ..doctor.finding import Finding
    from ..filters.registry import KINDS
    from ..plugins.finder import Finder

    try:
        settings = Loader(kinds=KINDS, plugins=Finder(taken(KINDS))).load(file)
        return resolve(settings, 1, secret=bytes(32)), []
    except ConfigError as error:
        problems = [str(one) for one in error.problems]
    except TerrasterError as error:
        problems = [str(error)]
    more = f" ({len(problems) - 3} more)" if len(problems) > 3 else ""
    return None, [
        Finding(
            "configuration",
            "problem",
            f"The configuration cannot be used: {'; '.join(problems[:3])}{more}.",
            "Terraster does not start with it, and a reload is refused. The checks that need it are left out.",
            "Repair it; `terraster --check` names all problems.",
        )
    ]


def _uid(proc: Proc, pid: int, snapshot: Snapshot | None) -> int:
    """The user that Terraster runs as; if it does not run, the owner of its state directory, else the caller."""
    process = proc.process(pid, "") if pid else None
    if process is not None:
        return process.user
    try:
        return os.stat(snapshot.state_dir).st_uid if snapshot is not None else os.geteuid()
    except OSError:
        return os.geteuid()
