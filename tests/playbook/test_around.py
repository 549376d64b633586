"""Around a request: draining, reloads, the PROXY protocol, trusted peers, filters of all hooks, defects, no descriptors."""

from __future__ import annotations

from typing import Any

from terraster.errors import HttpError
from terraster.filters.answer import Answer
from terraster.filters.contract import Filter

from .lines import answered, asked, ok, refused, req, resp, start
from .play import (
    FIN,
    GONE,
    RST,
    Row,
    after,
    b1,
    b2,
    client,
    client2,
    defect,
    drain,
    log,
    reload,
    row,
    skip,
    table,
    told,
    whole,
)

GET = req("GET /a")
ASKED = asked("GET /a")
OK = answered("200 OK", body="one")
SERVED = (client >> GET, b1 << ASKED, b1 >> ok("one"), client << OK, log(200, b1))

test_draining = table(
    row("an idle connection is ended", *SERVED, drain(), client << FIN),
    row(
        "a request that is under way is answered, and the connection ends",
        client >> GET,
        b1 << ASKED,
        drain(),
        b1 >> ok("one"),
        client << answered("200 OK", "Connection: close", body="one"),
        client << FIN,
        log(200, b1),
    ),
    row(
        "a head that is coming is waited for",
        client >> "GET /a HTTP/1.1\r\nHost: a.te",
        drain(),
        client >> "st\r\n\r\n",
        b1 << ASKED,
        b1 >> ok("one"),
        client << answered("200 OK", "Connection: close", body="one"),
        client << FIN,
        log(200, b1),
    ),
    row(
        "an error ends the connection as well",
        client >> GET,
        b1 << ASKED,
        drain(),
        b1 >> RST,
        told(b1, "failure"),
        client << refused(502, "connection_terminated", close=True),
        client << FIN,
        client >> GONE,
        log(502, b1, error="connection_terminated"),
        location="retry: off",
    ),
    row(
        "a tunnel goes on",
        client >> req("GET /a", "Connection: Upgrade", "Upgrade: x"),
        b1 << asked("GET /a", "Connection: Upgrade", "Upgrade: x"),
        b1 >> "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
        client << start("101 Switching Protocols", "Connection: Upgrade", "Upgrade: x", date=False),
        drain(),
        client >> "hello",
        b1 << "hello",
        b1 >> GONE,
        client << FIN,
        b1 << FIN,
        log(101, b1),
    ),
    row(
        "a redirect ends the connection as well",
        client >> "GET /old HTTP/1.1\r\nHost: a.te",
        drain(),
        client >> "st\r\n\r\n",
        client << answered("308 Permanent Redirect", "Location: /new", "Connection: close"),
        client << FIN,
        client >> GONE,
        log(308),
        locations="- path: /old\n  redirect: /new",
    ),
    row(
        "the connection ends behind an answer that was begun before, if nothing more has come",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", "Content-Length: 6", body="one"),
        client << answered("200 OK", "Content-Length: 6", body="one"),
        drain(),
        b1 >> "two",
        client << "two",
        client << FIN,
        log(200, b1),
    ),
    row(
        "and after the next one, if it has",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", "Content-Length: 6", body="one"),
        client << answered("200 OK", "Content-Length: 6", body="one"),
        client >> req("GET /b"),
        drain(),
        b1 >> "two",
        client << "two",
        log(200, b1),
        b1 << asked("GET /b", n=2),
        b1 >> ok("one"),
        client << answered("200 OK", "Connection: close", body="one"),
        client << FIN,
        log(200, b1),
    ),
)

test_reloads = table(
    row(
        "a kept connection finds the new configuration",
        *SERVED,
        reload(locations="- path: /\n  backends: [{url: 'http://10.0.0.2:8000'}]"),
        b1 << FIN,
        client >> req("GET /b"),
        b2 << asked("GET /b", n=2),
        b2 >> ok("one"),
        client << OK,
        log(200, b2),
    ),
    row(
        "a request that is under way goes on with the old one, and its connection is not kept",
        client >> GET,
        b1 << ASKED,
        reload(locations="- path: /\n  backends: [{url: 'http://10.0.0.2:8000'}]"),
        b1 >> ok("one"),
        client << OK,
        b1 << FIN,
        log(200, b1),
    ),
    row(
        "a request of the old one may still ask a backend that is gone, for itself alone",
        client >> GET,
        b1 << ASKED,
        reload(locations="- path: /\n  backends: [{url: 'http://10.0.0.3:8000'}]"),
        b1 >> RST,
        told(b1, "failure"),
        b2 << ASKED,
        b2 >> ok("one"),
        client << OK,
        b2 << FIN,
        log(200, b1, b2),
        backends=2,
    ),
    row(
        "a backend that stays keeps its connections",
        *SERVED,
        reload(backends=2),
        client >> req("GET /b"),
        b1 << asked("GET /b", n=2),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
    ),
    row(
        "new limits hold for connections that are there",
        *SERVED,
        reload(location="connection_pool: {idle_timeout: 2s}"),
        after(2.3),
        b1 << FIN,
    ),
    row(
        "a listener that is gone ends its connections after their answer",
        client >> GET,
        b1 << ASKED,
        reload(service="listen: '127.0.0.1:81'"),
        b1 >> ok("one"),
        client << answered("200 OK", "Connection: close", body="one"),
        client << FIN,
        log(200, b1),
    ),
)

PROXY = "proxy_protocol: true\ntrusted_proxies: [192.0.2.7]\n"
V1 = "PROXY TCP4 198.51.100.5 192.0.2.1 1234 80\r\n"

test_proxy_protocol = table(
    row(
        "the header says who the client is",
        client >> V1 + GET.decode(),
        b1 << asked("GET /a", ip="198.51.100.5"),
        b1 >> ok("one"),
        client << OK,
        log(200, b1, client_ip="198.51.100.5", peer_ip="192.0.2.7"),
        top=PROXY,
    ),
    row(
        "version 2",
        client >> b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes((198, 51, 100, 5, 192, 0, 2, 1)) + b"\x04\xd2\0\x50" + GET,
        b1 << asked("GET /a", ip="198.51.100.5"),
        b1 >> ok("one"),
        client << OK,
        log(200, b1, client_ip="198.51.100.5"),
        top=PROXY,
    ),
    row(
        "it holds for all requests of the connection",
        client >> V1 + GET.decode(),
        b1 << asked("GET /a", ip="198.51.100.5"),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
        client >> req("GET /b"),
        b1 << asked("GET /b", ip="198.51.100.5", n=2),
        b1 >> ok("one"),
        client << OK,
        log(200, b1, client_ip="198.51.100.5"),
        top=PROXY,
    ),
    row("from a peer that is not trusted: the end, without a word", client2 >> b"", client2 << FIN, top=PROXY),
    row("no header at all", client >> whole(GET), client << FIN, top=PROXY),
    row("a header that does not come", client >> "PROXY", after(30.3), client << FIN, top=PROXY),
    row("who leaves within it", client >> "PROXY TCP4", client >> FIN, client << FIN, top=PROXY),
    row(
        "without a timeout it may take all day",
        client >> "PROXY TCP4 198.51.100.5 192.0.2.1",
        skip(100),
        client >> " 1234 80\r\n" + GET.decode(),
        b1 << asked("GET /a", ip="198.51.100.5"),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
        top=PROXY + "timeouts: {client_header: 0}\n",
    ),
)

TRUSTED = "trusted_proxies: [192.0.2.7, 203.0.113.0/24]\n"


def trusted(name: str, fields: tuple[str, ...], gets: tuple[str, ...], client_ip: str, **keys: object) -> Row:
    """A trusted peer speaks for its client."""
    return row(
        name,
        client >> req("GET /a", *fields),
        b1 << asked("GET /a", *gets, "Via: 1.1 terraster", about=False),
        b1 >> ok("one"),
        client << OK,
        log(200, b1, client_ip=client_ip),
        top=TRUSTED,
        **keys,  # type: ignore[arg-type]
    )


MINE = "X-Request-ID: 0123456789abcdef00000001"

test_trust = table(
    trusted(
        "it says nothing: it is the client itself",
        (),
        (
            MINE,
            "X-Forwarded-For: 192.0.2.7",
            "X-Real-IP: 192.0.2.7",
            "X-Forwarded-Proto: http",
            "X-Forwarded-Port: 80",
            "X-Forwarded-Host: a.test",
        ),
        "192.0.2.7",
    ),
    trusted(
        "its word is kept, and it is added to the chain",
        (
            "X-Forwarded-For: 198.51.100.5",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: b.test",
            "X-Forwarded-Port: 443",
            "X-Request-ID: theirs",
        ),
        (
            "X-Request-ID: theirs",
            "X-Forwarded-For: 198.51.100.5, 192.0.2.7",
            "X-Real-IP: 198.51.100.5",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: b.test",
            "X-Forwarded-Port: 443",
        ),
        "198.51.100.5",
    ),
    trusted(
        "a chain of several fields, read from the right",
        ("X-Forwarded-For: 10.9.9.9", "X-Forwarded-For: 198.51.100.5, 203.0.113.1"),
        (
            MINE,
            "X-Forwarded-For: 10.9.9.9, 198.51.100.5, 203.0.113.1, 192.0.2.7",
            "X-Real-IP: 198.51.100.5",
            "X-Forwarded-Proto: http",
            "X-Forwarded-Port: 80",
            "X-Forwarded-Host: a.test",
        ),
        "198.51.100.5",
    ),
    trusted(
        "a request id that is too long is not believed",
        ("X-Request-ID: " + "x" * 129,),
        (
            MINE,
            "X-Forwarded-For: 192.0.2.7",
            "X-Real-IP: 192.0.2.7",
            "X-Forwarded-Proto: http",
            "X-Forwarded-Port: 80",
            "X-Forwarded-Host: a.test",
        ),
        "192.0.2.7",
    ),
    row(
        "a client that came by https is not sent there",
        client >> req("GET /a", "X-Forwarded-Proto: HTTPS"),
        b1
        << asked(
            "GET /a",
            "X-Forwarded-Proto: HTTPS",
            MINE,
            "X-Forwarded-For: 192.0.2.7",
            "X-Real-IP: 192.0.2.7",
            "X-Forwarded-Port: 80",
            "X-Forwarded-Host: a.test",
            "Via: 1.1 terraster",
            about=False,
        ),
        b1 >> ok("one"),
        client << OK,
        log(200, b1, scheme="https"),
        top=TRUSTED,
        service="http_redirect: true",
    ),
    row(
        "an error carries the request id that was given",
        client >> req("GET /b", "X-Request-ID: theirs"),
        client << refused(404, "destination_not_found", request_id="theirs"),
        log(404, error="destination_not_found"),
        top=TRUSTED,
        locations="- path: /a\n  backends: [{url: 'http://10.0.0.1:8000'}]",
    ),
    row(
        "a peer on a unix socket has no address",
        client.at("unix:/run/t.sock", "unix") >> GET,
        b1 << asked("GET /a", "X-Forwarded-Proto: http", "Via: 1.1 terraster", "X-Forwarded-Host: a.test", MINE, about=False),
        b1 >> ok("one"),
        client << OK,
        log(200, b1, client_ip="unix"),
        service="listen: 'unix:/run/t.sock'",
    ),
)


class Broken(Filter):
    """Raises what is no `HttpError`."""

    __slots__ = ()
    name = "broken"

    def on_request(self, exchange: Any) -> Answer | None:
        raise ZeroDivisionError("boom")


class Strict(Filter):
    """Refuses requests of its own accord."""

    __slots__ = ()
    name = "strict"

    def on_request(self, exchange: Any) -> Answer | None:
        raise HttpError("not like this", status=403, reason="http_request_denied")


class Answering(Filter):
    """Answers /own itself."""

    __slots__ = ()
    name = "answering"

    def on_request(self, exchange: Any) -> Answer | None:
        return Answer(200, ((b"X-Own", b"1"),), b"mine") if exchange.path == b"/own" else None


test_filters = table(
    row(
        "a defect in a filter is a 500, told once, and the connection ends",
        client >> GET,
        client << refused(500, "proxy_internal_error", close=True),
        client << FIN,
        client >> GONE,
        log(500, error="proxy_internal_error"),
        defect("ZeroDivisionError: boom"),
        filters=(Broken,),
    ),
    row(
        "a filter that refuses",
        client >> GET,
        client << refused(403, "http_request_denied"),
        log(403, error="http_request_denied"),
        client >> GET,
        client << refused(403, "http_request_denied", n=2),
        log(403, error="http_request_denied"),
        filters=(Strict,),
    ),
    row(
        "a filter that answers, and one that does not",
        client >> req("GET /own"),
        client << answered("200 OK", "X-Own: 1", body="mine"),
        log(200),
        *(client >> GET, b1 << asked("GET /a", n=2), b1 >> ok("one"), client << OK, log(200, b1)),
        filters=(Answering,),
    ),
    row(
        "a filter's answer to HEAD",
        client >> req("HEAD /own"),
        client << start("200 OK", "X-Own: 1", "Content-Length: 4"),
        log(200),
        filters=(Answering,),
    ),
)
