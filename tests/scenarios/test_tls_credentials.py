"""The files for TLS towards backends: whom Terraster trusts and what it shows, at each level, for requests and health checks, and when the
files change."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from ..harness.authority import Authority
from ..harness.backends import ok
from ..harness.client import exchange
from ..harness.terraster_process import service
from ..harness.tls_backends import s_server, secure_nginx
from ..harness.waiting import wait_until

pytestmark = pytest.mark.needs("nginx", "openssl")

CA, OTHER = Authority(), Authority("Other")
GET = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
FRESH = "keepalive_timeout 0;"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """root.pem and other.pem: two authorities. site, expired, early, elsewhere, alone: certificates of backends. mine, stranger: of clients."""
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "root.pem").write_bytes(b"# \xc3\xa9: a comment\n" + CA.root)
    (folder / "other.pem").write_bytes(OTHER.root)
    CA.issue("localhost").write(folder, "site")
    CA.issue("localhost", days=-1, begun=9).write(folder, "expired")
    CA.issue("localhost", begun=-1).write(folder, "early")
    CA.issue("elsewhere.test").write(folder, "elsewhere")
    CA.issue("me").write(folder, "mine")
    CA.issue("me too").write(folder, "second")
    OTHER.issue("stranger").write(folder, "stranger")
    alone = CA.issue("localhost")
    (folder / "alone.pem").write_bytes(alone.alone)
    (folder / "alone.key").write_bytes(alone.key)
    (folder / "intermediate.pem").write_bytes(alone.issuer)
    return folder


def files(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"{name}.pem", folder / f"{name}.key"


def shown(folder: Path, name: str) -> dict[str, str]:
    """The keys for a client certificate."""
    certificate, key = files(folder, name)
    return {"client_cert": str(certificate), "client_key": str(key)}


@pytest.fixture
def at(folder: Path, tmp_path: Path, stack):
    """Starts an nginx with one of the certificates, and returns its URL."""

    def start(name: str, more: str = "", kind: str = "") -> str:
        nginx, port = secure_nginx(tmp_path / f"{name}{kind}", *files(folder, name), more)
        stack.enter_context(nginx)
        return f"https://localhost:{port}"

    return start


LEVELS = ("top", "service", "location", "backend")


def placed(url: str, level: str, keys: dict[str, str]) -> tuple[dict, dict]:
    """A service, and keys of the top, so that the keys are at this level."""
    backend = {"url": url, **keys} if level == "backend" else url
    made = service(backend, location=keys if level == "location" else {}, **(keys if level == "service" else {}))
    return made, keys if level == "top" else {}


@pytest.mark.parametrize("level", LEVELS)
def test_an_authority_of_ones_own(terraster, folder: Path, at, level: str) -> None:
    made, top = placed(at("site"), level, {"ca_file": str(folder / "root.pem")})
    assert exchange(terraster(made, **top).address, GET).status == 200


@pytest.mark.parametrize("level", LEVELS)
def test_a_client_certificate(terraster, folder: Path, at, level: str) -> None:
    url = at("site", f"ssl_verify_client on; ssl_verify_depth 3; ssl_client_certificate {folder / 'root.pem'};")
    made, top = placed(url, level, shown(folder, "mine") | {"skip_tls_verify": True})
    assert exchange(terraster(made, **top).address, GET).body.endswith(b"SUCCESS CN=me")


def test_the_narrower_level_wins_key_by_key(terraster, folder: Path, at) -> None:
    url = at("site", f"ssl_verify_client optional; ssl_verify_depth 3; ssl_client_certificate {folder / 'root.pem'};")
    top = {"ca_file": str(folder / "other.pem"), "sni": "wrong.test", **shown(folder, "second")}
    location = {"ca_file": str(folder / "root.pem"), "outlier": "off"}
    proxy = terraster(service({"url": url, "sni": "", **shown(folder, "mine")}, location=location), **top)
    assert exchange(proxy.address, GET).body.endswith(b" localhost SUCCESS CN=me")
    proxy = terraster(service({"url": url, "sni": "", "client_cert": "off"}, location=location), **top)
    assert b" localhost NONE" in exchange(proxy.address, GET).body
    proxy = terraster(service({"url": url, "sni": "localhost"}, location=location), **top)
    assert exchange(proxy.address, GET).body.endswith(b" localhost SUCCESS CN=me too")
    proxy = terraster(service({"url": url, "sni": "", "ca_file": "off"}, location=location), **top)
    assert exchange(proxy.address, GET).status == 502


@pytest.mark.parametrize(
    "name, authority, words",
    [
        ("expired", "root", b"the backend's certificate has expired"),
        ("early", "root", b"is not valid yet"),
        ("elsewhere", "root", b"is not for this server name"),
        ("site", "other", b"comes from an unknown authority"),
        ("alone", "root", b"comes from an unknown authority, or with half a chain"),
    ],
)
def test_certificates_that_are_refused(terraster, backend, folder: Path, at, name: str, authority: str, words: bytes) -> None:
    """The words are in the answer and in the reason of a probe; a request, a POST too, is tried at another backend."""
    keys = {"ca_file": str(folder / f"{authority}.pem")}
    url = at(name)
    answer = exchange(terraster(service(url), **keys).address, GET)
    assert answer.status == 502
    assert words in answer.body
    assert b"error=tls_certificate_error" in dict(answer.fields)[b"proxy-status"]
    other = backend(answer=lambda request: ok(b"other"))
    proxy = terraster(service(url, other.url, location={"outlier": "off"}), **keys)
    assert [exchange(proxy.address, POST).body for _ in range(4)] == [b"other"] * 4
    probed = terraster(service(url), health_check={"path": "/", "interval": "1s", "timeout": "5s"}, **keys)
    assert exchange(probed.address, GET).status == 503
    assert words.decode() in probed.said


@pytest.mark.parametrize("keys", [{}, {"outlier": "off"}], ids=["ejected", "not ejected"])
def test_the_status_says_what_was_wrong_with_the_certificate_and_when(terraster, folder: Path, at, keys: dict[str, Any]) -> None:
    proxy = terraster(service(at("expired"), location=keys), ca_file=str(folder / "root.pem"))
    begun = time.time()
    for _ in range(8):
        assert exchange(proxy.address, GET).status in (502, 503)
    words = "the backend's certificate has expired"
    (one,) = wait_until(
        lambda: [
            one
            for one in proxy.status()["services"][0]["locations"][0]["backends"]
            if words in one["recent_failure"] and one["recent_failure_at"]
        ]
    )
    assert begun - 1 <= one["recent_failure_at"] <= time.time()


def test_an_intermediate_authority_is_enough(terraster, folder: Path, at) -> None:
    proxy = terraster(service(at("alone")), ca_file=str(folder / "intermediate.pem"))
    assert exchange(proxy.address, GET).status == 200


def test_a_certificate_error_ejects(terraster, backend, folder: Path, at) -> None:
    other = backend(answer=lambda request: ok(b"other"))
    proxy = terraster(service(at("expired"), other.url), ca_file=str(folder / "root.pem"))
    for _ in range(8):
        assert exchange(proxy.address, GET).body == b"other"
    wait_until(
        lambda: "is ejected for 10 s: 3 attempts in a row made no connection: the backend's certificate has expired" in proxy.said
    )


@pytest.mark.parametrize("names, attempts", [(("site",), [4]), (("site", "expired"), [4, 4])])
def test_a_backend_whose_certificate_is_refused_is_asked_once(
    terraster, folder: Path, at, names: tuple[str, ...], attempts
) -> None:
    """A second handshake with it would fail in the same way."""
    urls = [at(name) for name in names]
    proxy = terraster(service(*urls, location={"outlier": "off"}), ca_file=str(folder / "other.pem"))
    assert [exchange(proxy.address, GET).status for _ in range(4)] == [502] * 4
    place = wait_until(lambda: (found := proxy.status()["services"][0]["locations"][0])["requests"] == 4 and found)
    assert [backend["requests"] for backend in place["backends"]] == attempts


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_client_certificate_that_the_backend_does_not_trust(terraster, folder: Path, tmp_path: Path, stack, version: str) -> None:
    strict = ("-Verify", "3", "-verify_return_error", "-CAfile", str(folder / "root.pem"), version)
    server, port = s_server(tmp_path / "server", *files(folder, "site"), *strict)
    stack.enter_context(server)
    url, trust = f"https://localhost:{port}", {"ca_file": str(folder / "root.pem")}
    assert exchange(terraster(service(url), **trust, **shown(folder, "mine")).address, GET).status == 200
    answer = exchange(terraster(service(url), **trust, **shown(folder, "stranger")).address, GET)
    assert answer.status == 502
    assert b"error=tls_alert_received; alert-id=48" in dict(answer.fields)[b"proxy-status"]


def test_probes_have_files_of_their_own(terraster, folder: Path, at) -> None:
    url = at("site", f"ssl_verify_client on; ssl_verify_depth 3; ssl_client_certificate {folder / 'root.pem'};")
    check = {"path": "/", "interval": "1s", "timeout": "5s"}
    right = {"ca_file": str(folder / "root.pem"), **shown(folder, "mine")}
    proxy = terraster(service(url), health_check=check, **right)
    assert exchange(proxy.address, GET).status == 200
    other = {"ca_file": str(folder / "other.pem")}
    proxy = terraster(service({"url": url, "health_check": other}), health_check=check, **right)
    assert exchange(proxy.address, GET).status == 503
    assert "comes from an unknown authority" in proxy.said
    proxy = terraster(service({"url": url, "health_check": right}), health_check=check, **other)
    answer = exchange(proxy.address, GET)
    assert b"error=tls_certificate_error" in dict(answer.fields)[b"proxy-status"]


def test_a_reload_that_changes_the_authority(terraster, folder: Path, at) -> None:
    """A connection that was verified before does not serve on, and no handshake is shortened by what was trusted before."""
    url = at("site", FRESH)
    proxy = terraster(service(url), ca_file=str(folder / "root.pem"))
    assert [exchange(proxy.address, GET).body.split()[1] for _ in range(2)] == [b".", b"r"]
    proxy.reload(service(url), ca_file=str(folder / "other.pem"))
    assert exchange(proxy.address, GET).status == 502
    proxy.reload(service(url), ca_file=str(folder / "root.pem"))
    assert exchange(proxy.address, GET).body.split()[1] == b"."


def test_files_that_change_are_taken_without_a_reload(terraster, folder: Path, at, tmp_path: Path) -> None:
    url = at("site", f"{FRESH} ssl_verify_client on; ssl_verify_depth 3; ssl_client_certificate {folder / 'root.pem'};")
    mine, trust = tmp_path / "mine.pem", tmp_path / "trust.pem"
    mine.write_bytes(b"".join(file.read_bytes() for file in files(folder, "mine")))
    shutil.copy(folder / "root.pem", trust)
    proxy = terraster(service(url), ca_file=str(trust), client_cert=str(mine), cert_manager={"check_interval": "100ms"})
    assert exchange(proxy.address, GET).body.endswith(b"CN=me")
    mine.write_bytes(files(folder, "second")[0].read_bytes())  # its key is still missing
    wait_until(lambda: "what was read before stays in use" in proxy.said)
    assert exchange(proxy.address, GET).body.endswith(b"CN=me")
    mine.write_bytes(b"".join(file.read_bytes() for file in files(folder, "second")))
    wait_until(lambda: exchange(proxy.address, GET).body.endswith(b"CN=me too"))
    shutil.copy(folder / "other.pem", trust)
    wait_until(lambda: exchange(proxy.address, GET).status == 502)
    shutil.copy(folder / "root.pem", trust)
    wait_until(lambda: exchange(proxy.address, GET).status == 200)


def test_a_swapped_client_certificate_under_traffic(terraster, folder: Path, at, tmp_path: Path) -> None:
    """No request fails while the files are swapped, each in one step."""
    url = at("site", f"ssl_verify_client on; ssl_verify_depth 3; ssl_client_certificate {folder / 'root.pem'};")
    both = [b"".join(file.read_bytes() for file in files(folder, name)) for name in ("mine", "second")]
    mine = tmp_path / "mine.pem"
    mine.write_bytes(both[0])
    proxy = terraster(
        service(url), ca_file=str(folder / "root.pem"), client_cert=str(mine), cert_manager={"check_interval": "50ms"}
    )
    seen: set[bytes] = set()
    for swap in range(6):
        wanted = (b"CN=me", b"CN=me too")[swap % 2]
        new = tmp_path / "new.pem"
        new.write_bytes(both[swap % 2])
        new.replace(mine)

        def is_in_use(wanted: bytes = wanted) -> bool:
            answer = exchange(proxy.address, GET)
            assert answer.status == 200
            seen.add(answer.body.partition(b"SUCCESS ")[2])
            return answer.body.endswith(wanted)

        wait_until(is_in_use)
    assert seen == {b"CN=me", b"CN=me too"}


@pytest.mark.parametrize(
    "keys, words",
    [
        ({"ca_file": "empty.pem"}, "is empty"),
        ({"ca_file": "cut.pem"}, "a certificate is not complete, or is damaged"),
        ({"ca_file": "mine.key"}, "has no certificate in PEM form"),
        ({"client_cert": "mine.pem", "client_key": "second.key"}, "the key does not belong to the certificate"),
        ({"client_cert": "mine.pem"}, "there is no private key in it: name the key's file with `client_key`"),
        ({"client_cert": "mine.pem", "client_key": "root.pem"}, "the key file has no complete private key"),
    ],
)
def test_files_that_cannot_be_used_are_refused(terraster, folder: Path, keys: dict[str, str], words: str) -> None:
    (folder / "empty.pem").write_bytes(b"")
    (folder / "cut.pem").write_bytes(CA.root + CA.root[:200])
    proxy = terraster(service("http://127.0.0.1:1"))
    proxy.write(service("https://127.0.0.1:1", **{key: str(folder / name) for key, name in keys.items()}))
    outcome = proxy.control("POST", "/reload", why="test")
    assert not outcome["ok"]
    (problem,) = outcome["problems"]
    assert words in str(problem)
    assert str(folder) in str(problem)
