"""A row of the audit log: one spelling, no secrets, bounded."""

from __future__ import annotations

import json
import math

import pytest
from pydantic import SecretStr

from terraster.audit.row import FACTS, MASK, ROOT, made, parsed, prepared, written

FACTS_OF_ONE = {
    "user": "root (alice)",
    "how": "socket",
    "action": "backend.drain",
    "target": "shop/ http://b:80",
    "outcome": "done",
}


def test_what_is_written_is_read() -> None:
    row = made(prepared({**FACTS_OF_ONE, "before": {"weight": 3}, "generation": 7}), 1, 1_700_000_000.12345, ROOT)
    line = written(row)
    assert line.endswith(b"\n") and line.count(b"\n") == 1 and parsed(line[:-1]) == row
    assert (row["seq"], row["when"], row["prev"], row["generation"]) == (1, 1_700_000_000.123, ROOT, 7)
    assert set(row) == {*FACTS, "seq", "when", "prev", "hash"}


@pytest.mark.parametrize("at", range(0, 380, 7))
def test_any_other_octet_shows(at: int) -> None:
    line = written(made(prepared(FACTS_OF_ONE), 1, 1_700_000_000.0, ROOT))[:-1]
    at %= len(line)
    for octet in {line[at] ^ 1, line[at] ^ 0x20, ord(" "), ord("0")} - {line[at]}:
        with pytest.raises(ValueError):
            parsed(line[:at] + bytes([octet]) + line[at + 1 :])
    with pytest.raises(ValueError):
        parsed(line[:at] + line[at + 1 :])


@pytest.mark.parametrize(
    "line", [b"", b"5", b"[]", b"{}", b'{"seq":1}', b"\xff", b" " + written(made(prepared({}), 1, 1.0, ROOT))[:-1]]
)
def test_other_lines_are_no_rows(line: bytes) -> None:
    with pytest.raises(ValueError):
        parsed(line)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"password": "x1", "user": "bob"}, {"password": MASK, "user": "bob"}),
        ({"auth": {"jwt_secret": "x1"}}, {"auth": {"jwt_secret": MASK}}),
        ([{"refresh_token": "x1"}, {"API-Key": "x1"}], [{"refresh_token": MASK}, {"API-Key": MASK}]),
        ({"headers": {"Authorization": "Basic x1", "Set-Cookie": "x1"}}, {"headers": {"Authorization": MASK, "Set-Cookie": MASK}}),
        ({"private_key": ["x1", "x1"]}, {"private_key": MASK}),
        ({"password": None}, {"password": None}),
        ({"token_count": ""}, {"token_count": ""}),
        (SecretStr("x1"), MASK),
        ("http://bob:x1@b.test/?token=x1", f"http://{MASK}@b.test/?token={MASK}"),
        ("a\x1b[31mb\nc", "a [31mb c"),
        (math.inf, None),
        (math.nan, None),
        ((1, True, 2.5), [1, True, 2.5]),
    ],
)
def test_no_secret_is_kept(value: object, kept: object) -> None:
    facts = prepared({"before": value, "after": value})
    assert facts["before"] == facts["after"] == kept


def test_no_secret_is_kept_in_texts() -> None:
    facts = prepared({"reason": "set password=x1 now", "target": "https://bob:x1@b.test", "detail": 'in {"token": "x1"}\x1b[2J'})
    assert "x1" not in json.dumps(facts) and "\x1b" not in facts["detail"]


def test_a_row_is_bounded() -> None:
    deep: list[object] = []
    for _ in range(100):
        deep = [deep]
    big = {"changes": ["x" * 10_000] * 1000, "deep": deep, "many": {str(number): number for number in range(1000)}}
    row = made(prepared(dict.fromkeys(("user", "reason", "detail"), "y" * 1000000) | {"before": big, "after": deep}), 1, 1.0, ROOT)
    assert len(written(row)) < 64 * 1024
    assert row["before"].keys() == {"too_long"} and row["reason"] == "y" * 1000
