"""Idle clients: the memory of a kept connection, and a check that all of many idle connections are still served.

    python bench/idle.py [--connections 10000] [--tls] [--http2]

There is one worker. Every connection sends a request, rests, and sends another one. The memory is the worker's own (resident, anonymous). The
kernel's socket buffers are not included; they are the same for every proxy. Clients use several loopback addresses, because one address has too
few ports.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import selectors
import socket
import ssl
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from peers import certificate  # noqa: E402

from tests.harness.http2 import PREFACE, headers, settings  # noqa: E402
from tests.harness.nginx import Nginx  # noqa: E402
from tests.harness.terraster_process import Terraster, rss, service  # noqa: E402

REQUEST = b"GET /hello HTTP/1.1\r\nHost: a.test\r\n\r\n"
GREETING = PREFACE + settings() + settings(ack=True)
FRAMES = tuple(
    headers(number, ((":method", "GET"), (":scheme", "http"), (":path", "/hello"), (":authority", "a.test"))) for number in (1, 3)
)
"""A first request over HTTP/2, and another one."""
AT_ONCE = 64  # requests in flight at a time
IP_BIND_ADDRESS_NO_PORT = 24  # the socket module has the name since Python 3.12
PER_SOURCE = 20_000  # connections from one source address


def raise_limit(descriptors: int) -> None:
    """Raise the limit of descriptors for this process and its children."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= descriptors:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, max(hard, descriptors)))
    except (ValueError, PermissionError):
        raise SystemExit(f"idle: needs {descriptors} descriptors, may have {hard}: raise it with ulimit -n") from None


def connect(port: int, count: int, tls: bool, http2: bool) -> list[socket.socket]:
    """This many connections, opened one after the other."""
    made = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if http2:
        context.set_alpn_protocols(["h2"])
    for number in range(count):
        sock = socket.socket()
        sock.settimeout(20)
        # connect() chooses the port with regard to both addresses; bind() took 5 ms each after a run or two.
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((f"127.0.0.{2 + number // PER_SOURCE}", 0))
        sock.connect(("127.0.0.1", port))
        if tls:
            sock = context.wrap_socket(sock)
        if http2:
            sock.sendall(GREETING)
        made.append(sock)
    return made


def is_good(sock: socket.socket, http2: bool) -> bool:
    """True if the answer that comes is one of status 200. Over HTTP/2 all of its frames are read."""
    if not http2:
        return sock.recv(65536).startswith(b"HTTP/1.1 200 ")
    data, good, ended = b"", False, False
    while data or not ended:
        size = 9 + int.from_bytes(data[:3], "big") if len(data) >= 9 else 0
        if not size or len(data) < size:
            more = sock.recv(65536)
            if not more:
                return False
            data += more
            continue
        kind, flags = data[3], data[4]
        good = good or (kind == 1 and data[9:10] == b"\x88")  # ":status: 200" of the static table
        ended = ended or (kind in (0, 1) and bool(flags & 1))
        data = data[size:]
    return good


def ask_all(socks: list[socket.socket], request: bytes, http2: bool) -> int:
    """Send a request on every connection, some at a time. Returns how many were answered with 200."""
    good = 0
    waiting = iter(socks)
    with selectors.DefaultSelector() as selector:
        for sock in itertools.islice(waiting, AT_ONCE):
            sock.sendall(request)
            selector.register(sock, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(20)
            if not ready:
                return good
            for key, _ in ready:
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                good += is_good(sock, http2)
                selector.unregister(sock)
                following = next(waiting, None)
                if following is not None:
                    following.sendall(request)
                    selector.register(following, selectors.EVENT_READ)
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--rest", type=float, default=15.0, metavar="SECONDS", help="before the memory is read (15)")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--http2", action="store_true")
    arguments = parser.parse_args()
    count, tls, http2 = arguments.connections, arguments.tls, arguments.http2
    first_request, next_request = FRAMES if http2 else (REQUEST, REQUEST)
    raise_limit(count + 1000)
    with tempfile.TemporaryDirectory() as name, Nginx(Path(name) / "nginx") as origin:
        folder = Path(name) / "terraster"
        keys = {"tls": {"cert_file": str(certificate(Path(name)))}} if tls else {}
        with Terraster(folder, service(origin.url, **keys), access_log="off", timeouts={"keepalive": "10m"}, http2=http2) as proxy:
            (worker,) = proxy.workers()
            warm = connect(proxy.port, 200, tls, http2)
            ask_all(warm, first_request, http2)
            for sock in warm:
                sock.close()
            before = rss(worker)
            began = time.monotonic()
            socks = connect(proxy.port, count, tls, http2)
            first = ask_all(socks, first_request, http2)
            seconds = time.monotonic() - began
            after = rss(worker)
            time.sleep(arguments.rest)
            rested = rss(worker)
            again = ask_all(socks, next_request, http2)
            print(
                f"{count} connections opened and asked in {seconds:.1f} s: {first} answered; asked again after a rest: {again} answered"
            )
            print(f"the worker: {before >> 20} MiB without them, {after >> 20} MiB with them, {rested >> 20} MiB after a rest")
            print(f"{(rested - before) / count / 1024:.1f} KiB a connection")
            for sock in socks:
                sock.close()
            if (first, again) != (count, count):
                raise SystemExit(1)


if __name__ == "__main__":
    main()
