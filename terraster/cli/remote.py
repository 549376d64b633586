"""A Terraster on another host, by its management API: what `Control` is for the one on this host.

    terrasterctl --url https://lb1.example.com:8081 status

The server's certificate is verified. A token goes to the origin that it was given for and nowhere else: redirects are not followed, proxies of
the environment are not used, and plain http is for loopback only. No token is in a command line, an error or a log.
"""

from __future__ import annotations

import ipaddress
import json
import ssl
import time
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as HTTPTimeout

from .control import FAILED, SILENT, UNKNOWN, Control, Refused, TooLate
from .logins import Logins

__all__ = ["Remote", "checked_token", "origin"]

_EARLY = 30.0  # seconds before its end that an access token is no longer used


class Remote(Control):
    """One remote Terraster. url: its origin. ca_file: authorities instead of the system's, "": those"""

    def __init__(self, url: str, timeout: float, environ: Mapping[str, str], ca_file: str = "") -> None:
        super().__init__("", timeout)
        self.url = origin(url)
        self.logins = Logins(environ)
        self._environ = environ
        self._ca_file = ca_file
        self._given = checked_token(environ["TERRASTER_TOKEN"]) if environ.get("TERRASTER_TOKEN") else ""

    def again(self, timeout: float) -> Remote:
        return Remote(self.url, timeout, self._environ, self._ca_file)

    def look(self, path: str) -> dict[str, Any]:
        return {"ok": True} if path == "/healthz" else self.ask("GET", path)

    def call(self, method: str, path: str, within: float | None = None, body: bytes | None = None, **query: str) -> dict[str, Any]:
        return self.ask(method, path, body, **query)

    def ask(self, method: str, path: str, question: bytes | None = None, **query: str) -> dict[str, Any]:
        """The answer to what the control socket would be asked, by operations of the API. Raises Refused."""
        from .translated import translated

        return translated(self, method, path, question, query)

    def master(self) -> int:
        raise Refused("this needs the host that Terraster runs on")

    def exchange(self, method: str, path: str, body: dict[str, Any] | None, head: dict[str, str]) -> tuple[int, Any]:
        """One call of the API with the token of the login, which is refreshed when it has ended. Raises Refused."""
        token = self.token()
        status, value = self.send(method, path, body, head, token)
        if status == 401 and not self._given and (fresh := self._refreshed(token)):
            status, value = self.send(method, path, body, head, fresh)
        if status == 401:
            how = "the token in TERRASTER_TOKEN is not valid" if self._given else f"log in first: terrasterctl login {self.url}"
            raise Refused(f"{self.url} does not know who calls: {how}")
        return status, value

    def token(self) -> str:
        """The token to call with. Raises Refused if there is none."""
        if self._given:
            return self._given
        login = self.logins.get(self.url)
        if login is None:
            raise Refused(f"there is no login at {self.url}: terrasterctl login {self.url}, or a token in TERRASTER_TOKEN")
        token = str(login["token"])
        if "refresh" in login and login["expires"] - _EARLY < time.time():
            return self._refreshed(token) or token
        return token

    def _refreshed(self, ended: str) -> str:
        """The access token of the session after one that has ended, "" if there is none. Another terrasterctl may have got it meanwhile."""
        with self.logins.alone(self.url):
            login = self.logins.get(self.url) or {}
            if "refresh" not in login:
                return ""
            if login["token"] != ended:
                return str(login["token"])
            status, value = self.send("POST", "/api/auth/refresh", {"refresh_token": login["refresh"]}, {}, "")
            if status == 401:
                return ""
            if status != 200:
                raise Refused(f"{self.url}: the session cannot be refreshed: {_detail(value, status)}")
            self.logins.put(self.url, {**login, **granted(value)})
            return str(value["token"])

    def send(self, method: str, path: str, body: dict[str, Any] | None, head: dict[str, str], token: str) -> tuple[int, Any]:
        """One call as it is. Raises Refused."""
        octets = None if body is None else json.dumps(body).encode()
        fields = {name: value for name, value in head.items() if name != "X-Terraster-By"}
        fields |= {"Authorization": f"Bearer {token}"} if token else {}
        fields |= {"User-Agent": "terrasterctl", "Accept": "application/json"}
        fields |= {} if octets is None else {"Content-Type": "application/json"}
        sent = False
        connection = self._connection(max(0.1, self.left()))
        try:
            connection.connect()
            sent = True
            connection.request(method, path, body=octets, headers=fields)
            response = connection.getresponse()
            if 300 <= response.status < 400:
                raise Refused(
                    f"{self.url} answers with a redirect, which is not followed: {response.headers.get('Location', '')[:200]}"
                )
            data = response.data
            value = json.loads(data) if data else None
        except (TimeoutError, HTTPTimeout):
            raise TooLate(f"{self.url}: no answer in time (--timeout)", UNKNOWN if sent and method != "GET" else FAILED) from None
        except (OSError, HTTPError, HTTPException, ValueError) as error:
            raise Refused(f"{self.url}: {_words(error)}", UNKNOWN if sent and method != "GET" else FAILED) from None
        finally:
            connection.close()
        if value is not None and not isinstance(value, dict):
            raise Refused(f"{self.url} is not the management API of a Terraster")
        return response.status, value

    def _to_follow(self) -> tuple[HTTPConnection, dict[str, str]]:
        return self._connection(SILENT), {"Authorization": f"Bearer {self.token()}", "User-Agent": "terrasterctl"}

    def _connection(self, seconds: float) -> HTTPConnection:
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        if parts.scheme == "http":
            return HTTPConnection(host, parts.port, timeout=seconds)
        try:
            context = ssl.create_default_context(cafile=self._ca_file or None)
        except OSError as error:
            raise Refused(f"{self._ca_file}: {error.strerror or 'has no certificates of authorities'}") from None
        return HTTPSConnection(host, parts.port, timeout=seconds, ssl_context=context)


def granted(value: dict[str, Any]) -> dict[str, Any]:
    """The part of the answer to a login or refresh that is kept. Raises Refused."""
    try:
        return {"token": str(value["token"]), "refresh": str(value["refresh_token"]), "expires": float(value["expires_at"])}
    except (KeyError, TypeError, ValueError):
        raise Refused("the answer to the login is not that of a Terraster: nothing is kept") from None


def origin(url: str) -> str:
    """A URL as scheme, host and port. Raises Refused."""
    text = url if "://" in url else f"https://{url}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise Refused("the URL is not valid; it is like https://lb1.example.com:8081") from None
    if parts.username is not None or parts.password is not None:
        raise Refused("the URL must not have a name or password: others on this host can read a command line")
    if parts.scheme not in ("http", "https") or not host or parts.path.strip("/") or parts.query or parts.fragment:
        raise Refused("the URL must be like https://lb1.example.com:8081, without a path")
    if parts.scheme == "http" and not _is_loopback(host):
        raise Refused("the URL must be https: over plain http a token can be read on the way; http is for loopback only")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port else "")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def checked_token(text: str) -> str:
    """A token that fits a header. Raises Refused, without the token."""
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise Refused("the token is not valid: it must be one word of ASCII")
    return token


def _words(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate cannot be verified: {error.verify_message} (--ca-file)"
    if isinstance(error, ValueError):
        return "the answer is not JSON: this is not the management API of a Terraster"
    if isinstance(error, HTTPException) and not isinstance(error, OSError):
        return "the answer is not HTTP: this is not the management API of a Terraster"
    return str(getattr(error, "strerror", None) or error)


def _detail(value: Any, status: int) -> str:
    return str(value.get("detail", status)) if isinstance(value, dict) else str(status)
