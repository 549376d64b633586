"""Certificates in the status: their rows, their problems, and what an operator sees of both."""

from __future__ import annotations

from dataclasses import replace

import pytest

from terraster.admin.certificates import rows
from terraster.admin.problems import of_certificates
from terraster.cli.render_certificates import certificates
from terraster.config.snapshot import Certificate, Snapshot

from .harness.tls_facts import DAY, certificate, tls_service
from .test_admin_readings import NOW

FILE = "/etc/a.pem"


def ending(days: float, begun: float = 300.0, file: str = FILE) -> Certificate:
    return certificate(file, "a.test", begins=NOW - begun * DAY, ends=NOW + days * DAY)


def told(one: Certificate, problem: str = "") -> list[tuple[str, str]]:
    snapshot = Snapshot(1, (), (tls_service("shop", one),))
    watched = [{"file": FILE, "services": ["shop"], "problem": problem}]
    return [(row["kind"], row["text"]) for row in of_certificates(rows(snapshot, watched, NOW), snapshot, watched, NOW)]


@pytest.mark.parametrize(
    ("one", "problem", "expected"),
    [
        (ending(31), "", None),
        (ending(29), "", ("certificate-expiring", "the certificate /etc/a.pem expires in 29 days")),
        (ending(3, begun=4), "", None),
        (ending(1, begun=4), "", ("certificate-expiring", "the certificate /etc/a.pem expires in 24 hours")),
        (ending(-3), "", ("certificate-expired", "the certificate /etc/a.pem expired 3 days ago")),
        (
            ending(9, begun=-1),
            "",
            ("certificate-not-yet-valid", "the certificate /etc/a.pem is not valid yet; it begins in 24 hours"),
        ),
        (
            ending(29),
            "no key",
            ("certificate-expiring", "the certificate /etc/a.pem expires in 29 days; its renewal cannot be used: no key"),
        ),
        (ending(60), "no key", ("certificate-broken", "no key; the certificate from before stays in use, for 60 days at most")),
    ],
)
def test_a_certificate_is_a_problem_in_time(one: Certificate, problem: str, expected: tuple[str, str] | None) -> None:
    assert told(one, problem) == ([expected] if expected else [])


def test_the_configured_threshold_counts() -> None:
    snapshot = Snapshot(1, (), (tls_service("shop", ending(29)),), certificate_threshold=10 * DAY)
    assert [row["state"] for row in rows(snapshot, (), NOW)] == ["valid"]


def test_the_worst_problem_comes_first() -> None:
    services = (
        tls_service("a", ending(5, file="/5")),
        tls_service("b", ending(-1, file="/1")),
        tls_service("c", ending(9, file="/9")),
    )
    snapshot = Snapshot(1, (), services)
    found = rows(snapshot, (), NOW)
    assert [row["name"] for row in found] == ["b", "a", "c"]
    assert [row["kind"] for row in of_certificates(found, snapshot, (), NOW)] == [
        "certificate-expired",
        "certificate-expiring",
        "certificate-expiring",
    ]


def table(*services, problem: str = "", width: int = 100) -> list[str]:
    found = rows(Snapshot(1, (), services), [{"file": FILE, "problem": problem}], NOW)
    return certificates({"certificates": found, "certificate_orders": [], "now": NOW}, width=width).splitlines()


def test_the_table_shows_what_ends_first() -> None:
    lines = table(tls_service("shop", ending(60)), tls_service("old", ending(-1, file="/etc/old.pem")))
    assert lines[0].split() == ["NAME", "EXPIRES", "DAYS", "STATE", "KEY", "ISSUER", "NAMES", "FILE"]
    assert lines[1].split()[0] == "old" and "  0.0  EXPIRED  " in lines[1] and lines[1].endswith("/etc/old.pem")
    assert lines[2].split()[0] == "shop" and "  60  valid " in lines[2]


def test_a_table_says_below_a_certificate_why_its_renewal_is_not_in_use() -> None:
    lines = table(tls_service("shop", ending(60)), tls_service("zoo", ending(70, file="/z")), problem="the key does not belong")
    assert [line.split()[0] for line in lines] == ["NAME", "shop", "renewal:", "zoo"]
    assert lines[2].endswith("the key does not belong")


@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_table_is_as_wide_as_the_terminal(width: int) -> None:
    long = certificate(
        "/etc/letsencrypt/live/a-very-long-name.example.com/fullchain.pem", *(f"host{i}.example.com" for i in range(9))
    )
    one = replace(long, issuer="An Authority Whose Name Has No End", not_before=NOW, not_after=NOW + 90 * DAY)
    lines = table(tls_service("shop-with-a-long-name", one), width=width)
    assert max(map(len, lines)) <= width
    assert "host0." in lines[1]
    assert lines[2] == "  /etc/letsencrypt/live/a-very-long-name.example.com/fullchain.pem"


def test_no_certificate_is_said_in_words() -> None:
    assert table() == ["no service has a certificate"]


def test_orders_stand_below_the_certificates_with_their_next_attempt_and_last_error() -> None:
    row = {
        "service": "shop",
        "names": ["a.test", "www.a.test"],
        "authority": "https://acme.test/directory",
        "challenge": "http-01",
        "state": "failing",
        "failures": 2,
        "last_error": "cannot reach https://acme.test/directory",
        "next": NOW + 600,
    }
    good = {
        **row,
        "service": "blog",
        "names": ["b.test"],
        "state": "obtained",
        "failures": 0,
        "last_error": "",
        "next": NOW + 30 * DAY,
    }
    other = {**good, "service": "late", "state": "waiting", "next": None}
    document = {"certificates": [], "certificate_orders": [row, good, other], "now": NOW}
    assert certificates(document, width=120).splitlines() == [
        "no service has a certificate",
        "",
        "ORDER FOR         STATE     NEXT     FAILURES  CHALLENGE  AUTHORITY",
        "shop (a.test +1)  FAILING   in 10m          2  http-01    acme.test/directory",
        "  last error: cannot reach https://acme.test/directory",
        "blog (b.test)     obtained  in 30d          0  http-01    acme.test/directory",
        "late (b.test)     waiting   unknown         0  http-01    acme.test/directory",
    ]
