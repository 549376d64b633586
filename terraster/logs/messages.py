"""Log lines as messages for other programs: RFC 5424 for syslog, fields for systemd's journal. Pure, apart from its clock and host name."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterable

__all__ = ["JournalMessages", "SyslogMessages", "fields"]

_APPLICATION = "terraster"


class SyslogMessages:
    """Messages of RFC 5424. facility: its number. what: the MSGID, ``access`` or ``-``"""

    __slots__ = ("_host", "_priority", "_second", "_stamp", "_what")

    def __init__(self, facility: int, what: str) -> None:
        self._priority = facility * 8
        self._host = socket.gethostname().encode("ascii", "replace").decode()[:255].replace(" ", "-") or "-"
        self._what = what
        self._second = -1
        self._stamp = ""

    def message(self, text: str, severity: int, wall: float) -> bytes:
        """One message. severity: of syslog, 0 to 7. wall: seconds since 1970"""
        second = int(wall)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        when = f"{self._stamp}.{int(wall % 1 * 1000):03d}Z"
        who = f"{self._host} {_APPLICATION} {os.getpid()}"
        return f"<{self._priority + severity}>1 {when} {who} {self._what} - {text}".encode(errors="backslashreplace")


class JournalMessages:
    """Messages of the native protocol of systemd's journal."""

    __slots__ = ()

    @staticmethod
    def message(text: str, severity: int, more: Iterable[tuple[str, str]] = ()) -> bytes:
        """One message with these further fields."""
        known = (("MESSAGE", text), ("PRIORITY", str(severity)), ("SYSLOG_IDENTIFIER", _APPLICATION))
        return fields((*known, *more))


def fields(named: Iterable[tuple[str, str]]) -> bytes:
    """Fields as the journal reads them; a value of several lines has its length in front."""
    parts: list[bytes] = []
    for name, value in named:
        octets = value.encode(errors="backslashreplace")
        if b"\n" in octets:
            parts += [name.encode(), b"\n", struct.pack("<Q", len(octets)), octets, b"\n"]
        else:
            parts += [name.encode(), b"=", octets, b"\n"]
    return b"".join(parts)
