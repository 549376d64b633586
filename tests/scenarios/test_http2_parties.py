"""HTTP/2 with clients that others wrote: curl, nghttp, h2load, Node. A browser is in `test_tls_parties`."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from pathlib import Path

import pytest

from ..harness.authority import Authority
from ..harness.backends import Request, ok
from ..harness.program import find
from ..harness.terraster_process import service

CA = Authority()
LARGE = bytes(range(256)) * 8192

NODE = """
const http2 = require('http2');
const [origin, ca] = process.argv.slice(1);
const session = http2.connect(origin, ca ? {ca: require('fs').readFileSync(ca), servername: 'a.test'} : {});
const ask = (path, body) => new Promise((done, failed) => {
    const stream = session.request({':path': path, ':method': body ? 'POST' : 'GET', ':authority': 'a.test'});
    let status, octets = 0;
    stream.on('response', (head) => { status = head[':status'] });
    stream.on('data', (data) => { octets += data.length });
    stream.on('end', () => done([status, octets]));
    stream.on('error', failed);
    stream.end(body);
});
session.on('error', (error) => { console.error(error); process.exit(1) });
(async () => {
    const one = await ask('/a');
    const many = await Promise.all(Array.from({length: 200}, (_, n) => ask('/large' + n)));
    const up = await Promise.all(Array.from({length: 20}, () => ask('/echo', Buffer.alloc(300000, 'x'))));
    console.log(JSON.stringify({one, large: many.filter(([status, octets]) => status === 200 && octets === 100000).length,
        up: up.filter(([status, octets]) => status === 200 && octets === 300000).length, alpn: session.alpnProtocol}));
    session.close();
})();
"""


def answer(request: Request) -> bytes:
    if request.target.startswith("/large"):
        return ok(b"x" * 100_000)
    if request.target == "/echo":
        return ok(request.body)
    return ok(f"{request.method} {request.target} {hashlib.md5(request.body).hexdigest()}".encode())


@pytest.fixture
def urls(terraster, backend, tmp_path: Path):
    """Of one Terraster: in clear and over TLS, by name a.test."""
    origin = backend(answer=answer)
    chain, key = CA.issue("a.test").write(tmp_path)
    (tmp_path / "root.pem").write_bytes(CA.root)

    def start(secure: bool) -> str:
        tls = {"tls": {"cert_file": str(chain), "key_file": str(key), "http2": True}} if secure else {}
        proxy = terraster(service(origin.url, name="a", host="*", http2=True, **tls))
        return f"{'https' if secure else 'http'}://127.0.0.1:{proxy.port}"

    return start


def run(name: str, *arguments: str) -> str:
    program = find(name)
    assert program is not None
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr or done.stdout
    return done.stdout


@pytest.mark.needs("curl")
@pytest.mark.parametrize("secure", [False, True], ids=["in clear", "over TLS"])
def test_curl(urls, tmp_path: Path, secure: bool) -> None:
    url = urls(secure)
    port = url.rsplit(":", 1)[1]
    over_tls = ["--http2", "--cacert", f"{tmp_path}/root.pem", "--resolve", f"a.test:{port}:127.0.0.1"]
    how = over_tls if secure else ["--http2-prior-knowledge"]
    url = f"https://a.test:{port}" if secure else url
    common = ["--silent", "--show-error", "--max-time", "30", "--noproxy", "*", *how]
    (tmp_path / "body").write_bytes(LARGE)
    digest, empty = hashlib.md5(LARGE).hexdigest(), hashlib.md5(b"").hexdigest()
    assert run("curl", *common, "-w", " %{http_version}", f"{url}/b?c") == f"GET /b?c {empty} 2"
    assert run("curl", *common, "--data-binary", f"@{tmp_path}/body", f"{url}/up") == f"POST /up {digest}"
    assert run("curl", *common, "-H", "Content-Length:", "--upload-file", f"{tmp_path}/body", f"{url}/put") == f"PUT /put {digest}"
    head = run("curl", *common, "--head", f"{url}/head")
    assert head.startswith("HTTP/2 200")
    if not secure:  # curl 7.88 writes its preface again on a kept connection; nginx ends that one, too
        return
    said = run("curl", *common, "-w", " %{num_connects}\\n", *(f"{url}/{number}" for number in range(3)))
    assert [line.rsplit(" ", 1)[1] for line in said.splitlines()] == ["1", "0", "0"]


@pytest.mark.needs("nghttp")
def test_nghttp(urls, tmp_path: Path) -> None:
    """Many requests at once, and an upload with trailers."""
    (tmp_path / "body").write_bytes(LARGE[:100_000])
    url = urls(False)
    said = run("nghttp", "--null-out", "--stat", "-m", "20", f"{url}/large")
    assert len(re.findall(r"\b200\b", said)) >= 1 and "RST_STREAM" not in said
    digest = hashlib.md5(LARGE[:100_000]).hexdigest()
    assert run("nghttp", "-d", str(tmp_path / "body"), "--trailer", "x-sum: 7", f"{url}/up").strip() == f"POST /up {digest}"


@pytest.mark.needs("h2load")
@pytest.mark.parametrize("secure", [False, True], ids=["in clear", "over TLS"])
@pytest.mark.parametrize("windows", [[], ["-w10", "-W14"]], ids=["large windows", "small windows"])
def test_h2load(urls, secure: bool, windows: list[str]) -> None:
    said = run("h2load", "-c4", "-m32", "-n600", *windows, f"{urls(secure)}/large")
    assert "600 succeeded, 0 failed, 0 errored" in said, said
    assert "status codes: 600 2xx" in said


@pytest.mark.needs("node")
@pytest.mark.parametrize("secure", [False, True], ids=["in clear", "over TLS"])
def test_node(urls, tmp_path: Path, secure: bool) -> None:
    said = json.loads(run("node", "-e", NODE, urls(secure), *([str(tmp_path / "root.pem")] if secure else [])))
    assert said["one"][0] == 200
    assert (said["large"], said["up"]) == (200, 20)
    assert said["alpn"] == ("h2" if secure else "h2c")
