"""OCSP stapling as clients see it: with OpenSSL's own client, and a responder that does its work well or badly."""

from __future__ import annotations

import re
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ..harness.authority import Authority, Issued
from ..harness.backends import ok
from ..harness.ocsp_responder import OcspResponder, hangs, status
from ..harness.terraster_process import Terraster, service
from ..harness.waiting import wait_until

pytestmark = pytest.mark.needs("openssl")

CA = Authority()
QUICK = {"check_interval": "200ms"}
GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
EC, RSA = "ECDSA+SHA256:rsa_pss_rsae_sha256:RSA+SHA256", "rsa_pss_rsae_sha256:RSA+SHA256"


@pytest.fixture
def responder() -> Iterator[OcspResponder]:
    with OcspResponder() as responder:
        yield responder


@pytest.fixture
def site(backend: Any, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """A service NAME.test with these certificates."""
    origin = backend(answer=ok(b"x"))

    def make(name: str, *issued: Issued, **tls: Any) -> dict[str, Any]:
        files = [one.write(tmp_path, f"{name}{number}") for number, one in enumerate(issued)]
        pairs = [{"cert_file": str(chain), "key_file": str(key)} for chain, key in files]
        return service(origin.url, name=name, host=f"{name}.test", tls={**pairs[0], "certificates": pairs[1:], **tls})

    return make


def stapled(proxy: Terraster, name: str = "a", *options: str) -> int:
    """The serial number in the response that a client gets with the certificate; 0 for none."""
    words = ["-connect", f"127.0.0.1:{proxy.port}", "-servername", f"{name}.test", "-status", *options]
    done = subprocess.run(["openssl", "s_client", *words], input="", capture_output=True, text=True, timeout=30)
    assert "BEGIN CERTIFICATE" in done.stdout, done.stderr
    if "OCSP response: no response sent" in done.stdout:
        return 0
    assert "OCSP Response Status: successful" in done.stdout and "Cert Status: good" in done.stdout, done.stdout
    found = re.search(r"Certificate ID:.*?Serial Number: ([0-9A-F]+)", done.stdout, re.DOTALL)
    assert found is not None
    return int(found[1], 16)


def problems(proxy: Terraster) -> dict[str, str]:
    """The problems of responses, by service."""
    return {one["service"]: f"{one['kind']}: {one['text']}" for one in proxy.status()["problems"] if one["kind"].startswith("ocsp")}


def test_a_response_is_fetched_and_every_client_that_asks_gets_it(terraster, site, responder) -> None:
    one = CA.issue("a.test", days=90, ocsp=responder.url("a"))
    responder.answers["a"] = CA.ocsp(one)
    proxy = terraster(site("a", one, ocsp="fetch"), site("b", CA.issue("b.test", days=90)))
    wait_until(lambda: stapled(proxy) == one.serial, "no response came")
    assert stapled(proxy, "a", "-tls1_2") == one.serial
    assert stapled(proxy, "b") == 0
    assert [(method, name) for method, name, _ in responder.requests] == [("GET", "a")]
    (row,) = [row for row in proxy.status()["certificates"] if row["service"] == "a"]
    assert (row["ocsp"], row["ocsp_problem"]) == ("good", "")
    assert proxy.metrics()['terraster_ocsp_response_expiry_timestamp_seconds{name="a"}'] == row["ocsp_until"]
    assert "OCSP" in proxy.ctl("certificates").stdout and problems(proxy) == {}


def test_the_response_belongs_to_the_certificate_that_the_client_gets(terraster, site, responder) -> None:
    both = [CA.issue("a.test", days=90, kind=kind, ocsp=responder.url(kind)) for kind in ("ec", "rsa")]
    responder.answers.update(ec=CA.ocsp(both[0]), rsa=CA.ocsp(both[1]))
    proxy = terraster(site("a", *both, ocsp="fetch"))
    wait_until(lambda: all(row["ocsp"] == "good" for row in proxy.status()["certificates"]), "no responses came")
    for version in ("-tls1_2", "-tls1_3"):
        for algorithms, expected in ((EC, both[0]), (RSA, both[1])):
            assert stapled(proxy, "a", version, "-sigalgs", algorithms) == expected.serial


def test_a_new_file_is_used_under_open_connections_and_one_for_another_certificate_is_not(terraster, site, tmp_path) -> None:
    one, other = CA.issue("a.test", days=90), CA.issue("b.test", days=90)
    file = tmp_path / "a.ocsp"
    file.write_bytes(CA.ocsp(other))
    proxy = terraster(site("a", one, ocsp=str(file)), cert_manager=QUICK)
    assert stapled(proxy) == 0
    assert f"the response is for the serial number {other.serial:X}; the certificate has {one.serial:X}" in problems(proxy)["a"]
    with proxy.connect().secure(ssl.create_default_context(cadata=CA.root.decode()), "a.test") as client:
        assert client.send(GET).response().status == 200
        replace(file, CA.ocsp(one))
        wait_until(lambda: stapled(proxy) == one.serial, "the new response was not taken")
        assert problems(proxy) == {}
        until = proxy.status()["certificates"][0]["ocsp_until"]
        replace(file, CA.ocsp(one, lasts=172800))
        wait_until(lambda: proxy.status()["certificates"][0]["ocsp_until"] > until, "the newer response was not taken")
        replace(file, CA.ocsp(other))
        wait_until(lambda: "the response is for the serial number" in problems(proxy).get("a", ""), "the problem was not told")
        assert stapled(proxy) == one.serial
        assert client.send(GET).response().status == 200
    wait_until(lambda: "the OCSP response from before is sent until" in proxy.said, "the log does not say it")


def replace(file: Path, response: bytes) -> None:
    draft = file.with_suffix(".new")
    draft.write_bytes(response)
    draft.rename(file)


def test_a_response_is_sent_until_its_end(terraster, site, tmp_path) -> None:
    one = CA.issue("a.test", days=90, must_staple=True)
    file = tmp_path / "a.ocsp"
    file.write_bytes(CA.ocsp(one))
    proxy = terraster(site("a", one, ocsp=str(file)), cert_manager=QUICK)
    assert stapled(proxy) == one.serial
    replace(file, CA.ocsp(one, lasts=2))
    wait_until(lambda: proxy.status()["certificates"][0]["ocsp"] == "expired", "it did not end")
    assert stapled(proxy) == 0
    assert problems(proxy)["a"].startswith("ocsp-missing: ")


def test_a_missing_file_and_bad_responders_keep_nobody_waiting(terraster, site, responder, tmp_path) -> None:
    certificates = {name: CA.issue(f"{name}.test", days=90, ocsp=responder.url(name)) for name in "abcd"}
    responder.answers.update(a=status(500), b=hangs, c=CA.ocsp(certificates["a"]))
    services = [site(name, one, ocsp="fetch") for name, one in certificates.items() if name != "d"]
    proxy = terraster(*services, site("d", certificates["d"], ocsp=str(tmp_path / "none.ocsp")), cert_manager=QUICK)
    for name in certificates:
        assert stapled(proxy, name) == 0
    wait_until(lambda: {"a", "c", "d"} <= problems(proxy).keys(), lambda: str(problems(proxy)))
    found = problems(proxy)
    assert f"{responder.url('a')} answers 500" in found["a"]
    assert "serial number" in found["c"]
    assert "none.ocsp: No such file" in found["d"]
    assert sorted(name for _, name, _ in responder.requests) == ["a", "b", "c"]
    assert sum("answers 500" in line for line in proxy.said.splitlines()) == 1


@pytest.mark.nightly  # two starts; test_master_staples.py and test_admin_ocsp.py have the two halves
def test_a_fetched_response_is_there_right_after_a_restart(fresh, site, responder) -> None:
    one = CA.issue("a.test", days=90, ocsp=responder.url("a"))
    responder.answers["a"] = CA.ocsp(one)
    proxy = fresh(site("a", one, ocsp="fetch"))
    wait_until(lambda: stapled(proxy) == one.serial, "no response came")
    responder.answers["a"] = hangs
    proxy.ctl("stop", "--now")
    wait_until(lambda: not proxy.serves(), "it did not stop")
    proxy.start()
    assert stapled(proxy) == one.serial
    assert len(responder.requests) == 1
