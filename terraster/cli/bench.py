"""`terraster bench`: send requests to a server and say how it fared.

    terraster bench [--url URL] [-c N] [-n N] [-d TIME] [--rate N] …

Exit codes: 0 every request was answered with a status below 400, 1 a request failed, 2 the command line or the server's name cannot be used, or
the result cannot be written.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from terraster import __version__

from .options import Parser, parse
from .output import drop
from .progress import Progress, draws

if TYPE_CHECKING:
    from terraster.bench.load import Load
    from terraster.bench.result import Result
    from terraster.bench.target import Target

__all__ = ["main", "parser"]

_URL = "http://localhost:8080"
_REQUESTS = 1000
_MOST_CONNECTIONS = 100_000
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_FRAMING = ("content-length", "transfer-encoding", "connection")

_EPILOG = """\
exit codes: 0 every request was answered, with a status below 400; 1 a request failed; 2 the command line, a file or the name of the server
cannot be used, or the result cannot be written
"""


def main(argv: Sequence[str]) -> int:
    """The command. Returns the exit code."""
    from terraster.bench.fleet import Fleet
    from terraster.bench.report import report
    from terraster.errors import StartError

    made = parser()
    arguments = parse(made, argv)
    try:
        load = _load(arguments)
        plot = _plot(arguments.plot)
        fleet = Fleet(load, arguments.workers or _workers(load))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: fleet.stop())
        signal.signal(signal.SIGTSTP, lambda *_: fleet.suspend())
        progress = Progress(fleet) if draws() else None
        try:
            result = fleet.run(progress.show if progress is not None else _nothing)
        finally:
            if progress is not None:
                progress.clear()
    except ValueError as error:
        made.error(str(error))
    except (StartError, OSError) as error:
        print(f"terraster bench: {error}", file=sys.stderr)
        return 2
    unwritten = []
    if words := _print(json.dumps(result.to_json(), indent=2) + "\n" if arguments.json else report(result)):
        unwritten.append(f"the result cannot be written: {words}")
    if plot is not None:
        try:
            plot(result)
        except OSError as error:
            unwritten.append(f"the plot cannot be written: {error.strerror or error}")
    for words in unwritten:
        print(f"terraster bench: {words}", file=sys.stderr)
    if unwritten:
        return 2
    return 1 if result.total.failed or result.faults or not result.total.complete else 0


def _print(text: str) -> str:
    """Print the result. Returns why that cannot be, "" if it was done, or if the reader has gone (``| head``)."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        drop()
        return "" if isinstance(error, BrokenPipeError) else error.strerror or str(error)
    return ""


def parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    made = Parser(
        prog="terraster bench",
        description="Sends requests to a server, and says how many were answered, how fast, and how the others failed.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    _add(made, "url", metavar="URL", default=_URL, help=f"where they go (default: {_URL})")
    _add(made, "connections", "-c", metavar="N", type=_count, default=10, help="connections at the same time (default: 10)")
    _add(
        made,
        "requests",
        "-n",
        metavar="N",
        type=_count,
        help=f"requests in all (default: {_REQUESTS}; with -d alone: as many as there is time for)",
    )
    _add(
        made,
        "duration",
        "-d",
        metavar="TIME",
        type=_time,
        help="send requests for this long, such as 10s or 5m; with -n: until either is reached",
    )
    _add(
        made,
        "rate",
        metavar="N",
        type=_rate,
        default=0.0,
        help="send so many requests a second, whether or not earlier ones were answered; latencies count from when a request was due",
    )
    _add(
        made,
        "arrivals",
        choices=("even", "random"),
        default="even",
        help="with --rate: at even times (default), or at random ones, as independent clients would (Poisson)",
    )
    _add(made, "warm-up", metavar="TIME", type=_time, default=0.0, help="send requests for this long before, and do not count them")
    _add(
        made,
        "workers",
        metavar="N",
        type=_count,
        help="processes of the load generator, at most one for each connection (default: one for each core, or half"
        " as many if the server is on this machine)",
    )
    _add(made, "no-keepalive", action="store_true", help="open a connection for each request")
    _add(made, "http2", action="store_true", help="speak HTTP/2: over TLS by ALPN, in clear by prior knowledge")
    _add(
        made,
        "streams",
        metavar="N",
        type=_count,
        default=1,
        help="with --http2: requests at the same time on each connection (default: 1)",
    )
    _add(made, "method", "-X", metavar="METHOD", help="the method (default: GET, or POST with --body)")
    _add(
        made,
        "header",
        "-H",
        metavar="LINE",
        action="append",
        default=[],
        help="one more field, such as 'Accept: text/html'; may be repeated",
    )
    _add(
        made,
        "body",
        metavar="TEXT",
        default="",
        help="the body of each request; @FILE for the content of a file, @- for standard input",
    )
    _add(made, "timeout", metavar="TIME", type=_time, default=10.0, help="for a request, its connection included (default: 10s)")
    _add(made, "insecure", action="store_true", help="do not check the server's certificate")
    _add(made, "cacert", metavar="FILE", default="", help="trust the authorities in this file, in place of the system's")
    _add(made, "server-name", metavar="NAME", default="", help="ask for this name in the TLS handshake (default: that of the URL)")
    _add(made, "unix", metavar="FILE", default="", help="connect to this unix socket, in place of the URL's host")
    _add(made, "connect", metavar="HOST:PORT", type=_place, help="connect to this server, in place of the URL's host and port")
    _add(made, "json", action="store_true", help="print JSON")
    _add(
        made,
        "plot",
        metavar="FILE",
        default="",
        help="write a picture of latencies and of the course of the load; FILE ends in .svg or .html",
    )
    return made


def _add(made: argparse.ArgumentParser, name: str, *short: str, **settings: Any) -> None:
    """`--name`, and its short spelling; `-name` does the same and is not listed, as with the other commands."""
    settings["dest"] = name.replace("-", "_")
    made.add_argument(*short, f"--{name}", **settings)
    made.add_argument(f"-{name}", **{**settings, "help": argparse.SUPPRESS})


def _load(arguments: argparse.Namespace) -> Load:
    """The load that is asked for. Raises ValueError, OSError, `StartError`."""
    from terraster.bench.load import Load
    from terraster.bench.target import address_of, target_of

    try:
        target = target_of(arguments.url)
    except ValueError as error:
        raise ValueError(f"--url {arguments.url}: {error}") from None
    _check(arguments, target)
    body = _body(arguments.body)
    fields = [_field(line) for line in arguments.header]
    if "user-agent" not in {name.lower() for name, _ in fields}:
        fields.insert(0, ("User-Agent", f"terraster-bench/{__version__}"))
    way = (
        (int(socket.AF_UNIX), arguments.unix) if arguments.unix else address_of(*(arguments.connect or (target.host, target.port)))
    )
    requests = arguments.requests if arguments.requests or arguments.duration else _REQUESTS
    return Load(
        url=target.url,
        scheme=target.scheme,
        host=arguments.server_name or target.host,
        authority=target.authority,
        target=target.path,
        family=way[0],
        address=way[1],
        connections=arguments.connections,
        streams=arguments.streams,
        requests=requests or 0,
        seconds=arguments.duration or 0.0,
        warm_up=arguments.warm_up,
        rate=arguments.rate,
        random=arguments.arrivals == "random",
        keepalive=not arguments.no_keepalive,
        http2=arguments.http2,
        method=arguments.method or ("POST" if body else "GET"),
        fields=tuple(fields),
        body=body,
        timeout=arguments.timeout,
        insecure=arguments.insecure,
        authorities=os.path.abspath(arguments.cacert) if arguments.cacert else "",
    )


def _check(arguments: argparse.Namespace, target: Target) -> None:
    """Refuse options that do not go together. Raises ValueError, OSError."""
    if arguments.connections > _MOST_CONNECTIONS:
        raise ValueError(f"-c: at most {_MOST_CONNECTIONS:,}")
    for option, seconds in (("--duration", arguments.duration), ("--timeout", arguments.timeout)):
        if seconds == 0.0:
            raise ValueError(f"{option} must be more than 0")
    if arguments.streams > 1 and not arguments.http2:
        raise ValueError("--streams needs --http2")
    if arguments.no_keepalive and arguments.http2:
        raise ValueError("--no-keepalive is for HTTP/1.1: a connection of HTTP/2 is kept")
    if arguments.unix and arguments.connect:
        raise ValueError("--unix and --connect exclude each other")
    if arguments.arrivals == "random" and not arguments.rate:
        raise ValueError("--arrivals needs --rate")
    if arguments.method is not None and (not _TOKEN.fullmatch(arguments.method) or arguments.method == "CONNECT"):
        raise ValueError(f"--method: {arguments.method!r} cannot be sent")
    for option, given in (
        ("--insecure", arguments.insecure),
        ("--cacert", arguments.cacert),
        ("--server-name", arguments.server_name),
    ):
        if given and target.scheme != "https":
            raise ValueError(f"{option} needs an https:// URL")
    if arguments.cacert:
        with open(arguments.cacert, "rb"):
            return


def _field(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    value = value.strip(" \t")
    if not colon or not _TOKEN.fullmatch(name):
        raise ValueError(f"--header needs NAME: VALUE, not {line!r}")
    if not _VALUE.fullmatch(value):
        raise ValueError(f"--header {name}: the value has a character that cannot be sent")
    if name.lower() in _FRAMING:
        hint = ": see --no-keepalive" if name.lower() == "connection" else ": it follows from --body"
        raise ValueError(f"--header {name} cannot be set{hint}")
    return name, value


def _body(text: str) -> bytes:
    """The octets that --body means. Raises OSError."""
    if not text.startswith("@"):
        return text.encode("utf-8", "surrogateescape")
    if text == "@-":
        return sys.stdin.buffer.read()
    with open(text[1:], "rb") as file:
        return file.read()


def _workers(load: Load) -> int:
    """Processes that are likely to be of use. A server on this machine needs cores, too."""
    cores = len(os.sched_getaffinity(0))
    here = load.family == socket.AF_UNIX or ipaddress.ip_address(load.address[0].partition("%")[0]).is_loopback
    return max(1, cores // 2) if here else cores


def _plot(file: str) -> Callable[[Result], None] | None:
    """The function that writes the picture, None if there is none to write. Raises ValueError, and OSError if it cannot be written."""
    if not file:
        return None
    if not file.endswith((".svg", ".html")):
        raise ValueError(f"--plot {file}: must end in .svg or .html")
    with open(file, "a", encoding="utf-8"):  # a load of an hour must not fail at its end
        pass

    def write(result: Result) -> None:
        from terraster.bench.picture import html, svg

        with open(file, "w", encoding="utf-8") as stream:
            stream.write(html(result) if file.endswith(".html") else svg(result))

    return write


def _nothing() -> None:
    return


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 0 < int(text) < 10**12:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0.0 < rate <= 1e7:
        raise argparse.ArgumentTypeError(f"must be a number of requests a second, more than 0, not {text!r}")
    return rate


def _place(text: str) -> tuple[str, int]:
    from terraster.bench.target import place_of

    try:
        return place_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, not {text!r}") from None


def _time(text: str) -> float:
    from terraster.config.quantities import duration

    try:
        return duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, not {text!r}") from None
