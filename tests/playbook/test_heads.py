"""Heads of requests: what is refused and how, what goes on and how."""

from __future__ import annotations

from .lines import answered, asked, ok, refused, req
from .play import FIN, GONE, Row, after, b1, b2, client, log, reload, row, table, whole

GET = req("GET /a")


def bad(name: str, octets: str | bytes, status: int = 400, **keys: object) -> Row:
    """A head that is refused: one answer, and the end of the connection. No backend hears of it."""
    return row(
        name,
        client >> octets,
        client << refused(status, "http_request_error", close=True),
        client << FIN,
        client >> GONE,
        log(status, error="http_request_error", method=b"-"),
        **keys,  # type: ignore[arg-type]
    )


def bad_target(name: str, octets: bytes, status: int = 400, reason: str = "http_request_error", **keys: object) -> Row:
    """A head that can be read, with a target that cannot be served."""
    return row(
        name,
        client >> octets,
        client << refused(status, reason, close=True),
        client << FIN,
        client >> GONE,
        log(status, error=reason, bytes_in=len(octets)),
        **keys,  # type: ignore[arg-type]
    )


def good(name: str, octets: str | bytes, *asks: object, **keys: object) -> Row:
    """A request that is served. asks: what `asked` takes."""
    return row(
        name,
        client >> octets,
        b1 << (asks[0] if not isinstance(asks[0], str) else asked(*asks)),  # type: ignore[arg-type, operator]
        b1 >> ok("one"),
        client << answered("200 OK", body="one"),
        log(200, b1, error="", bytes_in=len(octets)),
        **keys,  # type: ignore[arg-type]
    )


HOST = "Host: a.test\r\n"

test_refused = table(
    bad("no HTTP at all", "hello\r\n\r\n"),
    bad("a version that is too short", f"GET / HT\r\n{HOST}\r\n"),
    bad("no version, only the space before it", f"GET / \r\n{HOST}\r\n"),
    bad("a request line without a version", f"GET /\r\n{HOST}\r\n"),
    bad("two spaces before the version", f"GET /  HTTP/1.1\r\n{HOST}\r\n"),
    bad("two spaces before the target", f"GET  / HTTP/1.1\r\n{HOST}\r\n"),
    bad("a target with a space", f"GET /a b HTTP/1.1\r\n{HOST}\r\n"),
    bad("a line that ends with a bare LF", f"GET / HTTP/1.1\n{HOST}\r\n"),
    bad("a field line that ends with a bare LF", "GET / HTTP/1.1\r\nHost: a.test\nX: y\r\n\r\n"),
    bad("a folded field", f"GET / HTTP/1.1\r\n{HOST}X: y\r\n  z\r\n\r\n"),
    bad("a space before the colon", f"GET / HTTP/1.1\r\n{HOST}X : y\r\n\r\n"),
    bad("a field without a name", f"GET / HTTP/1.1\r\n{HOST}: y\r\n\r\n"),
    bad("a field line without a colon", f"GET / HTTP/1.1\r\n{HOST}hello\r\n\r\n"),
    bad("a control character in a value", f"GET / HTTP/1.1\r\n{HOST}X: a\x01b\r\n\r\n"),
    bad("a NUL in a value", f"GET / HTTP/1.1\r\n{HOST}X: a\0b\r\n\r\n"),
    bad("HTTP/1.1 without Host", "GET / HTTP/1.1\r\n\r\n"),
    bad("an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    bad("two Hosts", f"GET / HTTP/1.1\r\n{HOST}{HOST}\r\n"),
    bad("two Hosts in HTTP/1.0", f"GET / HTTP/1.0\r\n{HOST}{HOST}\r\n"),
    bad("two lengths", f"POST / HTTP/1.1\r\n{HOST}Content-Length: 1\r\nContent-Length: 1\r\n\r\n"),
    bad("a length with a sign", f"POST / HTTP/1.1\r\n{HOST}Content-Length: +1\r\n\r\n"),
    bad("a length of letters", f"POST / HTTP/1.1\r\n{HOST}Content-Length: ten\r\n\r\n"),
    bad("a length of 19 digits", f"POST / HTTP/1.1\r\n{HOST}Content-Length: {'9' * 19}\r\n\r\n"),
    bad("a length and chunks", f"POST / HTTP/1.1\r\n{HOST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    bad("two Transfer-Encodings", f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
    bad("chunked twice", f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked, chunked\r\n\r\n"),
    bad("chunked before something else", f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked, gzip\r\n\r\n"),
    bad("an empty Transfer-Encoding", f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding:\r\n\r\n"),
    bad("chunks in HTTP/1.0", f"POST / HTTP/1.0\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n"),
    bad("Connection that names Host", f"GET / HTTP/1.1\r\n{HOST}Connection: host\r\n\r\n"),
    bad(
        "Connection that names Content-Length", f"POST / HTTP/1.1\r\n{HOST}Connection: content-length\r\nContent-Length: 1\r\n\r\nx"
    ),
    bad("another transfer coding", f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: gzip\r\n\r\n", 501),
    bad("a transfer coding before chunked", f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    bad("an expectation nobody knows", f"GET / HTTP/1.1\r\n{HOST}Expect: tea\r\n\r\n", 417),
    bad("HTTP/2.0", f"GET / HTTP/2.0\r\n{HOST}\r\n", 505),
    bad("HTTP/0.9 with a version", f"GET / HTTP/0.9\r\n{HOST}\r\n", 505),
    bad("a request line beyond the limit", f"GET /{'a' * 300} HTTP/1.1\r\n{HOST}\r\n", 414, top="limits: {header_size: 256}\n"),
    bad("a request line that never ends", f"GET /{'a' * 300}", 414, top="limits: {header_size: 256}\n"),
    bad(
        "fields beyond the limit of octets",
        f"GET / HTTP/1.1\r\n{HOST}X: {'a' * 300}\r\n\r\n",
        431,
        top="limits: {header_size: 256}\n",
    ),
    bad("fields that never end", f"GET / HTTP/1.1\r\n{HOST}X: {'a' * 300}", 431, top="limits: {header_size: 256}\n"),
    bad("too many fields", f"GET / HTTP/1.1\r\n{HOST}" + "Y: z\r\n" * 5 + "\r\n", 431, top="limits: {header_count: 5}\n"),
)

test_counted = table(
    row(
        "the octets of a head that cannot be read are counted",
        client >> whole("hello\r\n\r\n"),
        client << refused(400, "http_request_error", close=True),
        client << FIN,
        client >> GONE,
        log(400, error="http_request_error", bytes_in=9),
    ),
)

test_refused_targets = table(
    bad_target("CONNECT", req("CONNECT a.test:443", host="a.test:443"), 501),
    bad_target("an asterisk with GET", req("GET *")),
    bad_target("a target without a slash", req("GET a/b")),
    bad_target("an absolute target of another scheme", req("GET ftp://a.test/")),
    bad_target("an absolute target beside a Host that is none", req("GET http://a.test/a", host="a b")),
    bad_target("an absolute target with a user", req("GET http://me@a.test/")),
    bad_target("a path above the root", req("GET /../../x")),
    bad_target("a path with a broken escape", req("GET /%zz")),
    bad_target("a path with an escaped NUL", req("GET /a%00b")),
    bad_target("an encoded slash where it is refused", req("GET /a%2Fb"), service="encoded_slashes: refuse"),
    bad_target("a Host that is none", req("GET /", host="a b")),
    bad_target("a Host with a port that is none", req("GET /", host="a.test:port")),
    bad_target(
        "a Host that nobody has",
        req("GET /", host="b.test"),
        421,
        "destination_not_found",
        text='listen: "127.0.0.1:80"\naccess_log: off\nhealth_check: {type: none}\n'
        "services:\n- {name: s, host: a.test, locations: [{path: /, backends: [{url: 'http://10.0.0.1:8000'}]}]}\n",
    ),
    row(
        "a path that nobody has: the connection goes on",
        client >> req("GET /b"),
        client << refused(404, "destination_not_found"),
        log(404, error="destination_not_found"),
        client >> req("GET /a"),
        b1 << asked("GET /a", n=2),
        b1 >> ok(),
        client << answered("200 OK"),
        log(200, b1),
        locations="- path: /a\n  backends: [{url: 'http://10.0.0.1:8000'}]",
    ),
    row(
        "a path that nobody has, with a body that is all here: the connection goes on",
        client >> whole(req("POST /b", body="body") + req("GET /a")),
        client << refused(404, "destination_not_found"),
        log(404, error="destination_not_found"),
        b1 << asked("GET /a", n=2),
        b1 >> ok(),
        client << answered("200 OK"),
        log(200, b1),
        locations="- path: /a\n  backends: [{url: 'http://10.0.0.1:8000'}]",
    ),
    row(
        "a path that nobody has, with a body that is not here: the connection ends",
        client >> req("POST /b", "Content-Length: 5"),
        client << refused(404, "destination_not_found", close=True),
        client << FIN,
        client >> "body!",
        client >> GONE,
        log(404, error="destination_not_found"),
        locations="- path: /a\n  backends: [{url: 'http://10.0.0.1:8000'}]",
    ),
    row(
        "a path that nobody has, with chunks: the connection ends",
        client >> req("POST /b", "Transfer-Encoding: chunked"),
        client << refused(404, "destination_not_found", close=True),
        client << FIN,
        client >> "0\r\n\r\n",
        client >> GONE,
        log(404, error="destination_not_found"),
        locations="- path: /a\n  backends: [{url: 'http://10.0.0.1:8000'}]",
    ),
)

test_served = table(
    good("a request goes to the backend, and its answer back", GET, "GET /a"),
    good(
        "fields travel in their order and spelling",
        req("GET /a", "aCcept: x", "X-A: 1", "X-A: 2"),
        "GET /a",
        "aCcept: x",
        "X-A: 1",
        "X-A: 2",
    ),
    good("a query travels", req("GET /a?b=c&d"), "GET /a?b=c&d"),
    good("an empty query is one", req("GET /a?"), "GET /a?"),
    good("a path is forwarded as it was matched", req("GET /x/../a/./%62"), "GET /a/b"),
    good("an encoded slash is kept", req("GET /a%2Fb"), "GET /a%2Fb"),
    good("an empty line before a request is overlooked", b"\r\n" + GET, "GET /a"),
    good("a method of one's own", req("FROB-1 /a"), "FROB-1 /a"),
    good("OPTIONS of all", req("OPTIONS *"), "OPTIONS *"),
    good("an absolute target", req("GET http://a.test/a"), "GET /a"),
    good("an absolute target without a path", req("GET http://a.test"), "GET /"),
    good("an absolute target replaces Host", req("GET http://b.test/a"), asked("GET /a", host="b.test")),
    good(
        "hop-by-hop fields stay",
        req("GET /a", "TE: trailers", "Keep-Alive: 5", "Proxy-Connection: x", "HTTP2-Settings: y"),
        "GET /a",
    ),
    good("what Connection names stays", req("GET /a", "X-Mine: 1", "Connection: x-mine", "X-Other: 2"), "GET /a", "X-Other: 2"),
    good("an upgrade that Connection does not name stays", req("GET /a", "Upgrade: websocket"), "GET /a"),
    good("an upgrade to h2c stays", req("GET /a", "Upgrade: h2c", "Connection: Upgrade"), "GET /a"),
    good(
        "what a stranger says of itself stays",
        req(
            "GET /a",
            "X-Forwarded-For: 1.2.3.4",
            "X_Forwarded_For: 1.2.3.4",
            "X-Forwarded-Host: evil",
            "Forwarded: for=1.2.3.4",
            "X-Real-IP: 1.2.3.4",
            "X-Request-ID: mine",
        ),
        "GET /a",
    ),
    good("a Host with a port", req("GET /a", host="a.test:8080"), asked("GET /a", host="a.test:8080")),
    good("a body of no octets", req("POST /a", "Content-Length: 0"), "POST /a", "Content-Length: 0"),
)

test_http_1_0 = table(
    row(
        "HTTP/1.0 gets its answer, and the end of the connection",
        client >> req("GET /a HTTP/1.0"),
        b1 << asked("GET /a", via="1.0"),
        b1 >> ok("one"),
        client << answered("200 OK", "Connection: close", body="one"),
        client << FIN,
        log(200, b1),
    ),
    row(
        "HTTP/1.0 that asks for it keeps its connection",
        client >> req("GET /a HTTP/1.0", "Connection: keep-alive"),
        b1 << asked("GET /a", via="1.0"),
        b1 >> ok("one"),
        client << answered("200 OK", "Connection: keep-alive", body="one"),
        log(200, b1),
        client >> req("GET /a"),
        b1 << asked("GET /a", n=2),
        b1 >> ok("two"),
        client << answered("200 OK", body="two"),
        log(200, b1),
    ),
    row(
        "HTTP/1.0 without Host: the backend's own name goes in",
        client >> req("GET /a HTTP/1.0", host=None),
        b1
        << asked(
            "GET /a",
            "Host: 10.0.0.1:8000",
            "X-Forwarded-For: 192.0.2.7",
            "X-Real-IP: 192.0.2.7",
            "X-Forwarded-Proto: http",
            "X-Forwarded-Port: 80",
            "Via: 1.0 terraster",
            "X-Request-ID: 0123456789abcdef00000001",
            host=None,
            about=False,
        ),
        b1 >> ok(),
        client << answered("200 OK", "Connection: close"),
        client << FIN,
        log(200, b1),
    ),
    row(
        "HTTP/1.0 waits for no 100: the expectation stays",
        client >> req("POST /a HTTP/1.0", "Expect: 100-continue", body="abc"),
        b1 << asked("POST /a", body="abc", via="1.0"),
        b1 >> ok(),
        client << answered("200 OK", "Connection: close"),
        client << FIN,
        log(200, b1),
    ),
    row(
        "HTTP/1.0 with an error of ours, kept",
        client >> req("GET /b HTTP/1.0", "Connection: keep-alive"),
        client << refused(404, "destination_not_found", keep_alive=True),
        log(404, error="destination_not_found"),
        locations="- path: /a\n  backends: [{url: 'http://10.0.0.1:8000'}]",
    ),
)

TWO_SITES = """listen: "127.0.0.1:80"
access_log: off
health_check: {type: none}
services:
- {name: a, host: a.test, locations: [{path: /, backends: [{url: 'http://10.0.0.1:8000'}]}]}
- {name: b, host: "*.b.test", locations: [{path: /, backends: [{url: 'http://10.0.0.2:8000'}]}]}
"""

test_hosts = table(
    row(
        "the Host says which site is meant, request by request",
        client >> req("GET /1"),
        b1 << asked("GET /1"),
        b1 >> ok(),
        client << answered("200 OK"),
        log(200, b1),
        client >> req("GET /2", host="www.b.test:8080"),
        b2 << asked("GET /2", host="www.b.test:8080", n=2),
        b2 >> ok(),
        client << answered("200 OK"),
        log(200, b2),
        client >> req("GET /3", host="A.test"),
        b1 << asked("GET /3", host="A.test", n=3),
        b1 >> ok(),
        client << answered("200 OK"),
        log(200, b1),
        client >> req("GET /4", host="c.test"),
        client << refused(421, "destination_not_found", close=True, n=4),
        client << FIN,
        client >> GONE,
        log(421, error="destination_not_found"),
        text=TWO_SITES,
    ),
    row(
        "a kept connection goes by the new configuration though its Host is the same",
        client >> req("GET /1"),
        b1 << asked("GET /1"),
        b1 >> ok(),
        client << answered("200 OK"),
        log(200, b1),
        reload(service="http_redirect: true"),
        client >> req("GET /1"),
        client << answered("308 Permanent Redirect", "Location: https://a.test/1"),
        log(308),
    ),
    row(
        "HTTP/1.0 without Host finds no site",
        client >> req("GET /1 HTTP/1.0", host=None),
        client << refused(421, "destination_not_found", close=True),
        client << FIN,
        client >> GONE,
        log(421, error="destination_not_found"),
        text=TWO_SITES,
    ),
)

test_connections = table(
    row(
        "one connection, several requests, one connection to the backend",
        client >> GET,
        b1 << asked("GET /a"),
        b1 >> ok("one"),
        client << answered("200 OK", body="one"),
        log(200, b1, bytes_in=len(GET)),
        after(3),
        client >> req("POST /b", body="hello"),
        b1 << asked("POST /b", body="hello", n=2),
        b1 >> ok("two"),
        client << answered("200 OK", body="two"),
        log(200, b1, bytes_in=len(req("POST /b", body="hello"))),
    ),
    row(
        "pipelined requests are answered in their order, one at a time",
        client >> req("GET /1") + req("POST /2", body="two") + req("GET /3"),
        b1 << asked("GET /1"),
        b1 >> ok("1"),
        client << answered("200 OK", body="1"),
        log(200, b1),
        b1 << asked("POST /2", body="two", n=2),
        b1 >> ok("2"),
        client << answered("200 OK", body="2"),
        log(200, b1),
        b1 << asked("GET /3", n=3),
        b1 >> ok("3"),
        client << answered("200 OK", body="3"),
        log(200, b1),
    ),
    row(
        "a bad request behind a good one",
        client >> GET + b"hello\r\n\r\n",
        b1 << asked("GET /a"),
        b1 >> ok("1"),
        client << answered("200 OK", body="1"),
        client << refused(400, "http_request_error", close=True, n=2),
        client << FIN,
        client >> GONE,
        log(200, b1),
        log(400, error="http_request_error"),
    ),
    row(
        "who asks for the end of the connection gets it",
        client >> req("GET /a", "Connection: close"),
        b1 << asked("GET /a"),
        b1 >> ok("one"),
        client << answered("200 OK", "Connection: close", body="one"),
        client << FIN,
        log(200, b1),
    ),
    row("who connects and leaves is nobody", client >> b"", client >> GONE, client << FIN),
    row("who leaves within a head is nobody", client >> "GET / HT", client >> GONE, client << FIN),
    row(
        "who leaves after a request is nobody more",
        client >> GET,
        b1 << asked("GET /a"),
        b1 >> ok(),
        client << answered("200 OK"),
        log(200, b1),
        client >> FIN,
        client << FIN,
    ),
)
