"""The two ways in which access lines are made: they have the same octets, whatever an exchange has in it."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from terraster.config.log_format import FIELDS
from terraster.config.loggers import AccessLog, Encoding
from terraster.exchange import CONNECT_TIME, QUEUE_TIME, TLS_TIME, Exchange
from terraster.logs.lines import CompiledLines, PureLines
from terraster.logs.renderer import Renderer
from terraster.logs.trace import TRACE, Trace
from terraster.net.handshake import Handshake
from terraster.wire.grpc import Call
from terraster.wire.http1 import parse_request

from .test_logs_access import WALL, an_exchange

pytestmark = pytest.mark.skipif(CompiledLines is None, reason="this Terraster is not compiled")

CONFIGS = [
    AccessLog(),
    AccessLog(fields=("time", "client", "uri", "status", "duration", "time_clf", "level")),
    AccessLog(format="common"),
    AccessLog(format="combined", redact_query=("Key", "user.name", "")),
    AccessLog(format=" ".join(f"{{{name}}}" for name in FIELDS) + " 100%"),
    AccessLog(fields=FIELDS, query=True, headers=True, trace=True, mask='"'),
    AccessLog(query=False, fields=("uri", "referer")),
    AccessLog(redact_query=(), fields=("uri", "referer", "detail")),
    AccessLog(encoding=Encoding(), fields=FIELDS),
    AccessLog(
        encoding=Encoding(time_encoder="rfc3339", duration_encoder="string", level_encoder="capitalColor", line_ending="\r\n")
    ),
    AccessLog(encoding=Encoding(time_encoder="rfc3339nano", duration_encoder="ms", time_key="")),
    AccessLog(encoding=Encoding(time_encoder="epoch", duration_encoder="nanos")),
    AccessLog(encoding=Encoding(time_encoder="millis", level_key="")),
    AccessLog(encoding=Encoding(time_encoder="nanos", level_encoder="capital", name_key="100%")),
]

plain = st.text("abcXYZ019-_.~/", max_size=12)
text = st.one_of(plain, plain, st.text(max_size=12), st.sampled_from(["", '"', "\\", "a\x7fb", "é", "\x00\n", "ab\ud800"]))
octets = st.one_of(
    plain.map(str.encode),
    plain.map(str.encode),
    st.binary(max_size=12),
    st.sampled_from([b"", b"x" * 5000, b"\xff", b'"', b"\xc3\xa9"]),
)
name = st.sampled_from(
    [
        "a",
        "token",
        "Token",
        "TOKEN",
        "tok%65n",
        "password",
        "user[password]",
        "secret.x",
        "api_key",
        "api+key",
        "k" * 70,
        "key",
        "",
        "Key",
    ]
)
value = st.one_of(
    plain,
    st.sampled_from(
        ["", "a%20b", "token%3Dx", "a%2525", "%zz", "%", "%3", "a=b", "token=x", "a:b", "x+y", "http://u:p@h/?token=1", "%3a", "[]"]
    ),
)
pair = st.tuples(name, st.sampled_from(["=", "=", "=", ""]), value).map("".join)
query = st.lists(st.tuples(pair, st.sampled_from("&&;?#")).map("".join), max_size=4).map("".join)
target = st.one_of(
    octets,
    st.tuples(st.sampled_from(["/", "/a", "//u:p@h/x", "http://u:p@h/", "/@", "/#"]), st.sampled_from(["", "?"]), query)
    .map("".join)
    .map(str.encode),
)
seconds = st.one_of(
    st.floats(0, 100),
    st.integers(0, 10**7).map(lambda count: (count + 0.5) / 1e6),
    st.integers(0, 10**12).map(lambda count: count / 1e6),
    st.floats(),
    st.sampled_from([-1.0, 0.0, -0.0, 1e-7, 4.9999999e-7, 5e-7, 0.9999995, 999999.9999995, 1e6, 1e15, 1e300, 3]),
)
sane = st.one_of(st.floats(0, 1e5), st.integers(0, 10**7).map(lambda count: (count + 0.5) / 1e6), st.just(-1.0))
number = st.one_of(st.integers(0, 10**6), st.sampled_from([0, -1, -(2**63), 2**63 - 1, True]))
place = st.builds(SimpleNamespace, name=text, label=text, arm=text)
head = st.builds(
    SimpleNamespace,
    major=st.sampled_from([1, 1, 2]),
    minor=st.sampled_from([0, 1, 1]),
    fields=st.lists(
        st.tuples(
            st.sampled_from(
                [b"User-Agent", b"USER-AGENT", b"user-agent", b"Referer", b"referer", b"Cookie", b"User_Agent", b"Host"]
            ),
            target,
        ),
        max_size=4,
    ),
)
facts = st.none() | st.fixed_dictionaries({}, optional={QUEUE_TIME: sane, CONNECT_TIME: sane, TLS_TIME: sane, "other": text})


def a_call(status: int) -> Call:
    call = Call()
    call.status = status
    return call


changes = st.fixed_dictionaries(
    {},
    optional={
        "wall": st.one_of(st.floats(0, 4e9), st.sampled_from([WALL + 0.9999999, -0.5, 0, 1.9999999999, WALL - 1, 253402300800.0])),
        "client_ip": text,
        "peer_ip": text,
        "method": octets,
        "target": target,
        "host": octets,
        "scheme": st.sampled_from(["http", "https"]),
        "head": st.none() | head,
        "status": st.sampled_from([200, 204, 304, 399, 400, 404, 499, 500, 503, 599]),
        "bytes_in": number,
        "bytes_out": number,
        "tries": st.integers(0, 3),
        "service": st.none() | place,
        "location": st.none() | place,
        "backend": st.none() | st.builds(SimpleNamespace, backend=place),
        "request_id": octets,
        "error": st.sampled_from(["", "connection_refused", "http_response_timeout", "proxy_internal_error"]),
        "detail": text | target.map(lambda one: one.decode("utf-8", "replace")),
        "user": text,
        "grpc": st.none() | st.builds(a_call, st.integers(0, 16)),
        "handshake": st.none() | st.builds(Handshake, text, text, text, st.booleans(), text),
        "facts": facts,
    },
)


def both(config: AccessLog, exchanges: list[Exchange]) -> None:
    """Both ways render these exchanges alike, one after the other."""
    pure, compiled = PureLines(Renderer(config)), CompiledLines(Renderer(config))
    assert compiled.each(exchanges) == pure.each(exchanges)
    for count, x in enumerate(exchanges, 1):
        assert pure.add(x) == count
        assert compiled.add(x) == count or len(pure.take()) > 60_000
    for _ in range(2):
        assert compiled.take() == "".join(pure.each(exchanges)).encode()
        for x in exchanges:
            compiled.add(x)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(CONFIGS), st.lists(changes, min_size=1, max_size=3))
@example(CONFIGS[0], [{"target": b"/?a=%3d"}, {"target": b"/?a=b?token=1"}, {"target": b"/#?token=1"}])
def test_an_exchange_has_the_same_line(config: AccessLog, several: list[dict[str, object]]) -> None:
    both(config, [an_exchange(**one) for one in several])


@settings(max_examples=300, deadline=None)
@given(seconds)
def test_a_duration_has_the_same_digits(took: float) -> None:
    both(CONFIGS[0], [an_exchange(duration=took, upstream_time=took)])


@settings(max_examples=300, deadline=None)
@given(target, st.sampled_from(CONFIGS[:8]))
def test_a_query_is_masked_alike(one: bytes, config: AccessLog) -> None:
    both(config, [an_exchange(target=one, head=SimpleNamespace(major=1, minor=1, fields=[(b"Referer", one)]))])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"User-Agent", b"user-AGENT", b"Referer", b"REFERER", b"Range", b"Upgrade-x", b"Cookie"]), target
        ),
        max_size=5,
    )
)
def test_the_head_of_a_request_as_it_was_read(fields: list[tuple[bytes, bytes]]) -> None:
    lines = b"".join(
        b"%b: %b\r\n" % (name, bytes(octet for octet in value if octet >= 32 and octet != 127)) for name, value in fields
    )
    for version in (b"1.0", b"1.1"):
        head = parse_request(b"GET / HTTP/%b\r\nHost: h\r\n%b\r\n" % (version, lines), 65536, 100)
        assert head is not None
        both(CONFIGS[3], [an_exchange(head=head)])


def test_ids_of_a_trace() -> None:
    trace = Trace(b"0af7651916cd43dd8448eb211c80319c", b"b7ad6b7169203331", b"", 1, True, True)
    for config in CONFIGS:
        both(config, [an_exchange(facts={TRACE: trace}), an_exchange(facts={})])


def test_a_line_that_cannot_be_made_leaves_nothing() -> None:
    lines = CompiledLines(Renderer(CONFIGS[0]))
    lines.add(an_exchange())
    for broken in (an_exchange(service=SimpleNamespace()), an_exchange(head=SimpleNamespace(major=1))):
        with pytest.raises(AttributeError):
            lines.add(broken)
    for no_exchange in (None, SimpleNamespace(wall=WALL)):
        with pytest.raises(TypeError):
            lines.add(no_exchange)
    assert lines.add(an_exchange()) == 2
    assert lines.take() == b"".join(Renderer(CONFIGS[0]).line(an_exchange()).encode() for _ in range(2))


def test_places_have_their_own_names_and_are_let_go_when_lines_are_taken() -> None:
    """What a place is called is remembered, but no place."""

    class Place:
        def __init__(self, number: int) -> None:
            self.name, self.label, self.arm, self.backend = f"name{number}", f"/label{number}", "", self

    gone = []
    pure, compiled = PureLines(Renderer(CONFIGS[4])), CompiledLines(Renderer(CONFIGS[4]))
    places = [Place(number) for number in range(40)]
    for count, place in enumerate(places * 2):
        weakref.finalize(place, gone.append, count)
        one = an_exchange(service=place, location=places[-count % 40], backend=places[count // 3])
        pure.add(one)
        compiled.add(one)
    assert compiled.take() == pure.take()
    assert compiled.each([an_exchange(location=places[0])]) == pure.each([an_exchange(location=places[0])])
    del places, place, one
    gc.collect()
    assert len(gone) == 80


def test_many_octets_are_taken_before_there_are_many_lines() -> None:
    lines = CompiledLines(Renderer(CONFIGS[0]))
    assert lines.add(an_exchange(target=b"/" + b"x" * 70_000)) > 1000
    assert len(lines.take()) > 70_000
    assert lines.add(an_exchange()) == 1
