"""The tables of messages in docs/tls.md and the messages of the code: each row is about one that can come, and none that can come is missing.

A message of the code is its text, with "…" for what is put in. A row names the beginnings of messages, one or several with ";" between
them; "…" stands for anything.
"""

from __future__ import annotations

import ast
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

from terraster.net.tls_faults import _CERTIFICATE, _PROTOCOL, ALERTS, tls_fault
from terraster.state.cells import HANDSHAKE_FAILURES

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "tls.md").read_text()


def rows(heading: str, first: str) -> list[list[str]]:
    """The rows of the table below a heading whose first cell has this text, as cells."""
    part = re.split(r"^#+ ", PAGE.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    found: list[list[str]] = []
    lines = iter(part.splitlines())
    for line in lines:
        if line.startswith(f"| {first} |"):
            next(lines)
            for row in lines:
                if not row.startswith("|"):
                    break
                found.append([cell.strip() for cell in row.strip("|").split(" | ")])
    assert found, heading
    return found


def literals(*files: str) -> Iterator[str]:
    """The texts in modules."""
    for file in files:
        for node in ast.walk(ast.parse((ROOT / "terraster" / file).read_text())):
            if isinstance(node, ast.Constant | ast.JoinedStr) and (text := _text(node)):
                yield text


def raised(file: str, *errors: str) -> set[str]:
    """The texts that a module makes errors of, and those that its functions return."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / "terraster" / file).read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in errors:
            found.add(_text(node.args[0]))
        elif isinstance(node, ast.Return) and isinstance(node.value, ast.Constant | ast.JoinedStr):
            found.add(_text(node.value))
    return {text for text in found if text.count(" ") > 2}


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[sd]", "…", node.value)
    return ""


def begins(message: str, words: str) -> bool:
    """True if a message begins as a row says."""
    pattern = ".*".join(re.escape(part) for part in words.split("…"))
    return re.match(pattern, message, re.DOTALL) is not None


def compare(said: list[str], possible: set[str], needed: set[str]) -> None:
    """said: beginnings in the manual. possible: messages of the code. needed: those of them that the manual has to have."""
    whole = [one for one in possible if one.count(" ") > 2]
    unknown = [words for words in said if not any(begins(one, words) for one in possible)]
    assert [words for words in unknown if not any(begins(words, one) for one in whole)] == [], "no such message"
    missing = [one for one in needed if not any(begins(one, words) or begins(words, one) for words in said)]
    assert sorted(missing) == [], "not in the manual"


def test_outcomes_of_handshakes_with_clients() -> None:
    said = [cells[0].strip("`") for cells in rows("Handshakes that fail", "`result`")]
    assert said == ["ok", *HANDSHAKE_FAILURES]


def _of_library(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, "words")
    error.reason = reason
    return error


def _refused(code: int) -> ssl.SSLError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "words"
    return error


def test_errors_of_tls_towards_backends() -> None:
    errors = [_refused(code) for code in (*_CERTIFICATE, 26)]
    errors += [_of_library(reason) for reason in (*_PROTOCOL, *(f"TLSV1_ALERT_{name}" for name in ALERTS), "SOMETHING_ELSE")]
    found = {(fault.reason, fault.detail) for fault in map(tls_fault, errors)}
    streams = raised("net/tls.py", "ConnectFailed") | raised("net/tls_channel.py", "ConnectFailed")
    found |= {("tls_protocol_error", text) for text in streams if "client" not in text}
    timeout = next(text for text in raised("net/upstream.py", "ConnectFailed") if "in time" in text)
    found.add(("connection_timeout", timeout))
    said: dict[str, list[str]] = {}
    kind = before = ""
    for cells in rows("Errors", "type"):
        kind = cells[0].strip("`") or kind
        for words in _alternatives(cells[1], before):
            before = words
            said.setdefault(kind, []).append(words)
    assert said.keys() == {one for one, _ in found}
    for kind, words in said.items():
        messages = {text for one, text in found if one == kind}
        compare(words, messages, messages)
    refused = said["tls_alert_received"][:-1]
    assert "…)" not in refused[-1], "the last row is for all other alerts"
    named = {number for number in ALERTS.values() if any(f"(alert {number}," in words for words in refused)}
    assert named == {40, *range(41, 47), 48, 49, 70, 112, 116}


def _alternatives(cell: str, before: str) -> list[str]:
    """The messages of a row of this table: "…" at its begin is the message of the row before, up to what differs."""
    if not cell.startswith("… "):
        return [cell]
    rest = cell[2:]
    if not rest.startswith("("):
        return [before[: before.index(rest[:5])] + rest]
    stem = before[: before.index("(")]
    found = []
    for one in rest.split("), "):
        many = re.match(r"\(alert (\d+) to (\d+), …", one)
        numbers = range(int(many[1]), int(many[2]) + 1) if many else ()
        found += [f"{stem}(alert {number}, " for number in numbers] or [stem + one.removesuffix(")")]
    return found


def test_reasons_without_an_ocsp_response() -> None:
    said = [words for cells in rows("OCSP stapling", "words") for words in cells[0].split("; ")]
    modules = ("certs/ocsp.py", "certs/ocsp_file.py", "certs/files.py", "admin/ocsp.py", "admin/responder.py", "admin/problems.py")
    needed = raised("certs/ocsp.py", "OcspError", "Early", "Revoked")
    compare(said, set(literals(*modules)), needed)


PLACEHOLDERS = re.compile(r"\b(NAME|DIRECTORY|CHALLENGE|WHY|[NST]|http-01|\d+(?= s$))\b")


def test_messages_about_orders() -> None:
    said = []
    for cells in rows("Messages", "message"):
        quoted = re.fullmatch(r"(`+) ?(.*?) ?\1", cells[0])
        assert quoted, cells[0]
        said.append(PLACEHOLDERS.sub("…", quoted[2]))
    clients = ("certs/acme_client.py", "certs/acme_proof.py")
    modules = ("admin/acme.py", "admin/acme_process.py", *clients, "certs/acme_words.py", "master/control.py")
    needed = raised(clients[0], "Failure") | raised(clients[1], "Failure") | raised("certs/acme_words.py")
    compare(said, set(literals(*modules)), needed)
