"""TLS 1.3 handshakes as the load: a connection, one request on it, its end; again and again.

    python bench/handshakes.py URL SECONDS full|resumed

It prints the same figures as lua/report.lua. An answer other than 200 is an error, and so is a handshake of the wrong kind. Clients: some
threads, as OpenSSL lets other threads run. They do not check the certificate: that would be their time.
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import threading
import time
import urllib.parse

CLIENTS = 4  # threads


class Client:
    """One client. latencies: seconds of each connection, from before it is made until its end; errors: those that failed"""

    def __init__(self, url: str, resumed: bool) -> None:
        parts = urllib.parse.urlsplit(url)
        self.latencies: list[float] = []
        self.errors = 0
        self._address = parts.hostname or "", parts.port or 443
        self._request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode()
        self._resumed = resumed
        self._session: ssl.SSLSession | None = None
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3

    def connect(self) -> bool:
        """One connection. True if the answer is 200 and the handshake was of the right kind."""
        with socket.create_connection(self._address, timeout=10) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._context.wrap_socket(plain, session=self._session) as secure:
                secure.sendall(self._request)
                answer = b""
                while data := secure.recv(65536):
                    answer += data
                right = bool(secure.session_reused) == (self._session is not None)
                if self._resumed:
                    self._session = secure.session  # each one may be used once: RFC 8446, appendix C.4
        return right and answer.startswith(b"HTTP/1.1 200 ")

    def run(self, end: float) -> None:
        """Connect until ``end`` (monotonic)."""
        while (begin := time.monotonic()) < end:
            try:
                good = self.connect()
            except OSError:
                good = False
            self.errors += not good
            self.latencies.append(time.monotonic() - begin)


def main(url: str, seconds: float, kind: str) -> None:
    """Load ``url``."""
    clients = [Client(url, kind == "resumed") for _ in range(CLIENTS)]
    for client in clients:
        client.connect()  # for the first session
    begin = time.monotonic()
    threads = [threading.Thread(target=client.run, args=(begin + seconds,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    latencies = sorted(latency for client in clients for latency in client.latencies)
    figures = {
        "requests": len(latencies),
        "seconds": time.monotonic() - begin,
        "p50": latencies[len(latencies) // 2],
        "p99": latencies[len(latencies) * 99 // 100],
        "errors": sum(client.errors for client in clients),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", metavar="URL")
    parser.add_argument("seconds", metavar="SECONDS", type=float)
    parser.add_argument("kind", choices=("full", "resumed"))
    main(**vars(parser.parse_args()))
