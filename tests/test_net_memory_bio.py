"""`shrinker`: memory of buffers of the TLS engine, given back."""

from __future__ import annotations

import ctypes
import os
import ssl
from types import SimpleNamespace

import pytest

from terraster.net import memory_bio
from terraster.net.memory_bio import shrinker
from terraster.openssl import linked

from .harness.terraster_process import rss

SIZE = 1 << 20


def test_a_buffer_gives_its_memory_back() -> None:
    library, buffers = shrinker(), [ssl.MemoryBIO() for _ in range(32)]
    assert library is not None
    for one in buffers:
        one.write(bytes(SIZE))
        one.read()
    before = rss(os.getpid())
    for one in buffers:
        assert library.shrink(one)
    assert before - rss(os.getpid()) > len(buffers) * SIZE // 2


def test_a_buffer_is_used_as_before() -> None:
    library, one = shrinker(), ssl.MemoryBIO()
    assert library is not None
    for octets in (b"a", bytes(SIZE), b"b"):
        one.write(octets)
        assert not library.shrink(one), "octets in it would be lost"
        assert one.pending == len(octets) and one.read() == octets
        assert library.shrink(one) and one.pending == 0 and one.read() == b"" and not one.eof
    one.write_eof()
    assert library.shrink(one) and one.eof and one.read() == b""


@pytest.mark.parametrize("spoilt", ["BUF_MEM_new", "BIO_ctrl", "BIO_method_type"])
def test_a_library_that_is_not_as_expected_is_left_alone(monkeypatch: pytest.MonkeyPatch, spoilt: str) -> None:
    monkeypatch.setattr(memory_bio, "_found", [])
    real = linked()
    names = ("BIO_ctrl", "BIO_method_type", "BUF_MEM_new", "BUF_MEM_free")
    faked = SimpleNamespace(**{name: getattr(real, name) for name in names})
    if spoilt == "BUF_MEM_new":
        del faked.BUF_MEM_new
    else:  # a number that `ssl` does not tell
        setattr(
            faked, spoilt, ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p)(_other)
        )
    monkeypatch.setattr(ctypes, "CDLL", lambda name: faked)
    assert shrinker() is None


def _other(*_asked: object) -> int:
    return 77
