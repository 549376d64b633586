"""The destinations of logs that are neither a file nor a descriptor: syslog (RFC 5424) and systemd's journal.

syslog:/dev/log                 a local syslog daemon, on its socket
syslog+udp://192.0.2.7:514      another host; the port may be left out
syslog+tcp://[2001:db8::7]:601  the same over TCP, with octet counting (RFC 6587, 3.4.1)
…?facility=local0               with any of them; daemon if it is left out
journald                        systemd's journal, by its own protocol; journald:/path names another socket
"""

from __future__ import annotations

import difflib
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

__all__ = ["FACILITIES", "Remote", "is_remote", "remote"]

FACILITIES: tuple[str, ...] = (
    *(
        "kern",
        "user",
        "mail",
        "daemon",
        "auth",
        "syslog",
        "lpr",
        "news",
        "uucp",
        "cron",
        "authpriv",
        "ftp",
        "ntp",
        "audit",
        "alert",
        "clock",
    ),
    *(f"local{number}" for number in range(8)),
)
"""By number (RFC 5424, table 1), in the names that syslog daemons use."""

JOURNAL = "/run/systemd/journal/socket"
_PORTS = {"syslog+udp": 514, "syslog+tcp": 601}


class Remote(NamedTuple):
    """kind: "syslog" or "journald". transport: "unix", "udp" or "tcp". host: a name or an address, or the path of a socket."""

    kind: str
    transport: str
    host: str
    port: int = 0
    facility: int = FACILITIES.index("daemon")

    def shown(self) -> str:
        """For people: ``syslog at 192.0.2.7:514``."""
        where = (
            self.host
            if self.transport == "unix"
            else f"[{self.host}]:{self.port}"
            if ":" in self.host
            else f"{self.host}:{self.port}"
        )
        return f"{self.kind} at {where}"


def is_remote(path: str) -> bool:
    """True if a destination has one of the forms above, well or badly written."""
    return path == "journald" or path.startswith(("journald:", "syslog:", "syslog+"))


def remote(path: str) -> Remote | None:
    """A destination in one of the forms above; None for any other. ValueError, in words behind the key, if it is badly written."""
    if not is_remote(path):
        return None
    if path.startswith("journald"):
        where = path.partition(":")[2] or JOURNAL
        if not where.startswith("/"):
            raise ValueError("must be `journald`, or `journald:` and the absolute path of a socket")
        return Remote("journald", "unix", where)
    target, _, query = path.partition("?")
    facility = _facility(query)
    scheme = target.partition(":")[0]
    if scheme == "syslog":
        where = target.partition(":")[2]
        if not where.startswith("/") or where.startswith("//"):
            raise ValueError(
                "must name a socket, as in `syslog:/dev/log`; for another host: `syslog+udp://HOST:PORT`, `syslog+tcp://HOST:PORT`"
            )
        return Remote("syslog", "unix", where, facility=facility)
    if scheme not in _PORTS:
        raise ValueError("must begin with `syslog:/`, `syslog+udp://` or `syslog+tcp://`")
    try:
        parts = urlsplit(target)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.path not in ("", "/") or "@" in parts.netloc:
        raise ValueError(f"must be `{scheme}://HOST:PORT`")
    return Remote("syslog", scheme[-3:], host, _PORTS[scheme] if port is None else port, facility)


def _facility(query: str) -> int:
    facility = "daemon"
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name != "facility":
            raise ValueError(f"has the unknown parameter `{name}`; there is `facility`")
        facility = value
    if facility not in FACILITIES:
        near = difflib.get_close_matches(facility.lower(), FACILITIES, 1, 0.6)
        raise ValueError(
            f"has the unknown facility {facility!r}; " + (f"did you mean `{near[0]}`?" if near else "see `man syslog.conf`")
        )
    return FACILITIES.index(facility)
