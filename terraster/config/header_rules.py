"""Checks for header rules: which field names they may change, and what values may contain.

Rules cannot change fields that frame a message or belong to one connection: a wrong Content-Length splits a response in two. The checks are
here, below `terraster.filters.headers` which applies the rules, so that a wrong rule is found when the configuration is read.
"""

from __future__ import annotations

import difflib
import re

__all__ = ["CLIENT_CERT", "HEADER", "VARIABLES", "field_name", "is_token", "is_variable", "meant", "removable", "value_parts"]

CLIENT_CERT = ("subject", "issuer", "serial", "fingerprint", "not_before", "not_after")
"""The facts of a client's certificate: ``${client_cert_subject}`` and so on."""

HEADER = "header."
"""The start of ``${header.NAME}``, a field of the request."""

VARIABLES = (
    "remote_addr",
    "host",
    "uri",
    "method",
    "scheme",
    "request_id",
    "service",
    "location",
    "backend",
    "status",
    "user",
    "split",
    "tls_version",
    "tls_cipher",
    "sni",
    *(f"client_cert_{name}" for name in CLIENT_CERT),
)
"""The names that ``${…}`` in a value may contain, beside those that begin with `HEADER`."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_DOLLAR = re.compile(r"\$\$|\$\{([^}]*)\}")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

_NOT_FOR_RULES = frozenset(
    (
        "connection",
        "content-length",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)


def is_token(word: str) -> bool:
    """True if it is a token, as names of fields and methods are (RFC 9110, section 5.6.2)."""
    return _TOKEN.fullmatch(word) is not None


def field_name(name: str) -> str:
    """The name in lower case. ValueError if it is not a valid field name, or if rules cannot change the field."""
    if not _TOKEN.fullmatch(name):
        raise ValueError("is not a valid name of a header field")
    lower = name.lower()
    if lower in _NOT_FOR_RULES:
        raise ValueError("cannot be changed by rules: it belongs to one connection, or frames the message")
    return lower


def removable(name: str) -> str:
    """The name in lower case, of a field that may be removed. ValueError as `field_name`, and for Host."""
    lower = field_name(name)
    if lower == "host":
        raise ValueError("must not be Host: every request needs one")
    return lower


def is_variable(name: str) -> bool:
    """True if ``${name}`` is a fact of a request."""
    return name in VARIABLES or name.startswith(HEADER) and is_token(name.removeprefix(HEADER))


def meant(name: str) -> str:
    """A hint for an unknown variable: the known one that is most alike, or all of them."""
    near = difflib.get_close_matches(name.lower(), (*VARIABLES, HEADER), 1)
    if near:
        return f"did you mean ${{{near[0]}{'NAME' if near[0] == HEADER else ''}}}?"
    return f"variables of a request are {' '.join(f'${{{known}}}' for known in (*VARIABLES, f'{HEADER}NAME'))}"


def value_parts(value: str) -> list[str]:
    """A value in parts: text and names of variables in turn, text first. ``$$`` is a ``$``. ValueError for control characters and
    other variables."""
    if _CONTROLS.search(value):
        raise ValueError("must not contain control characters")
    value = value.strip(" \t")
    parts, read = [""], 0
    for match in _DOLLAR.finditer(value):
        parts[-1] += value[read : match.start()]
        read = match.end()
        name = match[1]
        if name is None:
            parts[-1] += "$"
        elif is_variable(name):
            parts += [name, ""]
        else:
            raise ValueError(f"holds ${{{name}}}; {meant(name)}")
    parts[-1] += value[read:]
    return parts
