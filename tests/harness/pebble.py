"""pebble, an ACME authority for tests, with pebble-challtestsrv as its name server: every name is 127.0.0.1."""

from __future__ import annotations

import json
import ssl
import urllib.request
from pathlib import Path
from typing import Any

from .authority import Authority
from .ports import free_port
from .program import Program
from .waiting import wait_until

__all__ = ["Pebble"]


class Pebble:
    """A running pebble.

    directory: its URL; ca_file: the root of its own server; http_port, tls_port: where it asks for http-01 and tls-alpn-01

    rejects: percentage of good nonces that it rejects; lifetime: of certificates, in seconds; accounts: MAC keys of external accounts, by
    their kid; one of them is needed then; always_valid: it asks nobody
    """

    def __init__(
        self,
        folder: Path,
        http_port: int = 0,
        tls_port: int = 0,
        rejects: int = 0,
        lifetime: int = 0,
        accounts: dict[str, str] | None = None,
        sleeps: int = 0,
        environment: dict[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._port, self._management, self._dns, self._dns_management = (free_port() for _ in range(4))
        self.http_port, self.tls_port = http_port or free_port(), tls_port or free_port()
        self.directory = f"https://localhost:{self._port}/dir"
        authority = Authority("Pebble")
        chain, key = authority.issue("localhost").write(folder, "server")
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_bytes(authority.root)
        self._trust = ssl.create_default_context(cafile=str(self.ca_file))
        config: dict[str, Any] = {
            "listenAddress": f"127.0.0.1:{self._port}",
            "managementListenAddress": f"127.0.0.1:{self._management}",
            "certificate": str(chain),
            "privateKey": str(key),
            "httpPort": self.http_port,
            "tlsPort": self.tls_port,
            "externalAccountBindingRequired": bool(accounts),
            "externalAccountMACKeys": accounts or {},
        }
        if lifetime:
            config["certificateValidityPeriod"] = lifetime
        self._config = folder / "pebble.json"
        self._config.write_text(json.dumps({"pebble": config}))
        self._environment = {
            "PEBBLE_WFE_NONCEREJECT": str(rejects),
            "PEBBLE_AUTHZREUSE": "0",
            **({"PEBBLE_VA_SLEEPTIME": str(sleeps)} if sleeps else {"PEBBLE_VA_NOSLEEP": "1"}),
            **(environment or {}),
        }
        flags = [f"-dns01=127.0.0.1:{self._dns}", f"-management=127.0.0.1:{self._dns_management}", "-defaultIPv6="]
        flags += ["-http01=", "-https01=", "-tlsalpn01="]
        self._names = Program(["pebble-challtestsrv", *flags], folder / "names")
        self._start()
        wait_until(lambda: self._ask_names("clear-txt", {"host": "none.test."}) is not None, deadline=20)

    def _start(self) -> None:
        command = ["pebble", "-config", str(self._config), "-dnsserver", f"127.0.0.1:{self._dns}"]
        self._program = Program(command, self.folder / "output", **self._environment)
        wait_until(self._serves, deadline=20)

    def _serves(self) -> bool:
        try:
            with urllib.request.urlopen(self.directory, context=self._trust, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _ask_names(self, verb: str, values: dict[str, str]) -> bytes | None:
        request = urllib.request.Request(f"http://127.0.0.1:{self._dns_management}/{verb}", json.dumps(values).encode())
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                found: bytes = answer.read()
                return found
        except OSError:
            return None

    @property
    def names_url(self) -> str:
        """Where records of the name server are set."""
        return f"http://127.0.0.1:{self._dns_management}"

    def root(self) -> bytes:
        """PEM of the root that certificates lead to; it is another one after a restart."""
        url = f"https://localhost:{self._management}/roots/0"
        with urllib.request.urlopen(url, context=self._trust, timeout=5) as answer:
            found: bytes = answer.read()
            return found

    def orders(self) -> int:
        """Orders that were made."""
        return self.output().count("is pending")

    def output(self) -> str:
        return (self.folder / "output").read_text(errors="replace")

    def stop(self) -> None:
        self._program.stop()
        self._names.stop()

    def __enter__(self) -> Pebble:
        return self

    def __exit__(self, *unused: object) -> None:
        self.stop()
