"""OCSP responses in handshakes, with real clients of the library, and what happens where the library cannot be reached."""

from __future__ import annotations

import _ssl
import ctypes
import gc
import ssl
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from terraster.certs import libssl, stapler
from terraster.certs.contexts import Contexts
from terraster.certs.libssl import Refused
from terraster.certs.stapler import Stapler
from terraster.config.snapshot import Staple, Tls
from terraster.openssl import linked
from terraster.wire.client_hello import HelloReader

from .test_certs_contexts import CERTIFICATES, client
from .test_policy_key_kind import set_signatures

EC, RSA = CERTIFICATES
OF_EC, OF_RSA = (Staple(one.fingerprint, f"response for {one.kind}".encode(), 0.0, 1000.0) for one in CERTIFICATES)
BOTH = Tls(certificates=CERTIFICATES, staples=(OF_EC, OF_RSA))
LIBRARY = linked()
LIBRARY.SSL_CTX_ctrl.argtypes = LIBRARY.SSL_ctrl.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p)
LIBRARY.SSL_ctrl.restype = ctypes.c_long


def asking(**settings: object) -> ssl.SSLContext:
    """A client that asks for a response."""
    context, library = client(**settings), libssl.openssl()
    assert library is not None
    assert LIBRARY.SSL_CTX_ctrl(library.pointer(context), 65, 1, None) == 1  # SSL_CTRL_SET_TLSEXT_STATUS_REQ_TYPE, ocsp
    return context


def shake(contexts: Contexts, tls: Tls, context: ssl.SSLContext, now: float = 500.0) -> bytes:
    """A handshake as `terraster.phases.secure` does it. Returns the response that the client got, b"" for none."""
    one, other = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = context.wrap_bio(other, one, server_hostname="a.test")
    with suppress(ssl.SSLWantReadError):
        here.do_handshake()
    first = one.read()
    one.write(first)
    reader = HelloReader()
    reader.feed(first)
    only = contexts.stapled("s", tls, "a.test", reader.message)
    there = contexts.get("s", tls, "a.test", only).wrap_bio(one, other, server_side=True)
    if only is not None:
        contexts.staple("s", only, there, now)
    for _ in range(4):
        for end in (there, here):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    assert here.version()
    found = ctypes.c_void_p()
    size = LIBRARY.SSL_ctrl(inner(here), 70, 0, ctypes.byref(found))  # SSL_CTRL_GET_TLSEXT_STATUS_REQ_OCSP_RESP
    return ctypes.string_at(found, size) if size > 0 else b""


def inner(engine: ssl.SSLObject) -> int | None:
    """The ``SSL`` of an engine, as `Stapler` finds it."""
    at = id(engine._sslobj) + object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p)  # type: ignore[attr-defined]
    return ctypes.c_void_p.from_address(at).value


VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@VERSIONS
def test_a_client_that_asks_gets_the_response_until_it_ends(version: ssl.TLSVersion) -> None:
    contexts, tls = Contexts(), Tls(certificates=(EC,), staples=(OF_EC,))
    context = asking(maximum_version=version)
    assert shake(contexts, tls, context, 999.9) == b"response for ECDSA"
    assert shake(contexts, tls, context, 1000.0) == b""
    assert shake(contexts, tls, client(maximum_version=version)) == b""


@VERSIONS
@pytest.mark.parametrize(
    ("algorithms", "response"),
    [
        ("ECDSA+SHA256:rsa_pss_rsae_sha256:RSA+SHA256", b"response for ECDSA"),
        ("rsa_pss_rsae_sha256:RSA+SHA256", b"response for RSA"),
    ],
)
def test_the_response_is_that_of_the_certificate_the_client_gets(version: ssl.TLSVersion, algorithms: str, response: bytes) -> None:
    context = asking(maximum_version=version)
    set_signatures(context, algorithms)
    assert shake(Contexts(), BOTH, context) == response


@VERSIONS
def test_a_certificate_without_a_response_gets_none_beside_one_that_has_one(version: ssl.TLSVersion) -> None:
    one = Tls(certificates=CERTIFICATES, staples=(OF_RSA,))
    context = asking(maximum_version=version)
    assert shake(Contexts(), one, context) == b""
    set_signatures(context, "rsa_pss_rsae_sha256:RSA+SHA256")
    assert shake(Contexts(), one, context) == b"response for RSA"


def test_a_client_whose_certificate_is_not_certain_gets_one_without_a_response() -> None:
    context = asking()
    set_signatures(context, "ECDSA+SHA384:rsa_pss_rsae_sha256:RSA+SHA256")
    assert shake(Contexts(), BOTH, context) == b""


def test_a_service_without_responses_has_no_callback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("terraster.certs.contexts.stapler", lambda: pytest.fail("the library was asked"))
    assert shake(Contexts(), Tls(certificates=CERTIFICATES), asking()) == b""


def test_what_a_connection_got_is_freed_with_it() -> None:
    """1,000 handshakes would keep 32 MiB."""
    contexts = Contexts()
    tls = Tls(certificates=(EC,), staples=(Staple(EC.fingerprint, bytes(32768), 0.0, 1000.0),))
    engines = []
    for number in range(1100):
        engine = contexts.get("s", tls, "a.test", EC).wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
        assert contexts.stapled("s", tls, "a.test", b"") is EC
        contexts.staple("s", EC, engine, 1.0)
        contexts.staple("s", EC, engine, 1.0)  # the one before is freed
        engines = [*engines[-10:], engine]
        if number == 100:
            gc.collect()
            before = resident()
    assert resident() - before < 8192


def resident() -> int:
    """KiB of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


def _no_file(patch: pytest.MonkeyPatch) -> None:
    patch.delattr(_ssl, "__file__")


def _no_symbols(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(stapler, "linked", lambda: SimpleNamespace())


def _other_context(patch: pytest.MonkeyPatch) -> None:
    told = ctypes.CDLL(_ssl.__file__)  # a handle of its own
    told.SSL_get_SSL_CTX = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(lambda pointer: 12345)  # type: ignore[attr-defined]
    patch.setattr(stapler, "linked", lambda: told)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [(_no_file, "library of its own"), (_no_symbols, "SSL_CTX_callback_ctrl"), (_other_context, "another form")],
)
def test_a_library_that_cannot_be_reached_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, spoil: Callable[[pytest.MonkeyPatch], None], why: str
) -> None:
    tls = Tls(certificates=(EC,), staples=(OF_EC,))
    with monkeypatch.context() as patch:
        if spoil is _no_file:
            patch.setattr(libssl, "_found", [])
        patch.setattr(stapler, "_found", [])
        spoil(patch)
        with pytest.raises(Refused, match=why):
            Stapler()
        assert stapler.stapler() is None
        assert why in stapler.stapling_refusal()
    with monkeypatch.context() as patch:
        patch.setattr(stapler, "_found", [Refused(why)])
        assert shake(Contexts(), tls, asking()) == b""


def test_responses_are_given_where_memory_is_never_writable_and_executable() -> None:
    """As in a unit with MemoryDenyWriteExecute=, by the kernel's own means (PR_SET_MDWE)."""
    program = (
        "import ctypes, sys\n"
        "if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):\n"
        "    sys.exit(77)\n"
        "from terraster.certs.stapler import stapling_refusal\n"
        "said = stapling_refusal()\n"
        "maps = open('/proc/self/maps').read()\n"
        "sys.exit(said or ('an executable copy' if 'memfd:libffi' in maps else 0))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode == 77:
        pytest.skip("this kernel has no PR_SET_MDWE")
    assert (done.returncode, done.stderr) == (0, "")
