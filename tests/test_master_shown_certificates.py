"""When the master looks at the certificate of a backend: once a minute for each fault, a few at once, and never for other faults."""

from __future__ import annotations

from typing import Any

import gevent
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from terraster.config.snapshot import Backend, Credentials, HealthCheck
from terraster.master.backends.probe import Aim
from terraster.master.backends.shown_certificates import AGAIN, AT_ONCE, KEPT, ShownCertificates

from .harness.authority import Authority

CA = Authority()
CHAIN = [x509.load_pem_x509_certificate(CA.issue("a.test").alone).public_bytes(Encoding.DER)]
EXPIRED, UNKNOWN = "the backend's certificate has expired", "the backend's certificate comes from an unknown authority"
ONE = Backend(
    id="one",
    url="https://a.test:9",
    scheme="https",
    host="a.test",
    port=9,
    address="127.0.0.1",
    sni="b.test",
    send_proxy="v2",
    credentials=Credentials(ca_file="/ca.pem"),
    health=HealthCheck(port=8, sni="c.test", ca_file="/other.pem"),
    probe_credentials=Credentials(ca_file="/other.pem"),
)


class Place:
    backends = (ONE,)


class States:
    def at(self, slot: int) -> Any:
        return ("one", Place) if slot == 3 else None


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, words: str, *arguments: Any) -> None:
        self.lines.append(words % arguments)

    exception = warning


class House:
    """A master's looks at backends that never were. aims: how they were looked at; now: its clock; gate: no look ends before it is set"""

    def __init__(self) -> None:
        self.aims: list[Aim] = []
        self.now = 1000.0
        self.error: BaseException | None = None
        self.gate = gevent.event.Event()
        self.gate.set()
        self.log = Log()
        self.looks = ShownCertificates(States(), self.log, self.chain, lambda: self.now, lambda: 1.8e9)  # type: ignore[arg-type]

    def chain(self, aim: Aim, timeout: float) -> list[bytes]:
        self.aims.append(aim)
        self.gate.wait()
        if self.error is not None:
            raise self.error
        return CHAIN

    def attempt(self, text: str = UNKNOWN, kind: str = "connect", slot: int = 3) -> int:
        """A report of an attempt. Returns how many looks there were so far."""
        self.looks.attempted([(slot, 1, kind, 0, text, 0.0)])
        gevent.sleep(0)
        return len(self.aims)


def test_one_look_in_a_minute_for_each_fault() -> None:
    house = House()
    assert [house.attempt(), house.attempt(), house.attempt(EXPIRED), house.attempt(EXPIRED)] == [1, 1, 2, 2]
    house.now += AGAIN - 1
    assert house.attempt() == 2
    house.now += 1
    assert house.attempt() == 3
    assert len(house.log.lines) == 2, "what was said once is not said again"
    assert house.log.lines[0].startswith(f"backend one: {UNKNOWN}: it shows the certificate of a.test")
    assert "verified against /ca.pem" in house.looks.words()["one"]["words"]
    house.now += KEPT
    assert house.looks.words() == {}


@pytest.mark.parametrize(
    "report",
    [
        {"text": "connection refused"},
        {"text": "the backend refused the TLS handshake (alert 48, unknown ca)"},
        {"kind": "failure"},
        {"slot": 4},
    ],
)
def test_other_faults_are_not_looked_at(report: dict[str, Any]) -> None:
    assert House().attempt(**report) == 0


def test_a_look_connects_as_what_failed_did() -> None:
    house = House()
    house.attempt()
    probed = Aim.of(ONE)
    house.looks.probed(probed, ["one", "two"], EXPIRED)
    house.looks.probed(probed, ["one"], "status 500")
    gevent.sleep(0)
    request, probe = house.aims
    assert (request.sni, request.credentials.ca_file, request.check.port, request.send_proxy) == ("b.test", "/ca.pem", 0, "v2")
    assert probe == probed and probe.sni == "c.test"
    assert house.log.lines[1].startswith(f"backend one and 1 more: {EXPIRED}")
    assert set(house.looks.words()) == {"one", "two"}


def test_few_looks_at_once() -> None:
    house = House()
    house.gate.clear()
    for number in range(AT_ONCE + 3):
        house.looks.probed(Aim.of(ONE), [f"number {number}"], UNKNOWN)
    gevent.sleep(0)
    assert len(house.aims) == AT_ONCE
    house.gate.set()
    gevent.sleep(0)
    house.looks.probed(Aim.of(ONE), ["another"], UNKNOWN)
    gevent.sleep(0)
    assert len(house.aims) == AT_ONCE + 1


@pytest.mark.parametrize("error", [OSError("no route"), gevent.Timeout(5)], ids=["fault", "too late"])
def test_a_look_that_fails(error: BaseException) -> None:
    house = House()
    house.error = error
    house.attempt()
    assert "the certificate cannot be looked at: " in house.looks.words()["one"]["words"]
    house.error = None
    house.now += AGAIN
    house.attempt()
    assert "it shows the certificate of a.test" in house.looks.words()["one"]["words"]
