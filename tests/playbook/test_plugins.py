"""Plugins: what their hooks change and answer, and what becomes of a request whose hook fails. Here no guard cuts them off."""

from __future__ import annotations

import sys
from typing import Any

import gevent
from greenlet import GreenletExit

from terraster.config.plugin import Plugin as Code
from terraster.config.settings.plugins import PluginUse
from terraster.filters.contract import Place
from terraster.filters.plugin import Plugin
from terraster.plugins.guard import Overrun
from terraster.plugins.hooked import Bound
from terraster.plugins.views import MOST
from terraster.state.view import SeatView

from .lines import answered, asked, chunks, ok, refused, req, request_id, resp, start
from .play import FIN, GONE, Row, Step, b1, client, log, row, table, whole

GET = req("GET /a")
CHUNKED = "Transfer-Encoding: chunked"


class Everything:
    """A plugin that does by the path what a row is about."""

    def on_request(self, request: Any) -> Any:
        match request.path:
            case "/own":
                return request.answer(403, json={"a": 1}, headers={"X-Why": "no"})
            case "/raise":
                raise ValueError("no")
            case "/slow":
                raise Overrun(True)
            case "/nonsense":
                return 5
        request.headers["X-In"] = "1"
        return None

    def on_response(self, request: Any, response: Any) -> Any:
        if request.path == "/instead":
            return 410, {}, "gone"
        if request.path == "/late":
            raise ValueError("no")
        response.headers["X-Out"] = response.status
        return None

    def on_error(self, request: Any, error: Any) -> Any:
        return request.answer(418, text="tea") if request.path == "/comfort" else None


def raising(error: BaseException) -> Any:
    raise error


HOSTILE: dict[str, Any] = {
    "text": lambda request: "text",
    "octets": lambda request: b"octets",
    "dict": lambda request: {"status": 200},
    "pair": lambda request: (200, "x"),
    "coroutine": lambda request: (one for one in ()),
    "status-999": lambda request: 999,
    "status-101": lambda request: (101, {}, ""),
    "status-text": lambda request: ("200", {}, ""),
    "status-true": lambda request: True,
    "status-float": lambda request: 200.0,
    "name-crlf": lambda request: (200, {"X-A\r\nX-B": "1"}, ""),
    "name-accent": lambda request: (200, {"X-É": "1"}, ""),
    "name-empty": lambda request: (200, {"": "1"}, ""),
    "length": lambda request: (200, {"Content-Length": "5"}, "hi"),
    "coding": lambda request: (200, {"Transfer-Encoding": "chunked"}, "hi"),
    "connection": lambda request: (200, {"Connection": "close"}, "hi"),
    "value-list": lambda request: (200, {"X-A": ["1"]}, ""),
    "value-surrogate": lambda request: (200, {"X-A": "\ud800"}, ""),
    "value-huge": lambda request: (200, {"X-A": "x" * 65537}, ""),
    "body-surrogate": lambda request: (200, {}, "\ud800"),
    "body-huge": lambda request: (200, {}, bytes(MOST + 1)),
    "body-generator": lambda request: (200, {}, iter(int, 1)),
    "body-nan": lambda request: (200, {}, float("nan")),
    "body-204": lambda request: (204, {}, "x"),
    "body-205": lambda request: request.answer(205, text="x"),
    "body-304": lambda request: request.answer(304, json={}),
    "set-length": lambda request: request.headers.set("Content-Length", 5),
    "set-coding": lambda request: request.headers.set("Transfer-Encoding", "chunked"),
    "no-host": lambda request: request.headers.remove("Host"),
    "read-only": lambda request: setattr(request, "path", "/b"),
    "exit": lambda request: sys.exit(3),
    "keyboard": lambda request: raising(KeyboardInterrupt()),
    "generator-exit": lambda request: raising(GeneratorExit()),
    "greenlet-exit": lambda request: raising(GreenletExit()),
    "gevent-timeout": lambda request: raising(gevent.Timeout(1)),
    "recursion": lambda request: raising(RecursionError()),
    "memory": lambda request: raising(MemoryError()),
    "stop": lambda request: raising(StopIteration()),
    "group": lambda request: raising(BaseExceptionGroup("all", [KeyboardInterrupt(), ValueError()])),
    "silent": lambda request: raising(type("Silent", (Exception,), {"__str__": lambda self: 1 / 0})()),
}
"""What a hook must not do, by the path that it does it for."""


class Hostile:
    """Does what `HOSTILE` says, or what ends well."""

    def on_request(self, request: Any) -> Any:
        match request.path:
            case "/lines":
                return 200, {"X-A": "a\r\nSet-Cookie: b"}, b""
            case "/204":
                return 204, {}, None
            case "/304":
                return request.answer(304, headers={"ETag": '"a"'})
            case "/hosts":
                request.headers.add("Host", "b.test")
                request.headers["X-A"] = "a\r\nHost: c.test"
                return None
        return HOSTILE[request.path[1:]](request)


class Bodies:
    """Looks into bodies, and writes them backwards."""

    def on_request_body(self, request: Any, body: bytes) -> Any:
        if b"bad" in body:
            return 403
        request.headers["X-Length"] = len(body)
        return None

    def on_response_body(self, request: Any, response: Any, body: bytes) -> Any:
        return body[::-1]


class _Log:
    def error(self, *words: object) -> None:
        pass

    warning = info = error


class _Version:
    """The code of a plugin, as `Bound` sees it."""

    def __init__(self, cls: type, hooks: tuple[str, ...]) -> None:
        self.cls = cls
        self.plugin = Code("p", "file", __file__, cls.__name__)
        self.hooks = {hook: hook for hook in hooks}


class _Host:
    """Calls hooks without a guard."""

    log = _Log()

    def __init__(self, place: Place) -> None:
        self._place = place

    @property
    def bodies(self) -> Any:
        return self._place.runtime.bodies

    def call(self, plugin: Code, name: str, seconds: float, hook: Any, *arguments: Any) -> Any:
        return hook(*arguments)

    def instance(self, code: Any, use: PluginUse) -> Any:
        return code.cls()

    def add(self, plugin: Code, cell: int, many: int = 1) -> None:
        pass

    put = add

    def called(self, plugin: Code, seconds: float) -> None:
        pass


class _Played(Plugin):
    """The filter of a plugin, with the plugin in it."""

    __slots__ = ()
    settings = None  # type: ignore[assignment]
    cls: type
    hooks: tuple[str, ...]
    on_fault = "fail"

    def __init__(self, settings: None, place: Place, view: SeatView) -> None:
        use = PluginUse(name="p", hooks=self.hooks, request_body=10, response_body=10, on_error=self.on_fault, faults=1000)  # type: ignore[arg-type]
        super().__init__(use, place, view)
        bound = self._hooked = Bound(_Host(place), use)  # type: ignore[arg-type]
        bound.take(_Version(self.cls, self.hooks))  # type: ignore[arg-type]


class Failing(_Played):
    """`on_error: fail`."""

    __slots__ = ()
    name = "failing"
    cls = Everything
    hooks = ("on_request", "on_response", "on_error")


class Passing(Failing):
    """`on_error: pass`."""

    __slots__ = ()
    name = "passing"
    on_fault = "pass"


class Body(_Played):
    """With the hooks of bodies."""

    __slots__ = ()
    name = "body"
    cls = Bodies
    hooks = ("on_request_body", "on_response_body")


class Wild(_Played):
    """With `Hostile`."""

    __slots__ = ()
    name = "wild"
    cls = Hostile
    hooks = ("on_request",)


def with_(kind: type[_Played], name: str, *steps: Step, **keys: object) -> Row:
    return row(name, *steps, filters=(kind,), **keys)  # type: ignore[arg-type]


def fault(path: str, n: int = 1) -> tuple[Step, ...]:
    return (
        client >> req(f"GET {path}"),
        client << refused(500, "proxy_internal_error", "X-Out: 500", n=n),
        log(500, error="proxy_internal_error"),
    )


test_hooks = table(
    with_(
        Failing,
        "fields for the backend and for the client",
        client >> GET,
        b1 << asked("GET /a", "X-In: 1"),
        b1 >> ok("one", "X-Out: 9"),
        client << answered("200 OK", "X-Out: 200", body="one"),
        log(200, b1),
    ),
    with_(
        Failing,
        "an answer: no backend is asked, and the connection goes on",
        client >> req("GET /own"),
        client << answered("403 Forbidden", "X-Why: no", "Content-Type: application/json", "X-Out: 403", body='{"a": 1}'),
        log(403),
        client >> GET,
        b1 << asked("GET /a", "X-In: 1", n=2),
        b1 >> ok("one"),
        client << answered("200 OK", "X-Out: 200", body="one"),
        log(200, b1),
    ),
    with_(
        Failing,
        "an answer in place of a backend's response",
        client >> req("GET /instead"),
        b1 << asked("GET /instead", "X-In: 1"),
        b1 >> whole(ok("one")),
        b1.ends(),
        client << answered("410 Gone", "Content-Type: text/plain; charset=utf-8", body="gone"),
        log(410, b1, error="http_request_denied"),
    ),
    with_(
        Failing,
        "an answer in place of an error",
        client >> req("GET /comfort"),
        client << answered("418 I'm a Teapot", "Content-Type: text/plain; charset=utf-8", "X-Out: 418", body="tea"),
        log(418, error="destination_not_found"),
        locations="- path: /a\n  backends: [{url: 'http://10.0.0.1:8000'}]",
    ),
)

test_faults = table(
    with_(Failing, "an exception is a 500, and the connection goes on", *fault("/raise"), *fault("/raise", 2)),
    with_(Failing, "so is a hook that is cut off", *fault("/slow")),
    with_(Failing, "so is an answer that is none", *fault("/nonsense")),
    with_(
        Failing,
        "at a backend's response: its connection ends",
        client >> req("GET /late"),
        b1 << asked("GET /late", "X-In: 1"),
        b1 >> whole(ok("one")),
        b1.ends(),
        client << refused(500, "proxy_internal_error"),
        log(500, b1, error="proxy_internal_error"),
    ),
    *[
        with_(
            Passing,
            f"passed over: {path}",
            client >> req(f"GET {path}"),
            b1 << asked(f"GET {path}", *fields),
            b1 >> ok("one"),
            client << answered("200 OK", *out, body="one"),
            log(200, b1),
        )
        for path, fields, out in (
            ("/raise", (), ("X-Out: 200",)),
            ("/slow", (), ("X-Out: 200",)),
            ("/late", ("X-In: 1",), ()),
        )
    ],
)

ABOUT = (
    "X-Forwarded-For: 192.0.2.7",
    "X-Real-IP: 192.0.2.7",
    "X-Forwarded-Proto: http",
    "X-Forwarded-Port: 80",
    "Via: 1.1 terraster",
    "X-Forwarded-Host: a.test",
    request_id(1),
)

test_hostile_hooks = table(
    *[
        with_(
            Wild,
            f"a fault, and the connection goes on: {name}",
            client >> req(f"GET /{name}"),
            client << refused(500, "proxy_internal_error"),
            log(500, error="proxy_internal_error"),
            client >> req("GET /204"),
            client << answered("204 No Content", length=False),
            log(204),
        )
        for name in HOSTILE
    ],
    with_(
        Wild,
        "a value of one line",
        client >> req("GET /lines"),
        client << answered("200 OK", "X-A: aSet-Cookie: b"),
        log(200),
    ),
    with_(
        Wild,
        "an answer without a body",
        client >> req("GET /304"),
        client << answered("304 Not Modified", 'ETag: "a"', length=False),
        log(304),
    ),
    with_(
        Wild,
        "a request has one Host",
        client >> req("GET /hosts"),
        b1 << asked("GET /hosts", "X-A: aHost: c.test", *ABOUT, host="b.test", about=False),
        b1 >> ok("one"),
        client << answered("200 OK", body="one"),
        log(200, b1),
    ),
)

POST = "Content-Length: 5"
test_bodies = table(
    with_(
        Body,
        "a body is read, and goes to the backend",
        client >> req("POST /a", POST, body="hello"),
        b1 << asked("POST /a", POST, "X-Length: 5", body="hello"),
        b1 >> ok("olleh"),
        client << start("200 OK", CHUNKED),
        client << chunks("hello"),
        log(200, b1),
    ),
    with_(
        Body,
        "a body in chunks",
        client >> req("POST /a", CHUNKED) + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b1 << asked("POST /a", CHUNKED, "X-Length: 5"),
        b1 << chunks("hello"),
        b1 >> resp("200 OK", CHUNKED, body="2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
        client << start("200 OK", CHUNKED),
        client << chunks("cba"),
        log(200, b1),
    ),
    with_(
        Body,
        "one that is refused: the connection goes on",
        client >> req("POST /a", "Content-Length: 3", body="bad"),
        client << answered("403 Forbidden"),
        log(403),
        client >> req("POST /a", POST, body="hello"),
        b1 << asked("POST /a", POST, "X-Length: 5", body="hello", n=2),
        b1 >> ok("a"),
        client << start("200 OK", CHUNKED),
        client << chunks("a"),
        log(200, b1),
    ),
    with_(
        Body,
        "one that is too large",
        client >> req("POST /a", "Content-Length: 11", body="01234567890"),
        client << refused(413, "http_request_error", close=True),
        client << FIN,
        client >> GONE,
        log(413, error="http_request_error"),
    ),
    with_(
        Body,
        "a response that is too large",
        client >> GET,
        b1 << asked("GET /a", "X-Length: 0"),
        b1 >> whole(ok("01234567890")),
        b1.ends(),
        client << refused(502, "proxy_internal_error"),
        log(502, b1, error="proxy_internal_error"),
    ),
    with_(
        Body,
        "a response in part: what the backend must not be asked for",
        client >> req("GET /a", "Range: bytes=0-1", "Accept-Encoding: gzip"),
        b1 << asked("GET /a", "X-Length: 0"),
        b1 >> whole(resp("206 Partial Content", "Content-Range: bytes 0-1/3", body="ab")),
        b1.ends(),
        client << refused(502, "proxy_internal_error"),
        log(502, b1, error="proxy_internal_error"),
    ),
)
