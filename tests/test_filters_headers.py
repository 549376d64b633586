"""Header rules, compiled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.exchange import Exchange
from terraster.filters.headers import HeaderEdits


def exchange(host: bytes = b"a.test:81", path: bytes = b"/x", query: bytes = b"", client: str = "1.2.3.4") -> Exchange:
    made = Exchange(0.0, 0.0, client, "9.9.9.9", "http")
    made.method, made.host, made.path, made.query = b"GET", host, path, query
    return made


@pytest.mark.parametrize(
    ("fields", "lines", "constant"),
    [
        ([], b"", True),
        ([("X-A", "1")], b"X-A: 1\r\n", True),
        ([("X-A", "1"), ("x-b", "")], b"X-A: 1\r\nx-b: \r\n", True),
        ([("X-A", " 1 ")], b"X-A: 1\r\n", True),
        ([("X-A", "$1 {host} $host %")], b"X-A: $1 {host} $host %\r\n", True),
        ([("X-A", "$$ $${host} $$$$")], b"X-A: $ ${host} $$\r\n", True),
        ([("X-A", "$$${host}")], b"X-A: $a.test:81\r\n", False),
        ([("X-A", "caf\u00e9")], b"X-A: caf\xc3\xa9\r\n", True),
        ([("X-A", "${host}")], b"X-A: a.test:81\r\n", False),
        ([("X-A", "${remote_addr}"), ("X-B", "2")], b"X-A: 1.2.3.4\r\nX-B: 2\r\n", False),
        ([("X-A", "<${method} ${uri}>")], b"X-A: <GET /x?y=z>\r\n", False),
        ([("Host", "b.test")], b"Host: b.test\r\n", True),
    ],
)
def test_lines(fields: list[tuple[str, str]], lines: bytes, constant: bool) -> None:
    edits = HeaderEdits(fields)
    assert edits.render(exchange(query=b"y=z")) == lines
    assert edits.constant == (lines if constant else None)


def test_uri_without_query() -> None:
    assert HeaderEdits([("X-A", "${uri}")]).render(exchange()) == b"X-A: /x\r\n"


def test_what_is_set_or_removed_is_dropped_first() -> None:
    edits = HeaderEdits((("X-Set", "1"),), ("Server", "X-Powered-By"))
    assert edits.drop == {b"x-set", b"server", b"x-powered-by"}


@pytest.mark.parametrize(
    "name", ["", "X A", "X:A", "X-A\r\n", "caf\u00e9", "Content-Length", "transfer-encoding", "CONNECTION", "Upgrade", "TE"]
)
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="field name|not for rules"):
        HeaderEdits(set=[(name, "1")])
    with pytest.raises(ValueError, match="field name|not for rules"):
        HeaderEdits(remove=[name])


def test_host_stays() -> None:
    with pytest.raises(ValueError, match="Host"):
        HeaderEdits(remove=["Host"])


@pytest.mark.parametrize("value", ["a\r\nX-B: 2", "a\n", "\0", "\x1b[0m", "\x7f", "${nothing}", "${}", "${Host}"])
def test_values_that_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="X-A"):
        HeaderEdits([("X-A", value)])


@given(st.binary(), st.binary(), st.binary())
def test_nothing_from_outside_ends_a_line(host: bytes, path: bytes, query: bytes) -> None:
    out = HeaderEdits([("X-A", "${host} ${uri}"), ("X-B", "${uri}")]).render(exchange(host, path, query))
    assert out.startswith(b"X-A: ") and out.endswith(b"\r\n")
    assert out.count(b"\r") == out.count(b"\n") == out.count(b"\r\n") == 2
    assert b"\0" not in out
