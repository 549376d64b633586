"""A trial of a plugin without a proxy: recorded requests and responses go through its hooks, and what comes out is compared with what is
expected (`terraster plugin test`).

The hooks run as in a worker: with the same views, the same guard and the same rules for faults.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import SecretStr

from ..config.settings.plugins import PluginUse
from ..config.snapshot import Plugin
from ..errors import HttpError
from ..exchange import Exchange
from ..filters.answer import Answer
from ..state.table import Table
from ..state.view import SeatView
from ..wire.answers import OwnHead
from ..wire.edits import Edits
from ..wire.http1 import RequestHead, ResponseHead, parse_request, parse_response
from .hooked import Bound
from .host import Host
from .loading import PluginError, classes_in, described, module_of

__all__ = ["Outcome", "plugins_of", "records_of", "run"]

_HEAD = 1 << 20
_FIELDS = 1000

Record = dict[str, Any]


class Outcome:
    """The outcome of one record.

    answered: by which hook, "" = by the backend of the record. status, headers, body: of the response to the client. upstream: the fields
    that the backend would get; None: it would get nothing. seconds: in hooks. wrong: what differs from what is expected
    """

    __slots__ = ("answered", "body", "headers", "log", "seconds", "status", "upstream", "wrong")

    def __init__(self) -> None:
        self.answered = ""
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.body = b""
        self.upstream: list[tuple[str, str]] | None = None
        self.seconds = 0.0
        self.wrong: list[str] = []
        self.log: list[str] = []


class _Bodies:
    """Gives the body of the record (`terraster.filters.runtime.Bodies`)."""

    def __init__(self) -> None:
        self.body = b""

    def read(self, exchange: Exchange, most: int) -> bytes | None:
        return self.body if len(self.body) <= most else None


class _Log:
    """Keeps the lines that plugins log."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def _say(self, level: str, text: str, *words: object) -> None:
        self.lines.append(f"{level}: {text % words if words else text}")

    def debug(self, text: str, *words: object) -> None:
        self._say("debug", text, *words)

    def info(self, text: str, *words: object) -> None:
        self._say("info", text, *words)

    def warning(self, text: str, *words: object) -> None:
        self._say("warning", text, *words)

    def error(self, text: str, *words: object) -> None:
        self._say("error", text, *words)


def plugins_of(file: str, octets: bytes) -> list[Plugin]:
    """The plugins of a file. Runs it. Raises `PluginError`."""
    found = []
    for number, one in enumerate(map(described, classes_in(module_of(file, octets)))):
        found.append(
            Plugin(
                name=one.name,
                origin="file",
                file=file,
                cls=one.cls,
                octets=octets,
                digest=one.cls,
                hooks=one.hooks,
                priority=one.priority,
                request_body=one.request_body,
                response_body=one.response_body,
                counters=one.counters,
                slot=number,
            )
        )
    return found


def records_of(text: str) -> list[Record]:
    """The records of a file: a JSON list, or lines of an access log in JSON. Raises ValueError."""
    if text.lstrip()[:1] == "[":
        found = json.loads(text)
        if not all(isinstance(one, dict) for one in found):
            raise ValueError("must be a list of objects")
        return list(found)
    return [_of_line(json.loads(line), number) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def _of_line(line: Any, number: int) -> Record:
    """A record of an access line. Bodies and most fields are not in the log."""
    if not isinstance(line, dict) or not isinstance(line.get("uri"), str):
        raise ValueError(f"line {number} is neither a record nor an access line with a `uri`")
    headers = {"Host": line.get("host") or "localhost"}
    for key, name in (("user_agent", "User-Agent"), ("referer", "Referer")):
        if line.get(key):
            headers[name] = line[key]
    request = {
        "method": line.get("method", "GET"),
        "path": line["uri"],
        "headers": headers,
        "client": line.get("client", "192.0.2.1"),
    }
    return {"request": request, "response": {"status": line.get("status", 200)}}


def run(plugin: Plugin, keys: Mapping[str, Any], timeout: float, records: list[Record]) -> list[Outcome]:
    """The outcome of each record. keys: of the plugin's `Settings`. Raises `PluginError` if it cannot be loaded or set up."""
    bodies, log = _Bodies(), _Log()
    host = Host(SeatView(Table(1, 64, 1)), bodies, log)
    host.adopt((plugin,))
    use = PluginUse(
        name=plugin.name,
        hooks=plugin.hooks,
        priority=plugin.priority,
        request_body=plugin.request_body,
        response_body=plugin.response_body,
        timeout=timeout,
        values=SecretStr(json.dumps(dict(keys), sort_keys=True)),
    )
    bound = host.hooked(use)
    if not bound.works:
        raise PluginError(log.lines[-1] if log.lines else "cannot be set up")
    outcomes = []
    try:
        for record in records:
            bodies.body = _octets(record.get("request", {}).get("body"))
            outcome = _try(bound, record)
            outcome.log, log.lines = log.lines, []
            outcome.wrong = list(_differences(record.get("expect", {}), outcome))
            outcomes.append(outcome)
    finally:
        host.close()
    return outcomes


def _try(bound: Bound, record: Record) -> Outcome:
    outcome = Outcome()
    asked, answers = record.get("request", {}), record.get("response", {})
    exchange = _exchange(asked)
    began = time.perf_counter()
    try:
        answer = bound.on_request(exchange)
        if answer is not None:
            outcome.answered = "the plugin"
        else:
            edits = Edits()
            bound.on_upstream(exchange, edits)
            outcome.upstream = _fields(exchange.head.fields, edits)
            _respond(bound, exchange, answers, outcome)
    except HttpError as error:
        answer = bound.on_error(exchange, error)
        outcome.answered = "the plugin" if answer is not None else f"an error: {error.detail}"
        answer = answer or Answer(error.status)
    if answer is not None:
        exchange.status = answer.status
        edits = Edits(answer.status, True, OwnHead(answer.status, answer.headers, len(answer.body)))
        bound.on_response(exchange, edits)
        outcome.status, outcome.body = answer.status, answer.body
        outcome.headers = _fields(answer.headers, edits)
    exchange.status = outcome.status
    bound.on_log(exchange)
    outcome.seconds = time.perf_counter() - began
    return outcome


def _respond(bound: Bound, exchange: Exchange, answers: Mapping[str, Any], outcome: Outcome) -> None:
    """Have the response of the record go through the plugin."""
    body = _octets(answers.get("body"))
    lines = _lines({"Content-Length": len(body), **_typed(answers)})
    text = b"HTTP/1.1 %d X\r\n%b\r\n" % (int(answers.get("status", 200)), lines)
    head = parse_response(text, exchange.method, _HEAD, _FIELDS)
    assert isinstance(head, ResponseHead)
    exchange.status = head.status
    edits = Edits(head.status, False, head)
    bound.on_response(exchange, edits)
    if edits.transform is not None:
        body = edits.transform.end(body)
        edits.transform.over()
        edits.remove(b"Content-Length")
    outcome.status, outcome.body, outcome.headers = head.status, body, _fields(head.fields, edits)


def _typed(part: Mapping[str, Any]) -> dict[str, Any]:
    headers = dict(part.get("headers", {}))
    if not isinstance(part.get("body", ""), str) and "content-type" not in map(str.lower, headers):
        headers["Content-Type"] = "application/json"
    return headers


def _exchange(asked: Mapping[str, Any]) -> Exchange:
    """The exchange of a request. Raises ValueError if it cannot be one."""
    body = _octets(asked.get("body"))
    headers = _typed(asked)
    if "host" not in map(str.lower, headers):
        headers = {"Host": "localhost", **headers}
    if body:
        headers["Content-Length"] = len(body)
    path = str(asked.get("path", "/"))
    if not path.startswith("/"):
        raise ValueError(f"the path of a request begins with /, not {path!r}")
    text = f"{asked.get('method', 'GET')} {path} HTTP/1.1\r\n".encode() + _lines(headers) + b"\r\n"
    try:
        head = parse_request(text, _HEAD, _FIELDS)
    except HttpError as error:
        raise ValueError(f"the request {asked.get('method', 'GET')} {path} is not valid: {error.detail}") from None
    assert isinstance(head, RequestHead)
    client = str(asked.get("client", "192.0.2.1"))
    exchange = Exchange(time.monotonic(), time.time(), client, client, str(asked.get("scheme", "http")), head)
    exchange.path, _, exchange.query = head.target.partition(b"?")
    exchange.host = exchange.field(b"host")
    exchange.request_id = b"test"
    exchange.user = str(asked.get("user", ""))
    return exchange


def _octets(body: Any) -> bytes:
    """A body: text as it is, anything else as JSON."""
    if body is None:
        return b""
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def _lines(headers: Mapping[str, Any]) -> bytes:
    return b"".join(f"{name}: {value}\r\n".encode() for name, value in headers.items())


def _fields(sent: Any, edits: Edits) -> list[tuple[str, str]]:
    found = [(bytes(name), bytes(value)) for name, value in sent if name.lower() not in edits.drop]
    for line in edits.extra.splitlines():
        name, _, value = line.partition(b":")
        found.append((name, value.strip(b" \t")))
    return [(name.decode("utf-8", "replace"), value.decode("utf-8", "replace")) for name, value in found]


def _differences(expected: Mapping[str, Any], outcome: Outcome) -> Any:
    """Words on everything that is not as expected."""
    for key, check in _CHECKS.items():
        if key in expected:
            yield from check(expected[key], outcome)
    for key in expected.keys() - _CHECKS.keys():
        yield f"`expect` has `{key}`; it may have {', '.join(_CHECKS)}"


def _status(expected: Any, outcome: Outcome) -> Any:
    if outcome.status != expected:
        yield f"status is {outcome.status}, not {expected}"


def _headers(expected: Mapping[str, Any], outcome: Outcome) -> Any:
    yield from _compared("header", expected, outcome.headers)


def _upstream(expected: Mapping[str, Any] | None, outcome: Outcome) -> Any:
    if expected is None or outcome.upstream is None:
        if (expected is None) != (outcome.upstream is None):
            yield "the backend gets nothing" if outcome.upstream is None else "the backend gets the request"
        return
    yield from _compared("header for the backend", expected, outcome.upstream)


def _compared(what: str, expected: Mapping[str, Any], found: list[tuple[str, str]]) -> Any:
    for name, value in expected.items():
        values = [one for other, one in found if other.lower() == name.lower()]
        if value is None and values:
            yield f"{what} {name} is {', '.join(values)}, and should not be there"
        elif value is not None and str(value) not in values:
            yield f"{what} {name} is {', '.join(values) or 'not there'}, not {value}"


def _text(expected: Any, outcome: Outcome) -> Any:
    wanted = _octets(expected) if isinstance(expected, str) else expected
    found: Any = outcome.body
    if not isinstance(expected, str):
        try:
            found = json.loads(outcome.body)
        except ValueError:
            found = None
    if found != wanted:
        yield f"body is {outcome.body[:200]!r}, not {str(expected)[:200]!r}"


_CHECKS: dict[str, Callable[[Any, Outcome], Any]] = {"status": _status, "headers": _headers, "upstream": _upstream, "body": _text}
