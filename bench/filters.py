"""The cost of filters: microseconds of CPU per request, beside the equivalents of nginx and HAProxy.

    python bench/filters.py [--cases rate_limit,cors] [--rounds 3] [--seconds 2] [--peers terraster,nginx,haproxy]
    python bench/filters.py --exact                        # how exactly rate limits hold over four workers

A case is one line of `CASES`: the filter as an entry of `middleware`, and the same for the others where they have it. All peers with and
without it run at the same time, and take turns under wrk within a round. "with" is the cost of a request through the filter, "more" is what
the filter adds: the median over the rounds of the difference within one round.
"""

from __future__ import annotations

import argparse
import base64
import hmac
import json
import mmap
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from peers import ROOT, Backend, Peer, launch
from tree import cpu_seconds
from wrk import CASES as REQUESTS
from wrk import Case as Load
from wrk import run

sys.path.insert(0, str(ROOT))

from terraster.state.buckets import Buckets
from terraster.state.cells import Seat
from terraster.state.table import Table
from terraster.state.view import SeatView

PEERS = ("terraster", "nginx", "haproxy")
SECRET = "0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class Case:
    """A filter. ``here`` by peer, ``below``: see `place.Place`; a peer without them takes no part. load: one of `LOADS`. @BACKEND@ and @USERS@
    stand for the URL of a backend and a file of htpasswd."""

    here: dict[str, str]
    around: dict[str, str]
    load: str = "small"
    below: str = ""

    def has(self, peer: str) -> bool:
        """True if a peer has this filter."""
        return bool(self.here[peer] or (self.below and peer == "terraster"))


def case(
    terraster: str, nginx: str = "", haproxy: str = "", around: tuple[str, str] = ("", ""), load: str = "small", below: str = ""
) -> Case:
    """around: of nginx and HAProxy."""
    here = {"terraster": terraster, "nginx": nginx, "haproxy": haproxy}
    return Case(here, {"nginx": around[0], "haproxy": around[1]}, load, below)


def token() -> str:
    """A token that is signed with `SECRET` (HS256) and ends in the year 2286."""
    parts = ({"alg": "HS256"}, {"sub": "ada", "exp": 9_999_999_999})
    signed = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    signature = hmac.digest(SECRET.encode(), signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


LOADS = {
    **REQUESTS,
    "basic": Load(
        "basic", "GET 128 B with a password", "/128", field=f"Authorization: Basic {base64.b64encode(b'ada:right').decode()}"
    ),
    "token": Load("token", "GET 128 B with a token", "/128", field=f"Authorization: Bearer {token()}"),
    **{coding: Load(coding, f"GET a page of 32 KiB, {coding}", "/page.html", accept=coding) for coding in ("gzip", "br", "zstd")},
}

_TABLE = "backend clients\n    stick-table type ip size 100k expire 60s store http_req_rate(1s),conn_cur"
_TRACK = "    http-request track-sc0 src table clients\n"

CASES = {
    "rate_limit": case(
        "rate_limit: {requests_per_second: 1000000}",
        "limit_req zone=clients burst=1000000 nodelay;",
        f"{_TRACK}    http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt 1000000 }}",
        ("limit_req_zone $binary_remote_addr zone=clients:10m rate=1000000r/s;", _TABLE),
    ),
    "rate_limit without fields": case("rate_limit: {requests_per_second: 1000000, headers: none}"),
    "rate_limit by header": case(
        "rate_limit: {requests_per_second: 1000000, headers: none, key: 'header:Host'}",
        "limit_req zone=hosts burst=1000000 nodelay;",
        around=("limit_req_zone $http_host zone=hosts:10m rate=1000000r/s;", ""),
    ),
    "limit_connections": case(
        "limit_connections: {per_client: 1000}",
        "limit_conn busy 1000;",
        f"{_TRACK}    http-request deny deny_status 429 if {{ sc_conn_cur(0) gt 1000 }}",
        ("limit_conn_zone $binary_remote_addr zone=busy:10m;", _TABLE),
    ),
    "ip_access": case(
        "ip_access: {allow: [127.0.0.0/8, 10.0.0.0/8]}",
        "allow 127.0.0.0/8; allow 10.0.0.0/8; deny all;",
        "    http-request deny unless { src 127.0.0.0/8 10.0.0.0/8 }",
    ),
    "basic_auth": case(
        "basic_auth: {file: @USERS@}",
        "auth_basic x; auth_basic_user_file @USERS@;",
        "    http-request auth unless { http_auth(known) }",
        ("", "userlist known\n    user ada insecure-password right"),
        load="basic",
    ),
    "jwt": case(f"jwt: {{key: {SECRET}}}", load="token"),
    "forward_auth": case(
        "forward_auth: {url: '@BACKEND@/128'}",
        "auth_request /auth; location = /auth { internal; proxy_pass @BACKEND@/128; proxy_pass_request_body off; "
        'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Content-Length ""; }',
    ),
    "error_pages on a good response": case(
        f"error_pages: {{404: {ROOT}/etc/examples/pages/404.html, intercept: true}}",
        f"proxy_intercept_errors on; error_page 404 {ROOT}/etc/examples/pages/404.html;",
    ),
    "rewrite by a regular expression": case(
        "",
        "rewrite ^/([0-9]+)$ /$1 break;",
        "    http-request replace-path /([0-9]+) /\\1",
        below="rewrite: {match: '/([0-9]+)', to: '/\\1'}",
    ),
    "shed": case("shed: {loop_lag: 1s, memory: 64g}"),
    "headers": case(
        "headers: {response_headers: {X-Frame-Options: DENY}}",
        "add_header X-Frame-Options DENY always;",
        "    http-response set-header X-Frame-Options DENY",
    ),
    "headers with variables": case(
        "headers: {response_headers: {X-Id: '${request_id} ${status}'}}",
        'add_header X-Id "$request_id $status" always;',
        '    unique-id-format %{+X}o%Ts%pid%rt\n    http-response set-header X-Id "%[unique-id] %[status]"',
    ),
    "cors": case("cors: {allowed_origins: https://a.test}"),
    "security": case(
        "security: {frame_options: DENY, content_type_options: true, referrer_policy: no-referrer}",
        "add_header X-Frame-Options DENY always; add_header X-Content-Type-Options nosniff always; "
        "add_header Referrer-Policy no-referrer always;",
        "    http-response set-header X-Frame-Options DENY\n    http-response set-header X-Content-Type-Options nosniff\n"
        "    http-response set-header Referrer-Policy no-referrer",
    ),
    "compression by gzip": case(
        "compression: on",
        "gzip on; gzip_comp_level 1; gzip_vary on; gzip_proxied any;",
        "    filter compression\n    compression algo gzip\n    compression type text/html",
        load="gzip",
    ),
    "compression by zstd": case("compression: on", load="zstd"),
    "compression by br": case("compression: on", load="br"),
    "buffer": case("buffer: on", load="100k"),
    "split by address": case(
        "split by client-ip",
        "add_header X-Arm $arm;",
        around=("split_clients $remote_addr $arm { 10% b; * a; }", ""),
    ),
    "split of new clients": case("split by cookie"),
    "mirror of 1 %": case("mirror: {to: 'http://127.0.0.1:9', percent: 1}"),
    "mirror to nobody": case("mirror: {to: 'http://127.0.0.1:9'}"),
}
"""By name. A filter has one line, or several for settings that cost differently."""


def measure(peer: Peer, load: str, seconds: float) -> float:
    """Microseconds of CPU per request."""
    before = sum(cpu_seconds(peer.pid))
    found = run(peer.url, LOADS[load], seconds=seconds)
    if found.errors:
        raise SystemExit(f"filters: {found.errors} errors at {peer.name}")
    return (sum(cpu_seconds(peer.pid)) - before) / found.requests * 1e6


def compare(name: str, peers: list[str], rounds: int, seconds: float, folder: Path, backend: Backend) -> list[str]:
    """The cells of a case: with and more, for each peer."""
    one = CASES[name]
    running: dict[tuple[str, bool], Peer] = {}
    found: dict[tuple[str, bool], list[float]] = {}
    try:
        for peer in peers:
            for filtered in (False, True) if one.has(peer) else ():
                more = {"here": one.here[peer], "around": one.around.get(peer, "")} if filtered else {}
                if filtered and peer == "terraster":
                    more["below"] = one.below
                more = {key: _filled(text, folder, backend) for key, text in more.items()}
                more["field"] = LOADS[one.load].field
                label = f"{peer}-{name.replace(' ', '-')}-{filtered}"
                running[peer, filtered] = launch(peer, False, folder, backend.ports, label=label, **more)
        for made in running.values():
            run(made.url, LOADS[one.load], seconds=1)
        for _ in range(rounds):
            for key, made in running.items():
                found.setdefault(key, []).append(measure(made, one.load, seconds))
    finally:
        for made in running.values():
            if made.running is not None:
                made.running.stop()
    cells = []
    for peer in peers:
        if (peer, True) not in found:
            cells += ["", ""]
            continue
        pairs = zip(found[peer, True], found[peer, False], strict=True)
        cells.append(f"{statistics.median(found[peer, True]):.1f}")
        cells.append(f"{statistics.median(many - few for many, few in pairs):+.1f}")
    return cells


def _filled(text: str, folder: Path, backend: Backend) -> str:
    """A text of a case with what only a run knows."""
    users = folder / "users"
    users.write_text("ada:{SHA}0nofEXcSAJSXFLGvmfBIpBb11vQ=\n")
    return text.replace("@USERS@", str(users)).replace("@BACKEND@", f"http://127.0.0.1:{backend.ports[0]}")


def offer(view: SeatView, start: int, found: memoryview, seat: int) -> None:
    """One process that offers requests to the buckets as fast as it can, from ``start`` (monotonic nanoseconds) for two seconds."""
    buckets = Buckets(view, int)
    passed = offered = 0
    while (now := time.monotonic_ns()) < start + 2_000_000_000:
        if now >= start:
            offered += 1
            passed += buckets.take(0x123456789ABCDEF, now, 1_000_000, 100_000_000) > 0
    found[2 * seat], found[2 * seat + 1] = offered, passed


def processes() -> tuple[int, int]:
    """How many requests four processes offered to the buckets, and how many passed: without sockets, so that only the buckets are measured."""
    table = Table(1, 1, 17)
    found = memoryview(mmap.mmap(-1, 4096)).cast("Q")
    for seat in range(1, 5):
        table.q[table.seat(seat) + Seat.PID], table.q[table.seat(seat) + Seat.ROLE] = seat, Seat.PROXY
    start, children = time.monotonic_ns() + 200_000_000, []
    for seat in range(1, 5):
        child = os.fork()
        if not child:
            view = SeatView(table)
            view.sit(seat)
            offer(view, start, found, seat)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    return sum(found[2:10:2].tolist()), sum(found[3:10:2].tolist())


def exact(folder: Path, backend: Backend, seconds: int) -> None:
    """How many requests four workers let pass at 1,000 a second with a burst of 100, offered many more. A load that pauses for more than
    0.1 s, as it does on a busy machine, loses what it did not use: then fewer pass than would be allowed."""
    zone = "limit_req_zone $binary_remote_addr zone=clients:10m rate=1000r/s;"
    ways = {
        "terraster": ("rate_limit: {requests_per_second: 1000, burst: 100}", ""),
        "nginx": ("limit_req zone=clients burst=100 nodelay; limit_req_status 429;", zone),
    }
    print("| | offered | passed | allowed | difference |\n|---|---:|---:|---:|---:|")
    offered, passed = processes()
    print(f"| four processes, no sockets | {offered:,} | {passed:,} | 2,100 | {passed / 2100 - 1:+.2%} |", flush=True)
    for name, (here, around) in ways.items():
        peer = launch(name, False, folder, backend.ports, label=f"{name}-exact", here=here, around=around, workers=4)
        try:
            found = run(peer.url, LOADS["small"], seconds=seconds)
        finally:
            if peer.running is not None:
                peer.running.stop()
        passed, allowed = found.requests - found.errors, 100 + 1000 * found.seconds
        print(
            f"| {name}, four workers | {found.requests:,} | {passed:,} | {allowed:,.0f} | {passed / allowed - 1:+.2%} |", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", default=",".join(CASES), help=f"of {', '.join(CASES)}".replace("%", "%%"))
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--exact", action="store_true", help="how exactly rate limits hold, in place of what they cost")
    arguments = parser.parse_args()
    peers = arguments.peers.split(",")
    with tempfile.TemporaryDirectory(prefix="terraster-bench-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        backend = Backend(folder)
        try:
            if arguments.exact:
                exact(folder, backend, round(arguments.seconds))
                return
            print(f"| CPU µs/request | {' | '.join(f'{peer}: with | more' for peer in peers)} |")
            print(f"|---|{'---:|' * 2 * len(peers)}")
            for name in arguments.cases.split(","):
                cells = compare(name.strip(), peers, arguments.rounds, arguments.seconds, folder, backend)
                print(f"| {name} | {' | '.join(cells)} |", flush=True)
        finally:
            backend.running.stop()


if __name__ == "__main__":
    main()
