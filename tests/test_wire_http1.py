"""Message heads and bodies: every case of the corpus in one piece, cut anywhere, and with junk behind it; then laws."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from terraster.errors import BadRequest, BadResponse, HttpError
from terraster.wire import head_reader
from terraster.wire.block import BLOCKS
from terraster.wire.chunked import ChunkedReader
from terraster.wire.http1 import RequestHead, ResponseHead, parse_request, parse_response
from terraster.wire.names import FORBIDDEN_IN_TRAILERS, FORWARDED_PROTO, TWIN, with_dashes

from .harness.corpus import Case, load_cases
from .harness.oracle import request_opinion, response_opinion

REQUESTS = list(load_cases("requests"))
RESPONSES = list(load_cases("responses"))
JUNK = (b"\x00\xff\r\r\n\n", b"GET /junk HTTP/1.1\r\n\r\n", b"\r\n", b" ")

requests = pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case.name)
responses = pytest.mark.parametrize("case", RESPONSES, ids=lambda case: case.name)


@dataclass(frozen=True)
class Outcome:
    """What became of the octets of one message. ``what``: "forward", "incomplete" or the status."""

    what: str
    head: RequestHead | ResponseHead | None = None
    body: bytes = b""
    trailers: tuple[tuple[bytes, bytes], ...] = ()
    rest: bytes = b""

    def facts(self) -> tuple[object, ...]:
        """Everything to compare outcomes by."""
        head = self.head
        if head is None:
            return (self.what,)
        seen = (head.size, list(head.fields), head.content_length, head.chunked, head.keep_alive, head.upgrade)
        return (self.what, *seen, self.body, self.trailers, self.rest)


def read(case: Case, pieces: Iterable[bytes], strict: bool = True) -> Outcome:
    """Read one message as a connection would that gets these pieces one after the other."""
    is_request = case in REQUESTS
    head: RequestHead | ResponseHead | None = None
    body: Iterator[Outcome] | None = None
    held, seen = b"", 0
    outcome = Outcome("incomplete")
    try:
        for piece in pieces:
            held += piece
            if head is None:
                head = _parse(case, held, is_request, seen, strict)
                if head is None:
                    seen = len(held)
                    continue
                held = held[head.size :]
                body = _body(case, head, is_request, strict)
                next(body)
            assert body is not None
            outcome = body.send(held)
            held = b""
    except HttpError as error:
        assert isinstance(error, BadRequest if is_request else BadResponse)
        return Outcome(str(error.status))
    return outcome


def _parse(case: Case, data: bytes, is_request: bool, seen: int, strict: bool) -> RequestHead | ResponseHead | None:
    if is_request:
        return parse_request(data, *case.limits, seen)
    return parse_response(data, case.fact("method") or b"GET", *case.limits, seen, strict)


def _body(case: Case, head: RequestHead | ResponseHead, is_request: bool, strict: bool) -> Iterator[Outcome]:
    data = yield Outcome("incomplete")
    body = b""
    if head.chunked:
        reader = ChunkedReader(BadRequest if is_request else BadResponse, 0, strict)
        while True:
            body += b"".join(reader.feed(data))
            if reader.done:
                break
            data = yield Outcome("incomplete")
        rest = reader.rest
        trailers = tuple(reader.trailers)
    else:
        rest, trailers = data, ()
        length = max(head.content_length, 0)
        if getattr(head, "until_close", False):
            while True:
                data = yield Outcome("forward", head, rest)
                rest += data
        while len(rest) < length:
            rest += yield Outcome("incomplete")
        body, rest = rest[:length], rest[length:]
    while True:
        rest += yield Outcome("forward", head, body, trailers, rest)


def check(case: Case, outcome: Outcome) -> None:
    """Fail unless the outcome is one that the case allows, with the facts that it states."""
    if outcome.what == "forward" and case.stage in ("host", "target", "proxy"):
        return  # the head itself is sound: refusing is up to the rooms that know targets, hosts and exchanges
    assert outcome.what in case.expect, f"{case.what} [{case.rule}]"
    head = outcome.head
    if outcome.what != "forward":
        return
    assert head is not None
    assert not {name.lower() for name, _ in outcome.trailers} & FORBIDDEN_IN_TRAILERS
    stated = {
        "method": None if isinstance(head, ResponseHead) else head.method,
        "target": getattr(head, "target", None),
        "host": getattr(head, "host", None),
        "upgrade": head.upgrade,
        "body": outcome.body,
        "rest": outcome.rest,
        "minor": b"%d" % head.minor,
        "size": b"%d" % head.size,
        "status": b"%d" % getattr(head, "status", 0),
        "length": None if head.content_length < 0 else b"%d" % head.content_length,
        "chunked": _yes(head.chunked),
        "keep-alive": _yes(head.keep_alive and not getattr(head, "until_close", False)),
        "expects": _yes(getattr(head, "expect", False)),
        "until-close": _yes(getattr(head, "until_close", False)),
        "no-body": _yes(getattr(head, "no_body", False)),
    }
    for key, value in stated.items():
        said = case.fact(key)
        if said is not None and not (key == "method" and isinstance(head, ResponseHead)):
            assert (value or b"-" if said == b"-" else value) == said, f"{key}: {case.what}"
    fields = [(name, value) for name, value in head.fields]
    wanted = case.pairs("field")
    assert [pair for pair in fields if pair in wanted] == wanted
    assert list(outcome.trailers) == (case.pairs("trailer") or list(outcome.trailers))


def _yes(fact: bool) -> bytes:
    return b"yes" if fact else b"no"


def same(case: Case, outcome: Outcome, whole: Outcome) -> None:
    """Fail unless it is the outcome that the whole had; of several refusals that a case allows it may be any."""
    if whole.what.isdigit() and len(case.expect) > 1:
        assert outcome.what in case.expect and outcome.what.isdigit()
    else:
        assert outcome.facts() == whole.facts()


def _ends(case: Case) -> bool:
    """Whether a message ends where the case's octets end."""
    return "incomplete" not in case.expect and not case.name.endswith("unfinished") and "until-close" not in case.facts


def _cuts(data: bytes) -> range:
    return range(1, len(data), max(1, len(data) // 600))


@requests
def test_request_in_one_piece(case: Case) -> None:
    check(case, read(case, [case.data]))


@responses
def test_response_in_one_piece(case: Case) -> None:
    check(case, read(case, [case.data]))


@responses
def test_response_read_leniently(case: Case) -> None:
    """In one piece, and cut at every octet. What is written is in order: a strict reader sees the same in it."""
    outcome = read(case, [case.data], False)
    check(replace(case, expect=case.lenient), outcome)
    for at in _cuts(case.data):
        same(replace(case, expect=case.lenient), read(case, [case.data[:at], case.data[at:]], False), outcome)
    octets = (case.data[at : at + 1] for at in range(len(case.data)))
    same(replace(case, expect=case.lenient), read(case, octets, False), outcome)
    if outcome.what != "forward":
        return
    head = outcome.head
    assert isinstance(head, ResponseHead)
    out = head.forward(frozenset(), (), b"")
    assert case.fact("out") in (None, out)
    if head.status > 599:
        return
    again = parse_response(out, case.fact("method") or b"GET", *case.limits)
    assert again is not None and again.size == len(out)
    for fact in ("status", "content_length", "chunked", "until_close", "no_body", "dated"):
        assert getattr(again, fact) == getattr(head, fact)


@pytest.mark.parametrize("case", REQUESTS + RESPONSES, ids=lambda case: case.name)
def test_cut_at_every_octet(case: Case) -> None:
    whole = read(case, [case.data])
    for at in _cuts(case.data):
        same(case, read(case, [case.data[:at], case.data[at:]]), whole)


def test_the_preface_of_http2_is_refused_with_the_key_that_switches_it_on() -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for data in (preface, preface[:16]):
        with pytest.raises(BadRequest) as caught:
            parse_request(data, 32768, 100)
        assert (caught.value.status, "`http2: true`" in caught.value.detail) == (505, True)


@pytest.mark.parametrize("case", REQUESTS + RESPONSES, ids=lambda case: case.name)
def test_octet_by_octet(case: Case) -> None:
    whole = read(case, [case.data])
    same(case, read(case, (case.data[at : at + 1] for at in range(len(case.data)))), whole)


@pytest.mark.parametrize("case", REQUESTS + RESPONSES, ids=lambda case: case.name)
def test_every_prefix_is_undecided_or_final(case: Case) -> None:
    whole = read(case, [case.data])
    for at in _cuts(case.data):
        what = read(case, [case.data[:at]]).what
        assert what in ("incomplete", whole.what) or (whole.what.isdigit() and what.isdigit() and what in case.expect)


@pytest.mark.parametrize("case", [case for case in REQUESTS + RESPONSES if _ends(case)], ids=lambda case: case.name)
def test_junk_behind_changes_nothing(case: Case) -> None:
    whole = read(case, [case.data])
    for junk in JUNK:
        same(case, read(case, [case.data + junk]), replace(whole, rest=whole.rest + junk) if whole.head else whole)


@requests
def test_fields_met_before_are_read_alike(case: Case) -> None:
    """Blocks of fields are remembered from the second time on; a body that looks like one, or a pipelined request, changes nothing."""
    whole = read(case, [case.data])
    for _ in range(3):
        assert read(case, [case.data]).facts() == whole.facts()
    if _ends(case):
        end = b"\r\n\r\n"
        same(case, read(case, [case.data + end]), replace(whole, rest=whole.rest + end) if whole.head else whole)


@requests
def test_h11_about_requests(case: Case) -> None:
    _agree(case, request_opinion(case))


@responses
def test_h11_about_responses(case: Case) -> None:
    _agree(case, response_opinion(case))


def _agree(case: Case, opinion: str) -> None:
    """Two strict parsers see the same, or the case says where h11 differs and why."""
    if case.h11 == "agree":
        assert opinion in {{"forward": "accepts", "incomplete": "waits"}.get(expect, "refuses") for expect in case.expect}
    else:
        assert opinion == case.h11
        assert case.h11_reason


def test_corpus_is_complete_and_says_what_it_shows() -> None:
    assert len(REQUESTS) > 250 and len(RESPONSES) > 80
    for case in REQUESTS + RESPONSES:
        assert case.what, case.name
        assert case.stage in ("head", "body", "host", "target", "proxy"), case.name
        assert case.forwards or case.expect == ("incomplete",) or case.rule or case.name.startswith(("limit", "line", "garbage"))


@pytest.mark.parametrize("case", [case for case in REQUESTS if case.forwards], ids=lambda case: case.name)
def test_what_is_forwarded_is_as_clear_as_what_came(case: Case) -> None:
    """The head for the backend has the same framing, no connection options, and every other field as it was."""
    head = parse_request(case.data, *case.limits)
    assert head is not None
    target = head.target
    out = head.forward(target, frozenset(), frozenset(), b"" if head.host else b"Host: a.test\r\n")
    again = parse_request(out, 65536, 256)
    assert again is not None and again.size == len(out)
    assert (again.method, again.target, again.minor) == (head.method, target, 1)
    assert (again.content_length, again.chunked) == (head.content_length, head.chunked)
    names = {name.lower() for name, _ in again.fields}
    assert not names & {b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade", b"http2-settings"}
    ends_here = {b"connection", b"keep-alive", b"te", b"upgrade", b"http2-settings"} | (head.dropped or set())
    if not head.expect:
        ends_here |= {b"expect"}
    assert [f for f in again.fields if head.host or f[0] != b"Host"] == [f for f in head.fields if f[0].lower() not in ends_here]


@responses
def test_responses_met_before_are_read_alike(case: Case) -> None:
    """To another method or another kind of reader the same octets may mean something else."""
    method = case.fact("method") or b"GET"
    for strict in (True, False):
        whole = read(case, [case.data], strict)
        for _ in range(3):
            for other in (b"HEAD", b"GET", b"CONNECT"):
                with suppress(BadResponse):
                    parse_response(case.data, other, *case.limits, 0, not strict)
            assert read(case, [case.data], strict).facts() == whole.facts()
        if isinstance(whole.head, ResponseHead):
            again = parse_response(case.data, method, *case.limits, 0, strict)
            assert again is not None and again.no_body is whole.head.no_body
            out = [again.forward(drop, (), b"") for drop in (frozenset((b"content-length",)), frozenset[bytes]())]
            assert out[1] == whole.head.forward(frozenset(), (), b"")
            assert b"content-length" not in out[0].lower()


def test_limits_hold_for_responses_that_were_met_before() -> None:
    data = b"HTTP/1.1 200 OK\r\nX-A: limits\r\nX-B: 2\r\nContent-Length: 0\r\n\r\n"
    heads = [head_reader.parse_response(data, b"GET", 32768, 100) for _ in range(3)]
    assert heads[1] is heads[2]
    for size, count in ((len(data) - 1, 100), (len(data), 2)):
        for parse in (parse_response, head_reader.parse_response):
            with pytest.raises(BadResponse):
                parse(data, b"GET", size, count)


def _learned(data: bytes) -> RequestHead:
    heads = [head_reader.parse_request(data, 32768, 100) for _ in range(3)]
    assert heads[2] is not None
    return heads[2]


def test_the_request_line_is_never_remembered() -> None:
    fields = b"Host: a.test\r\nX-Once: met before\r\n\r\n"
    _learned(b"GET /first HTTP/1.1\r\n" + fields)
    head = head_reader.parse_request(b"POST /second?x HTTP/1.1\r\n" + fields + b"rest", 32768, 100)
    assert head is not None and (head.method, head.target, head.minor) == (b"POST", b"/second?x", 1)
    older = head_reader.parse_request(b"GET /third HTTP/1.0\r\n" + fields, 32768, 100)
    assert older is not None and (older.minor, older.keep_alive) == (0, False)


def test_limits_hold_for_fields_that_were_met_before() -> None:
    data = b"GET / HTTP/1.1\r\nHost: a.test\r\nX-A: limits\r\nX-B: 2\r\n\r\n"
    _learned(data)
    for size, count in ((len(data) - 1, 100), (len(data), 2)):
        with pytest.raises(BadRequest) as refusal:
            head_reader.parse_request(data, size, count)
        assert refusal.value.status == 431
    assert head_reader.parse_request(data, len(data), 3) is not None


def test_what_is_remembered_is_bounded() -> None:
    """Whatever clients send: so many blocks, so many octets, and none that is large or was met only once."""
    for number in range(3000):
        data = b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Pad: %b\r\nX-Number: %d\r\n\r\n" % (b"x" * (number % 700), number)
        head_reader.parse_request(data, 32768, 100)
        known = len(BLOCKS)
        if number % 2:
            _learned(data)
            assert len(BLOCKS) in (known + 1, 1)
        assert len(BLOCKS) <= 512 and len(BLOCKS.met) <= 4096
        assert sum(map(len, BLOCKS)) == BLOCKS.held <= 1 << 18
    large = b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Large: %b\r\n\r\n" % (b"x" * 5000)
    _learned(large)
    assert large[5:] not in BLOCKS


def test_connection_takes_nothing_out_that_proxies_wrote() -> None:
    """A client behind a trusted balancer that passes Connection on could otherwise have removed what the balancer said."""
    ours = b"X-Forwarded-For X-Forwarded-Proto X-Forwarded-Host X-Forwarded-Port X-Forwarded-Server Forwarded X-Real-IP X-Request-ID Via"
    ours += b" Client-Cert Client-Cert-Chain"
    data = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: %b, X-Own\r\nX-Own: 1\r\nVia: 1.1 a\r\nX-Forwarded-Proto: https\r\n\r\n"
    head = parse_request(data % b", ".join(ours.split()), 32768, 100)
    assert head is not None and head.dropped == frozenset((b"x-own",))
    out = head.forward(b"/", frozenset((FORWARDED_PROTO,)), frozenset(), b"")
    assert out == b"GET / HTTP/1.1\r\nHost: a.test\r\nVia: 1.1 a\r\nX-Forwarded-Proto: https\r\n\r\n"


def test_another_location_has_other_rules_for_the_same_fields() -> None:
    head = _learned(b"GET / HTTP/1.1\r\nHost: a.test\r\nX-A: 1\r\nX-B: 2\r\n\r\n")
    for drop, left in ((b"x-a", b"X-B: 2"), (b"x-b", b"X-A: 1"), (b"x-a", b"X-B: 2")):
        out = head.forward(b"/", frozenset(), frozenset((drop,)), b"")
        assert out == b"GET / HTTP/1.1\r\nHost: a.test\r\n%b\r\n\r\n" % left


TWINS = (
    b"GET / HTTP/1.1\r\nHost: a.test\r\nX_Client: 1\r\nX-Other: 2\r\nX_Other: 3\r\nX_Forwarded_For: 4\r\nX_Real-IP: 5\r\n"
    b"Content_Length: 6\r\nTransfer_Encoding: 7\r\nPlain_Name: 8\r\n\r\n"
)


@pytest.mark.parametrize(
    ("keep", "drop", "left"),
    [
        ((), (), b"X_Client X-Other X_Other Plain_Name"),
        ((), (b"x-client",), b"X-Other X_Other Plain_Name"),
        ((), (b"x-other",), b"X_Client Plain_Name"),
        ((), (b"x_other",), b"X_Client Plain_Name"),
        ((TWIN,), (), b"X_Client X-Other X_Other X_Forwarded_For X_Real-IP Content_Length Transfer_Encoding Plain_Name"),
        (
            (TWIN,),
            (b"x-client", b"x-other"),
            b"X_Client X_Other X_Forwarded_For X_Real-IP Content_Length Transfer_Encoding Plain_Name",
        ),
    ],
)
def test_names_that_differ_by_an_underscore(keep: tuple[int, ...], drop: tuple[bytes, ...], left: bytes) -> None:
    """CGI and WSGI take the two for one: what a rule removes must not come in by the other spelling."""
    head = parse_request(TWINS, 32768, 100)
    assert head is not None and (head.content_length, head.chunked) == (-1, False)
    names = frozenset(drop) if TWIN in keep else with_dashes(frozenset(drop))
    out = head.forward(b"/", frozenset(keep), names, b"")
    assert [line.partition(b":")[0] for line in out.split(b"\r\n")[2:-2]] == left.split()


@pytest.mark.parametrize(
    ("method", "value", "count", "forwarded"),
    [
        (b"OPTIONS", b"5", 5, b"4"),
        (b"TRACE", b"1", 1, b"0"),
        (b"TRACE", b"0", 0, b"0"),
        (b"OPTIONS", b"007", 7, b"6"),
        (b"GET", b"5", -1, b"5"),
        (b"options", b"5", -1, b"5"),
        (b"TRACE", b"-1", -1, b"-1"),
        (b"TRACE", b"x", -1, b"x"),
        (b"TRACE", b"9" * 30, -1, b"9" * 30),
    ],
)
def test_max_forwards(method: bytes, value: bytes, count: int, forwarded: bytes) -> None:
    data = b"%b / HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: %b\r\nX-A: 1\r\n\r\n" % (method, value)
    for _ in range(3):
        head = parse_request(data, 32768, 100)
        assert head is not None and head.max_forwards == count
        out = head.forward(b"/", frozenset(), frozenset(), b"")
        assert [line for line in out.split(b"\r\n") if line.startswith(b"Max-F")] == [b"Max-Forwards: " + forwarded]


def test_names_of_a_head() -> None:
    head = parse_request(b"GET / HTTP/1.1\r\nHost: a.test\r\nX_Client-ID: 1\r\nx-a: 2\r\nX-A: 3\r\n\r\n", 32768, 100)
    assert head is not None and head.names() == {b"host", b"x-client-id", b"x-a"}


@pytest.mark.parametrize(
    ("method", "status", "has"),
    [(b"HEAD", b"200 OK", True), (b"GET", b"304 Not Modified", True), (b"GET", b"200 OK", False)],
)
def test_a_response_without_a_body_has_no_transfer_encoding(method: bytes, status: bytes, has: bool) -> None:
    """It would go to clients of HTTP/1.0, too, and says nothing to any other (RFC 9112, section 6.1)."""
    head = parse_response(b"HTTP/1.1 %b\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n" % status, method, 32768, 100)
    assert head is not None and head.no_body is has
    assert (b"Transfer-Encoding" in head.forward(frozenset(), (), b"")) is not has


@pytest.mark.parametrize("octets", [1, 7, 100])
def test_a_head_that_comes_slowly_is_read_like_one_that_comes_at_once(octets: int) -> None:
    """Each look goes on where the last one ended; no line is looked at again from its begin."""
    data = b"GET /%b HTTP/1.1\r\nHost: a.test\r\n%b\r\n" % (b"a" * 500, b"X-Long: %b\r\n" % (b"b" * 3000))
    held, seen, head = b"", 0, None
    for at in range(0, len(data), octets):
        assert head is None
        held += data[at : at + octets]
        head = parse_request(held, 32768, 100, seen)
        seen = len(held)
    assert head is not None and head.size == len(data)


# Laws

STATUSES = {400, 414, 417, 431, 501, 505}

TOKEN = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=12).map(str.encode)
METHOD = st.sampled_from([b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"PROPFIND", b"M-SEARCH"])
TARGET = st.text("abc/?&=%2-._~!$'()*+,;:@", max_size=40).map(lambda text: b"/" + text.encode())
VALUE = st.binary(max_size=30).map(lambda raw: bytes(c for c in raw if c > 31 and c != 127 or c == 9).strip(b" \t"))
PLAIN = st.tuples(TOKEN.map(lambda name: b"X-" + name), VALUE)


@given(st.binary(max_size=300))
@example(b"")
@example(b"\r\n")
@example(b"\r\n\r\n")
@example(b"\r\n" * 20)
@example(b"\0" * 100)
def test_any_octets_are_a_request_or_not_yet_or_one_clean_refusal(data: bytes) -> None:
    try:
        head = parse_request(data, 256, 10)
    except BadRequest as error:
        assert error.status in STATUSES and error.close
        return
    if head is None:
        assert len(data) < 256
    else:
        assert head.size <= len(data) and len(head.fields) <= 10


@given(st.binary(max_size=300), st.sampled_from([b"GET", b"HEAD", b"POST"]))
@example(b"", b"GET")
@example(b"\r\n\r\n", b"GET")
@example(b"HTTP/1.1 \r\n\r\n", b"GET")
@example(b"HTTP/1.1 200\r\n\r\n", b"GET")
def test_any_octets_are_a_response_or_not_yet_or_one_clean_refusal(data: bytes, method: bytes) -> None:
    try:
        head = parse_response(data, method, 256, 10)
    except BadResponse as error:
        assert error.status == 502
        return
    if head is not None:
        assert head.size <= len(data) and 100 <= head.status <= 999


WOUND = st.one_of(
    st.binary(max_size=4),
    st.sampled_from([b"\r", b"\n", b"\r,\n", b":", b" ", b"\t", b"\r\n", b" \r\n", b"\r\n ", b"\0", b"x:y\r\n"]),
)


def _by_lines(raw: bytes) -> list[tuple[bytes, bytes]]:
    """The fields of a whole head, read in the plainest way there is."""
    lines = raw.split(b"\r\n")
    assert lines[-2:] == [b"", b""] and b"" not in lines[:-2]
    fields = []
    for line in lines[1:-2]:
        assert not set(line) & {*range(9), *range(10, 32), 127}
        name, colon, value = line.partition(b":")
        assert (
            colon and name and not set(name) - set(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
        )
        fields.append((name, value.strip(b" \t")))
    return fields


@given(st.sampled_from(REQUESTS), st.integers(0), st.integers(0, 3), WOUND)
def test_a_case_with_a_wound_is_a_request_or_not_yet_or_one_clean_refusal(case: Case, at: int, cut: int, new: bytes) -> None:
    """Octets of a real message replaced: closer to what attackers send than pure noise."""
    at %= len(case.data) + 1
    data = case.data[:at] + new + case.data[at + cut :]
    try:
        head = parse_request(data, *case.limits)
    except BadRequest as error:
        assert error.status in STATUSES and error.close
        return
    if head is not None:
        raw = data[: head.size]
        assert _by_lines(raw.lstrip(b"\r\n")) == list(head.fields)


@given(st.sampled_from(RESPONSES), st.integers(0), st.integers(0, 3), WOUND)
def test_a_response_with_a_wound_is_a_response_or_not_yet_or_one_clean_refusal(case: Case, at: int, cut: int, new: bytes) -> None:
    at %= len(case.data) + 1
    data = case.data[:at] + new + case.data[at + cut :]
    try:
        head = parse_response(data, b"GET", *case.limits)
    except BadResponse as error:
        assert error.status == 502
        return
    if head is not None:
        assert _by_lines(data[: head.size]) == list(head.fields)


@given(METHOD, TARGET, st.lists(PLAIN, max_size=12), st.integers(0, 12))
def test_a_valid_head_round_trips(method: bytes, target: bytes, fields: list[tuple[bytes, bytes]], place: int) -> None:
    fields.insert(min(place, len(fields)), (b"Host", b"a.test"))
    data = b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, b"".join(b"%b: %b\r\n" % field for field in fields))
    head = parse_request(data, 65536, 100)
    assert head is not None
    assert (head.method, head.target, list(head.fields), head.host, head.size) == (method, target, fields, b"a.test", len(data))
    assert head.forward(target, frozenset(), frozenset(), b"X-New: 1\r\n") == data[:-2] + b"X-New: 1\r\n\r\n"


@given(st.integers(200, 599), st.lists(PLAIN, max_size=12), st.integers(0, 10**15))
def test_a_valid_response_round_trips(status: int, fields: list[tuple[bytes, bytes]], length: int) -> None:
    fields.append((b"Content-Length", b"%d" % length))
    data = b"HTTP/1.1 %d Said So\r\n%b\r\n" % (status, b"".join(b"%b: %b\r\n" % field for field in fields))
    head = parse_response(data, b"GET", 65536, 100)
    assert head is not None
    assert (head.status, list(head.fields), head.size) == (status, fields, len(data))
    if status not in (204, 304):
        assert head.content_length == length
        assert head.forward(frozenset(), (), b"X-New: 1\r\n") == data[:-2] + b"X-New: 1\r\n\r\n"
