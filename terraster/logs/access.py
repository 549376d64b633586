"""The access log: one line per request, rendered in batches away from the request path.

`AccessWriter.write` only keeps the exchange, which does not change once it is finished. `AccessWriter.flush` renders all kept exchanges
and hands the lines to the sink in one block. A worker flushes `FLUSH` seconds after the first exchange that is kept. A full batch flushes
itself. So a worker that is killed loses the lines of `FLUSH` seconds, and at most `BATCH` of each writer.

Formats
- ``json``: one object per line, with all of `terraster.config.log_format.JSON_FIELDS`, or those that ``fields`` names in their order.
- ``combined``, ``common``: as Apache and nginx write them.
- Any other text is a format string with ``{field}`` for any of its `FIELDS`; ``{{`` is a brace.

Every line is ASCII, whatever the client sent. Octets that are not UTF-8 appear as ``\\xNN``. Quotes, backslashes, control characters and
non-ASCII characters appear as JSON escapes, in format strings too. So a client can neither forge a line nor control a terminal. An empty
value is ``""`` in JSON (a number: ``null``) and ``-`` in a format string.

Secrets: header fields other than User-Agent and Referer are never read. ``uri``, ``referer`` and ``detail`` are masked: the values of the
query keys in ``redact_query`` (compared without case, after percent-decoding), and ``user:password@``.

Cost, CPython 3.11: write 0.08 µs; a flush about 5 µs beside its lines (timer and system call), so at most 0.05 % of a core;
rendering 2.6 µs for a full JSON line, 2.1 µs for ``combined``, 1.4 µs for three fields. The ``%`` template alone costs 1.2 µs of
this. An f-string in its place cost 1.4 µs, and json.dumps of a dict 4.5 µs without the time to collect the values.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from json.encoder import encode_basestring_ascii  # written in C: str → quoted ASCII
from typing import Any

from ..config import log_format
from ..config.log_format import FURTHER_FIELDS, TLS_FIELDS
from ..config.snapshot import AccessLog
from ..errors import StartError
from ..exchange import Exchange
from ..wire.grpc import STATUSES
from .further import STAMP, STAMP_CLF, Encoded, Further, encoded_template, json_fields, plain
from .losses import Losses
from .outlets import Outlets
from .sanitizer import Sanitizer

__all__ = ["BATCH", "FLUSH", "AccessLogs", "AccessWriter", "Renderer"]

_CONVERSIONS = {
    "time": STAMP + ".%03dZ",
    "client": "%s",
    "peer": "%s",
    "method": "%s",
    "scheme": "%s",
    "host": "%s",
    "uri": "%s",
    "protocol": "%s",
    "status": "%d",
    "bytes_in": "%d",
    "bytes_out": "%d",
    "duration": "%.6f",
    "service": "%s",
    "location": "%s",
    "upstream": "%s",
    "upstream_name": "%s",
    "upstream_time": "%s",
    "tries": "%d",
    "request_id": "%s",
    "error": "%s",
    "detail": "%s",
    **dict.fromkeys(("user_agent", "referer", "user", *TLS_FIELDS, "grpc_status", "split", *FURTHER_FIELDS), "%s"),
    "time_clf": STAMP_CLF,
}
"""Each field with its conversion in the template, in the order in which `Renderer` computes the values. The two time stamps are not
converted: each second they replace their marks in the template."""

BATCH = 128  # exchanges that a writer keeps before it flushes itself
FLUSH = 0.01  # seconds after which a worker flushes a writer that keeps an exchange

_MEMO_ENTRIES = 1024
_MEMO_OCTETS = 256
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class _Quoted(dict[Any, str]):
    """Octets or text → the escaped form. A bounded cache for values that repeat (hosts, user agents, names)."""

    __slots__ = ("quote",)

    def __init__(self, quote: Callable[[str], str]) -> None:
        self.quote = quote

    def __missing__(self, key: bytes | str) -> str:
        quoted = self.quote(key if isinstance(key, str) else _text(key))
        if len(key) <= _MEMO_OCTETS:
            if len(self) >= _MEMO_ENTRIES:
                self.clear()
            self[key] = quoted
        return quoted


class Renderer:
    """Renders exchanges as the lines that one `AccessLog` describes. Pure, apart from its caches.

    Raises StartError for an unknown format or field.
    """

    __slots__ = (
        "_template",
        "_pick",
        "_quote",
        "_quoted",
        "_empty",
        "_agent",
        "_details",
        "_tls",
        "_flags",
        "_further",
        "_masked",
        "_query",
        "_second",
        "_line",
    )

    def __init__(self, config: AccessLog) -> None:
        json = config.format == "json"
        encoding = config.encoding if json else None
        if json:
            fields = config.fields or json_fields(config)
            names, self._template = (
                _json_template(fields) if encoding is None else encoded_template(fields, encoding, config.logger)
            )
        else:
            names, self._template = _text_template(config.format)
        self._pick = plain(names) if encoding is None else Encoded(names, encoding, self).pick
        self._quote: Callable[[str], str] = encode_basestring_ascii if json else _bare
        self._quoted = _Quoted(self._quote)
        self._empty = "null" if json else "-"
        self._agent = "user_agent" in names or "referer" in names
        self._tls = not {*TLS_FIELDS, "grpc_status", "split"}.isdisjoint(names)
        self._flags = ("false", "true") if json else ("no", "yes")
        sanitizer = Sanitizer(config.redact_query, config.mask)
        self._masked = sanitizer.uri
        quote = self._quote
        self._details = _Quoted(lambda text: quote(sanitizer.text(text)))
        self._further = None if set(FURTHER_FIELDS).isdisjoint(names) else Further(sanitizer, encoding, json, names)
        self._query = config.query is not False
        self._second = -1.0
        self._line = ""

    def lines(self, exchanges: Iterable[Exchange]) -> bytes:
        """One line for each exchange, with a newline at its end."""
        return "".join(self.each(exchanges)).encode("ascii")

    def each(self, exchanges: Iterable[Exchange]) -> list[str]:
        """The same as a list."""
        pick, quote, quoted, look, details = self._pick, self._quote, self._quoted, self._agent, self._details
        protocols = (quoted["HTTP/1.0"], quoted["HTTP/1.1"], quoted["HTTP/2.0"])
        nothing, empty, query, further = quoted[""], self._empty, self._query, self._further
        more = self._tls or further is not None
        lines: list[str] = []
        for x in exchanges:
            age = x.wall - self._second
            if not 0.0 <= age < 1.0:
                age = self._tick(x.wall)
            try:
                uri = x.target.decode()
                request_id = x.request_id.decode()
            except UnicodeDecodeError:
                uri, request_id = _text(x.target), _text(x.request_id)
            if "?" in uri or "@" in uri:  # searching the text costs 0.02 µs, the octets 0.14 µs
                uri = self._masked(uri) if query else self._masked(uri.partition("?")[0])
            agent = referer = protocol = nothing
            head = x.head
            if head is not None:
                protocol = protocols[head.minor] if head.major == 1 else protocols[2]
                if look:
                    for name, value in head.fields:
                        if len(name) == 10:
                            if name == b"User-Agent" or name.lower() == b"user-agent":
                                agent = quoted[value]
                        elif len(name) == 7 and name.lower() == b"referer":
                            said = _text(value)
                            referer = quote(self._masked(said if query else said.partition("?")[0]))
            upstream = x.upstream_time
            values: tuple[Any, ...] = (
                age * 1000.0,
                quoted[x.client_ip],
                quoted[x.peer_ip],
                quoted[x.method],
                quoted[x.scheme],
                quoted[x.host],
                quote(uri),
                protocol,
                x.status,
                x.bytes_in,
                x.bytes_out,
                x.duration,
                nothing if x.service is None else quoted[x.service.name],
                nothing if x.location is None else quoted[x.location.label],
                nothing if x.backend is None else quoted[x.backend.backend.label],
                nothing if x.backend is None else quoted[x.backend.backend.name],
                empty if upstream < 0 else "%.6f" % upstream,  # noqa: UP031  a fifth faster than the f-string
                x.tries,
                quote(request_id),
                nothing if not x.error else quoted[x.error],
                nothing if not x.detail else details[x.detail],
                agent,
                referer,
                quote(x.user) if x.user else nothing,
            )
            if more:
                values += (
                    *self._handshake(x),
                    nothing if x.grpc is None else quoted[STATUSES[x.grpc.status]],
                    nothing if x.location is None else quoted[x.location.arm],
                )
                if further is not None:
                    values += further.values(x)
            lines.append(self._line % (values if pick is None else pick(values)))
        return lines

    @property
    def second(self) -> float:
        """The second of the line that is rendered, since 1970."""
        return self._second

    def _handshake(self, x: Exchange) -> tuple[str, ...]:
        """The values of `TLS_FIELDS`."""
        done, quoted = x.handshake, self._quoted
        if done is None:
            return quoted[""], quoted[""], quoted[""], quoted[""], self._empty
        return quoted[done.version], quoted[done.cipher], quoted[done.server_name], quoted[done.alpn], self._flags[done.resumed]

    def _tick(self, wall: float) -> float:
        """Put the whole second of ``wall`` (seconds since 1970) into the template. Returns the fraction, in seconds."""
        second = int(wall)
        self._second = float(second)
        year, month, day, hour, minute, sec = time.gmtime(second)[:6]
        clock = f"{hour:02d}:{minute:02d}:{sec:02d}"
        line = self._template.replace(STAMP, f"{year:04d}-{month:02d}-{day:02d}T{clock}")
        self._line = line.replace(STAMP_CLF, f"{day:02d}/{_MONTHS[month - 1]}/{year:04d}:{clock} +0000")
        return wall - second


class AccessWriter:
    """Writes the access lines of a service. One per distinct `AccessLog` and process; several may append to one path.

    config: with ``path`` "" every method does nothing
    warn:   called with one line of text about lost lines
    must:   True: StartError if the file cannot be opened; False: lines are lost until it can be opened
    soon:   called when the first exchange is kept; it sees to it that `flush` is called `FLUSH` seconds later
    losses: counts the lines lost to a full disk, a broken pipe or a slow reader

    Raises StartError for an unknown format.
    """

    __slots__ = ("_batch", "_most", "_outlets", "_soon")

    def __init__(
        self,
        config: AccessLog,
        warn: Callable[[str], object],
        soon: Callable[[], object],
        *,
        must: bool = True,
        losses: Losses | None = None,
    ) -> None:
        self._batch: list[Exchange] = []
        self._most = BATCH
        lines = Renderer(config)
        self._outlets = Outlets(config, lines, warn, must, losses) if config.path else None
        self._soon = soon

    def write(self, exchange: Exchange) -> None:
        """Log a finished exchange, which must not change afterwards. Never raises and never waits for a reader."""
        batch = self._batch
        batch.append(exchange)
        kept = len(batch)
        if kept >= self._most:
            self.flush()
        elif kept == 1:
            self._soon()

    def flush(self) -> None:
        """Write the lines of all kept exchanges, after those that a slow reader has not taken yet."""
        batch = self._batch
        outlets = self._outlets
        if outlets is not None and outlets.write(batch):
            self._soon()
        batch.clear()

    def tend(self, now: float) -> None:
        """The work of a few times a second (`Sink.tend`). now: monotonic seconds"""
        if self._outlets is not None:
            self._outlets.tend(now)

    def reopen(self) -> None:
        """Finish the old file and open the path again. For USR1, after a log rotation."""
        self.flush()
        if self._outlets is not None:
            self._outlets.reopen()

    def close(self) -> None:
        """Flush and close. A request that outlives its configuration may still write later; its line is written at once."""
        self.flush()
        self._most = 1
        if self._outlets is not None:
            self._outlets.close()


class AccessLogs:
    """The writers of a process, one per distinct `AccessLog`. Services with the same settings share a writer.

    warn:   called with one line of text about lost lines
    soon:   called when there is something to flush; it sees to it that `flush` is called `FLUSH` seconds later
    losses: counts the lost lines of all writers
    """

    __slots__ = ("losses", "_soon", "_warn", "_writers")

    def __init__(self, warn: Callable[[str], object], soon: Callable[[], object]) -> None:
        self.losses = Losses()
        self._warn = warn
        self._soon = soon
        self._writers: dict[AccessLog, AccessWriter] = {}

    def writer(self, config: AccessLog) -> AccessWriter | None:
        """The writer for these settings; None if the log is off. Raises StartError for an unknown format.

        A file that cannot be opened costs lines and a warning, never the request. (The loader of the configuration has checked that the
        file can be opened.)
        """
        if not config.path:
            return None
        found = self._writers.get(config)
        if found is None:
            found = self._writers[config] = AccessWriter(config, self._warn, self._soon, must=False, losses=self.losses)
        return found

    def retain(self, configs: Iterable[AccessLog]) -> None:
        """Close the writers that no configuration in ``configs`` uses. Called after a reload; open requests may still write to them."""
        wanted = set(configs)
        for config in [config for config in self._writers if config not in wanted]:
            self._writers.pop(config).close()

    def flush(self) -> None:
        """Flush every writer."""
        for writer in self._writers.values():
            writer.flush()

    def tend(self, now: float) -> None:
        """The work of a few times a second. now: monotonic seconds"""
        for writer in self._writers.values():
            writer.tend(now)

    def reopen(self) -> None:
        """Reopen every file."""
        for writer in self._writers.values():
            writer.reopen()

    def close(self) -> None:
        """Flush and close every writer."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()


def _text(octets: bytes) -> str:
    """Octets as text: UTF-8, with ``\\xNN`` for octets that are not UTF-8."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("utf-8", "backslashreplace")


def _bare(text: str) -> str:
    """Text for a format string: escaped like a JSON string, without the quotes; ``-`` if empty."""
    return encode_basestring_ascii(text)[1:-1] or "-"


def _json_template(fields: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    try:
        for name in fields:
            log_format.field(name)
    except ValueError as error:
        raise StartError(f"access log: `fields` {error}") from error
    quoted = {name: f'"{_CONVERSIONS[name]}"' if name in ("time", "time_clf") else _CONVERSIONS[name] for name in fields}
    return fields, "{" + ",".join(f'"{name}":{conversion}' for name, conversion in quoted.items()) + "}\n"


def _text_template(text: str) -> tuple[tuple[str, ...], str]:
    names: list[str] = []
    template = ""
    try:
        for literal, name in log_format.parts(text):
            template += literal.replace("%", "%%")
            if name is not None:
                names.append(name)
                template += _CONVERSIONS[name]
    except ValueError as error:
        raise StartError(f"access log: format {text!r} {error}") from error
    return tuple(names), template + "\n"
