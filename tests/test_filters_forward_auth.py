"""`forward_auth`: what may be written, what the server is asked, and what becomes of its answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from terraster.config.diff import diff
from terraster.config.resolve import resolve
from terraster.config.snapshot import Timeouts
from terraster.errors import ClientGone, ConnectFailed, HttpError
from terraster.exchange import Exchange
from terraster.filters.answer import Answer
from terraster.filters.contract import Place
from terraster.filters.forward_auth import ForwardAuth, ForwardAuthSettings
from terraster.filters.passages import passages
from terraster.filters.runtime import Reply, Runtime
from terraster.plan import compile_plan
from terraster.state.cells import SeatLocation
from terraster.state.leases import Leases
from terraster.state.table import Table
from terraster.state.view import SeatView
from terraster.wire.edits import Edits

from .harness.configuration import load
from .harness.refusals import SERVICE, refusal

COUNTERS = {counter.name: 112 + number for number, counter in enumerate(ForwardAuth.counters)}
Fields = list[tuple[bytes, bytes]]


class Head:
    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.method, self.target, self.size, self.content_length, self.chunked = b"POST", b"/", 0, 0, False


class House:
    """One filter, and the server: it gives `reply`, or raises it."""

    def __init__(self, reply: Reply | HttpError, **written: Any) -> None:
        self.reply = reply
        self.view = SeatView(Table(1, 1, 1))
        runtime = Runtime()
        runtime.subrequests = self
        settings = ForwardAuthSettings(**({"url": "http://auth.test:9091/verify?a=b"} | written))
        self.filter = ForwardAuth(settings, Place(None, None, self.view, COUNTERS, runtime), self.view)

    def get(
        self,
        exchange: Exchange,
        path: str,
        target: bytes,
        fields: Sequence[tuple[bytes, bytes]],
        about: Sequence[tuple[bytes, bytes]],
    ) -> Reply:
        self.path, self.target, self.fields, self.about = path, target, list(fields), dict(about)
        if isinstance(self.reply, HttpError):
            raise self.reply
        return self.reply

    def ask(self, *fields: tuple[bytes, bytes], ip: str = "192.0.2.1") -> Answer | None:
        self.exchange = Exchange(0.0, 0.0, ip, ip, "https", Head(list(fields)))
        self.exchange.host, self.exchange.path, self.exchange.query = b"shop.test", b"/a/b", b"c=d"
        return self.filter.on_request(self.exchange)

    def upstream(self, *before: tuple[bytes, bytes]) -> Edits:
        edits = Edits()
        for name, value in before:
            edits.add(name, value)
        if self.filter.needs("on_upstream"):
            self.filter.on_upstream(self.exchange, edits)
        return edits

    @property
    def counted(self) -> dict[str, int]:
        row = self.view.locations + self.view.table.unrouted * SeatLocation.CELLS
        return {name: count for name, cell in COUNTERS.items() if (count := self.view.q[row + cell])}


def reply(status: int, *fields: tuple[bytes, bytes], body: bytes = b"") -> Reply:
    return Reply(status, fields, body)


@pytest.mark.parametrize("status", [200, 201, 204, 206, 299])
def test_2xx_lets_the_request_in(status: int) -> None:
    house = House(
        reply(status, (b"x-USER", b"ada"), (b"X-Other", b"1"), (b"X-User", b"b")), response_headers=["X-User"], user_header="x-user"
    )
    assert house.ask() is None
    assert house.counted == {"allowed": 1}
    assert house.exchange.user == "b"
    edits = house.upstream((b"X-User", b"of an earlier filter"), (b"X-Kept", b"1"))
    assert edits.extra == b"X-Kept: 1\r\nx-USER: ada\r\nX-User: b\r\n"
    assert edits.drop == {b"x-user", b"x_user"}


def test_the_clients_fields_of_these_names_are_removed_even_if_the_server_gives_none() -> None:
    house = House(reply(200), response_headers=["X-User-Id", "Authorization"])
    house.ask()
    assert house.upstream().drop == {b"x-user-id", b"x_user-id", b"x-user_id", b"x_user_id", b"authorization"}
    assert house.upstream().extra == b""


@pytest.mark.parametrize("status", [300, 302, 304, 400, 401, 403, 404, 429, 500, 503])
def test_every_other_answer_goes_back_as_it_is(status: int) -> None:
    fields = ((b"Location", b"/login"), (b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2"), (b"WWW-Authenticate", b"Basic"))
    house = House(reply(status, *fields, body=b"no"), response_headers=["X-User"])
    why = b'terraster; error=http_request_denied; details="forward_auth: the server answered %d"' % status
    assert house.ask() == Answer(status, (*fields, (b"Proxy-Status", why)), b"no")
    assert house.counted == {"refused": 1}
    assert (house.exchange.error, house.exchange.detail) == ("http_request_denied", f"forward_auth: the server answered {status}")


def test_without_an_answer_nobody_comes_in() -> None:
    house = House(ConnectFailed("no connection to the backend (ECONNREFUSED)"))
    with pytest.raises(HttpError) as error:
        house.ask()
    assert (error.value.status, error.value.reason, error.value.retry_after) == (503, "destination_unavailable", 1)
    assert error.value.detail == "forward_auth: the server that decides gave no answer"
    assert house.exchange.detail == "no connection to the backend (ECONNREFUSED)"
    assert house.counted == {"unavailable": 1}


def test_a_request_with_two_credentials_is_refused_before_the_server_is_asked() -> None:
    house = House(reply(200))
    with pytest.raises(HttpError) as error:
        house.ask((b"Authorization", b"Bearer a"), (b"authorization", b"Bearer b"))
    assert error.value.status == 400
    assert house.counted == {} and not hasattr(house, "fields")


def test_a_listed_field_is_told_in_each_spelling_that_the_backend_gets() -> None:
    house = House(reply(200), request_headers=["X-Token"])
    sent: Fields = [(b"X-Token", b"a"), (b"x_token", b"b")]
    house.ask(*sent, (b"X-Other", b"c"))
    assert house.fields == sent


def test_a_client_that_leaves_is_no_failure_of_the_server() -> None:
    house = House(ClientGone("the client left"))
    with pytest.raises(ClientGone):
        house.ask()
    assert house.counted == {}


def test_the_server_is_told_what_the_request_is_about() -> None:
    house = House(reply(200))
    house.ask()
    assert (house.path, house.target) == ("@http://auth.test:9091", b"/verify?a=b")
    assert house.about == {
        b"X-Forwarded-Method": b"POST",
        b"X-Forwarded-Proto": b"https",
        b"X-Forwarded-Host": b"shop.test",
        b"X-Forwarded-Uri": b"/a/b?c=d",
        b"X-Forwarded-For": b"192.0.2.1",
        b"X-Real-IP": b"192.0.2.1",
    }
    house.ask(ip="unix")
    assert b"X-Forwarded-For" not in house.about


def test_a_secret_in_the_url_is_not_in_the_changes(tmp_path: Path) -> None:
    made = []
    for number, keys in enumerate(("url: 'http://a/b?key=topsecret'", "url: 'http://c/b?key=topsecret', timeout: 2s"), 1):
        (tmp_path / "t.yaml").write_text(TEXT % f"{{{keys}}}")
        made.append(resolve(load(str(tmp_path / "t.yaml")), number, environ={}))
    said = "\n".join(diff(*made).describe())
    assert "forward_auth: url http://a/b?… → http://c/b?…" in said and "timeout 5s → 2s" in said
    assert "topsecret" not in said


SENT: Fields = [
    (b"Cookie", b"s=1"),
    (b"authorization", b"Bearer x"),
    (b"Accept", b"text/html"),
    (b"X-User", b"root"),
    (b"x_user", b"root"),
    (b"X-Forwarded-Uri", b"/public"),
    (b"X_Forwarded_Method", b"GET"),
    (b"X-Original-URL", b"/public"),
    (b"X_Original_Method", b"GET"),
    (b"X-Rewrite-URL", b"/public"),
    (b"X-HTTP-Method-Override", b"GET"),
    (b"If-None-Match", b"*"),
    (b"if-modified-since", b"x"),
    (b"Range", b"bytes=0-1"),
    (b"Content-Length", b"5"),
    (b"Content-Type", b"text/plain"),
    (b"Transfer-Encoding", b"chunked"),
    (b"Expect", b"100-continue"),
    (b"Upgrade", b"websocket"),
    (b"Sec-WebSocket-Key", b"x"),
    (b"TE", b"trailers"),
    (b"Host", b"shop.test"),
    (b"Connection", b"close, X-Hop"),
    (b"X-Hop", b"1"),
]


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ({}, [b"Cookie", b"authorization", b"Accept", b"X-User", b"x_user"]),
        ({"response_headers": ["X-User", "Authorization"]}, [b"Cookie", b"authorization", b"Accept"]),
        ({"request_headers": ["accept", "COOKIE", "X-Forwarded-Uri", "Range"]}, [b"Cookie", b"Accept"]),
        ({"request_headers": ["X-User"], "response_headers": ["X-User"]}, [b"X-User"]),
        ({"request_headers": ["X-None"]}, []),
    ],
)
def test_fields_of_the_client(written: dict[str, Any], names: list[bytes]) -> None:
    house = House(reply(200), **written)
    house.ask(*SENT)
    assert house.fields == [field for field in SENT if field[0] in names]


TEXT = SERVICE % "{forward_auth: %s}"


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("{}", "service s, /: `forward_auth` needs a `url`"),
        ("{url: 'ftp://a/'}", "`url` must start with http:// or https://, not ftp://"),
        ("{url: auth.test}", "`url` must be a URL like http://10.0.0.1:9091/verify"),
        ("{url: 'http://u:topsecret@a/'}", "`url` must not contain a user name or password"),
        ("{url: 'http://a/#b'}", "`url` must be a URL like http://10.0.0.1:9091/verify"),
        ("{url: 'http://a/ü'}", "`url` has a path with characters that must be encoded"),
        ("{url: 'srv+http://a.test/'}", "`url` must start with http:// or https://"),
        ("{url: 'http://a', response_headers: [X-Forwarded-For]}", "names X-Forwarded-For, which no other server may set"),
        ("{url: 'http://a', response_headers: [x_real_ip]}", "names x_real_ip, which no other server may set"),
        ("{url: 'http://a', response_headers: [Transfer-Encoding]}", "cannot be changed by rules"),
        ("{url: 'http://a', timeout: 0}", "`timeout` must be"),
    ],
)
def test_what_is_refused_at_the_start(tmp_path: Path, keys: str, problem: str) -> None:
    said = refusal(tmp_path, TEXT % keys)
    assert problem in said
    assert "topsecret" not in said


CALLED = """
skip_tls_verify: true
middleware: [{forward_auth: {url: 'http://auth.test:9091/a', timeout: 2s}}]
services:
  - name: s
    locations:
      - {path: /, backends: [http://10.0.0.1]}
      - {path: /same, backends: [http://10.0.0.1], middleware: [{forward_auth: {url: 'http://auth.test:9091/b'}}]}
      - {path: /other, backends: [http://10.0.0.1], middleware: [{forward_auth: {url: 'https://other.test/b'}}]}
      - {path: /unix, backends: [http://10.0.0.1], middleware: [{forward_auth: {url: 'http+unix://%2Frun%2Fauth.sock/b'}}]}
      - {path: /open, backends: [http://10.0.0.1], middleware: [{forward_auth: off}]}
  - name: open
    host: b.test
    middleware: [{forward_auth: off}]
    locations: [{path: /, backends: [http://10.0.0.1]}]
"""


def test_a_server_is_a_location_that_no_request_is_for(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(CALLED)
    snapshot = resolve(load(str(tmp_path / "t.yaml")), 1, environ={})
    site, other = sorted(snapshot.services, key=lambda service: service.name, reverse=True)
    assert [location.path for location in other.locations] == ["/"]
    found = {location.path: location for location in site.locations if location.path.startswith("@")}
    told = {path: [(one.scheme, one.host, one.port, one.address) for one in location.backends] for path, location in found.items()}
    assert told == {
        "@http://auth.test:9091": [("http", "auth.test", 9091, "")],
        "@https://other.test": [("https", "other.test", 443, "")],
        "@unix:/run/auth.sock": [("http", "localhost", 80, "unix:/run/auth.sock")],
    }
    one = found["@http://auth.test:9091"]
    assert one.timeouts == Timeouts(connect=2.0, response=2.0, read=2.0, total=2.0)
    assert (one.outlier, one.breaker, one.filters, one.backends[0].health.type) == (None, None, (), "none")
    assert found["@https://other.test"].backends[0].skip_tls_verify, "as the service speaks TLS to its backends"
    table = Table(12, 12, 2)
    compiled = compile_plan(Leases(table).assign(snapshot), SeatView(table)).services["s"]
    for path in (b"@http://auth.test:9091", b"/@http://auth.test:9091", b"/x"):
        found_there = compiled.prefixes.find(path)
        assert found_there is not None and found_there.path == "/"


BESIDE = """
services:
  - name: s
    locations:
      - {path: /, backends: ["http://10.0.0.1:9091"], middleware: [{forward_auth: {url: 'http://10.0.0.1:9091/verify'}}]}
      - {path: /open, backends: ["http://10.0.0.1:9091"]}
"""


def test_the_location_of_a_server_is_no_way_past_the_filter(tmp_path: Path) -> None:
    """The same server decides about requests and answers them."""
    (tmp_path / "t.yaml").write_text(BESIDE)
    snapshot = resolve(load(str(tmp_path / "t.yaml")), 1, environ={})
    assert len(snapshot.services[0].locations) == 3
    assert not [line for line in passages(snapshot, {"forward_auth"}) if "@" in line]
    table = Table(8, 8, 2)
    assert compile_plan(Leases(table).assign(snapshot), SeatView(table)).services["s"].spellings is not None
    (tmp_path / "t.yaml").write_text(BESIDE.rpartition("      -")[0])
    snapshot = resolve(load(str(tmp_path / "t.yaml")), 1, environ={})
    compiled = compile_plan(Leases(table).assign(snapshot), SeatView(table))
    assert compiled.services["s"].spellings is None, "there is one location that requests are for"
