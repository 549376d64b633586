"""Hashed passwords: which are taken, which password fits, and what an Authorization field says."""

from __future__ import annotations

import base64
import shutil
import subprocess

import pytest

from terraster.policy.htpasswd import basic, matches, read

BCRYPT = b"$2y$04$hlKejn2Lm7uCrmsYSp8RSeXozeiHrm9mTNWANCAYGvZAhq3NT1Lby"  # of "right", cost 4
SHA = b"{SHA}0nofEXcSAJSXFLGvmfBIpBb11vQ="  # of "right"


def openssl(password: bytes, salt: str = "abcdefgh") -> bytes:
    run = ["openssl", "passwd", "-apr1", "-salt", salt, "-stdin"]
    return subprocess.run(run, input=password + b"\n", capture_output=True, check=True).stdout.strip()


PASSWORDS = [b"a", b"right", b"sixteen octets!!", b"seventeen octets!", "später".encode(), b"x" * 100]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("password", PASSWORDS, ids=range(len(PASSWORDS)))
@pytest.mark.parametrize("salt", ["abcdefgh", "x"])
def test_apr1_is_that_of_openssl(password: bytes, salt: str) -> None:
    hashed = openssl(password, salt)
    assert matches(hashed, password)
    assert not matches(hashed, password + b"x")


@pytest.mark.parametrize(
    ("hashed", "password", "fits"),
    [
        (BCRYPT, b"right", True),
        (BCRYPT.replace(b"$2y$", b"$2b$"), b"right", True),
        (BCRYPT.replace(b"$2y$", b"$2a$"), b"right", True),
        (BCRYPT, b"wrong", False),
        (BCRYPT, b"", False),
        (BCRYPT, b"r" * 1000, False),
        (SHA, b"right", True),
        (SHA, b"wrong", False),
    ],
)
def test_a_password_fits_its_hash(hashed: bytes, password: bytes, fits: bool) -> None:
    assert matches(hashed, password) is fits


def test_bcrypt_sees_72_octets_as_htpasswd_does() -> None:
    import bcrypt

    hashed = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4))
    assert matches(hashed, b"x" * 100)
    assert not matches(hashed, b"x" * 71 + b"y")


def test_a_file_of_htpasswd() -> None:
    octets = b"# users\n\nada:%b\r\nbob:%b\n  eve:%b:more of crypt(5)\n" % (BCRYPT, SHA, SHA)
    assert read(octets) == {b"ada": BCRYPT, b"bob": SHA, b"eve": SHA}
    assert read(b"# nobody\n") == read(b"\n") == {}


NOT_HASHED = "has a password that is hashed neither with bcrypt nor as $apr1$ or {SHA}; `htpasswd -nB NAME` makes a hash"


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (b"ada:secret", f"line 1 {NOT_HASHED}"),
        (b"", "is empty; write a comment (#) into it if nobody may come in"),
        (b"ada:abJnggxhB/yWI", f"line 1 {NOT_HASHED}"),  # crypt(3)
        (b"\nada", "line 2 has no `:`"),
        (b":" + SHA, "line 1 has no user name"),
        (b"ada:%b\nada:%b" % (SHA, BCRYPT), "names the user 'ada' twice"),
        (b"ada:" + BCRYPT.replace(b"$04$", b"$31$"), "line 1 has a bcrypt hash of cost 31; from 4 to 15 are used"),
        (b"ada:" + BCRYPT[:-1], f"line 1 {NOT_HASHED}"),
        (b"ada:" + SHA[:-2], f"line 1 {NOT_HASHED}"),
    ],
)
def test_what_is_refused(octets: bytes, problem: str) -> None:
    with pytest.raises(ValueError) as error:
        read(octets)
    assert str(error.value) == problem
    assert "secret" not in str(error.value)


def encoded(text: bytes) -> bytes:
    return base64.b64encode(text)


@pytest.mark.parametrize(
    ("value", "given"),
    [
        (b"Basic " + encoded(b"ada:right"), (b"ada", b"right")),
        (b"bASIC   " + encoded(b"ada:right") + b" ", (b"ada", b"right")),
        (b"Basic " + encoded(b"ada:ri:ght:"), (b"ada", b"ri:ght:")),
        (b"Basic " + encoded(b":"), (b"", b"")),
        (b"Basic " + encoded("ä:ö".encode()), ("ä".encode(), "ö".encode())),
        (b"Basic " + encoded(b"ada"), None),
        (b"Basic " + encoded(b"ada:x\0y"), None),
        (b"Basic " + encoded(b"ada\n:x"), None),
        (b"Basic", None),
        (b"Basic *", None),
        (b"Basic YWRhOnJpZ2h0!", None),
        (b"Bearer " + encoded(b"ada:right"), None),
        (b"", None),
    ],
)
def test_an_authorization_field(value: bytes, given: tuple[bytes, bytes] | None) -> None:
    assert basic(value) == given
