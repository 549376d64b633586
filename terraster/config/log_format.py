"""The fields of access lines by name, the named formats, and the reader of format strings.

Here, below `terraster.logs.access` which fills the lines, so that a wrong name is found where the configuration is read.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from string import Formatter

__all__ = ["FIELDS", "FURTHER_FIELDS", "JSON_FIELDS", "NAMED_FORMATS", "TLS_FIELDS", "field", "parts"]

FIELDS: tuple[str, ...] = (
    "time",
    "client",
    "peer",
    "method",
    "scheme",
    "host",
    "uri",
    "protocol",
    "status",
    "bytes_in",
    "bytes_out",
    "duration",
    "service",
    "location",
    "upstream",
    "upstream_name",
    "upstream_time",
    "tries",
    "request_id",
    "error",
    "detail",
    "user_agent",
    "referer",
    "user",
    "tls_version",
    "tls_cipher",
    "sni",
    "alpn",
    "tls_resumed",
    "grpc_status",
    "split",
    "level",
    "termination_state",
    "queue_time",
    "connect_time",
    "tls_time",
    "headers",
    "query_params",
    "trace_id",
    "span_id",
    "time_clf",
)
"""Every field that a format string or ``fields`` may name."""

TLS_FIELDS: tuple[str, ...] = ("tls_version", "tls_cipher", "sni", "alpn", "tls_resumed")
"""The fields about a TLS handshake."""

FURTHER_FIELDS: tuple[str, ...] = FIELDS[FIELDS.index("split") + 1 : -1]
"""The fields behind them that cost a line the most. Only another form of the time comes after them."""

JSON_FIELDS: tuple[str, ...] = FIELDS[: FIELDS.index(TLS_FIELDS[0])]
"""The fields of a JSON line if ``fields`` is not set."""

NAMED_FORMATS: dict[str, str] = {
    "common": '{client} - {user} [{time_clf}] "{method} {uri} {protocol}" {status} {bytes_out}',
    "combined": '{client} - {user} [{time_clf}] "{method} {uri} {protocol}" {status} {bytes_out} "{referer}" "{user_agent}"',
}


def field(name: str) -> str:
    """The name, if it is a field's. ValueError, with the nearest name, if not."""
    if name in FIELDS:
        return name
    raise ValueError(f"has the unknown field {name!r}{_nearest(name, FIELDS) or '; known fields are ' + ', '.join(FIELDS)}")


def parts(text: str) -> list[tuple[str, str | None]]:
    """A format (a named one, or a format string) as pairs of a literal and the field after it, if any. ValueError if it is not valid."""
    found: list[tuple[str, str | None]] = []
    try:
        for literal, name, spec, conversion in Formatter().parse(NAMED_FORMATS.get(text, text)):
            if name is not None:
                field(name)
                if spec or conversion:
                    raise ValueError(f"holds {{{name}}} with a conversion, which fields do not have")
            found.append((literal, name))
    except ValueError as error:
        words = str(error)
        raise ValueError(words if words.startswith(("has", "holds")) else f"is not a valid format: {words}") from None
    if not any(name is not None for _, name in found):
        raise ValueError(f"has no {{field}}{_nearest(text, ('json', *NAMED_FORMATS))}")
    if not text.isascii() or not text.isprintable():
        raise ValueError("may contain only printable ASCII between the fields")
    return found


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word.lower(), list(known), 1, 0.6)
    return f"; did you mean `{near[0]}`?" if near else ""
