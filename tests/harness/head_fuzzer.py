"""A fuzzer for the two speeds of message heads: compiled, `terraster.wire.http1` must say and write what its source does.

The source is loaded a second time, from the `.py` files and under another name (`SOURCE`). Each input is read by both, as a request or as a
response, cut into pieces and in one piece, twice as what is met again may be remembered. Then these must be equal, types included:

- every fact of the head, or every fact of the error, and the piece that brought it;
- what is written for the other side, for several targets, sets of kinds to keep, names to drop, values to replace and lines to add.

Inputs are cases of the wire corpus and heads made of usual and unusual lines, with wounds, junk behind them and limits at their edges. Those
that lead to a new kind of outcome are changed further. Where nothing is compiled, both are the source, and the fuzzer finds nothing.

    python -m tests.harness.head_fuzzer SECONDS
"""

from __future__ import annotations

import importlib
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import terraster.wire
from terraster.errors import HttpError
from terraster.wire import http1
from terraster.wire.names import TWIN, with_dashes

from .corpus import load_cases

__all__ = ["COMPILED", "SOURCE", "Fuzzer", "Message", "Writing", "corpus", "judge", "scanned"]

_NAME = "terraster_wire_source"


class _Sources(MetaPathFinder):
    """Finds modules of the room below another name, by their `.py`."""

    def __init__(self, folder: str) -> None:
        self._finder = FileFinder(folder, (SourceFileLoader, SOURCE_SUFFIXES))

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return self._finder.find_spec(fullname) if fullname.startswith(_NAME + ".") else None


def _source() -> Any:
    package = ModuleType(_NAME)
    package.__path__ = []
    sys.modules[_NAME] = package
    sys.meta_path.insert(0, _Sources(str(Path(terraster.wire.__file__).parent)))
    return importlib.import_module(_NAME + ".http1")


SOURCE = _source()
"""`terraster.wire.http1` as its `.py` says, with all that it needs of the room."""

COMPILED = hasattr(http1, "scan_request")
"""True if `terraster.wire.http1` is compiled here."""

_REQUEST_FACTS = (
    "method",
    "target",
    "minor",
    "host",
    "content_length",
    "chunked",
    "keep_alive",
    "expect",
    "upgrade",
    "size",
    "dropped",
) + ("max_forwards", "protocol", "major")
_RESPONSE_FACTS = (
    "status",
    "minor",
    "content_length",
    "chunked",
    "until_close",
    "no_body",
    "keep_alive",
    "upgrade",
    "size",
    "location",
) + ("dated", "dropped", "own")


@dataclass(frozen=True)
class Writing:
    """What to write a head for. replace: (old value of a Location or Content-Location, new value), for responses."""

    target: bytes = b"/"
    keep: frozenset[int] = frozenset()
    drop: frozenset[bytes] = frozenset()
    replace: tuple[tuple[bytes, bytes, bytes], ...] = ()
    extra: bytes = b""


@dataclass(frozen=True)
class Message:
    """One input. method: None for a request, else that of the request that a response answers. cuts: ends of its pieces, in order. forgets:
    True if each piece is read as if nothing had been seen before."""

    data: bytes
    method: bytes | None = None
    strict: bool = True
    limits: tuple[int, int] = (32768, 100)
    cuts: tuple[int, ...] = ()
    forgets: bool = False
    writings: tuple[Writing, ...] = (Writing(),)


def corpus() -> list[Message]:
    """The cases of `tests/wire`."""
    requests = [Message(case.data, limits=case.limits) for case in load_cases("requests")]
    responses = [
        Message(case.data, case.fact("method") or b"GET", strict, case.limits)
        for case in load_cases("responses")
        for strict in (True, False)
    ]
    return requests + responses


def scanned(message: Message) -> bool:
    """True if the compiled scanner takes this message as it is, without the source."""
    if message.method is None:
        return http1.scan_request(message.data, *message.limits) is not None  # type: ignore[attr-defined]
    return http1.scan_response(message.data, message.method, *message.limits) is not None  # type: ignore[attr-defined]


def judge(message: Message) -> tuple[Any, ...]:
    """Hold both speeds to the same outcome, and return it. Raises AssertionError."""
    told = ()
    for cuts in ((), message.cuts, ()) if message.cuts else ((), ()):
        told, told_by_source = _outcome(http1, message, cuts), _outcome(SOURCE, message, cuts)
        assert told == told_by_source, (cuts, told, told_by_source)
    return told


def _outcome(module: Any, message: Message, cuts: tuple[int, ...]) -> tuple[Any, ...]:
    """What a module says of a message that comes in pieces."""
    seen = 0
    ends = (*cuts, len(message.data))
    for number, end in enumerate(ends):
        data = message.data[:end]
        try:
            if message.method is None:
                head = module.parse_request(data, *message.limits, seen)
            else:
                head = module.parse_response(data, message.method, *message.limits, seen, message.strict)
        except HttpError as error:
            kinds = (error.blame, error.retryable, error.form, error.reason, error.close)
            return "refused", number, type(error).__name__, error.status, error.detail, kinds
        if head is not None:
            return "head", number, *(_of_request if message.method is None else _of_response)(head, message.writings)
        seen = 0 if message.forgets else end
    return ("incomplete",)


def _of_request(head: Any, writings: tuple[Writing, ...]) -> tuple[Any, ...]:
    facts = [_typed(getattr(head, name)) for name in _REQUEST_FACTS]
    first = [head.forward(one.target, one.keep, one.drop, one.extra) for one in writings[:1]]
    facts += [_typed(head.special), list(head.fields), head.names()]
    written = [head.forward(one.target, one.keep, one.drop, one.extra) for one in writings]
    lines = [head.lines(one.keep, one.drop, one.extra) for one in writings]
    return type(head).__name__, facts, first, written, lines


def _of_response(head: Any, writings: tuple[Writing, ...]) -> tuple[Any, ...]:
    facts = [_typed(getattr(head, name)) for name in _RESPONSE_FACTS]
    first = [head.forward(one.drop, one.replace, one.extra) for one in writings[:1]]
    facts += [_typed(head.special), list(head.fields)]
    written = [head.forward(one.drop, one.replace, one.extra) for one in writings]
    return type(head).__name__, facts, first, written


def _typed(value: Any) -> tuple[str, Any]:
    return type(value).__name__, value


_METHODS = [b"GET"] * 6 + rb"POST|HEAD|OPTIONS|TRACE|get|M-SEARCH|A_B|CONNECT".split(b"|") + [b"A" * 32, b"A" * 33, b"", b"G\0T"]
_TARGETS = [b"/"] * 4 + rb"/small|/a?b=c&d=%20|*|http://a.test/x?|a.test:443|/a b|//|?|/#x".split(b"|")
_TARGETS += [b"/\x80\xff", b"/" + b"x" * 300, b"", b"/\x7f", b"/\t"]
_VERSIONS = [b"HTTP/1.1"] * 8 + [b"HTTP/1.0"] * 2 + rb"HTTP/1.2|HTTP/2.0|HTTP/1.|http/1.1|HTTP/1.1 |HTTP/1.10|HTTP/0.9|".split(b"|")
_STATUSES = (
    b"204 No|304 N|404 |500|100 Continue|101 S|103 E|600 X|999 X|099 X| 200 OK|2000|20|200\tOK|200 \x80\xff\t|302 Found|599 \x7f"
)
_STARTS = [b"HTTP/1.1 200 OK"] * 8 + [b"HTTP/1.1 " + status for status in _STATUSES.split(b"|")]
_STARTS += [b"HTTP/1.0 200 OK", b"HTTP/1.2 200 OK", b"http/1.1 200 OK"]
_NAMES = (
    rb"Host Content-Length Transfer-Encoding Connection Keep-Alive Proxy-Connection TE Upgrade Expect HTTP2-Settings X-Forwarded-For "
    rb"X-Forwarded-Proto X-Forwarded-Host X-Forwarded-Port X-Forwarded- X-Forwarded-Server X-Forwarded Forwarded X-Real-IP X-Request-ID "
    rb"Max-Forwards Client-Cert Client-Cert-Chain Via Date Location Content-Location Server Set-Cookie Accept Accept-Encoding Cookie "
    rb"User-Agent Trailer Vary x !#$%&'*+.^`|~ Plain_Name Hos Hostt Tee Upgrade2 X-Own"
).split() + [b"", b"X Y", b"X\x80", b"X-Forwarded-" + b"y" * 30, *(b"X" * count for count in (31, 32, 33, 300))]
_VALUES = (
    rb"a.test|a.test:8080|0|5|05|5,5|-1|+5|5 5|chunked|Chunked|gzip, chunked|chunked,|keep-alive|Keep-Alive|KEEP-ALIVE|close|Close|cLoSe|"
    rb"close, keep-alive|close, x-own|Upgrade|keep-alive, upgrade|host|te|x-forwarded-for, x-own|closed|keep_alive|trailers|websocket|h2c|"
    rb"100-continue|100-Continue|x|http://10.0.0.1:1/a|/x|| |a: b|:|Fri, 27 Nov 2026 12:00:00 GMT|192.0.2.1, ::1"
).split(b"|") + [
    b"9" * 18,
    b"9" * 19,
    b"a\x80\xffb",
    b"a\tb",
    b"\x00",
    b"a\x7f",
    b"a\x1fb",
    b"aaaaaaa\x00",
    b"aaaaaaaa\x7f",
    b"\x80" * 16,
]
_VALUES += [b"a" * 7, b"a" * 8, b"a" * 9, b"a" * 200, b"a" * 15 + b"\t", b"5\t", b"close\t"]
_PLAIN = [b"x", b"a\x80\xffb", b"a\tb", b"", b"a" * 9, b"192.0.2.1, ::1"]
_SEPARATORS = [b": "] * 12 + b":|:|:\t|:  | : |: \t ||::".split(b"|")
_ENDS = [b"\r\n"] * 40 + b" \r\n|\t\r\n|\n|\r|\r\r\n|\r\n |\n\r\n|\0\r\n".split(b"|")
_JUNK = [b""] * 4 + [b"body", b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", b"\r\n", b"\r\n\r\n", b"\0\xff\r\r\n\n"]
_JUNK += [b"x" * count for count in (1023, 1024, 3000)]
_WOUNDS = b"\0|\t|\n|\r|\r\n| |:|,|_|-|\x1f|\x7f|\x80|\xff|@|[|/|5|h|H".split(b"|")
_EXTRAS = (b"", b"X-Real-IP: 192.0.2.1\r\n", b"Via: 1.1 terraster\r\nX-Request-ID: 0123456789ab\r\n")
_KINDS = tuple(range(1, 22))


class Fuzzer:
    """inputs: the corpus, and what led to a new kind of outcome. runs: how many were judged. taken: how many of these the scanner took."""

    def __init__(self, seed: int, inputs: list[Message] | None = None) -> None:
        self.inputs = corpus() if inputs is None else inputs
        self.runs = 0
        self.taken = 0
        self._chance = random.Random(seed)
        self._met: set[Any] = set()

    def run(self, seconds: float = 0.0, count: int = 0) -> None:
        """Fuzz for so long, or so many inputs. An input on which the speeds differ is in the note of the exception."""
        end, last = time.monotonic() + seconds, self.runs + count
        while self.runs < last or (self.runs % 50 or time.monotonic() < end) and not count:
            self._one(self._next())

    def _one(self, message: Message) -> None:
        self.runs += 1
        try:
            outcome = judge(message)
        except BaseException as error:
            error.add_note(f"the input: {message!r}")
            raise
        taken = COMPILED and scanned(message)
        self.taken += taken
        if outcome[0] == "head":
            names = _REQUEST_FACTS if message.method is None else _RESPONSE_FACTS
            facts = dict(zip((*names, "special"), outcome[3], strict=False))
            flags = (value for what, value in facts.values() if what in ("bool", "NoneType"))
            kind: Any = (taken, len(outcome[3][len(facts)]), len(facts["special"][1] or ()), *flags)
        else:
            kind = (taken, *outcome[:1], *outcome[2:])
        if kind not in self._met and len(self._met) < 5000:
            self._met.add(kind)
            self.inputs.append(message)

    def _next(self) -> Message:
        chance = self._chance
        old = chance.choice(self.inputs) if chance.random() < 0.4 else None
        if old is None:
            method = None if chance.random() < 0.5 else chance.choice((b"GET", b"GET", b"HEAD", b"CONNECT", b"POST"))
            data = self._made(method is None, plain := chance.random() < 0.6)
            changes = 0 if plain else chance.choice((0, 0, 1, 2))
        else:
            method, data = old.method, old.data
            changes = chance.choice((0, 1, 1, 2, 4))
        for _ in range(changes):
            data = self._changed(data)
        if chance.random() < 0.03:
            data = data[: chance.randrange(len(data) + 1)]
        size = data.find(b"\r\n\r\n") + 4
        lines = data[:size].count(b"\n") - 2
        limits = (32768, 100)
        if chance.random() < 0.15:
            limits = (max(1, size + chance.randrange(-2, 3)), 100)
        elif chance.random() < 0.15:
            limits = (32768, max(0, lines + chance.randrange(-1, 3)))
        cuts = tuple(sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((0, 0, 0, 1, 1, 2, 5)))))
        names = [line.partition(b":")[0] for line in data[:size].split(b"\r\n")[1:-2]]
        writings = tuple(self._writing(data, names) for _ in range(chance.choice((1, 2, 3))))
        return Message(data, method, chance.random() < 0.5, limits, cuts, chance.random() < 0.2, writings)

    def _made(self, is_request: bool, plain: bool) -> bytes:
        """A head by chance, with what follows it. plain: nothing about its form is unusual."""
        chance = self._chance
        if not is_request:
            start = chance.choice(_STARTS[:12] if plain else _STARTS)
        elif plain:
            start = b"%b %b HTTP/1.%d" % (chance.choice(_METHODS[:8]), chance.choice(_TARGETS[:6]), chance.random() < 0.8)
        else:
            start = b"%b %b %b" % (chance.choice(_METHODS), chance.choice(_TARGETS), chance.choice(_VERSIONS))
        parts = [start, b"\r\n" if plain else chance.choice(_ENDS)]
        for _ in range(chance.choice((0, 1, 2, 3, 4, 6, 15))):
            parts.append(self._line(plain))
        if is_request and chance.random() < 0.9:
            parts.insert(chance.randrange(2, len(parts) + 1), b"Host: a.test\r\n")
        if chance.random() < 0.002:
            parts.insert(2, b"X-Huge: " + b"h" * chance.choice((4000, 5000, 32768, 70_000)) + b"\r\n")
        parts += [b"\r\n", chance.choice(_JUNK)]
        return b"".join(parts)

    def _line(self, plain: bool = False) -> bytes:
        chance = self._chance
        name = chance.choice(_NAMES[:43] if plain else _NAMES)
        match chance.randrange(6):
            case 0:
                name = name.lower()
            case 1:
                name = name.upper()
            case 2 if not plain:
                name = name.replace(b"-", b"_", chance.choice((1, 9)))
        value = chance.choice(_VALUES)
        if plain or chance.random() < 0.3:
            usual = {
                b"content-length": (b"0", b"128"),
                b"transfer-encoding": (b"chunked",),
                b"connection": (b"close", b"keep-alive"),
            }
            value = chance.choice(usual.get(name.lower(), _PLAIN))
            if plain and name.lower() in (b"host", b"expect", b"upgrade", b"max-forwards") and chance.random() < 0.9:
                name = b"Accept"
        return name + chance.choice(_SEPARATORS[: 15 if plain else 99]) + value + (b"\r\n" if plain else chance.choice(_ENDS))

    def _changed(self, data: bytes) -> bytes:
        chance = self._chance
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                return data[:at] + chance.choice(_WOUNDS) + data[at + chance.randrange(3) :]
            case 1:
                return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
            case 2:
                return data[:at] + data[at + chance.choice((1, 1, 2, 10)) :]
        lines = data.splitlines(keepends=True)
        at = chance.randrange(len(lines) + 1)
        if chance.random() < 0.5:
            lines.insert(max(at, 1), self._line())
        else:
            other = chance.choice(self.inputs).data.splitlines(keepends=True)
            lines[at : at + chance.randrange(2)] = other[1 : 1 + chance.randrange(4)]
        return b"".join(lines)

    def _writing(self, data: bytes, names: list[bytes]) -> Writing:
        chance = self._chance
        keep = frozenset(chance.sample(_KINDS, chance.choice((0, 0, 1, 3, 8, 21))))
        drop = frozenset(name.lower() for name in chance.sample(names, min(len(names), chance.choice((0, 0, 1, 2)))))
        drop |= frozenset(name.lower() for name in chance.sample(_NAMES, chance.choice((0, 0, 1, 4))))
        if TWIN not in keep:
            drop = with_dashes(drop)
        replace = []
        if chance.random() < 0.3:
            for line in data.split(b"\r\n"):
                name, _, value = line.partition(b":")
                if name.lower() in (b"location", b"content-location"):
                    replace.append((name, value.strip(b" \t"), b"/new"))
        target = chance.choice((b"/", b"/small", b"/a?b=c&d=%20", b"/other/" + b"y" * 100, b""))
        return Writing(target, keep, drop, tuple(replace), chance.choice(_EXTRAS))


def main() -> None:
    """Fuzz for so many seconds."""
    seed = time.time_ns()
    fuzzer = Fuzzer(seed)
    fuzzer.run(float(sys.argv[1]))
    speeds = "compiled" if COMPILED else "the source twice, as nothing is compiled"
    print(f"seed {seed}: {fuzzer.runs} heads judged, {fuzzer.taken} of them taken by the scanner; {speeds}")


if __name__ == "__main__":
    main()
