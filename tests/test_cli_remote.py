"""terrasterctl at another host: where tokens are kept, and where they go."""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from terraster.cli.control import FAILED, UNKNOWN, Away, Refused
from terraster.cli.logins import Logins
from terraster.cli.remote import Remote, checked_token, granted, origin

from .harness.authority import Authority
from .harness.terraster_process import run_ctl

TOKEN = "tt_secret-word"


class Api(ThreadingHTTPServer):
    """An API of a few answers. ``seen``: method, path and token of each call; ``redirect``: where everything is sent"""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, str, str]] = []
        self.redirect = ""
        self.valid = TOKEN
        self.refreshes = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Api

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        self.server.seen.append((self.command, self.path, self.headers.get("Authorization", "")))
        if self.server.redirect:
            self.send_response(307)
            self.send_header("Location", self.server.redirect + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path == "/api/auth/refresh":
            good = body["refresh_token"] == f"refresh {self.server.refreshes}"
            self.server.refreshes += 1
            self.server.valid = f"access{self.server.refreshes}"
            value: Any = {
                "token": self.server.valid,
                "refresh_token": f"refresh {self.server.refreshes}",
                "expires_at": time.time() + 900,
            }
            self.answer(200 if good else 401, value)
        elif self.path == "/api/tail" and self.headers.get("Authorization") == f"Bearer {self.server.valid}":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'event: request\ndata: {"status": 200}\n\nevent: ended\n\n')
        elif self.headers.get("Authorization") != f"Bearer {self.server.valid}":
            self.answer(401, {"detail": "who are you?"})
        else:
            self.answer(200, {"items": [{"generation": 7}]})

    do_POST = do_GET

    def answer(self, status: int, value: Any) -> None:
        octets = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(octets)))
        self.end_headers()
        self.wfile.write(octets)


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def remote(api: Api, environ: dict[str, str], **more: str) -> Remote:
    return Remote(api.url, 10.0, {**environ, **more})


@pytest.mark.parametrize(
    ("url", "made"),
    [
        ("lb.test", "https://lb.test"),
        ("https://LB.test:8081/", "https://lb.test:8081"),
        ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
        ("http://[::1]:8081", "http://[::1]:8081"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_a_url_is_an_origin(url: str, made: str) -> None:
    assert origin(url) == made


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://lb.test:8081", "must be https"),
        ("http://localhost.evil.test", "must be https"),
        ("https://ann:secret@lb.test", "name or password"),
        ("https://lb.test/api", "without a path"),
        ("ftp://lb.test", "must be like"),
        ("https://", "must be like"),
        ("https://lb.test:99999", "not valid"),
        ("https://[::1", "not valid"),
    ],
)
def test_other_urls_are_refused_without_their_secrets(url: str, words: str) -> None:
    with pytest.raises(Refused, match=words) as refused:
        origin(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("text", ["", " ", "a b", "a\nX-Evil: 1", "ä"])
def test_a_token_is_one_word(text: str) -> None:
    with pytest.raises(Refused) as refused:
        checked_token(text)
    assert text.strip() == "" or text not in str(refused.value)


def test_a_redirect_is_not_followed(api: Api, environ: dict[str, str]) -> None:
    with Api() as other:
        api.redirect = other.url
        with pytest.raises(Refused, match="redirect, which is not followed") as refused:
            remote(api, environ, TERRASTER_TOKEN=TOKEN).ask("GET", "/generations")
        assert api.seen == [("GET", "/api/generations", f"Bearer {TOKEN}")] and other.seen == []
    assert TOKEN not in str(refused.value)


def test_a_proxy_of_the_environment_gets_no_token(api: Api, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with Api() as other:
        for name in ("http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, other.url)
        assert remote(api, environ, TERRASTER_TOKEN=TOKEN).ask("GET", "/generations")["generations"] == [{"generation": 7}]
        assert other.seen == []


def test_a_stream_is_followed_and_a_redirect_of_one_is_not(api: Api, environ: dict[str, str]) -> None:
    assert list(remote(api, environ, TERRASTER_TOKEN=TOKEN).follow("/api/tail")) == [("request", {"status": 200})]
    with Api() as other:
        api.redirect = other.url
        with pytest.raises(Refused, match="the answer has the status 307"):
            list(remote(api, environ, TERRASTER_TOKEN=TOKEN).follow("/api/tail"))
        assert other.seen == []


def test_a_wrong_token_is_not_repeated_to_the_operator(api: Api, environ: dict[str, str]) -> None:
    with pytest.raises(Refused, match="TERRASTER_TOKEN is not valid") as refused:
        remote(api, environ, TERRASTER_TOKEN="wrong-word").ask("GET", "/generations")
    assert "wrong-word" not in str(refused.value)


def test_a_file_that_others_may_read_is_refused(api: Api, environ: dict[str, str]) -> None:
    logins = Logins(environ)
    with logins.alone(api.url):
        logins.put(api.url, {"token": TOKEN})
    assert os.stat(logins.file).st_mode & 0o777 == 0o600
    assert os.stat(os.path.dirname(logins.file)).st_mode & 0o777 == 0o700
    assert remote(api, environ).ask("GET", "/generations")["ok"]
    for mode in (0o640, 0o604, 0o620):
        os.chmod(logins.file, mode)
        with pytest.raises(Refused, match="others may read or write it"):
            remote(api, environ).ask("GET", "/generations")
    os.chmod(logins.file, 0o600)
    Path(logins.file).write_text("[]")
    with pytest.raises(Refused, match="is damaged"):
        logins.get(api.url)
    os.unlink(logins.file)
    os.symlink("/dev/null", logins.file)
    with pytest.raises(Refused, match="cannot be read"):
        logins.get(api.url)


def session(api: Api, environ: dict[str, str], expires: float) -> None:
    logins = Logins(environ)
    with logins.alone(api.url):
        logins.put(api.url, {"token": "access0", "refresh": "refresh 0", "expires": expires, "name": "ann"})


@pytest.mark.parametrize("expires", [0.0, 1e12], ids=["by its end", "by a refusal"])
def test_several_commands_at_once_refresh_a_session_once(api: Api, environ: dict[str, str], expires: float) -> None:
    session(api, environ, expires)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            assert remote(api, environ).ask("GET", "/generations")["ok"]
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == [] and api.refreshes == 1
    kept = Logins(environ).get(api.url)
    assert kept is not None and kept["refresh"] == "refresh 1" and kept["name"] == "ann"


def test_a_host_that_does_not_answer_keeps_no_command_for_another_waiting(api: Api, environ: dict[str, str]) -> None:
    session(api, environ, 0.0)
    there = threading.Thread(target=lambda: remote(api, environ).ask("GET", "/generations"), daemon=True)
    with Logins(environ).alone("https://hangs.test"):  # as a refresh under way has it
        there.start()
        there.join(5.0)
        assert not there.is_alive() and api.refreshes == 1
    with Logins(environ).alone(api.url):
        Logins(environ).put("https://other.test", {"token": TOKEN})
    kept = Logins(environ).get(api.url)
    assert kept is not None and kept["refresh"] == "refresh 1", "no login is lost"


def test_a_session_that_has_ended_asks_for_a_login(api: Api, environ: dict[str, str]) -> None:
    session(api, environ, 0.0)
    api.refreshes = 5
    with pytest.raises(Refused, match=f"log in first: terrasterctl login {api.url}"):
        remote(api, environ).ask("GET", "/generations")
    with pytest.raises(Refused, match="there is no login at http://127.0.0.1:1:"):
        Remote("http://127.0.0.1:1", 1.0, environ).ask("GET", "/generations")


@pytest.mark.parametrize("question", [("POST", "/stop"), ("GET", "/mirrors")])
def test_what_only_the_host_can_do_says_so(api: Api, environ: dict[str, str], question: tuple[str, str]) -> None:
    with pytest.raises(Refused, match="only on the host that Terraster runs on"):
        remote(api, environ, TERRASTER_TOKEN=TOKEN).ask(*question)
    assert api.seen == []


def test_a_server_that_cannot_be_reached_was_not_asked(environ: dict[str, str]) -> None:
    for method, path in (("GET", "/generations"), ("POST", "/reload")):
        with pytest.raises(Refused) as refused:
            Remote("http://127.0.0.1:1", 5.0, {**environ, "TERRASTER_TOKEN": TOKEN}).ask(method, path)
        assert refused.value.code == FAILED != UNKNOWN


def test_a_certificate_is_verified(tmp_path: Path, environ: dict[str, str]) -> None:
    authority = Authority()
    certificate, key = authority.issue("localhost").write(tmp_path)
    (tmp_path / "ca.pem").write_bytes(authority.root)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Api() as made:
        made.socket = context.wrap_socket(made.socket, server_side=True)
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        try:
            url = f"https://localhost:{made.server_address[1]}"
            given = {**environ, "TERRASTER_TOKEN": TOKEN}
            with pytest.raises(Refused, match="certificate cannot be verified.*--ca-file"):
                Remote(url, 10.0, given).ask("GET", "/generations")
            with pytest.raises(Refused, match="certificate cannot be verified"):
                Remote(url.replace("localhost", "127.0.0.1"), 10.0, given, str(tmp_path / "ca.pem")).ask("GET", "/generations")
            assert made.seen == []
            assert Remote(url, 10.0, given, str(tmp_path / "ca.pem")).ask("GET", "/generations")["ok"]
        finally:
            made.shutdown()
            thread.join()
    with pytest.raises(Refused, match="No such file"):
        Remote(url, 10.0, given, str(tmp_path / "absent.pem")).ask("GET", "/generations")


def test_options_that_contradict_each_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    found = run_ctl("--url", "https://lb.test", "--runtime-dir", "/nowhere", "status")
    assert found.returncode == 2 and "--url means another host" in found.stderr
    monkeypatch.setenv("TERRASTER_URL", "https://lb.test")
    assert run_ctl("--runtime-dir", "/nowhere", "status").returncode == 3, "the option goes before the environment"
    assert "there is no login at https://lb.test" in run_ctl("status").stderr


def test_what_does_not_speak_http_is_told_in_words(environ: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            for _ in range(2):
                client, _address = server.accept()
                with client:
                    client.recv(65536)
                    client.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        there = Remote(f"http://127.0.0.1:{server.getsockname()[1]}", 10.0, {**environ, "TERRASTER_TOKEN": TOKEN})
        with pytest.raises(Refused, match="is not HTTP"):
            there.ask("GET", "/generations")
        with pytest.raises(Away):
            list(there.follow("/api/tail"))
        thread.join()


@pytest.mark.parametrize("value", [{}, {"token": "a", "refresh_token": "b", "expires_at": None}])
def test_an_answer_to_a_login_that_is_none_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="nothing is kept"):
        granted(value)
