"""Host: names, addresses and ports, and everything that is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.errors import BadRequest
from terraster.route.host import split_host


@pytest.mark.parametrize(
    ("value", "name", "port"),
    [
        (b"a.test", b"a.test", None),
        (b"A.Test", b"a.test", None),
        (b"a.test.", b"a.test", None),
        (b"a.test.:80", b"a.test", 80),
        (b"a.test:8080", b"a.test", 8080),
        (b"a.test:", b"a.test", None),
        (b"a_b-c.test:65535", b"a_b-c.test", 65535),
        (b"localhost:1", b"localhost", 1),
        (b"127.0.0.1:80", b"127.0.0.1", 80),
        (b"[::1]", b"[::1]", None),
        (b"[::1]:8080", b"[::1]", 8080),
        (b"[2001:DB8:0:0::1]", b"[2001:db8::1]", None),
        (b"[::1]:", b"[::1]", None),
        (b"a" * 255, b"a" * 255, None),
    ],
)
def test_hosts(value: bytes, name: bytes, port: int | None) -> None:
    assert split_host(value) == (name, port)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b".",
        b":80",
        b".a.test",
        b"a..test",
        b"a.test..",
        b"a.test:0",
        b"a.test:65536",
        b"a.test:-1",
        b"a.test:+1",
        b"a.test:8o",
        b"a.test:000080",
        b"a.test:80:81",
        b"user@a.test",
        b"a.test/b",
        b"a.test?b",
        b"a.test#b",
        b"a.test\\b",
        b"a test",
        b"a.test, b.test",
        b"a%2etest",
        b"*.a.test",
        b"caf\xc3\xa9.test",
        b"a.test\n",
        b"::1",
        b"[::1",
        b"[::1]a",
        b"[::1%eth0]",
        b"[1.2.3.4]",
        b"[a.test]",
        b"[::1]:0",
        b"[]",
        b"a" * 262,
    ],
)
def test_refused(value: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        split_host(value)
    assert caught.value.status == 400


@given(st.one_of(st.binary(max_size=20), st.text("aA1.-_:[]%@", max_size=12).map(str.encode)))
def test_any_octets_are_a_host_or_one_clean_error(value: bytes) -> None:
    try:
        name, port = split_host(value)
    except BadRequest:
        return
    assert name and name == name.lower() and not name.endswith(b".")
    assert port is None or 1 <= port <= 65535
    assert split_host(name) == (name, None)
    assert split_host(b"%b:80" % name) == (name, 80)
