"""Filters for browsers with a browser, over HTTP/1.1 and HTTP/2: which responses its scripts may read, and what it refuses to run and show."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ..harness.authority import Authority
from ..harness.backends import Backend, Request, ok
from ..harness.program import Program, find
from ..harness.terraster_process import backends, service
from ..harness.waiting import wait_until

CA = Authority()

PAGE = """<!doctype html><title>t</title><script>
const ask = async (host, path, settings) => {
    try {
        const answer = await fetch('https://' + host + '.test' + path, settings);
        return [answer.status, answer.headers.get('x-total'), answer.headers.get('x-hidden'), await answer.text()];
    } catch (error) { return error.name }
};
(async () => {
    const found = {};
    for (const host of ['one', 'two']) found[host] = {
        plain: await ask(host, '/open/a'),
        preflighted: await ask(host, '/open/b', {method: 'PUT', headers: {'X-Mine': '1'}, body: 'x'}),
        options: await ask(host, '/open/c', {method: 'OPTIONS'}),
        method: await ask(host, '/open/d', {method: 'DELETE'}),
        field: await ask(host, '/open/e', {headers: {'X-Other': '1'}}),
        credentials: await ask(host, '/open/f', {credentials: 'include'}),
        foreign: await ask(host, '/closed/g'),
        refused: await ask(host, '/closed/h', {method: 'PUT'}),
        missing: await ask(host, '/nowhere'),
        unreachable: await ask(host, '/gone/i'),
        star: await ask(host, '/star/j', {credentials: 'omit'}),
    };
    const load = (path) => new Promise((done) => {
        const script = document.createElement('script');
        script.onload = () => done('ran');
        script.onerror = () => done('refused');
        script.src = path;
        document.head.append(script);
    });
    const opaque = (path) => fetch('https://one.test' + path, {mode: 'no-cors'}).then((answer) => answer.type, (error) => error.name);
    found.security = {
        script: [await load('/script'), await load('/guarded/script')],
        resource: [await opaque('/closed/k'), await opaque('/guarded/l')],
        policy: await fetch('/policy').then((answer) => answer.headers.get('content-security-policy')),
    };
    await fetch('/report', {method: 'POST', body: JSON.stringify(found)});
})();
</script>"""

GUARDED = {
    "path": "/guarded",
    "middleware": [{"security": {"content_type_options": True, "cross_origin_resource_policy": "same-origin"}}],
}

READ = [200, "7", None]
TYPE_ERROR = "TypeError"  # what a script sees of a response that it may not read


def answer(request: Request) -> bytes:
    if request.target == "/page":
        return ok(PAGE.encode(), b"Content-Type: text/html; charset=utf-8\r\n")
    if request.target.endswith("/script"):
        return ok(b"window.ran = 1;", b"Content-Type: text/plain\r\n")
    if request.target == "/policy":
        return ok(b"", b"Content-Security-Policy: img-src 'none'\r\n")
    theirs = b"Access-Control-Allow-Origin: https://other.test\r\nVary: Accept\r\n"
    return ok(f"{request.method} {request.target}".encode(), theirs + b"X-Total: 7\r\nX-Hidden: 1\r\n")


def api(name: str, origin: Backend, keys: dict[str, object], **more: object) -> dict[str, object]:
    """A service whose locations have rules of their own. A backend of it is not there."""
    rules = {"allowed_origins": "https://page.test", "allowed_methods": ["PUT"], "allowed_headers": ["X-Mine"]}
    site = service(origin.url, name=name, host=f"{name}.test", **keys, **more)
    site["middleware"] = [{"cors": {**rules, "exposed_headers": "X-Total", "allow_credentials": True}}]
    site["locations"] = [
        {"path": "/open", "backends": backends(origin.url)},
        {"path": "/gone", "backends": backends("http://127.0.0.1:1"), "retry": "off"},
        {"path": "/closed", "backends": backends(origin.url), "middleware": [{"cors": {"allowed_origins": "https://*.page.test"}}]},
        {
            "path": "/star",
            "backends": backends(origin.url),
            "middleware": [{"cors": {"allowed_origins": "*", "allow_credentials": False}}],
        },
        {**GUARDED, "backends": backends(origin.url)},
    ]
    return site


@pytest.mark.needs("chromium")
def test_chromium(terraster, backend, tmp_path: Path) -> None:
    """A page of page.test asks services of two other origins: one speaks HTTP/1.1, the other one HTTP/2."""
    origin = backend(answer=answer)
    chain, key = CA.issue("page.test", "one.test", "two.test").write(tmp_path)
    tls = {"cert_file": str(chain), "key_file": str(key)}
    page = service(origin.url, name="page", host="page.test", tls=tls)
    page["middleware"] = [{"security": {"content_security_policy": "script-src 'unsafe-inline' 'self'", "override": False}}]
    page["locations"].append({**GUARDED, "backends": backends(origin.url)})
    proxy = terraster(
        page,
        api("one", origin, {"tls": {**tls, "http2": False}}),
        api("two", origin, {"tls": {**tls, "http2": True}}),
        access_log={"path": str(tmp_path / "access.log"), "format": "{service} {protocol}"},
    )
    leaf = x509.load_pem_x509_certificates(chain.read_bytes())[0]
    der, info = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    pin = base64.b64encode(hashlib.sha256(leaf.public_key().public_bytes(der, info)).digest()).decode()
    browser = find("chromium")
    assert browser is not None
    command = [
        *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
        *("--remote-debugging-port=0", f"--user-data-dir={tmp_path}/profile"),
        f"--host-resolver-rules=MAP *.test 127.0.0.1:{proxy.port}",
        *(f"--ignore-certificate-errors-spki-list={pin}", "https://page.test/page"),
    ]
    with Program(command, tmp_path / "chromium-output", HOME=str(tmp_path)) as running:
        running.wait_ready(lambda: reports(origin), 120)
    found = json.loads(reports(origin)[0])
    for host in ("one", "two"):
        of_host = found[host]
        missing, unreachable = of_host.pop("missing"), of_host.pop("unreachable")
        assert of_host == {
            "plain": [*READ, "GET /open/a"],
            "preflighted": [*READ, "PUT /open/b"],
            "options": TYPE_ERROR,
            "method": TYPE_ERROR,
            "field": TYPE_ERROR,
            "credentials": [*READ, "GET /open/f"],
            "foreign": TYPE_ERROR,
            "refused": TYPE_ERROR,
            "star": [*READ, "GET /star/j"],
        }, host
        assert (missing[0], unreachable[0]) == (404, 502), "errors of Terraster's own can be read"
    assert found["security"] == {"script": ["ran", "refused"], "resource": ["opaque", TYPE_ERROR], "policy": "img-src 'none'"}
    asked = [(request.method, request.target) for request in origin.requests]
    assert ("PUT", "/closed/h") not in asked and ("DELETE", "/open/d") not in asked
    assert [method for method, _ in asked].count("OPTIONS") == 0
    log = tmp_path / "access.log"
    wait_until(lambda: {"one HTTP/1.1", "two HTTP/2.0"} <= set(log.read_text().splitlines()), "a line for each protocol")


def reports(origin: Backend) -> list[bytes]:
    return [request.body for request in origin.requests if request.target == "/report"]
