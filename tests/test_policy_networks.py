"""Which addresses are in a set of networks, compared with the standard library's answers."""

from __future__ import annotations

import ipaddress
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.policy.networks import Entries, Networks, read


@pytest.mark.parametrize(
    "entries, inside, outside",
    [
        ([], [], ["10.0.0.1", "::1", "unix"]),
        (["10.0.0.1"], ["10.0.0.1", "::ffff:10.0.0.1", "::ffff:a00:1"], ["10.0.0.2", "10.0.0.0", "::a00:1"]),
        (["10.0.0.7/8"], ["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0"]),
        (["::ffff:10.0.0.0/104"], ["10.1.2.3", "::ffff:10.1.2.3"], ["11.0.0.0", "::1"]),
        (["0.0.0.0/0"], ["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], ["::1", "unix"]),
        (["::/0"], ["::", "ffff::", "fe80::1%eth0"], ["1.2.3.4", "::ffff:1.2.3.4", "unix"]),
        (["2001:db8::/32"], ["2001:db8::1", "2001:DB8:ffff::"], ["2001:db9::", "2001:db7:ffff::"]),
        (["unix"], ["unix"], ["10.0.0.1"]),
        (["all"], ["10.0.0.1", "::1", "unix"], []),
        (["10.0.0.0/24", "10.0.1.0/24", "10.0.0.0/16"], ["10.0.0.1", "10.0.1.1", "10.0.200.1"], ["10.1.0.0"]),
        (["10.0.0.0/8"], [], ["", "nonsense", "10.0.0", "10.0.0.1.", "10.0.0.1/8x"]),
    ],
)
def test_membership(entries: list[str], inside: list[str], outside: list[str]) -> None:
    networks = Networks(entries)
    for _ in range(2):  # the second time from memory
        assert [one in networks for one in inside] == [True] * len(inside)
        assert [one in networks for one in outside] == [False] * len(outside)


NETWORKS = st.one_of(
    st.tuples(st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address), st.integers(0, 32)),
    st.tuples(st.integers(0, 2**12 - 1).map(lambda low: ipaddress.IPv4Address(0xC0A80000 + low)), st.integers(20, 32)),
    st.tuples(st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address), st.integers(0, 128)),
)


@given(st.lists(NETWORKS, max_size=12), st.randoms(use_true_random=False))
def test_as_the_standard_library_says(parts, chance: random.Random) -> None:
    given = [ipaddress.ip_network(f"{address}/{length}", strict=False) for address, length in parts]
    given = [one for one in given if one.version == 4 or not one.overlaps(ipaddress.ip_network("::ffff:0:0/96"))]
    networks = Networks(map(str, given))
    asked = [ipaddress.ip_address("192.168.0.1"), ipaddress.ip_address("::1")]
    for one in given:
        first, last = int(one.network_address), int(one.broadcast_address)
        numbers = {first, last, chance.randint(first, last), max(first - 1, 0), min(last + 1, 2**one.max_prefixlen - 1)}
        asked += [type(one.network_address)(number) for number in numbers]
    for address in asked:
        assert (str(address) in networks) == any(address in one for one in given if one.version == address.version), address


def test_more_addresses_than_are_remembered() -> None:
    networks = Networks(["10.0.0.0/9"])
    asked = [f"10.{number >> 8}.{number & 255}.1" for number in range(0, 65536, 13)]
    assert [one in networks for one in asked] == [int(one.split(".")[1]) < 128 for one in asked]


FILE = b"\xef\xbb\xbf# an office\r\n10.0.0.0/8 ; SBL1\n\n  2001:db8::1  # x\nunix\n"


def test_a_file() -> None:
    assert list(Entries(FILE)) == ["10.0.0.0/8", "2001:db8::1", "unix"]
    assert "10.1.1.1" in read(FILE) and "unix" in read(FILE) and "11.0.0.0" not in read(FILE)
    assert "10.0.0.1" not in read(b"")


@pytest.mark.parametrize(
    "line", [b"10.0.0.0/33", b"10.0.0.1-10.0.0.9", b"host.test", b"10.0.0.0/255.0.0.0", b"\xff\xfe", b"1.2.3.4 5", b"::/129"]
)
def test_a_line_that_is_wrong_is_named(line: bytes) -> None:
    with pytest.raises(ValueError, match="line 2: .* is neither an address nor a network"):
        read(b"10.0.0.1\n" + line + b"\n10.0.0.2\n")
