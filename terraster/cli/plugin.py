"""`terraster plugin`: write a new plugin with its test, and try one on recorded requests without a proxy.

    terraster plugin new NAME [--directory DIR]
    terraster plugin test FILE [--requests FILE] [--set KEY=VALUE …] [--timeout SECONDS]

Exit codes: 0 done, 1 a test failed, 2 the command line or a file cannot be used.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from terraster.errors import Problem

from .options import Parser, add_option, parse

if TYPE_CHECKING:
    from terraster.plugins.trial import Outcome

__all__ = ["main", "parser"]

_CODE = '''\
"""{name}: say here what it does."""

from pydantic import BaseModel, Field


class {cls}:
    """Adds a header to requests and responses."""

    name = "{name}"
    priority = 0  # low first
    counters = {{"seen": "Requests seen."}}

    class Settings(BaseModel):
        greeting: str = Field("hello", description="The value of X-Greeting.")

    def setup(self, context):
        self.context = context

    def process_request(self, request):
        self.context.count("seen")
        if request.path == "/teapot":
            return request.answer(418, json={{"error": "I'm a teapot"}})
        request.headers["X-Greeting"] = self.context.settings.greeting

    def process_response(self, request, response):
        response.headers["X-Greeting"] = self.context.settings.greeting

    def cleanup(self):
        pass
'''

_RECORDS = [
    {
        "request": {"method": "GET", "path": "/", "headers": {"Host": "example.com"}, "client": "192.0.2.1"},
        "response": {"status": 200, "headers": {"Content-Type": "text/plain"}, "body": "hi"},
        "expect": {"status": 200, "headers": {"X-Greeting": "hello"}, "upstream": {"X-Greeting": "hello"}, "body": "hi"},
    },
    {
        "request": {"path": "/teapot"},
        "expect": {"status": 418, "body": {"error": "I'm a teapot"}, "upstream": None},
    },
]


def main(argv: Sequence[str]) -> int:
    """The command. Returns the exit code."""
    arguments = parse(parser(), argv)
    try:
        return _new(arguments) if arguments.action == "new" else _test(arguments)
    except OSError as error:
        print(f"terraster plugin: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    made = Parser(
        prog="terraster plugin",
        description="Writes and tests plugins.",
        epilog="exit codes: 0 done; 1 a test failed; 2 the command line or a file cannot be used",
        allow_abbrev=False,
    )
    actions = made.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser("new", help="write NAME.py and its test, NAME.requests.json", allow_abbrev=False)
    new.add_argument("name", metavar="NAME", help="small letters, digits and _")
    add_option(
        new,
        "directory",
        metavar="DIR",
        default="plugins",
        help="where they are written (default: plugins); it is made if it is missing",
    )
    test = actions.add_parser("test", help="have recorded requests go through the plugins of a file", allow_abbrev=False)
    test.add_argument("file", metavar="FILE", help="a file of plugins")
    add_option(
        test,
        "requests",
        metavar="FILE",
        default=None,
        help="the records: a JSON list, or an access log in JSON lines (default: NAME.requests.json beside the file)",
    )
    add_option(
        test, "set", metavar="KEY=VALUE", action="append", default=[], help="a key of the plugin's Settings; VALUE may be JSON"
    )
    add_option(test, "timeout", metavar="SECONDS", type=float, default=0.05, help="time for a hook (default: 0.05)")
    return made


def _new(arguments: argparse.Namespace) -> int:
    from terraster.config.language import taken
    from terraster.filters.registry import KINDS

    name: str = arguments.name
    if not name.isascii() or not name.isidentifier() or name != name.lower() or name.startswith(("_", "test_")):
        return _refuse(f"a plugin's name has small letters, digits and _, and begins with a letter, not {name!r}")
    if name in taken(KINDS):
        return _refuse(f"a plugin cannot be called {name}: a filter, or a key of the configuration, has this name")
    base = os.path.join(arguments.directory, name)
    for file in (f"{base}.py", f"{base}.requests.json"):
        if os.path.lexists(file):
            return _refuse(f"{file} is there already")
    os.makedirs(arguments.directory, mode=0o755, exist_ok=True)
    cls = "".join(word.capitalize() for word in name.split("_"))
    _write(f"{base}.py", _CODE.format(name=name, cls=cls))
    _write(f"{base}.requests.json", json.dumps(_RECORDS, indent=2) + "\n")
    print(f"wrote {base}.py and {base}.requests.json; try them: terraster plugin test {base}.py")
    print("if this is the plugin_directory, `terrasterctl reload` puts it into effect, for all services")
    return 0


def _write(file: str, text: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with open(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.chmod(file, 0o644)


def _test(arguments: argparse.Namespace) -> int:
    from terraster.config.regular import regular
    from terraster.plugins.checker import wrong
    from terraster.plugins.loading import PluginError, class_in, described, module_of
    from terraster.plugins.trial import plugins_of, run

    file = os.path.abspath(arguments.file)
    with open(file, "rb", opener=regular) as stream:
        octets = stream.read()
    requests = arguments.requests or f"{file.removesuffix('.py')}.requests.json"
    failed = 0
    try:
        plugins = plugins_of(file, octets)
        records = _records(requests, named=arguments.requests is not None)
        keys = dict(_key(words) for words in arguments.set)
        for plugin in plugins:
            faults = wrong(described(class_in(module_of(file, octets), plugin.cls)).model, keys)
            if faults:
                return _refuse(f"{plugin.name}: " + "; ".join(words for _, words in faults))
            for record, outcome in zip(records, run(plugin, keys, arguments.timeout, records), strict=True):
                failed += bool(outcome.wrong)
                _show(plugin.name, record, outcome)
    except PluginError as error:
        return _refuse(str(Problem(file, error.line, max(error.column, 1), error.words)))
    except (ValueError, TypeError) as error:
        return _refuse(f"{requests}: {error}")
    print(f"{failed} of {len(records)} failed" if failed else f"OK: {len(records)} requests")
    return 1 if failed else 0


def _records(file: str, named: bool) -> list[dict[str, Any]]:
    """The recorded requests of a file. One request if it is not there, unless the operator named it. Raises OSError, ValueError."""
    from terraster.config.regular import regular
    from terraster.plugins.trial import records_of

    try:
        with open(file, encoding="utf-8", opener=regular) as text:
            return records_of(text.read())
    except FileNotFoundError:
        if named:
            raise
    print(f"there are no recorded requests ({file}), so this is one GET / (docs/plugins.md, Testing)")
    return [{"request": {}, "response": {"headers": {"Content-Type": "text/plain"}, "body": "hi"}}]


def _key(words: str) -> tuple[str, object]:
    name, equals, value = words.partition("=")
    if not equals:
        raise ValueError(f"--set needs KEY=VALUE, not {words}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _show(plugin: str, record: dict[str, Any], outcome: Outcome) -> None:
    asked = record.get("request")
    asked = asked if isinstance(asked, dict) else {}
    by = f", answered by {outcome.answered}" if outcome.answered else ""
    sign = "FAIL" if outcome.wrong else "ok  "
    print(
        f"{sign} {plugin}: {asked.get('method', 'GET')} {asked.get('path', '/')} → {outcome.status}{by} ({outcome.seconds * 1000:.2f} ms)"
    )
    for line in (*outcome.wrong, *outcome.log, *(() if "expect" in record else _changed(record, outcome))):
        print(f"       {line}")


def _changed(record: dict[str, Any], outcome: Outcome) -> Iterator[str]:
    """The fields that the plugin put in, for a record that expects nothing."""
    for what, part, found in (("backend gets", "request", outcome.upstream or []), ("client gets", "response", outcome.headers)):
        before = {(name.lower(), str(value)) for name, value in record.get(part, {}).get("headers", {}).items()}
        for name, value in found:
            if (name.lower(), value) not in before and name.lower() not in ("host", "content-length"):
                yield f"{what}: {name}: {value}"


def _refuse(words: str) -> int:
    print(f"terraster plugin: {words}", file=sys.stderr)
    return 2
