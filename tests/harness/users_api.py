"""The management API over TCP, as users and browsers call it."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from terraster.users.administration import Administration
from terraster.users.aside import Direct
from terraster.users.database import Database
from terraster.users.passwords import Passwords
from terraster.users.policy import Policy

from .api import Told, told

__all__ = ["GOOD", "NEW", "Client", "make"]

GOOD, NEW = "Vq7!tGw2#pLz", "Rm5?kXb8+hNd"


def make(file: Path, name: str = "ada", role: str = "admin", password: str = GOOD) -> None:
    """Make a user of a database, with a hash that costs little."""
    aside = Direct()
    Administration(Database(lambda: str(file), aside), Passwords(aside, cost=4), Policy).add(name, role, password)


class Client:
    """A client of the admin port. token: of each call, "" for none. source: the address that it calls from"""

    def __init__(self, terraster: Any, token: str = "", source: str = "127.0.0.1") -> None:
        self.port = terraster.admin_port
        self.token = token
        self.source = source
        self.refresh = ""

    def call(self, method: str, path: str, body: Any = None, **head: str) -> Told:
        """One call. head: further fields"""
        octets = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        lines = {"Host": f"127.0.0.1:{self.port}", "Connection": "close"}
        if self.token:
            lines["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            lines |= {"Content-Type": "application/json", "Content-Length": str(len(octets))}
        lines |= {name.replace("_", "-"): value for name, value in head.items()}
        lead = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
        with socket.create_connection(("127.0.0.1", self.port), 30, (self.source, 0)) as sock:
            with suppress(BrokenPipeError, ConnectionResetError):  # it may be refused by its head
                sock.sendall(lead.encode() + octets)
            answer = b""
            with suppress(ConnectionResetError):
                while piece := sock.recv(65536):
                    answer += piece
        return told(answer)

    def login(self, name: str = "ada", password: str = GOOD, **head: str) -> Told:
        """Log in, and use the token from then on if it succeeds."""
        answer = self.call("POST", "/api/auth/login", {"username": name, "password": password}, **head)
        if answer.status == 200:
            self.token, self.refresh = answer.value["token"], answer.value["refresh_token"]
        return answer
