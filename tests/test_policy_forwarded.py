"""Whom to believe about who the client is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.policy.forwarded import Said, Trust, address
from terraster.wire.names import request_names


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


NAMES = request_names()


def said(*fields: tuple[bytes, bytes], peer: str = "10.0.0.1", scheme: str = "http") -> Said:
    return TRUST.believe(peer, scheme, [(NAMES[name], name, value) for name, value in fields])


@pytest.mark.parametrize(
    ("values", "scheme"),
    [
        ([b"https"], "https"),
        ([b"HTTPS"], "https"),
        ([b"http"], "http"),
        ([b"wss"], "https"),
        ([b"WSS"], "https"),
        ([b"ws"], "http"),
        ([b"https,http"], "https"),
        ([b"https, https"], "https"),
        ([b"http, https"], "http"),
        ([b" ,https"], "https"),
        ([b'"https"'], "https"),
        ([b'"wss", "http"'], "https"),
        ([b"https", b"http"], "https"),
        ([b""], "ftp"),
        ([b"h2"], "ftp"),
        ([b"https://"], "ftp"),
        ([b"gopher,https"], "ftp"),
        ([b"\xff\xfe"], "ftp"),
        ([], "ftp"),
    ],
)
def test_scheme(values: list[bytes], scheme: str) -> None:
    """ "ftp" stands for the connection's own scheme."""
    assert said(*((b"X-Forwarded-Proto", value) for value in values), scheme="ftp").scheme == scheme


@pytest.mark.parametrize(
    ("forwarded", "client", "scheme", "host", "chain"),
    [
        (b"for=8.8.8.8", "8.8.8.8", "http", None, b"8.8.8.8"),
        (b"for=8.8.8.8;proto=https;host=a.test", "8.8.8.8", "https", b"a.test", b"8.8.8.8"),
        (b"proto=https;for=8.8.8.8", "8.8.8.8", "https", None, b"8.8.8.8"),
        (b"For=8.8.8.8; Proto=HTTPS ;HOST=a.test:8443", "8.8.8.8", "https", b"a.test:8443", b"8.8.8.8"),
        (b'for="8.8.8.8:4711";host="[2001:db8::1]:80"', "8.8.8.8", "http", b"[2001:db8::1]:80", b"8.8.8.8"),
        (b'For="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17", "http", None, b"2001:db8:cafe::17"),
        (b'for="[2001:DB8::1]"', "2001:db8::1", "http", None, b"2001:db8::1"),
        (b'for="8.8.8.8:_secret"', "8.8.8.8", "http", None, b"8.8.8.8"),
        (b'for="8\\.8.8.8";proto="wss"', "8.8.8.8", "https", None, b"8.8.8.8"),
        (b"for=8.8.8.8, for=10.0.0.2", "8.8.8.8", "http", None, b"8.8.8.8, 10.0.0.2"),
        (b"for=6.6.6.6;proto=https, for=8.8.8.8;proto=http, for=10.0.0.2;proto=https", "8.8.8.8", "http", None, None),
        (
            b"for=6.6.6.6;proto=https;host=evil.test, for=8.8.8.8, for=10.0.0.2;proto=http;host=a.test",
            "8.8.8.8",
            "http",
            b"a.test",
            None,
        ),
        (b"for=unknown;proto=https, for=10.0.0.2", "10.0.0.2", "https", None, b"10.0.0.2"),
        (b"for=8.8.8.8, for=_gazonk;proto=https", "10.0.0.1", "https", None, b"8.8.8.8"),
        (b"proto=https", "10.0.0.1", "https", None, None),
        (b"for=[2001:db8::1]:80", "2001:db8::1", "http", None, b"2001:db8::1"),
        (b",, for=8.8.8.8 ,", "8.8.8.8", "http", None, b"8.8.8.8"),
        (b"for=8.8.8.8;;proto=https;", "8.8.8.8", "https", None, b"8.8.8.8"),
        (b"for=8.8.8.8;host=a/b", "8.8.8.8", "http", None, b"8.8.8.8"),
        (b'for=8.8.8.8;host="a\\"b"', "8.8.8.8", "http", None, b"8.8.8.8"),
        (b"for=8.8.8.8;secret=x;proto=https", "8.8.8.8", "https", None, b"8.8.8.8"),
        # malformed: as if it had not been sent
        (b"", "10.0.0.1", "http", None, None),
        (b"for", "10.0.0.1", "http", None, None),
        (b"for=8.8.8.8;for=9.9.9.9", "10.0.0.1", "http", None, None),
        (b'for="8.8.8.8;proto=https', "10.0.0.1", "http", None, None),
        (b"for = 8.8.8.8", "10.0.0.1", "http", None, None),
        (b"for=8.8.8.8 proto=https", "10.0.0.1", "http", None, None),
        (b"\xff=1", "10.0.0.1", "http", None, None),
    ],
)
def test_forwarded(forwarded: bytes, client: str, scheme: str, host: bytes | None, chain: bytes | None) -> None:
    known = said((b"Forwarded", forwarded))
    assert (known.client_ip, known.scheme, known.host) == (client, scheme, host)
    if chain is not None:
        assert known.chain == chain


def test_each_x_forwarded_field_counts_more_than_forwarded() -> None:
    forwarded = (b"Forwarded", b"for=8.8.8.8;proto=https;host=b.test")
    assert said(forwarded, (b"X-Forwarded-For", b"9.9.9.9"))[:4] == ("9.9.9.9", "https", b"b.test", b"9.9.9.9")
    assert said(forwarded, (b"X-Forwarded-Proto", b"http"))[:4] == ("8.8.8.8", "http", b"b.test", b"8.8.8.8")
    assert said(forwarded, (b"X-Forwarded-Host", b"a.test, c.test"))[:4] == ("8.8.8.8", "https", b"a.test", b"8.8.8.8")


def test_forwarded_over_several_fields_is_one_list() -> None:
    assert said((b"Forwarded", b"for=8.8.8.8;proto=https"), (b"forwarded", b"for=10.0.0.2"))[:2] == ("8.8.8.8", "https")


def test_other_x_forwarded_fields_are_not_read_as_forwarded() -> None:
    assert said((b"X-Forwarded-Server", b"for=8.8.8.8;proto=https"))[:3] == ("10.0.0.1", "http", None)


def test_a_stranger_is_not_believed() -> None:
    fields = (
        (b"X-Forwarded-For", b"8.8.8.8"),
        (b"X-Forwarded-Proto", b"https"),
        (b"Forwarded", b"host=b.test"),
        (b"X-Request-ID", b"x"),
    )
    assert said(*fields, peer="1.1.1.1") == ("1.1.1.1", "http", None, None, None)
    assert said(*fields) == ("8.8.8.8", "https", b"b.test", b"8.8.8.8", b"x")


@pytest.mark.parametrize("octets", [b"\xe4", "\x9b31m".encode(), b"id-\xff"])
def test_a_request_id_is_of_ascii(octets: bytes) -> None:
    assert said((b"X-Request-ID", octets)).request_id is None


def test_a_request_id_has_a_bound() -> None:
    assert said((b"X-Request-ID", b"")).request_id is None
    assert said((b"X-Request-ID", b"x" * 128)).request_id == b"x" * 128
    assert said((b"X-Request-ID", b"x" * 129)).request_id is None


KIND_NAMES = st.sampled_from(
    [b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"Forwarded", b"forwarded", b"X-Request-ID"]
)
PIECES = st.text('for=;,"\\ \thost=proto8.10:[]_ax\xe9', max_size=40).map(lambda text: text.encode("latin-1"))


@given(st.lists(st.tuples(KIND_NAMES, st.one_of(st.binary(max_size=40), PIECES)), max_size=5))
def test_any_fields_give_facts_that_can_be_written(fields: list[tuple[bytes, bytes]]) -> None:
    known = said(*fields)
    assert address(known.client_ip) == known.client_ip
    assert known.scheme in ("http", "https")
    assert known.host is None or (known.host and not set(known.host) & set(b"\r\n\0 ,/"))


@given(HOPS, st.text("0123456789.;=for, af", max_size=20))
def test_nothing_that_a_stranger_put_in_front_counts(hops: list[str], forged: str) -> None:
    """Elements before those of the trusted proxies change nothing, unless they make the whole field malformed."""
    honest = ", ".join(f"for={hop};proto=https" for hop in ["8.8.4.4", *hops])
    known = said((b"Forwarded", f"{forged},{honest}".encode()))
    assert known[:3] in (said((b"Forwarded", honest.encode()))[:3], ("10.0.0.1", "http", None))
