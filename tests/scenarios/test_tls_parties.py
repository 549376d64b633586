"""TLS with clients that others wrote: Autobahn's WebSocket cases, Node, and a browser."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ..harness.authority import Authority
from ..harness.autobahn import CASES, EchoServer, bad, cache, install_ws, run_cases
from ..harness.backends import Backend, Request, ok
from ..harness.ports import free_port
from ..harness.program import Program, accepts, find
from ..harness.terraster_process import Terraster, service

CA = Authority()
LARGE = 300_000

PAGE = """<!doctype html><title>t</title><script>
const show = (text) => { fetch('/report', {method: 'POST', body: text}) };
(async () => {
    const first = await (await fetch('/echo', {method: 'POST', body: 'x'.repeat(LARGE)})).text();
    const many = await Promise.all(Array.from({length: 30}, (_, n) => fetch('/n' + n).then((answer) => answer.text())));
    const socket = new WebSocket(location.origin.replace('https', 'wss') + '/ws');
    socket.onopen = () => socket.send('hello');
    socket.onmessage = (message) => show(JSON.stringify([first.length, many, message.data]));
    socket.onerror = () => show('the WebSocket failed');
})().catch((error) => show(String(error)));
</script>""".replace("LARGE", str(LARGE))

NODE = """
const https = require('https');
const [port, ca] = process.argv.slice(1);
const settings = {keepAlive: true, maxSockets: 1, maxCachedSessions: 10, ALPNProtocols: ['http/1.1']};
const agent = new https.Agent({...settings, ca: require('fs').readFileSync(ca)});
const facts = [];
const ask = (path, body, headers) => new Promise((done, failed) => {
    const where = {host: '127.0.0.1', servername: 'a.test', port, path};
    const request = https.request({...where, agent, headers, method: body ? 'POST' : 'GET'}, (answer) => {
        let octets = 0;
        answer.on('data', (data) => { octets += data.length });
        answer.on('end', () => done(octets));
    });
    request.on('error', failed);
    request.on('socket', (socket) => socket.connecting && socket.once('secureConnect', () =>
        facts.push([socket.getProtocol(), socket.isSessionReused(), socket.alpnProtocol])));
    request.end(body);
});
(async () => {
    const sizes = [await ask('/a'), await ask('/echo', 'x'.repeat(LARGE)), await ask('/a', undefined, {Connection: 'close'}), await ask('/a')];
    console.log(JSON.stringify({sizes, facts}));
    agent.destroy();
})();
""".replace("LARGE", str(LARGE))


def answer(request: Request) -> bytes:
    if request.target == "/page":
        return ok(PAGE.encode(), b"Content-Type: text/html; charset=utf-8\r\n")
    return ok(request.body or request.target.encode(), b"Content-Type: text/plain\r\n")


def echo_server(folder: Path) -> EchoServer:
    problem = install_ws(cache())
    if problem:
        pytest.skip(f"left out: {problem}")
    return EchoServer(cache(), folder / "ws-output")


def secured(terraster: Any, folder: Path, *urls: str, websockets: str = "", **keys: Any) -> Terraster:
    """Terraster with a.test over TLS; /ws has a backend of its own."""
    chain, key = CA.issue("a.test").write(folder)
    (folder / "root.pem").write_bytes(CA.root)
    site = service(*urls, name="a", host="*", tls={"cert_file": str(chain), "key_file": str(key)})
    if websockets:
        site["locations"].append({"path": "/ws", "backends": [{"url": websockets}]})
    return terraster(site, **keys)


@pytest.mark.needs("haproxy", "npm", "node")
def test_autobahn_over_tls(terraster, tmp_path: Path, stack) -> None:
    """The client of the cases has no TLS of its own: HAProxy puts it around each of its connections."""
    if importlib.util.find_spec("kosoku") is None:
        pytest.skip("left out: kosoku is not installed (pip install kosoku)")
    echo = stack.enter_context(echo_server(tmp_path))
    proxy = secured(terraster, tmp_path, echo.url, access_log="off")
    port = free_port()
    (tmp_path / "wrap.cfg").write_text(
        f"""
defaults
    mode tcp
    timeout connect 10s
    timeout client 120s
    timeout server 120s
frontend plain
    bind 127.0.0.1:{port}
    default_backend secure
backend secure
    server terraster 127.0.0.1:{proxy.port} ssl sni str(a.test) verify required verifyhost a.test ca-file {tmp_path}/root.pem
"""
    )
    haproxy = find("haproxy")
    assert haproxy is not None
    wrap = stack.enter_context(Program([haproxy, "-db", "-f", str(tmp_path / "wrap.cfg")], tmp_path / "haproxy-output"))
    wrap.wait_ready(lambda: accepts(("127.0.0.1", port)))
    verdicts = run_cases(port)
    assert len(verdicts) == CASES
    assert bad(verdicts) == {}


@pytest.mark.needs("node")
def test_node(terraster, backend, tmp_path: Path) -> None:
    proxy = secured(terraster, tmp_path, backend(answer=answer).url)
    node = find("node")
    assert node is not None
    done = subprocess.run(
        [node, "-e", NODE, str(proxy.port), str(tmp_path / "root.pem")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["sizes"] == [2, LARGE, 2, 2]
    first, second = found["facts"]  # of the kept connection, and of the one that followed it
    assert first == ["TLSv1.3", False, "http/1.1"]
    assert second == ["TLSv1.3", True, "http/1.1"]


@pytest.mark.needs("chromium", "npm", "node")
def test_chromium(terraster, backend, tmp_path: Path, stack) -> None:
    """A page whose script posts, asks for 30 things at once, and talks to a WebSocket."""
    echo = stack.enter_context(echo_server(tmp_path))
    origin = backend(answer=answer)
    proxy = secured(terraster, tmp_path, origin.url, websockets=echo.url)
    chain = x509.load_pem_x509_certificates((tmp_path / "site.pem").read_bytes())
    der, info = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    pin = base64.b64encode(hashlib.sha256(chain[0].public_key().public_bytes(der, info)).digest()).decode()
    browser = find("chromium")
    assert browser is not None
    command = [
        *(
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--remote-debugging-port=0",
        ),
        *(f"--user-data-dir={tmp_path}/profile", f"--host-resolver-rules=MAP a.test 127.0.0.1:{proxy.port}"),
        *(f"--ignore-certificate-errors-spki-list={pin}", "https://a.test/page"),
    ]
    with Program(command, tmp_path / "chromium-output", HOME=str(tmp_path)) as running:
        running.wait_ready(lambda: reports(origin), 120)
    assert json.loads(reports(origin)[0]) == [LARGE, [f"/n{number}" for number in range(30)], "hello"]


def reports(origin: Backend) -> list[bytes]:
    return [request.body for request in origin.requests if request.target == "/report"]
