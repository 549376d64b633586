"""Conditions of access logs as they are written: what they mean, and what is wrong with them."""

from __future__ import annotations

import pytest

from terraster.config.log_when import All, Any, Condition, Holds, No, read


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("status >= 500", Holds("status", ">=", 500)),
        ("status>=500 or duration > 1s", Any((Holds("status", ">=", 500), Holds("duration", ">", 1.0)))),
        (
            "error and not user or tries != 1",
            Any((All((Holds("error"), No(Holds("user")))), Holds("tries", "!=", 1))),
        ),
        (
            "(status < 400 or level == error) and bytes_out >= 64k",
            All((Any((Holds("status", "<", 400), Holds("level", "==", 40))), Holds("bytes_out", ">=", 65536))),
        ),
        ("not (method == GET)", No(Holds("method", "==", "GET"))),
        ("host == a.test:8080 and path != '/a b'", All((Holds("host", "==", "a.test:8080"), Holds("path", "!=", "/a b")))),
        ('service == "or"', Holds("service", "==", "or")),
        ("upstream_time < 1m30s", Holds("upstream_time", "<", 90.0)),
        ("termination_state != --", Holds("termination_state", "!=", "--")),
    ],
)
def test_meanings(text: str, expected: Condition) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "lacks a field at character 1"),
        ("status >=", "lacks a value at character 10"),
        ("status >= and", "lacks a value at character 11"),
        ("statsu > 1", "has the unknown field 'statsu' at character 1; did you mean `status`?"),
        ("status => 1", "has the unknown operator `=` at character 8; known ones are ==, !=, <, <=, >, >="),
        ("status ! 1", "has the unknown operator `!` at character 8; known ones are ==, !=, <, <=, >, >="),
        ("status > 5xx", "compares `status` with '5xx' at character 10, which is not a whole number"),
        ("duration > 1x", "compares `duration` with '1x' at character 12, which is not a duration, as in 250ms"),
        ("bytes_in > lots", "compares `bytes_in` with 'lots' at character 12, which is not a size, as in 64k"),
        ("method > GET", "compares the text `method` with `>` at character 10: only == and != are for texts"),
        ("level >= fatal", "has the unknown level 'fatal' at character 10; there are info, warn and error"),
        ("level", "lacks an operator behind `level`, at character 6"),
        ("(status > 1", "lacks a `)` at character 12"),
        ("status > 1 tries > 1", "has 'tries' too many, at character 12; `and` or `or` may be missing before it"),
        ("a == b", "has the unknown field 'a' at character 1; known fields are "),
        ("error $", "has '$' at character 7, where a field, an operator or a value may be"),
        ("not " * 40 + "error", "has more than 32 brackets within each other"),
    ],
)
def test_mistakes(text: str, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        read(text)
    assert str(caught.value).startswith(said)
