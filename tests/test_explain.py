"""`terraster --explain`: requests as people write them, what is said about them, and where rules are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from terraster.cli.main import main
from terraster.config.loader import Loader
from terraster.config.resolve import resolve
from terraster.explain.course import courses, prepared
from terraster.explain.question import ask
from terraster.filters.registry import KINDS

from .harness.authority import Authority

CONFIGURATION = """\
port: 8080
rate_limit: {requests_per_second: 10, burst: 5}
services:
  - name: shop
    host: "*.example.com"
    locations:
      - path: /
        backends: [{url: "http://10.0.0.1:8000"}, {url: "http://10.0.0.2:8000", weight: 0}]
      - path: /admin
        middleware: [{ip_access: {allow: [10.0.0.0/8]}}]
        backends: [{url: "http://10.0.0.3:8000"}]
      - path: /asked
        middleware: [{forward_auth: {url: "http://10.0.0.9/"}}]
        backends: [{url: "http://10.0.0.3:8000"}]
      - path: /post
        match: {methods: [POST]}
        backends: [{url: "http://10.0.0.4:8000"}]
      - path: /moved
        redirect: https://new.example.com/
      - path: /alone
        match: {path: exact}
        backends: [{url: "http://10.0.0.4:8000"}]
      - path: /deep/below
        backends: [{url: "http://10.0.0.4:8000"}]
  - name: other
    host: other.test
    listen: "127.0.0.1:9000"
    locations: [{path: /only, respond: {status: 204}}]
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "c.yaml"
    path.write_text(CONFIGURATION)
    return str(path)


def said(capsys: pytest.CaptureFixture[str], file: str, *arguments: str) -> list[str]:
    """The lines that it prints, without the folder of the file, and with one blank between words."""
    assert main(["--config", file, "--explain", *arguments]) == 0
    text = capsys.readouterr().out.replace(file, "c.yaml")
    return [" ".join(line.split()) for line in text.splitlines()]


@pytest.mark.parametrize(
    "text, host, port, target",
    [
        ("http://a.test", "a.test", 80, "/"),
        ("GET https://a.test:8443/x?y=1#z", "a.test:8443", 8443, "/x?y=1"),
        ("https://[::1]/", "[::1]", 443, "/"),
        ("DELETE http://a.test?q", "a.test", 80, "/?q"),
        ("http://a.test/%2e%2e//x", "a.test", 80, "/%2e%2e//x"),
    ],
)
def test_a_request_as_it_is_written(text: str, host: str, port: int, target: str) -> None:
    asked = ask(text)
    assert (asked.host, asked.port, asked.target) == (host, port, target)
    assert asked.method == (text.split(" ")[0] if " " in text else "GET")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (
            ("a.test/x",),
            "its URL does not begin with http:// or https:// and a host; write one as 'GET https://shop.example.com/api/cart'",
        ),
        (("get http://a.test/",), "is not a valid request: 'get' is not a method in capitals"),
        (("",), "its URL does not begin with"),
        (("GET http://a.test/ HTTP/1.1",), "it has more than a method and a URL"),
        (("http://a.test/", "-H", "no header"), "'no header' is not a valid header; write it as 'Name: value'"),
        (("http://a.test/", "--client", "nobody"), "'nobody' is not a valid IP address of a client"),
        (("http://a.test/", "--listener", ":1"), "no listener :1; there are 127.0.0.1:9000, :8080"),
    ],
)
def test_what_cannot_be_read(capsys: pytest.CaptureFixture[str], file: str, arguments: tuple[str, ...], words: str) -> None:
    assert main(["--config", file, "--explain", *arguments]) == 2
    shown = capsys.readouterr()
    assert words in shown.err
    assert not shown.out


def test_a_request_for_a_backend(capsys: pytest.CaptureFixture[str], file: str) -> None:
    assert said(capsys, file, "http://shop.example.com:8080/x?y", "-H", "Accept: text/html", "--client", "10.0.0.7") == [
        "GET http://shop.example.com:8080/x?y from 10.0.0.7",
        "",
        "listener :8080",
        "service shop, by its host *.example.com (c.yaml:4:5)",
        "location / (c.yaml:7:9)",
        "filter rate_limit lets it pass (c.yaml:2:1)",
        "backends round-robin, as if all were up: in turn; each worker has its own turns, so another one may come next",
        "http://10.0.0.1:8000, weight 1, picked now",
        "http://10.0.0.2:8000, weight 0, takes no new work",
        "sent GET /x?y HTTP/1.1",
        "Host: shop.example.com:8080",
        "Accept: text/html",
        "X-Forwarded-For: 10.0.0.7",
        "X-Real-IP: 10.0.0.7",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Port: 8080",
        "Via: 1.1 terraster",
        "X-Forwarded-Host: shop.example.com:8080",
        "X-Request-ID: (request-id)",
    ]


def test_the_text_names_some_of_many_backends(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """And the one that is picked, wherever it stands."""
    urls = ", ".join(f"{{url: 'http://10.0.0.{number}:8000', weight: {int(number == 99)}}}" for number in range(1, 101))
    (tmp_path / "c.yaml").write_text(f"port: 8080\nbackends: [{urls}]")
    lines = said(capsys, str(tmp_path / "c.yaml"), "http://a.test:8080/")
    assert len([line for line in lines if line.startswith("http://10.0.0.")]) == 31
    assert lines.index("http://10.0.0.99:8000, weight 1, picked now") == lines.index("and 69 more, which --json shows") - 1


def test_a_refusal_names_the_line_of_its_rule(capsys: pytest.CaptureFixture[str], file: str) -> None:
    lines = said(capsys, file, "http://shop.example.com:8080/admin/x")
    why = "ip_access: the client's address is not one of those that are allowed"
    detail = "192.0.2.1 is not in its list `allow`: 10.0.0.0/8"
    assert lines[-2:] == [f"filter ip_access refuses with 403: {why}; {detail} (c.yaml:10:23)", f"answer 403: {why}"]


@pytest.mark.parametrize(
    "url, near",
    [
        (
            "http://example.com:8080/",
            "service shop takes *.example.com, the names below example.com and not example.com itself (c.yaml:4:5)",
        ),
        ("http://other.test:8080/", "service other takes other.test, but at the listener 127.0.0.1:9000 (c.yaml:25:5)"),
        (
            "http://a.example.com:8080/administer",
            "/admin takes /admin and /admin/…, but a prefix ends where a segment ends (c.yaml:9:9)",
        ),
        ("http://a.example.com:8080/ADMIN/x", "/admin differs in upper and lower case (c.yaml:9:9)"),
        ("http://shop.exampel.com:8080/", "service shop takes the host *.example.com (c.yaml:4:5)"),
        ("http://ohter.test:9000/only", "service other takes the host other.test (c.yaml:25:5)"),
        ("http://other.test:9000/", "the service has /only (c.yaml:28:17)"),
        ("http://a.example.com:8080/deep", "/deep/below is below this path, which would need /below at its end (c.yaml:23:9)"),
        ("http://a.example.com:8080/admin/x", "/ matches as well, but /admin is longer"),
        ("http://other.test:9000/onyl", "the path /only is written much like this one (c.yaml:28:17)"),
        ("http://other.test:9000/onyl/much/further", "the path /only is written much like this one (c.yaml:28:17)"),
        ("http://a.example.com:8080/psot/1", "the path /post is written much like this one (c.yaml:15:9)"),
        ("http://a.example.com:8080/alone/x", "/alone#exact takes /alone alone, and no other path (`path: exact`) (c.yaml:20:9)"),
        ("http://a.example.com:8080/alone/", "/alone#exact takes /alone alone: the path needs no slash at its end (c.yaml:20:9)"),
    ],
)
def test_near_misses(capsys: pytest.CaptureFixture[str], file: str, url: str, near: str) -> None:
    lines = said(capsys, file, url)
    if near.startswith("/ matches"):
        assert not [line for line in lines if line.startswith("near")]  # the root matches everything, which helps nobody
    else:
        assert f"near {near}" in lines


def test_conditions_that_are_not_fulfilled(capsys: pytest.CaptureFixture[str], file: str) -> None:
    lines = said(capsys, file, "http://a.example.com:8080/post")
    assert "location / (c.yaml:7:9)" in lines
    assert "near /post#POST comes before /, but needs the method POST (c.yaml:15:9)" in lines
    assert "location / (c.yaml:7:9)" not in said(capsys, file, "POST http://a.example.com:8080/post")


def test_conditions_where_there_is_no_other_location(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "port: 8080\nservices: [{host: '*', locations: [{path: /a, match: {methods: [POST]}, respond: {status: 204}}]}]"
    )
    lines = said(capsys, str(tmp_path / "c.yaml"), "http://a.test:8080/a/b")
    assert lines[-2:] == [
        "near /a#POST takes such requests, but needs the method POST (c.yaml:2:36)",
        "answer 404: no location for this path",
    ]


CONDITIONS = """\
port: 8080
services:
  - name: shop
    host: "*"
    locations:
      - path: /
        backends: ["http://10.0.0.1:8000"]
      - path: /api
        name: narrow
        match:
          methods: [GET, HEAD]
          clients: [10.0.0.0/8]
          path_regex: '/api/v[0-9]'
          headers: {X-Canary: "yes", X-Old: false}
          query: {version: '~2\\..*'}
          cookies: {tester: true}
        backends: ["http://10.0.0.2:8000"]
"""


@pytest.mark.parametrize(
    "arguments, needed",
    [
        (("-H", "X-Canary: no", "-H", "Cookie: tester=1"), "the header x-canary with the value yes"),
        (("-H", "X-Canary: yes", "-H", "X-Old: 1", "-H", "Cookie: tester="), "no header x-old"),
        (("-H", "X-Canary: yes"), "the cookie tester"),
    ],
)
def test_the_conditions_that_a_request_lacks(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: tuple[str, ...], needed: str
) -> None:
    """Those that it fulfils are not named."""
    (tmp_path / "c.yaml").write_text(CONDITIONS)
    lines = said(capsys, str(tmp_path / "c.yaml"), "http://a.test:8080/api/v1?version=2.1", "--client", "10.0.0.1", *arguments)
    assert [line for line in lines if line.startswith("near")] == [
        f"near /api#narrow comes before /, but needs {needed} (c.yaml:8:9)"
    ]


def test_all_conditions_that_a_request_lacks(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONDITIONS)
    lines = said(capsys, str(tmp_path / "c.yaml"), "POST http://a.test:8080/api", "-H", "X-Canary: yes", "-H", "Cookie: tester=1")
    needed = "the method GET or HEAD and a client in 10.0.0.0/8 and a path that matches /api/v[0-9]"
    needed += " and the parameter version with a value that matches 2\\..*"
    assert f"near /api#narrow comes before /, but needs {needed} (c.yaml:8:9)" in lines


def test_a_refused_spelling_is_near_no_location_that_would_have_taken_it(capsys: pytest.CaptureFixture[str], file: str) -> None:
    lines = said(capsys, file, "http://a.example.com:8080/ADMIN/x")
    assert [line for line in lines if line.startswith("near")] == ["near /admin differs in upper and lower case (c.yaml:9:9)"]
    assert lines[-1].startswith("answer 400: ")


def test_a_redirect_says_where_it_leads(capsys: pytest.CaptureFixture[str], file: str) -> None:
    lines = said(capsys, file, "http://a.example.com:8080/moved/x?y")
    assert lines[-2:] == [
        "filter redirect answers with 308, which leads to https://new.example.com/x?y (c.yaml:19:9)",
        "answer 308",
    ]


REDIRECTS = """\
port: 8080
services:
  - name: shop
    host: "*"
    locations:
      - path: /
        backends: ["http://10.0.0.1:8000"]
      - path: /target
        redirect: /old
        backends: ["http://10.0.0.1:8000"]
      - path: /plain
        http_redirect: true
        backends: ["http://10.0.0.1:8000"]
  - name: all
    host: all.test
    http_redirect: true
    locations:
      - path: /x
        backends: ["http://10.0.0.1:8000"]
"""


@pytest.mark.parametrize(
    "url, words",
    [
        ("http://a.test:8080/old", "which leads to /target (c.yaml:9:9)"),
        ("http://a.test:8080/plain/1", "which leads to https://a.test/plain/1 (c.yaml:12:9)"),
        ("http://all.test:8080/x/1", "which leads to https://all.test/x/1 (c.yaml:16:5)"),
        ("http://all.test:8080/nowhere", "which leads to https://all.test/nowhere (c.yaml:16:5)"),
    ],
)
def test_a_redirect_has_the_line_that_asks_for_it(capsys: pytest.CaptureFixture[str], tmp_path: Path, url: str, words: str) -> None:
    """It may be that of another location, or of the service."""
    (tmp_path / "c.yaml").write_text(REDIRECTS)
    assert f"filter redirect answers with 308, {words}" in said(capsys, str(tmp_path / "c.yaml"), url)


def test_plugins_have_their_names_and_places(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "teams.py").write_text(
        'class Teams:\n    name = "teams"\n    def on_request(self, request):\n        pass\n'
    )
    (tmp_path / "c.yaml").write_text('port: 8080\nbackends: ["http://10.0.0.1:8000"]\nmiddleware:\n  - teams: {timeout: 20ms}\n')
    lines = said(capsys, str(tmp_path / "c.yaml"), "http://a.test:8080/")
    assert "filter teams may answer: its code decides, and does not run here (c.yaml:4:5)" in lines


def test_what_only_traffic_can_tell(capsys: pytest.CaptureFixture[str], file: str) -> None:
    lines = said(capsys, file, "http://a.example.com:8080/asked")
    assert "filter forward_auth may answer: its server decides, and is not asked here (c.yaml:13:23)" in lines
    assert "sent GET /asked HTTP/1.1" in lines


def test_a_port_that_no_listener_has(capsys: pytest.CaptureFixture[str], file: str) -> None:
    """Those that take the host are shown; without one, all."""
    assert "listener 127.0.0.1:9000" in (lines := said(capsys, file, "http://other.test/only"))
    assert lines[-1] == "answer 204"
    lines = said(capsys, file, "http://nobody.test/")
    assert [line for line in lines if line.startswith("listener")] == ["listener 127.0.0.1:9000", "listener :8080"]
    assert "No listener has port 80. Each that could be meant:" in lines


def test_json(capsys: pytest.CaptureFixture[str], file: str) -> None:
    assert main(["--config", file, "--json", "--explain", "http://a.example.com:8080/x"]) == 0
    (course,) = json.loads(capsys.readouterr().out)
    assert (course["service"], course["location"], course["status"]) == ("shop", "/", None)
    assert course["place"] == f"{file}:7:9"
    assert course["decisions"] == [{"kind": "rate_limit", "text": "lets it pass", "final": False, "place": f"{file}:2:1"}]
    assert [one["picked"] for one in course["candidates"]] == [True, False]


def test_a_request_that_must_not_go_on(capsys: pytest.CaptureFixture[str], file: str) -> None:
    lines = said(capsys, file, "OPTIONS http://a.example.com:8080/", "-H", "Max-Forwards: 0")
    assert lines[-1] == "answer 200: Max-Forwards is 0, so no backend is asked"


def test_https_at_a_listener_in_clear(capsys: pytest.CaptureFixture[str], file: str) -> None:
    lines = said(capsys, file, "https://a.example.com:8080/")
    assert lines[-1] == "answer none: the listener speaks no TLS, so there is no handshake"


def test_a_service_that_requires_certificates(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    authority = Authority()
    issued = authority.issue("a.test")
    (tmp_path / "a.pem").write_bytes(issued.chain + issued.key)
    (tmp_path / "ca.pem").write_bytes(authority.root)
    (tmp_path / "c.yaml").write_text(
        """\
services:
  - host: a.test
    listen: ":8443"
    tls: {cert_file: a.pem, client_auth: {ca_file: ca.pem, mode: require}}
    locations: [{path: /, respond: {status: 204}}]
"""
    )
    answer = "answer none: the service requires a certificate of the client (`tls.client_auth`), and none can be given here"
    assert said(capsys, str(tmp_path / "c.yaml"), "https://a.test:8443/")[-1] == answer


def test_a_certificate_that_has_not_been_obtained(tmp_path: Path) -> None:
    """By what is running, where the master fills in the certificates; a configuration on disk has none of them yet."""
    issued = Authority().issue("a.test")
    (tmp_path / "a.pem").write_bytes(issued.chain + issued.key)
    (tmp_path / "c.yaml").write_text(
        "services: [{host: a.test, listen: ':8443', tls: {cert_file: a.pem}, locations: [{path: /, respond: {status: 204}}]}]"
    )
    plan = prepared(resolve(Loader({}, kinds=KINDS).load(str(tmp_path / "c.yaml")), 1, secret=bytes(32)))
    (course,) = courses(plan, ask("https://a.test:8443/"), live=True)
    assert course.reason == "the service has no certificate yet, so the handshake ends with the alert unrecognized_name"
    assert [one.status for one in courses(plan, ask("https://a.test:8443/"))] == [204]


@pytest.mark.parametrize(
    "host, answer",
    [
        ("127.0.0.1:8443", "answer 421: no service of this name here"),
        ("[::1]:8443", "answer 421: no service of this name here"),
        ("b.test:8443", "answer none: no service has this server name, so the handshake ends with the alert unrecognized_name"),
    ],
)
def test_an_address_is_no_server_name(capsys: pytest.CaptureFixture[str], tmp_path: Path, host: str, answer: str) -> None:
    """Clients send none with it (RFC 6066, section 3), so the only service serves the handshake, and its requests have no service."""
    issued = Authority().issue("a.test")
    (tmp_path / "a.pem").write_bytes(issued.chain + issued.key)
    (tmp_path / "c.yaml").write_text(
        """\
services:
  - host: a.test
    listen: ":8443"
    tls: {cert_file: a.pem}
    locations: [{path: /, respond: {status: 204}}]
"""
    )
    assert said(capsys, str(tmp_path / "c.yaml"), f"https://{host}/")[-1] == answer


def test_octets_that_are_no_utf_8_are_asked_as_they_are_and_shown_as_escapes() -> None:
    asked = ask("GET http://a.test/\udcff\x1b[2J", ["X-A: \udcfe"])
    assert asked.head() == b"GET /\xff\x1b[2J HTTP/1.1\r\nHost: a.test\r\nX-A: \xfe\r\n\r\n"
    assert asked.shown() == "GET http://a.test/\\xff\\x1b[2J from 192.0.2.1"


FILTERS = """\
port: 8080
services:
  - name: shop
    host: "*"
    compression: {types: ["text/*"]}
    locations:
      - path: /rewritten
        rewrite: /inner
        backends: ["http://10.0.0.1:8000/base"]
      - path: /mirrored
        middleware: [{mirror: {to: "http://10.0.0.9:8000", percent: 2.5}}, {shed: {loop_lag: 100ms}}]
        buffer: {request: true}
        backends: ["http://10.0.0.1:8000"]
      - path: /canary
        split: {by: header:X-User, override: query:arm, to: [
          {name: old, weight: 9, backends: ["http://10.0.0.1:8000"]}, {name: new, weight: 1, backends: ["http://10.0.0.2:8000"]}]}
      - path: /token
        middleware: [{jwt: {jwks_url: "https://issuer.test/keys"}}, {headers: {response_headers: {X-A: "1"}}}]
        backends: ["http://10.0.0.1:8000"]
      - path: /closed
        middleware: [{maintenance: {bypass: [10.0.0.0/8]}}, {ip_access: {deny: [10.0.0.9]}}]
        backends: ["http://10.0.0.1:8000"]
"""


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("http://a.test:8080/rewritten/x",), "path /rewritten/x becomes /base/inner/x (c.yaml:8:9)"),
        (
            ("http://a.test:8080/mirrored",),
            "mirror copies 2.5 % of such requests, by chance, to http://10.0.0.9:8000 once it has been answered (c.yaml:11:23)",
        ),
        (("POST http://a.test:8080/mirrored",), "mirror copies it nowhere: its method is not one of `methods` (c.yaml:11:23)"),
        (("http://a.test:8080/mirrored",), "shed lets it pass, unless the worker that gets it is overloaded (c.yaml:11:77)"),
        (("http://a.test:8080/mirrored",), "buffer reads the body of the request and of the response ahead (c.yaml:12:9)"),
        (
            ("http://a.test:8080/mirrored", "-H", "Accept-Encoding: br"),
            "compression compresses the answer with br if its type is one of `types` and it has at least 1024 octets (c.yaml:5:5)",
        ),
        (
            ("http://a.test:8080/mirrored",),
            "compression compresses no answer, because the client accepts no coding that may be used (Accept-Encoding) (c.yaml:5:5)",
        ),
        (
            ("http://a.test:8080/canary?arm=new",),
            "split chooses the arm new, the request names it by query:arm (c.yaml:15:9)",
        ),
        (
            ("http://a.test:8080/canary", "-H", "X-User: ann"),
            "split chooses the arm old, by header:x-user; weights: old 9, new 1 (c.yaml:15:9)",
        ),
        (("http://a.test:8080/token",), "jwt may answer: its keys are fetched once Terraster runs (c.yaml:18:23)"),
        (("http://a.test:8080/token",), "headers may change the answer (c.yaml:18:70)"),
        (
            ("http://a.test:8080/closed", "--client", "10.1.1.1"),
            "maintenance lets it pass, because 10.1.1.1 is in `bypass` (c.yaml:21:23)",
        ),
        (
            ("http://a.test:8080/closed", "--client", "10.0.0.9"),
            "ip_access refuses with 403: ip_access: the client's address is denied; 10.0.0.9 is in its list `deny`: 10.0.0.9/32 (c.yaml:21:62)",
        ),
    ],
)
def test_what_each_filter_does(capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    (tmp_path / "c.yaml").write_text(FILTERS)
    assert f"filter {words}" in said(capsys, str(tmp_path / "c.yaml"), *arguments)


def test_two_hosts_are_refused_as_in_traffic(capsys: pytest.CaptureFixture[str], file: str) -> None:
    assert said(capsys, file, "http://a.example.com:8080/", "-H", "Host: other.test")[0] == "GET http://other.test/ from 192.0.2.1"
    lines = said(capsys, file, "http://x.test:8080/", "-H", "Host: a.example.com", "-H", "Host: a.example.com")
    assert lines[-1] == "answer 400: several Host fields"


def test_a_method_and_a_url_without_quotes(capsys: pytest.CaptureFixture[str], file: str) -> None:
    lines = said(capsys, file, "POST", "http://a.example.com:8080/post", "--client", "10.0.0.1")
    assert lines[0] == "POST http://a.example.com:8080/post from 10.0.0.1"


@pytest.mark.parametrize("listener, address", [("9000", "127.0.0.1:9000"), (":9000", "127.0.0.1:9000"), (":8080", ":8080")])
def test_a_listener_by_its_port(capsys: pytest.CaptureFixture[str], file: str, listener: str, address: str) -> None:
    assert f"listener {address}" in said(capsys, file, "http://other.test/only", "--listener", listener)


def test_one_listener_that_could_be_meant(capsys: pytest.CaptureFixture[str], file: str) -> None:
    assert said(capsys, file, "http://other.test:7000/only")[1] == "No listener has port 7000. This one could be meant:"
    assert said(capsys, file, "http://other.test:9000/only")[1] == ""
    assert said(capsys, file, "http://other.test:7000/only", "--listener", "9000")[1] == ""
