"""Values with facts of a request."""

from __future__ import annotations

from types import SimpleNamespace as Some

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.config import header_rules
from terraster.exchange import Exchange
from terraster.filters.variables import _FACTS, Template
from terraster.wire.http1 import parse_request

HEAD = b'GET /x HTTP/1.1\r\nHost: a.test:81\r\nX-A: one\r\nx-a: two\r\nCookie: a=1\r\nCookie: b=2\r\nX-Empty:\r\nUser-Agent: it\'s "me"\r\n\r\n'


def exchange(known: bool = True) -> Exchange:
    """A request. known: with everything that there can be, else in clear, for a service that was not found."""
    head = parse_request(HEAD, 9999, 99) if known else None
    made = Exchange(0.0, 0.0, "2001:db8::1", "9.9.9.9", "https" if known else "http", head)
    made.connection = Some(certificate=None)
    made.host, made.request_id = b"a.test:81", b"0123"
    if known:
        made.path, made.query = b"/x", b"y=%20"
        made.service, made.location = Some(name="shöp", fallback=Some(label="/")), Some(label="/x")
        made.backend = Some(backend=Some(label="http://10.0.0.1:80"))
        made.handshake = Some(version="TLSv1.3", cipher="TLS_AES_128_GCM_SHA256", server_name="a.test")
        made.connection.certificate = Some(fact=lambda name: f"<{name}>")
    return made


@pytest.mark.parametrize(
    ("value", "whole", "bare"),
    [
        ("${remote_addr}", b"2001:db8::1", b"2001:db8::1"),
        ("${host}", b"a.test:81", b"a.test:81"),
        ("${uri}", b"/x?y=%20", b""),
        ("${method}", b"GET", b"-"),
        ("${scheme}", b"https", b"http"),
        ("${request_id}", b"0123", b"0123"),
        ("${service}", "shöp".encode(), b""),
        ("${location}", b"/x", b""),
        ("${backend}", b"http://10.0.0.1:80", b""),
        ("${status}", b"207", b"207"),
        ("${tls_version} ${tls_cipher} ${sni}", b"TLSv1.3 TLS_AES_128_GCM_SHA256 a.test", b"  "),
        ("${client_cert_subject}${client_cert_not_after}", b"<subject><not_after>", b""),
        ("${header.X-A}", b"one, two", b""),
        ("${header.cookie}", b"a=1; b=2", b""),
        ("${header.User-Agent}", b'it\'s "me"', b""),
        ("[${header.X-Empty}${header.x-none}]", b"[]", b"[]"),
        ("$$${host}$${host}$", b"$a.test:81${host}$", b"$a.test:81${host}$"),
    ],
)
def test_facts(value: str, whole: bytes, bare: bytes) -> None:
    template = Template(value)
    assert template.constant is None
    assert (template.render(exchange(), 207), template.render(exchange(False), 207)) == (whole, bare)


def test_a_request_to_a_backend_has_no_status() -> None:
    assert Template("<${status}>").render(exchange()) == b"<>"


def test_a_path_without_a_location_has_none() -> None:
    made = exchange()
    made.location = made.service.fallback
    assert Template("${location}").render(made) == b""


@pytest.mark.parametrize(
    ("value", "constant"), [("", b""), ("a b", b"a b"), ("$$", b"$"), ("$${host}", b"${host}"), ("ü", "ü".encode())]
)
def test_constants(value: str, constant: bytes) -> None:
    assert Template(value).constant == Template(value).render(exchange()) == constant


def test_every_variable_has_a_fact() -> None:
    assert set(_FACTS) == {name for name in header_rules.VARIABLES if not name.startswith("client_cert_")}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("${hosts}", "holds ${hosts}; did you mean ${host}?"),
        ("${Host}", "did you mean ${host}?"),
        ("${remote-addr}", "did you mean ${remote_addr}?"),
        ("${client_cert_issue}", "did you mean ${client_cert_issuer}?"),
        ("${header.}", "did you mean ${header.NAME}?"),
        ("${header.a b}", "holds ${header.a b}"),
        ("${header}", "did you mean ${header.NAME}?"),
        ("${}", "variables of a request are ${remote_addr} ${host} "),
        ("${zzz}", "variables of a request are ${remote_addr} ${host} "),
        ("a\r\nb", "control characters"),
        ("\0", "control characters"),
    ],
)
def test_what_is_refused(value: str, problem: str) -> None:
    with pytest.raises(ValueError) as error:
        Template(value)
    assert problem in str(error.value)


@given(st.binary(), st.binary(), st.binary(), st.binary())
def test_nothing_from_outside_ends_a_line(host: bytes, path: bytes, query: bytes, field: bytes) -> None:
    made = exchange()
    made.host, made.path, made.query = host, path, query
    made.head = Some(fields=[(b"X-A", field), (b"x-a", field)])
    out = Template("${host}${uri}${header.x-a}").render(made)
    assert not {13, 10, 0} & set(out)
