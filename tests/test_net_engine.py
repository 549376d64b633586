"""The engine of a TLS connection: at both speeds it answers and fails as the objects of the standard library do."""

from __future__ import annotations

import _ssl
import gc
import ssl
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from terraster.certs.contexts import load_pair
from terraster.net import engine as module
from terraster.net.engine import buffer_of, engine_of, facts, server_engine, shake, shrink, take_leave, view_of

from .harness.authority import Authority

DIRECT = not str(module.__file__).endswith(".py") and ssl.OPENSSL_VERSION.startswith("OpenSSL 3.") and hasattr(_ssl, "__file__")

AUTHORITY = Authority()
ISSUED = AUTHORITY.issue("a.test")


def contexts(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's."""
    ours, theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    load_pair(ours, ISSUED.chain + ISSUED.key)
    theirs.load_verify_locations(cadata=AUTHORITY.root.decode())
    for each in ours, theirs:
        each.set_alpn_protocols(["http/1.1"])
        each.maximum_version = version
    return ours, theirs


class Pair:
    """A server's engine with its buffers, and a client of the standard library. server: False: the engine is the client's"""

    def __init__(
        self,
        both: tuple[ssl.SSLContext, ssl.SSLContext] | None = None,
        session: ssl.SSLSession | None = None,
        *,
        server: bool = True,
        name: str = "a.test",
    ) -> None:
        ours, theirs = both or contexts()
        to, back = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        if server:
            self.engine = server_engine(ours, to, back)
            self.other = theirs.wrap_bio(self._in, self._out, server_hostname=name, session=session)
        else:
            self.engine = engine_of(theirs.wrap_bio(to, back, server_hostname=name))
            self.other = ours.wrap_bio(self._in, self._out, server_side=True)
        self.incoming, self.outgoing = buffer_of(to, self.engine), buffer_of(back, self.engine)

    def carry(self) -> None:
        """Everything that was written goes to the other side."""
        self.incoming.write(self._out.read())
        self._in.write(self.outgoing.read())

    def shake(self) -> None:
        for each in (self.other.do_handshake, self.engine.do_handshake) * 3:
            with suppress(ssl.SSLWantReadError):
                each()
            self.carry()


@pytest.fixture
def pair() -> Pair:
    made = Pair()
    made.shake()
    return made


def raised(call: Callable[..., object], *args: Any) -> tuple[type[BaseException], object]:
    with pytest.raises(ssl.SSLError) as caught:
        call(*args)
    return caught.type, caught.value.errno


def test_octets_pass_both_ways(pair: Pair) -> None:
    assert pair.engine.version() == "TLSv1.3" and pair.engine.selected_alpn_protocol() == "http/1.1"
    assert (pair.engine.cipher() or ("",))[0].startswith("TLS_") and not pair.engine.session_reused
    pair.other.write(b"request")
    pair.carry()
    assert pair.incoming.pending and pair.engine.read(3) == b"req"
    assert pair.engine.pending() == 4 and pair.engine.read(65536) == b"uest"
    large = bytes(range(256)) * 300
    for data in (large, memoryview(large)[1:], b"end"):
        assert pair.engine.write(data) == len(data)
    assert pair.outgoing.pending > 2 * len(large)
    pair.carry()
    assert not pair.outgoing.pending and pair.outgoing.read() == b""
    got = b""
    while not got.endswith(b"end"):
        got += pair.other.read(65536)
    assert got == large + large[1:] + b"end"
    assert pair.engine.write(b"") == 0


def test_the_facts_are_those_of_the_standard_librarys_view(pair: Pair) -> None:
    view = view_of(pair.engine)
    assert type(view) is ssl.SSLObject and view.context is not None
    assert facts(pair.engine) == (view.version(), (view.cipher() or ("",))[0], view.selected_alpn_protocol(), False)
    assert facts(Pair().engine) == ("", "", "", False)  # nothing is agreed on yet
    plain = contexts(ssl.TLSVersion.TLSv1_2)
    plain[1].set_alpn_protocols(["other"])
    other = Pair(plain)
    other.shake()
    assert facts(other.engine)[0] == "TLSv1.2" and facts(other.engine)[2:] == ("", False)


def test_a_handshake_says_when_it_waits_and_when_it_is_over() -> None:
    pair = Pair()
    assert not shake(pair.engine)
    with suppress(ssl.SSLWantReadError):
        pair.other.do_handshake()
    pair.carry()
    assert not shake(pair.engine)
    pair.carry()
    pair.other.do_handshake()
    pair.carry()
    assert shake(pair.engine) and facts(pair.engine)[0] == "TLSv1.3"
    pair = Pair()
    pair.incoming.write(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(ssl.SSLError) as caught:
        shake(pair.engine)
    assert caught.value.reason == "HTTP_REQUEST"


def test_leave_is_taken_whatever_the_state(pair: Pair) -> None:
    take_leave(pair.engine)
    pair.carry()
    assert pair.other.read(1) == b""
    take_leave(pair.engine)
    fresh = Pair()
    take_leave(fresh.engine)  # a handshake that has not begun
    other = Pair()  # whose errors are its own
    other.shake()
    assert raised(other.engine.read, 10)[0] is ssl.SSLWantReadError


def test_empty_buffers_give_memory_back_and_are_used_as_before(pair: Pair) -> None:
    for octets in (b"a", bytes(100_000), b"b"):
        pair.engine.write(octets)
        assert not shrink(pair.outgoing), "octets in it would be lost"
        pair.carry()
        assert shrink(pair.outgoing) and pair.outgoing.read() == b"" and not pair.outgoing.pending
        got = b""
        while len(got) < len(octets):
            got += pair.other.read(65536)
        assert got == octets
    pair.other.write(b"more")
    pair.carry()
    assert not shrink(pair.incoming) and pair.engine.read(10) == b"more" and shrink(pair.incoming)


def test_a_record_is_given_in_parts_and_a_second_one_not_with_it(pair: Pair) -> None:
    pair.other.write(b"a" * 16384)
    pair.other.write(b"b" * 100)
    pair.carry()
    assert pair.engine.read(16000) == b"a" * 16000 and pair.engine.read(16000) == b"a" * 384
    assert pair.engine.read(65536) == b"b" * 100


def test_messages_without_data_are_taken_on_the_way() -> None:
    """Towards a backend: the session tickets of TLS 1.3 come before the first data."""
    pair = Pair(server=False)
    pair.shake()
    pair.other.write(b"answer")
    pair.carry()
    assert pair.engine.read(100) == b"answer"
    assert raised(pair.engine.read, 100)[0] is ssl.SSLWantReadError


def test_a_session_goes_on() -> None:
    both = contexts()
    first = Pair(both)
    first.shake()
    first.engine.write(b"x")
    first.carry()
    assert first.other.read(1) == b"x"
    second = Pair(both, first.other.session)
    second.shake()
    assert second.engine.session_reused and second.engine.version() == "TLSv1.3"


def test_an_older_version_is_named() -> None:
    pair = Pair(contexts(ssl.TLSVersion.TLSv1_2))
    assert pair.engine.version() is None  # nothing is agreed on yet
    pair.shake()
    assert pair.engine.version() == "TLSv1.2"


def test_errors_are_those_of_the_standard_library(pair: Pair) -> None:
    assert raised(pair.engine.read, 10) == (ssl.SSLWantReadError, ssl.SSL_ERROR_WANT_READ)
    pair.incoming.write(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(ssl.SSLError) as caught:
        pair.engine.read(10)
    assert caught.type is ssl.SSLError and caught.value.reason == "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"
    assert pair.outgoing.pending  # the alert
    assert raised(pair.engine.read, 10)[0] is not ssl.SSLWantReadError  # the connection has failed for good
    with pytest.raises(ssl.SSLError):
        pair.engine.write(b"more")
    with pytest.raises(ssl.SSLError):
        pair.engine.shutdown()
    other = Pair()  # whose errors are its own
    other.shake()
    assert raised(other.engine.read, 10)[0] is ssl.SSLWantReadError


def test_compiled_code_calls_the_library_itself(pair: Pair) -> None:
    """The standard library names the line of its own source in each error."""
    with pytest.raises(ssl.SSLWantReadError) as caught:
        pair.engine.read(10)
    assert ("_ssl.c" in str(caught.value)) is not DIRECT


def test_the_first_failure_says_why() -> None:
    pair = Pair()
    assert raised(pair.engine.do_handshake) == (ssl.SSLWantReadError, ssl.SSL_ERROR_WANT_READ)
    pair.incoming.write(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(ssl.SSLError) as caught:
        pair.engine.do_handshake()
    assert caught.value.reason == "HTTP_REQUEST"


def test_a_certificate_for_another_name_is_refused() -> None:
    pair = Pair(server=False, name="b.test")
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        pair.shake()
    assert "b.test" in caught.value.verify_message


def test_nothing_is_written_before_the_handshake() -> None:
    pair = Pair()
    assert raised(pair.engine.write, b"x")[0] is ssl.SSLWantReadError
    with pytest.raises(ssl.SSLError):
        pair.engine.shutdown()
    pair.shake()
    pair.engine.write(b"answer")
    pair.carry()
    assert pair.other.read(100) == b"answer"


def test_an_end_without_a_goodbye_is_an_error(pair: Pair) -> None:
    pair.incoming.write_eof()
    assert raised(pair.engine.read, 10)[0] is ssl.SSLEOFError
    with pytest.raises(ssl.SSLError):
        pair.incoming.write(b"more")


def test_a_goodbye_ends_both_ways(pair: Pair) -> None:
    assert raised(pair.engine.shutdown)[0] is ssl.SSLWantReadError
    pair.carry()
    assert pair.other.read(1) == b""
    pair.other.unwrap()
    pair.carry()
    assert raised(pair.engine.read, 10)[0] is ssl.SSLZeroReturnError
    pair.engine.shutdown()


def test_data_before_a_goodbye_are_read(pair: Pair) -> None:
    pair.other.write(b"last")
    assert raised(pair.other.unwrap)[0] is ssl.SSLWantReadError
    pair.carry()
    assert pair.engine.read(10) == b"last" and pair.engine.read(10) == b""
    assert pair.engine.read(10) == b""
    assert pair.engine.write(b"answer") == 6  # one way has ended: RFC 8446, section 6.1
    pair.engine.shutdown()


def test_a_wrong_argument_is_an_error(pair: Pair) -> None:
    wrong: Any = "text"
    for call in (pair.engine.write, pair.incoming.write, pair.engine.read):
        with pytest.raises(TypeError):
            call(wrong)
    with pytest.raises(ValueError):
        pair.engine.read(-1)


def test_an_engine_keeps_what_it_uses() -> None:
    """The library's objects are not freed before it, whatever is forgotten or collected."""
    both = contexts()
    gone = weakref.ref(both[0])
    pair = Pair(both)
    pair.shake()
    del both
    gc.collect()
    assert gone() is not None
    pair.other.write(b"request")
    pair.carry()
    assert pair.engine.read(10) == b"request"
    del pair
    gc.collect()
    assert gone() is None


class Other:
    """An engine of another form, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[bytes | int] = []

    def read(self, size: int) -> bytes:
        self.asked.append(size)
        return b"read"

    def write(self, data: bytes) -> int:
        self.asked.append(data)
        return len(data)

    def pending(self) -> int:
        return 3

    def version(self) -> str:
        return "TLSv1.4"

    def do_handshake(self) -> None:
        self.asked.append(1)

    def shutdown(self) -> None:
        self.asked.append(2)


def test_an_object_of_another_form_is_asked_itself() -> None:
    other, memory = Other(), ssl.MemoryBIO()
    engine = engine_of(other)  # type: ignore[arg-type]
    buffer = buffer_of(memory, engine)
    engine.do_handshake()
    engine.shutdown()
    assert engine.read(7) == b"read" and engine.write(b"data") == 4 and other.asked == [1, 2, 7, b"data"]
    assert engine.pending() == 3 and engine.version() == "TLSv1.4"
    assert buffer.write(b"abc") == 3 and buffer.pending == memory.pending == 3 and buffer.read() == b"abc"
    assert shake(engine) and other.asked[-1] == 1
    take_leave(engine)
    assert other.asked[-1] == 2


def test_a_buffer_of_another_connection_is_used_by_its_methods(pair: Pair) -> None:
    memory = ssl.MemoryBIO()
    buffer = buffer_of(memory, pair.engine)
    assert buffer.write(b"abc") == 3 and memory.read() == b"abc" and buffer.read() == b"" and not buffer.pending
