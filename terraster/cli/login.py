"""`terrasterctl login URL` and `terrasterctl logout`: sessions at Terrasters on other hosts."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from typing import Any

from .control import DONE, Control, Refused
from .remote import Remote, checked_token, granted

__all__ = ["add_commands", "login", "logout"]


def add_commands(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add both commands to those of terrasterctl. shared: the options of all commands."""
    begin = commands.add_parser("login", parents=[shared], help="log in at a Terraster on another host, for commands with --url")
    begin.add_argument("address", metavar="URL", help="of its management API, such as https://lb1.example.com:8081")
    begin.add_argument("--user", metavar="NAME", default="", help="the name of the user (default: it is asked for)")
    begin.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    begin.add_argument("--token-stdin", action="store_true", help="read an API token from standard input instead, and keep it")
    end = commands.add_parser(
        "logout", parents=[shared], help="end the session at a Terraster on another host, and forget its tokens"
    )
    end.add_argument("address", metavar="URL", nargs="?", default="", help="the URL (default: that of --url or TERRASTER_URL)")


def login(control: Control, arguments: argparse.Namespace) -> int:
    """The command `login`."""
    remote = _remote(control)
    if arguments.token_stdin:
        token = checked_token(sys.stdin.readline())
        if remote.send("GET", "/api/auth/tokens", None, {}, token)[0] == 401:
            raise Refused(f"{remote.url} does not know this token")
        name, kept = "", {"token": token}
    else:
        name = arguments.user or _asked("user: ")
        password = sys.stdin.readline().rstrip("\r\n") if arguments.password_stdin else _password(name)
        status, value = remote.send("POST", "/api/auth/login", {"username": name, "password": password}, {}, "")
        if status != 200:
            raise Refused(f"{remote.url}: {value.get('detail', status) if value else status}")
        kept = {**granted(value), "name": name}
        if value.get("password_expired"):
            print("note: the password has expired: nothing is allowed before it is changed, in the dashboard", file=sys.stderr)
    with remote.logins.alone(remote.url):
        remote.logins.put(remote.url, kept)
    if arguments.json:
        print(json.dumps({"ok": True, "url": remote.url, "user": name or None, "file": remote.logins.file}, indent=2))
    else:
        print(f"logged in at {remote.url}; use it: terrasterctl --url {remote.url} status (or TERRASTER_URL in the environment)")
    return DONE


def logout(control: Control, arguments: argparse.Namespace) -> int:
    """The command `logout`."""
    remote = _remote(control)
    with remote.logins.alone(remote.url):
        known = remote.logins.get(remote.url)
        if known is None:
            raise Refused(f"there is no login at {remote.url}")
        remote.logins.put(remote.url, None)
    note = "" if "refresh" in known else "; the API token itself stays valid until it is ended in the dashboard or by the API"
    if "refresh" in known:
        try:
            remote.send("POST", "/api/auth/revoke", {"refresh_token": known["refresh"]}, {}, "")
        except Refused as refused:
            note = f"; the session itself goes on until it ends: {refused}"
    if arguments.json:
        print(json.dumps({"ok": True, "url": remote.url}, indent=2))
    else:
        print(f"logged out at {remote.url}{note}")
    return DONE


def _remote(control: Control) -> Remote:
    if not isinstance(control, Remote):
        raise Refused("which Terraster? Name its URL")
    return control


def _asked(prompt: str) -> str:
    if not sys.stdin.isatty():
        raise Refused("there is no terminal to ask for the name: use --user NAME and --password-stdin, or --token-stdin")
    return input(prompt).strip()


def _password(name: str) -> str:
    if not sys.stdin.isatty():
        raise Refused("there is no terminal to ask for the password: use --password-stdin or --token-stdin")
    return getpass.getpass(f"password of {name}: ")
