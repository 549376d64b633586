"""Whom to believe about who the client is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.policy.forwarded import Trust, address


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("1.2.3.4", "1.2.3.4"),
        (" 1.2.3.4\t", "1.2.3.4"),
        ("1.2.3.4:5678", "1.2.3.4"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("[::1]:80", "::1"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("[::ffff:1.2.3.4]:80", "1.2.3.4"),
        ("", None),
        ("unknown", None),
        ("unix", None),
        ("_hidden", None),
        ("a.test", None),
        ("1.2.3", None),
        ("1.2.3.4.5", None),
        ("1.2.3.4:", None),
        ("1.2.3.4:x", None),
        ("1.2.3.4:123456", None),
        ("[1.2.3.4]", None),
        ("[::1", None),
        ("[::1]80", None),
        ("fe80::1%eth0", None),
        ('"1.2.3.4"', None),
        ("1.2.3.4, 5.6.7.8", None),
        ("1\u0662.2.3.4", None),
    ],
)
def test_entries(text: str, canonical: str | None) -> None:
    assert address(text) == canonical


TRUST = Trust(["10.0.0.0/8", "192.168.1.1", "fd00::/8"])


@pytest.mark.parametrize(
    ("ip", "trusted"),
    [
        ("10.1.2.3", True),
        ("11.0.0.1", False),
        ("192.168.1.1", True),
        ("192.168.1.2", False),
        ("fd00::1", True),
        ("fd00::1%eth0", True),
        ("fe80::1", False),
        ("::ffff:10.0.0.1", True),
        ("::a00:1", False),
        ("unix", False),
        ("", False),
        ("nonsense", False),
    ],
)
def test_trusts(ip: str, trusted: bool) -> None:
    for _ in range(2):  # looked up, remembered
        assert TRUST.trusts(ip) is trusted


def test_host_bits_and_unix() -> None:
    trust = Trust(["10.1.2.3/8", "unix"])
    assert trust.trusts("10.200.0.1") and trust.trusts("unix")
    assert trust and not Trust([])
    with pytest.raises(ValueError, match="a.test"):
        Trust(["a.test"])


@pytest.mark.parametrize(
    ("peer", "chain", "client"),
    [
        ("1.1.1.1", None, "1.1.1.1"),
        ("1.1.1.1", b"2.2.2.2", "1.1.1.1"),  # a stranger's word
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", b"", "10.0.0.1"),
        ("10.0.0.1", b"2.2.2.2", "2.2.2.2"),
        ("10.0.0.1", b"3.3.3.3, 2.2.2.2", "2.2.2.2"),
        ("10.0.0.1", b"3.3.3.3, 10.0.0.2, 10.0.0.3", "3.3.3.3"),
        ("10.0.0.1", b"10.0.0.4, 10.0.0.2", "10.0.0.4"),
        ("10.0.0.1", b"3.3.3.3,2.2.2.2:99 ,\t10.0.0.2:80", "2.2.2.2"),
        ("10.0.0.1", b"3.3.3.3, garbage, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", b"3.3.3.3, unix, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", b"garbage", "10.0.0.1"),
        ("10.0.0.1", b"\xff\xfe", "10.0.0.1"),
        ("10.0.0.1", b"3.3.3.3,, ,10.0.0.2,", "3.3.3.3"),
        ("10.0.0.1", b"[2001:db8::1]:443, ::ffff:10.0.0.2", "2001:db8::1"),
        ("fd00::1", b"::ffff:2.2.2.2", "2.2.2.2"),
    ],
)
def test_client_address(peer: str, chain: bytes | None, client: str) -> None:
    assert TRUST.client_address(peer, chain) == client


def test_a_chain_without_end_is_not_walked_to_its_end() -> None:
    assert TRUST.client_address("10.0.0.1", b"3.3.3.3," + b"10.0.0.2," * 4000) == "10.0.0.2"


def test_what_is_remembered_is_bounded() -> None:
    trust = Trust(["10.0.0.0/8", "unix"])
    for number in range(20_000):
        trust.trusts(f"1.2.{number >> 8}.{number & 255}")
    assert len(trust._known) <= 4096
    assert trust.trusts("10.0.0.1") and trust.trusts("unix") and not trust.trusts("1.2.0.0")


@given(st.binary(max_size=60), st.sampled_from(["10.0.0.1", "1.1.1.1", "unix"]))
def test_any_chain_gives_an_address(chain: bytes, peer: str) -> None:
    client = TRUST.client_address(peer, chain)
    assert client == peer or (TRUST.trusts(peer) and address(client) == client)


HOPS = st.lists(
    st.tuples(st.sampled_from(["10.0.0.%d", "8.8.8.%d"]), st.integers(1, 9)).map(lambda hop: hop[0] % hop[1]), max_size=6
)


@given(HOPS, st.text("0123456789.,: af[]", max_size=20))
def test_nothing_that_a_stranger_wrote_counts(hops: list[str], forged: str) -> None:
    """What the first stranger from the right prepended changes nothing."""
    chain = ", ".join(["8.8.4.4", *hops])
    assert TRUST.client_address("10.0.0.1", f"{forged},{chain}".encode()) == TRUST.client_address("10.0.0.1", chain.encode())
