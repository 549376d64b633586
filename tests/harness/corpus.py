"""The wire corpus: one file, one message, and what must become of it.

A case is a text file under ``tests/wire/requests`` or ``tests/wire/responses``: a prelude of lines that start with ``# `` (what it
shows, then ``key: value`` lines), and then the octets. Behind the prelude a line's own end is dropped; what counts is what is
written: ``\\r \\n \\t \\0 \\xHH \\\\`` and ``\\{600*a}`` for six hundred times "a". ``tests/README.md`` has the keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Case", "load_cases", "unescape"]

ROOT = Path(__file__).parents[1] / "wire"

KEYS = frozenset(
    ("expect", "lenient", "out", "rule", "h11", "stage", "limits")
    + ("method", "target", "host", "minor", "length", "chunked", "keep-alive", "expects", "upgrade", "field", "size")
    + ("status", "reason", "until-close", "no-body", "body", "trailer", "rest")
)
REPEATED = frozenset(("field", "trailer"))

_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|\{(\d+)\*((?:[^}\\]|\\.)*)\}|([rnt0\\]))")
_SIMPLE = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}


def unescape(text: str) -> bytes:
    """The octets that ``text`` stands for; raises ValueError on a backslash that starts no escape."""
    out, at = [], 0
    for match in _ESCAPE.finditer(text):
        between = text[at : match.start()]
        if "\\" in between:
            raise ValueError(f"unknown escape in {between!r}")
        out.append(between.encode("ascii"))
        octet, count, repeated, simple = match.groups()
        if octet:
            out.append(bytes.fromhex(octet))
        elif count:
            out.append(unescape(repeated) * int(count))
        else:
            out.append(_SIMPLE[simple])
        at = match.end()
    if "\\" in text[at:]:
        raise ValueError(f"unknown escape in {text[at:]!r}")
    out.append(text[at:].encode("ascii"))
    return b"".join(out)


@dataclass(frozen=True)
class Case:
    """One message.

    name: the file's, without its ending. what: one sentence. expect: the outcomes that are right: "forward", "incomplete" or a
    status (several where the specifications leave the choice). lenient: those for a reader that is not strict. stage: who refuses it,
    "head", "body", "host", "target" or "proxy". h11: "agree", "accepts", "refuses" or "waits", and why. limits: header_size, header_count.
    facts: the other keys, still escaped.
    """

    name: str
    what: str
    data: bytes
    expect: tuple[str, ...]
    lenient: tuple[str, ...] = ()
    stage: str = "head"
    rule: str = ""
    h11: str = "agree"
    h11_reason: str = ""
    limits: tuple[int, int] = (32768, 100)
    facts: dict[str, list[str]] = field(default_factory=dict)

    @property
    def forwards(self) -> bool:
        """Whether forwarding it is the one right outcome."""
        return self.expect == ("forward",)

    def fact(self, key: str) -> bytes | None:
        """A fact as octets; None if the case does not speak of it."""
        return unescape(self.facts[key][0]) if key in self.facts else None

    def pairs(self, key: str) -> list[tuple[bytes, bytes]]:
        """Facts of the form name=value, in order."""
        split = [text.partition("=") for text in self.facts.get(key, ())]
        return [(unescape(name), unescape(value)) for name, _, value in split]


def _parse(path: Path) -> Case:
    lines = path.read_text(encoding="ascii").split("\n")
    what: list[str] = []
    facts: dict[str, list[str]] = {}
    at = 0
    while lines[at].startswith("#"):
        text = lines[at][2:]
        key, colon, value = text.partition(":")
        if colon and key in KEYS:
            if key in facts and key not in REPEATED:
                raise ValueError(f"{path}: {key} twice")
            facts.setdefault(key, []).append(value[1:])
        else:
            what.append(text)
        at += 1
    expect = tuple(facts.pop("expect")[0].split())
    h11, _, reason = facts.pop("h11", ["agree"])[0].partition(" -- ")
    size, count = facts.pop("limits", ["32768 100"])[0].split()
    return Case(
        name=path.stem,
        what=" ".join(what),
        data=b"".join(unescape(line) for line in lines[at:]),
        expect=expect,
        lenient=tuple(facts.pop("lenient", [" ".join(expect)])[0].split()),
        stage=facts.pop("stage", ["head"])[0],
        rule=facts.pop("rule", [""])[0],
        h11=h11,
        h11_reason=reason,
        limits=(int(size), int(count)),
        facts=facts,
    )


def load_cases(kind: str) -> Iterator[Case]:
    """All cases of a kind, "requests" or "responses", by name."""
    for path in sorted((ROOT / kind).glob("*.http")):
        yield _parse(path)
