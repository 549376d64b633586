"""`terraster`: check a configuration, or run it.

    terraster [--config FILE] [--services DIR] [--api-config FILE] [--log-config FILE[,FILE…]]
              [--check [--strict] [--json] | --explain REQUEST [--header LINE] [--client IP] [--listener ADDRESS] [--json] | --schema
               | --version [--json] | --demo]
    terraster plugin new NAME | plugin test FILE             (`terraster.cli.plugin`)
    terraster bench [--url URL] [-c N] [-n N] [-d TIME] …    (`terraster.cli.bench`)

Exit codes: 0 stopped on request (or nothing wrong), 1 cannot start, 2 the configuration (or the command line) cannot be used.

The imports inside the functions are intended. The process that becomes the master must be patched (`terraster.master.patching`) before
anything imports gunicorn or urllib3, and a check needs neither.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from terraster.cli import explain, others, version, where
from terraster.cli.inherited import clean
from terraster.cli.options import Parser, add_option, parse
from terraster.cli.output import until_closed
from terraster.master.collector import rest

if TYPE_CHECKING:
    from terraster.config.edits import Edit
    from terraster.config.rules import Rules
    from terraster.config.settings import Settings
    from terraster.config.snapshot import Snapshot
    from terraster.errors import Problem
    from terraster.master.operator.documents import Laid

__all__ = ["main", "terraster_parser"]

_EPILOG = """\
exit codes: 0 stopped on request, or no problem found; 1 cannot start; 2 the
configuration cannot be used
signals: HUP reload, TERM drain and stop, QUIT stop at once, USR1 reopen logs,
USR2 upgrade, TTIN/TTOU add/remove a worker
see also: terraster plugin --help (write and test plugins); terraster bench --help
(send requests to a server and measure); terrasterctl --help; docs/operations.md
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns the exit code."""
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in others.OTHERS:
        return until_closed("terraster", lambda: others.run(words[0], words[1:]))
    parser = terraster_parser()
    arguments = parse(parser, explain.joined(words), list(others.OTHERS))
    if arguments.strict and not arguments.check:
        parser.error("--strict needs --check")
    if (arguments.header or arguments.client or arguments.listener) and arguments.explain is None:
        parser.error("--header, --client and --listener need --explain")
    if arguments.version:
        return until_closed("terraster", lambda: version.show(arguments.json))
    if arguments.schema:
        return until_closed("terraster", lambda: _schema(arguments.config))
    if arguments.explain is not None:
        return until_closed("terraster", lambda: _explain(_Configuration(arguments, to_run=False), arguments))
    if arguments.check:
        return until_closed("terraster", lambda: _check(_Configuration(arguments, to_run=False), arguments.json, arguments.strict))
    return _run(arguments)


def terraster_parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    parser = Parser(
        prog="terraster",
        description="A Layer-7 load balancer and reverse proxy.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    file = f"the configuration (default: {where.DEFAULT} in the current directory; without one, the packaged configuration)"
    add_option(parser, "config", metavar="FILE", help=file)
    add_option(parser, "services", metavar="DIR", help="add the services of every *.yaml and *.yml below DIR")
    add_option(parser, "api-config", metavar="FILE", help="read the settings of the management API from this file")
    logs: dict[str, Any] = {"metavar": "FILE[,FILE…]", "help": "read loggers from these files, JSON or YAML"}
    add_option(parser, "log-config", "--log_configs", "-log_configs", action="append", default=[], **logs)
    add_option(parser, "check", action="store_true", help="print the problems of the configuration and exit")
    add_option(
        parser, "explain", metavar="REQUEST", help="say what would be done with a request, such as 'GET https://a.test/b', and why"
    )
    explain.add_options(parser, "with --explain: ")
    add_option(parser, "json", action="store_true", help="with --check, --explain or --version: print JSON")
    add_option(parser, "strict", action="store_true", help="with --check: a warning is an error, too (exit code 2)")
    add_option(parser, "schema", action="store_true", help="print the JSON Schema of the configuration and exit")
    add_option(parser, "demo", action="store_true", help="start two demo backends as well and print commands to try")
    add_option(parser, "version", action="store_true", help="print the version and which rooms are compiled, and exit")
    return parser


class _Configuration:
    """Loads the files that the command line names, at each call. Keeps the parts that do not change between reloads.

    to_run: True: also refuse a configuration that is valid but cannot run yet
    """

    def __init__(self, arguments: argparse.Namespace, pause: Callable[[], None] | None = None, *, to_run: bool) -> None:
        from terraster.config.language import taken
        from terraster.config.loader import Loader
        from terraster.filters.registry import KINDS
        from terraster.plugins.finder import Finder

        given = arguments.config
        self.file = where.PACKAGED if given is None and arguments.demo else where.configuration(given)
        self._services = arguments.services
        self._api = arguments.api_config
        self._logs = [name for names in arguments.log_config for name in names.split(",") if name]
        self._loader = Loader(pause=pause, kinds=KINDS, plugins=Finder(taken(KINDS)))
        self._to_run = to_run
        self._last: tuple[Settings, Snapshot] | None = None
        self.notes: tuple[str, ...] = ()
        self.last: Laid | None = None
        self._secret = b"" if to_run else bytes(32)  # a check must not create the key file

    def __call__(self, generation: int) -> Snapshot:
        """The configuration on disk. Raises ConfigError, or StartError if the key of session cookies cannot be read or created."""
        return self.read(generation, ()).snapshot

    def read(self, generation: int, edits: Sequence[Edit], texts: Mapping[str, bytes] | None = None) -> Laid:
        """See `terraster.master.operator.documents`."""
        from terraster.config.resolve import resolve
        from terraster.errors import ConfigError
        from terraster.master.operator.documents import Laid

        settings = self._loader.load(
            self.file,
            services_dir=self._services,
            api_config=self._api,
            log_configs=self._logs,
            notes=not self._to_run,
            edits=edits,
            texts=texts,
        )
        if self._to_run and settings.refusals:
            raise ConfigError(list(settings.refusals))
        snapshot = resolve(settings, generation, previous=self._last, secret=self._secret)
        if not self._secret and _wants_secret(snapshot):
            from terraster.master.keys import cookie_key

            self._secret = cookie_key(snapshot.state_dir)
            snapshot = resolve(settings, generation, previous=self._last, secret=self._secret)
        self._last = (settings, snapshot)
        self.notes = settings.notes
        self.last = Laid(snapshot, self._loader.dormant, self._loader.texts)
        return self.last

    def adopted(self, edits: Sequence[Edit]) -> tuple[Mapping[str, bytes], dict[str, bytes]]:
        """See `terraster.master.operator.documents`."""
        return self._loader.adopted(edits, self.file, services_dir=self._services, api_config=self._api, log_configs=self._logs)

    def label(self, location: Mapping[str, Any]) -> str:
        """See `terraster.master.operator.documents`."""
        return self._loader.label(location)

    def asks(self, address: str) -> str:
        """See `Loader.asks`."""
        return self._loader.asks(address, self.file, services_dir=self._services, api_config=self._api, log_configs=self._logs)

    def placed(self, refusal: str | Problem) -> str:
        """Why the configuration that was read last cannot run, with the place of what is to blame if it can be found."""
        from terraster.certs.faults import fault_behind
        from terraster.errors import Problem

        if isinstance(refusal, Problem):
            return str(self.in_files(refusal))
        fault = fault_behind(self._last[1], refusal) if self._last is not None else None
        place = self.places({(fault.key, fault.file)}).get((fault.key, fault.file)) if fault is not None else None
        return refusal if place is None else f"{place.file}:{place.line}:{place.column}: {refusal}"

    def in_files(self, problem: Problem) -> Problem:
        """A problem with its place in the files, if it has none and is about a filter."""
        from terraster.errors import Unplaced

        if not isinstance(problem, Unplaced):
            return problem
        return self._loader.placed(problem, self.file, services_dir=self._services, api_config=self._api, log_configs=self._logs)

    def rules(self, pause: bool = True, texts: Mapping[str, bytes] | None = None, edits: Sequence[Edit] = ()) -> Rules:
        """See `Loader.rules`."""
        return self._loader.rules(
            self.file,
            services_dir=self._services,
            api_config=self._api,
            log_configs=self._logs,
            pause=pause,
            texts=texts,
            edits=edits,
        )

    def places(self, named: set[tuple[str, str]]) -> dict[tuple[str, str], Problem]:
        """See `Loader.places`."""
        return self._loader.places(named, self.file, services_dir=self._services, api_config=self._api, log_configs=self._logs)


def _wants_secret(snapshot: Snapshot) -> bool:
    """True if a location has sticky sessions but the configuration has no key to sign them.

    Only then is a key file created. A configuration without sticky sessions does not need a writable state directory.
    """
    return any(
        location.policy == "sticky-session" and not location.sticky.key
        for service in snapshot.services
        for location in service.locations
    )


def _schema(configuration: str | None) -> int:
    """Print the schema; of a configuration that is named, with the keys of its plugins."""
    from terraster.config.language import language, taken
    from terraster.config.plugins import directory
    from terraster.config.regular import regular
    from terraster.filters.registry import KINDS
    from terraster.plugins.finder import Finder

    known = language(KINDS)
    if configuration is not None:
        try:
            with open(configuration, encoding="utf-8-sig", errors="replace", opener=regular) as stream:
                text = stream.read()
        except OSError as error:
            print(f"{configuration}: cannot be read: {error.strerror}", file=sys.stderr)
            return 2
        found = Finder(taken(KINDS)).find(*directory(text, os.path.dirname(os.path.abspath(configuration)), os.environ))
        for problem in (*found.problems, *found.faults.values()):
            print(problem, file=sys.stderr)
        known = language((*KINDS, *found.kinds))
    json.dump(known.schema(), sys.stdout, indent=2)
    print()
    return 0


def _explain(load: _Configuration, arguments: argparse.Namespace) -> int:
    """Explain one request. Returns the exit code."""
    from terraster.errors import ConfigError, TerrasterError

    try:
        return explain.explain(
            load, load.rules, arguments.explain, arguments.header, arguments.client, arguments.listener, arguments.json
        )
    except ConfigError as error:
        for problem in error.problems:
            print(load.in_files(problem), file=sys.stderr)
    except (TerrasterError, ValueError) as error:
        print(f"terraster: {error}", file=sys.stderr)
    return 2


def _check(load: _Configuration, as_json: bool, strict: bool) -> int:
    """Do everything that a start does, except binding and probing. Prints the problems and returns the exit code. strict: a warning is as
    bad as a problem."""
    from terraster.certs.faults import faults
    from terraster.certs.folder import complaints
    from terraster.certs.ocsp_file import complaint
    from terraster.config.called import served
    from terraster.errors import ConfigError, Problem, TerrasterError
    from terraster.filters.passages import passages
    from terraster.filters.registry import KINDS
    from terraster.plan import compile_plan
    from terraster.state.leases import Leases, capacities
    from terraster.state.table import Table
    from terraster.state.view import SeatView

    problems: list[Problem] = []
    warnings: tuple[str, ...] = ()
    ways: list[str] = []
    found = {"services": 0, "locations": 0, "backends": 0, "listeners": 0}
    code = 0
    try:
        snapshot = load(1)
        warnings = snapshot.warnings
        locations = [location for service in snapshot.services for location in service.locations]
        backends = sum(len(location.backends) for location in locations)
        found = {
            "services": len(snapshot.services),
            "locations": sum(len(served(service)) for service in snapshot.services),
            "backends": backends,
            "listeners": len(snapshot.listeners),
        }
        table = Table(*capacities(backends, len(locations), 1))
        compile_plan(Leases(table).assign(snapshot), SeatView(table))
        for folder in dict.fromkeys(one for service in snapshot.services if service.tls is not None for one in service.tls.folders):
            warnings += tuple(complaints(folder))
        warnings += tuple(why for service in snapshot.services if (why := complaint(service, time.time())))
        ways = passages(snapshot, {kind.name for kind in KINDS if kind.guards})
        wrong = faults(snapshot)
        places = load.places({(fault.key, fault.file) for fault in wrong}) if wrong else {}
        for fault in wrong:
            place = places.get((fault.key, fault.file)) or Problem(load.file, 0, 0, "")
            problems.append(Problem(place.file, place.line, place.column, f"{fault.where}: {fault.words}"))
    except ConfigError as error:
        problems, code = [load.in_files(problem) for problem in error.problems], 2
    except TerrasterError as error:
        problems, code = [Problem(load.file, 0, 0, str(error))], 2
    notes = [*load.notes, *ways]
    failed = bool(problems or (strict and warnings))
    if failed:
        code = 2
    if as_json:
        listed = [{"file": one.file, "line": one.line, "column": one.column, "message": one.message} for one in problems]
        print(
            json.dumps(
                {
                    "ok": not failed,
                    "file": load.file,
                    **found,
                    "problems": listed,
                    "warnings": list(warnings),
                    "notes": notes,
                },
                indent=2,
            )
        )
        return code
    for problem in problems:
        print(problem, file=sys.stderr)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    if not failed:
        print(f"OK: {load.file}: " + ", ".join(f"{count} {what if count != 1 else what[:-1]}" for what, count in found.items()))
    return code


def _run(arguments: argparse.Namespace) -> int:
    from terraster.master.patching import patch

    patch()

    from terraster.admin.worker import AdminWorker
    from terraster.master.operator.adopted_files import finish
    from terraster.master.run import run
    from terraster.net.yielding import yield_to_loop
    from terraster.plan import compile_plan
    from terraster.worker.proxy_worker import ProxyWorker

    load = _Configuration(arguments, yield_to_loop, to_run=True)
    try:
        for line in finish(load.file):
            print(f"terraster: {line}", file=sys.stderr)
    except (OSError, ValueError, TypeError) as error:
        words = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        print(f"terraster: edits were being written into several files, which cannot be ended: {words}", file=sys.stderr)

    class Admin(AdminWorker):
        def rules(self, texts: Mapping[str, bytes] | None = None, edits: Sequence[Edit] = ()) -> Rules:
            return load.rules(pause=False, texts=texts, edits=edits)

    roles = {"proxy": ProxyWorker, "admin": Admin}
    if not arguments.demo:
        return run(load, roles, compile_plan, asks=load.asks, placed=load.placed, documents=load)

    def serve(advice: str) -> int:
        from terraster.cli.announce import announcing

        return run(
            load, {**roles, "admin": announcing(advice, Admin)}, compile_plan, asks=load.asks, placed=load.placed, documents=load
        )

    return _demo(load, serve)


def _demo(load: _Configuration, serve: Callable[[str], int]) -> int:
    from terraster.cli import demo
    from terraster.errors import ConfigError, StartError

    try:
        snapshot = load(1)
        backends = demo.start(demo.addresses(snapshot))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except StartError as error:
        print(f"terraster: cannot start: {error}", file=sys.stderr)
        return 1
    parent = os.getpid()
    try:
        return serve(demo.advice(snapshot, load.file, backends))
    finally:
        if os.getpid() == parent:
            demo.stop(backends)


if __name__ == "__main__":
    clean()
    rest()
    sys.exit(main())
