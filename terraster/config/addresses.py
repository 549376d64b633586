"""Listening addresses, backend URLs, host names and networks, as canonical values.

Everything here takes what an operator wrote and gives back one spelling for one thing, so that two spellings of the same address
are seen to be the same; or raises ValueError with what is wrong, in words that follow "`key` …".
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import quote, unquote

from .host_patterns import compiled, is_pattern

__all__ = [
    "Url",
    "host_name",
    "is_address",
    "is_loopback",
    "listen_address",
    "nameserver",
    "network",
    "overlap",
    "port_of",
    "server_name",
    "url",
]

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
_PATH = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*")
_PORT = re.compile(r"[0-9]{1,5}")
_LONGEST_PATH = 107  # octets of a unix socket's path: unix(7)
_UNIX_HOST = re.compile(r"unix:(?![0-9]+$).*", re.IGNORECASE)
_SOCKET_ELSEWHERE = re.compile(r"(?:https?://)?(unix[:@]|unix(?=/)|(?=/[^/]))([^:]+)(:.*)?", re.IGNORECASE)
"""How other programs write a unix socket: http://unix:/path:/base (nginx), unix//path (Caddy), unix@/path (HAProxy), or the path alone."""


class Url(NamedTuple):
    """A backend's address in parts. ``host``: no brackets, lower case; ``base_path``: "" or "/x" without a slash at its end;
    ``srv``: hosts and ports are to be found in the SRV records of ``host`` (RFC 2782), ``port`` is 0; ``socket``: path of a unix socket,
    then ``host`` is what the backend is called (localhost) and not where it is."""

    text: str
    scheme: str
    host: str
    port: int
    base_path: str
    srv: bool = False
    socket: str = ""

    @property
    def is_named(self) -> bool:
        """True if its host is a name, which may stand for several addresses."""
        return not self.socket and (self.srv or not is_address(self.host))


def _port(text: str) -> int:
    if not _PORT.fullmatch(text) or not 1 <= int(text) <= 65535:
        raise ValueError(f"has a port that is not a number from 1 to 65535: {text!r}")
    return int(text)


def listen_address(value: object) -> str:
    """One spelling of a listening address: "127.0.0.1:80", "[::1]:80", ":80" (all addresses) or "unix:/path"."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError('must be an address like "127.0.0.1:8080", "[::1]:8080", ":8080" or "unix:/path"')
    text = value.strip()
    if text.startswith("unix:"):
        _check_socket(text[5:])
        return text
    host, colon, port = text.rpartition(":")
    if not colon:
        if _PORT.fullmatch(text):
            return f":{_port(text)}"
        raise ValueError(f'must be an address with a port, like "127.0.0.1:8080", not {text!r}')
    number = _port(port)
    if host in ("", "*"):
        return f":{number}"
    if host.lower() == "localhost":
        return f"127.0.0.1:{number}"
    try:
        if host.startswith("[") and host.endswith("]"):
            return f"[{ipaddress.IPv6Address(host[1:-1])}]:{number}"
        return f"{ipaddress.IPv4Address(host)}:{number}"
    except ValueError:
        hint = "; an IPv6 address goes in brackets" if ":" in host else ""
        raise ValueError(f"must start with an IP address, not {host!r}{hint}") from None


def _check_socket(path: str) -> None:
    if not path.startswith("/") or "\0" in path or len(path.encode()) > _LONGEST_PATH:
        raise ValueError(f"must name a unix socket by an absolute path of at most {_LONGEST_PATH} octets: unix:/path")


def port_of(address: str) -> int:
    """The port of a canonical listening address; 0 for a unix socket."""
    return 0 if address.startswith("unix:") else int(address.rpartition(":")[2])


def is_loopback(address: str) -> bool:
    """True if only this machine can reach a canonical listening address."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    return host != "" and ipaddress.ip_address(host).is_loopback


def overlap(one: str, other: str) -> bool:
    """True if two different canonical addresses cannot be bound at the same time (one covers the other)."""
    if one == other or one.startswith("unix:") or other.startswith("unix:") or port_of(one) != port_of(other):
        return False
    hosts = {one.rpartition(":")[0], other.rpartition(":")[0]}
    if "" in hosts:
        return True
    return ("0.0.0.0" in hosts and not any("[" in host for host in hosts)) or (
        "[::]" in hosts and all("[" in host for host in hosts)
    )


def host_name(value: object) -> str:
    """A virtual host's name in lower case: exact, "*.example.com" or "*"; other scripts as their xn-- form; IPv6 in brackets. Or "~" and a
    regular expression, as it was written."""
    if not isinstance(value, str):
        raise ValueError('must be a host name, "*.example.com" or "*"')
    if is_pattern(value.strip()):
        compiled(value.strip())
        return value.strip()
    text = value.strip().lower()
    if text == "*":
        return text
    text = text.removesuffix(".")
    if text.startswith("["):
        try:
            return f"[{ipaddress.IPv6Address(text[1:-1] if text.endswith(']') else '')}]"
        except ValueError:
            raise ValueError(f"is not a valid host name: {value!r}") from None
    star, name = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    if not name.isascii():
        try:
            name = name.encode("idna").decode()
        except UnicodeError:
            raise ValueError(f"is not a valid host name: {value!r}") from None
    if name.isdecimal():
        raise ValueError('must be a host name, "*.example.com" or "*", not a number')
    if len(name) > 253 or not _NAME.fullmatch(name):
        if ":" in name:
            raise ValueError(f"must be a name without a port (`port` or `listen` say where): {value!r}")
        raise ValueError(f"is not a valid host name: {value!r}")
    return star + name


def server_name(value: object) -> str:
    """The name that a certificate must have: a host name as in `host_name` but without a star, or an IP address without brackets."""
    if not isinstance(value, str):
        raise ValueError("must be a host name or an IP address")
    text = value.strip()
    if is_address(text):
        return str(ipaddress.ip_address(text))
    if "*" in text or is_pattern(text):
        raise ValueError(f"must be one name, without a star: {value!r}")
    if text.startswith("["):
        raise ValueError(f"must be an IPv6 address without brackets: {value!r}")
    return host_name(text)


def url(value: object) -> Url:
    """A backend URL in parts: http or https, a host, perhaps a port and a base path; no user, query or fragment. It may
    start with "srv+": then the host is a name without a port. A unix socket is unix:/path, or http+unix://%2Fpath/base."""
    if not isinstance(value, str):
        raise ValueError("must be a URL like http://10.0.0.1:8080")
    text = value.strip()
    if text.startswith("unix:/"):
        return _unix(text, text[5:], "")
    match = _URL.fullmatch(text)
    if match is None or _UNIX_HOST.fullmatch(match[2]):
        _refuse_socket_of_others(text)
        raise ValueError(f"must be a URL like http://10.0.0.1:8080, not {text!r}")
    scheme, authority, path = match[1].lower(), match[2], match[3]
    if scheme == "http+unix":
        return _encoded_unix(text, authority, path, bool(match[4] or match[5]))
    if scheme == "https+unix":
        raise ValueError("must start with http+unix:// or unix:/, because TLS over a unix socket is not supported")
    srv = scheme.startswith("srv+")
    scheme = scheme.removeprefix("srv+")
    if scheme not in ("http", "https"):
        raise ValueError(f"must start with http:// or https://, not {match[1]}://")
    if "@" in authority:
        raise ValueError("must not contain a user name or password")
    if match[4] is not None or match[5] is not None:
        raise ValueError("must not contain a query or a fragment")
    host, colon, port = authority.rpartition(":") if not authority.endswith("]") else (authority, "", "")
    if not colon:
        host = authority
    if srv and (colon or host.startswith("[") or is_address(host)):
        raise ValueError("must have a name without a port after srv+: the SRV records say which hosts and ports")
    number = 0 if srv else _port(port) if colon else (443 if scheme == "https" else 80)
    host = host.lower()
    if host.startswith("["):
        try:
            host = str(ipaddress.IPv6Address(host[1:-1] if host.endswith("]") else ""))
        except ValueError:
            raise ValueError(f"has no usable host: {host!r}") from None
        shown = f"[{host}]"
    else:
        if not host.isascii():
            try:
                host = host.encode("idna").decode()
            except UnicodeError:
                raise ValueError(f"has no usable host: {host!r}") from None
        if not host or len(host) > 253 or not _NAME.fullmatch(host.removesuffix(".")):
            raise ValueError(f"has no usable host: {host!r}" if host else "has no host")
        shown = host
    base = _base_path(path)
    text = f"{'srv+' if srv else ''}{scheme}://{shown}{f':{number}' if colon else ''}{base}"
    return Url(text, scheme, host, number, base, srv)


def _base_path(path: str) -> str:
    if not _PATH.fullmatch(path):
        raise ValueError("has a path with characters that must be percent-encoded")
    base = path.rstrip("/")
    if any(segment in (".", "..") for segment in base.split("/")):
        raise ValueError("must not have . or .. in its path")
    return base


def _unix(text: str, path: str, base: str) -> Url:
    """A backend on a unix socket. path: as the kernel takes it. base: a base path, "" = none."""
    path = "/" + path.lstrip("/") if path.startswith("/") else path
    if not base and (":/" in path or path.endswith(":")):
        _refuse_socket_of_others(text)
    _check_socket(path)
    if not path.isprintable() or path.endswith("/"):
        raise ValueError(f"has no usable path of a unix socket: {path!r}")
    return Url(_unix_url(path, base), "http", "localhost", 80, base, socket=path)


def _unix_url(path: str, base: str) -> str:
    return f"http+unix://{quote(path, safe='')}{base}" if base or not path.isascii() else f"unix:{path}"


def _encoded_unix(text: str, authority: str, path: str, more: bool) -> Url:
    """The form with the socket's path percent-encoded in place of a host. more: True if there is a query or a fragment."""
    if more:
        raise ValueError("must not contain a query or a fragment")
    if not authority:
        raise ValueError(
            f"must have the path of its socket percent-encoded: {_unix_url(path or '/path', '')} or http+unix://%2Fpath/base"
        )
    try:
        socket = unquote(authority, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(f"has no usable path of a unix socket: {authority!r}") from None
    return _unix(text, socket, _base_path(path))


def _refuse_socket_of_others(text: str) -> None:
    """Raises ValueError, with our spelling, for a unix socket as other programs write it; nothing for other texts."""
    match = _SOCKET_ELSEWHERE.fullmatch(text)
    if match is not None:
        if match[2].startswith("@"):
            raise ValueError("must name a unix socket by its path, because abstract sockets are not supported")
        _check_socket(match[2])
        path, base = "/" + match[2].lstrip("/"), (match[3] or "")[1:].rstrip("/")
        if text.lower().startswith("https:"):
            raise ValueError("must start with http+unix:// or unix:/, because TLS over a unix socket is not supported")
        raise ValueError(f"must be written as {_unix_url(path, base)}, not {text!r}")


def is_address(host: str) -> bool:
    """True if this is an IP address without brackets, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def nameserver(value: object) -> str:
    """One spelling of a name server's address: "10.0.0.2", "10.0.0.2:5353", "::1" or "[::1]:5353"; port 53 is left out."""
    words = 'must be an address like "10.0.0.2", "10.0.0.2:5353" or "[::1]:53"'
    if not isinstance(value, str):
        raise ValueError(words)
    text = value.strip()
    if is_address(text.strip("[]") if text.startswith("[") and text.endswith("]") else text):
        return str(ipaddress.ip_address(text.strip("[]")))
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or ("[" in host or ":" in host) and not bracketed or not is_address(host[1:-1] if bracketed else host):
        raise ValueError(f"{words}, not {text!r}")
    address, number = str(ipaddress.ip_address(host[1:-1] if bracketed else host)), _port(port)
    if number == 53:
        return address
    return f"[{address}]:{number}" if bracketed else f"{address}:{number}"


def network(value: object) -> str:
    """A network in CIDR notation, from an address or a network (host bits may be set, as operators write them)."""
    if not isinstance(value, str):
        raise ValueError("must be an address or a network like 10.0.0.0/8")
    try:
        return str(ipaddress.ip_network(value.strip(), strict=False))
    except ValueError:
        raise ValueError(f"must be an address or a network like 10.0.0.0/8, not {value!r}") from None
