"""Which certificates of a folder a service takes, and which of its certificates a client gets."""

from __future__ import annotations

import pytest

from terraster.certs.choice import Choices, Folder, covers, uncovered

from .harness.tls_facts import DAY, certificate, tls_service

NOW = 50 * DAY
A, A_RSA = certificate("a", "a.test"), certificate("a-rsa", "a.test", kind="RSA")
LONGER = certificate("longer", "a.test", ends=99 * DAY)
LATER = certificate("later", "a.test", begins=60 * DAY, ends=160 * DAY)
OVER = certificate("over", "x.b.test", ends=40 * DAY)
WILD = certificate("wild", "*.b.test", "b.test")
EXACT = certificate("exact", "x.b.test", ends=60 * DAY)
DEEP = certificate("deep", "y.x.b.test")
EVERY = (A, A_RSA, LONGER, LATER, OVER, WILD, EXACT, DEEP)


@pytest.mark.parametrize(
    ("host", "there", "expected"),
    [
        ("a.test", (A,), "a"),
        ("a.test", (A, LONGER), "longer"),
        ("a.test", (LONGER, A), "longer"),
        ("a.test", (A, LATER), "a"),
        ("a.test", (LATER,), "later"),
        ("a.test", (A_RSA, A), "a a-rsa"),
        ("b.test", (WILD,), "wild"),
        ("x.b.test", (WILD,), "wild"),
        ("x.b.test", (WILD, EXACT), "exact"),
        ("x.b.test", (WILD, OVER), "wild"),
        ("y.x.b.test", (WILD, EXACT), ""),
        ("*.b.test", (WILD,), "wild"),
        ("*.b.test", EVERY, "wild exact deep"),
        ("*.test", (A, WILD), "a wild"),
        ("*.test", (certificate("test", "test"),), ""),
        ("*", (A, LONGER, WILD), "longer wild"),
        ("c.test", EVERY, ""),
        (r"~[xyz]\.b\.test", (WILD, EXACT), "wild exact"),
        (r"~a\.test", EVERY, "longer a-rsa"),
        (r"~c[0-9]+\.test", EVERY, ""),
    ],
)
def test_a_host_chooses(host: str, there: tuple, expected: str) -> None:
    assert [one.file for one in Folder(there, NOW).choose(host)] == expected.split()


@pytest.mark.parametrize(
    ("certificates", "name", "expected"),
    [
        ((A, WILD), "a.test", "a"),
        ((A, WILD), "q.b.test", "wild"),
        ((A, WILD), "c.test", "a"),
        ((A, WILD), "", "a"),
        ((WILD, EXACT), "x.b.test", "exact"),
        ((A, A_RSA), "a.test", "a a-rsa"),
        ((A, A_RSA), "c.test", "a a-rsa"),
        ((A, A_RSA, WILD), "q.b.test", "wild"),
        ((A, LONGER), "a.test", "a"),
        ((certificate("ip", "192.0.2.1"),), "c.test", "ip"),
    ],
)
def test_a_client_gets_one_of_each_kind(certificates: tuple, name: str, expected: str) -> None:
    assert [one.file for one in Choices(certificates).of(name)] == expected.split()


def test_covered_names() -> None:
    assert covers(WILD, "x.b.test") and covers(WILD, "*.b.test") and covers(WILD, "b.test")
    assert not covers(WILD, "y.x.b.test") and not covers(A, "*")


@pytest.mark.parametrize(
    ("hosts", "certificates", "expected"),
    [
        (("a.test", "x.b.test", "*.b.test"), (A, WILD), []),
        (("a.test", "c.test", "*.c.test", "*"), (A, WILD), ["c.test", "*.c.test"]),
        (("*",), (), ["*"]),
        (("*",), (A,), []),
    ],
)
def test_hosts_without_a_certificate(hosts: tuple[str, ...], certificates: tuple, expected: list[str]) -> None:
    assert uncovered(tls_service("s", *certificates, hosts=hosts)) == expected
