"""Compression: which responses are compressed for which clients, and the head that they get. Bodies: tests/test_net_transformed.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from terraster.errors import ConfigError
from terraster.exchange import Exchange
from terraster.filters.compression import Compression, CompressionSettings
from terraster.filters.contract import Place, cells
from terraster.state.table import Table
from terraster.state.view import SeatView
from terraster.wire.answers import OwnHead
from terraster.wire.edits import Edits
from terraster.wire.http1 import parse_request, parse_response

from .harness.configuration import load

HTML = "Content-Type: text/html"
LONG = "Content-Length: 5000"
ACCEPTED = "Accept-Encoding: gzip, br, zstd"
VARY = {"vary": "Accept-Encoding"}


def written(edits: Edits) -> dict[str, str]:
    """The lines that are put in."""
    lines = [line.partition(": ") for line in edits.extra.decode().splitlines()]
    assert len({name.lower() for name, _, _ in lines}) == len(lines), "a field is put in twice"
    return {name.lower(): value for name, _, value in lines}


def compression(**settings: Any) -> Compression:
    view = SeatView(Table(1, 1, 1))
    place = Place(None, None, view, cells([Compression])["compression"])
    return Compression(CompressionSettings(**settings), place, view)


def hook(request: str, response: str, method: str = "GET", **settings: Any) -> Edits:
    """What becomes of a response. request, response: lines, separated by |."""
    made = compression(**settings)
    first, *rest = [line.strip() for line in request.split("|")]
    version = first if first.startswith("HTTP/") else "HTTP/1.1"
    lines = [f"{method} / {version}", "Host: a.test", *(rest if first.startswith("HTTP/") else [first, *rest])]
    asked = parse_request("\r\n".join([*[line for line in lines if line], "", ""]).encode(), 9999, 99)
    status, *fields = [line.strip() for line in response.split("|")]
    raw = "\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode()
    head = parse_response(raw, method.encode(), 9999, 99)
    assert asked is not None and head is not None
    exchange = Exchange(0.0, 0.0, "1.2.3.4", "9.9.9.9", "http", asked)
    edits = Edits(head.status, False, head)
    made.on_response(exchange, edits)
    return edits


ALONE: dict[str, str] = {}
ZSTD = {"content-encoding": "zstd", **VARY}


@pytest.mark.parametrize(
    ("request_", "response", "expected", "compressed"),
    [
        # who asks
        (ACCEPTED, f"200 OK | {HTML} | {LONG}", ZSTD, True),
        ("Accept-Encoding: gzip", f"200 OK | {HTML} | {LONG}", {"content-encoding": "gzip", **VARY}, True),
        ("Accept-Encoding: zstd;q=0 | Accept-Encoding: br", f"200 OK | {HTML} | {LONG}", {"content-encoding": "br", **VARY}, True),
        ("Accept-Encoding: gzip;q=0, *;q=0", f"200 OK | {HTML} | {LONG}", VARY, False),
        ("", f"200 OK | {HTML} | {LONG}", VARY, False),
        (f"HTTP/1.0 | {ACCEPTED}", f"200 OK | {HTML} | {LONG}", VARY, False),
        (f"{ACCEPTED} | Range: bytes=0-99", f"200 OK | {HTML} | {LONG}", VARY, False),
        (f"{ACCEPTED} | Cache-Control: no-cache, no-transform", f"200 OK | {HTML} | {LONG}", ALONE, False),
        (f"{ACCEPTED} | Cache-Control: no-cache", f"200 OK | {HTML} | {LONG}", ZSTD, True),
        # the status
        (ACCEPTED, f"404 Not Found | {HTML} | {LONG}", ZSTD, True),
        (ACCEPTED, f"500 Oh | {HTML} | {LONG}", ZSTD, True),
        (ACCEPTED, f"206 Partial Content | {HTML} | {LONG} | Content-Range: bytes 0-4999/9999", ALONE, False),
        (ACCEPTED, f"416 No | {HTML} | {LONG} | Content-Range: bytes */9999", ALONE, False),
        (ACCEPTED, f"204 No Content | {HTML}", ALONE, False),
        (ACCEPTED, f"205 Reset Content | {HTML} | {LONG}", ALONE, False),
        (ACCEPTED, f"103 Early Hints | {HTML}", ALONE, False),
        (f"{ACCEPTED} | Connection: upgrade | Upgrade: x", f"101 Switching | {HTML} | Upgrade: x", ALONE, False),
        # the size
        (ACCEPTED, f"200 OK | {HTML} | Content-Length: 1023", ALONE, False),
        (ACCEPTED, f"200 OK | {HTML} | Content-Length: 1024", ZSTD, True),
        (ACCEPTED, f"200 OK | {HTML} | Content-Length: 0", ALONE, False),
        (ACCEPTED, f"200 OK | {HTML} | Transfer-Encoding: chunked", ZSTD, True),
        (ACCEPTED, f"200 OK | {HTML}", ZSTD, True),
        # the type
        (ACCEPTED, f"200 OK | {LONG}", ALONE, False),
        (ACCEPTED, f"200 OK | Content-Type: image/png | {LONG}", ALONE, False),
        (ACCEPTED, f"200 OK | Content-Type: TEXT/HTML; charset=utf-8 | {LONG}", ZSTD, True),
        (ACCEPTED, f"200 OK | Content-Type: application/problem+json ;a=b | {LONG}", ZSTD, True),
        (ACCEPTED, f"200 OK | Content-Type: text/event-stream; charset=utf-8 | {LONG}", ALONE, False),
        (ACCEPTED, f"200 OK | Content-Type: application/grpc | {LONG}", ALONE, False),
        (ACCEPTED, f"200 OK | Content-Type: xtext/html | {LONG}", ALONE, False),
        (ACCEPTED, f"200 OK | Content-Type: application/jsonx | {LONG}", ALONE, False),
        # what the backend says
        (ACCEPTED, f"200 OK | {HTML} | {LONG} | Content-Encoding: gzip", ALONE, False),
        (ACCEPTED, f"200 OK | {HTML} | {LONG} | content-encoding: identity", ALONE, False),
        (ACCEPTED, f"200 OK | {HTML} | {LONG} | Cache-Control: public | Cache-Control: No-Transform", ALONE, False),
        (ACCEPTED, f"200 OK | {HTML} | {LONG} | Cache-Control: x-no-transform", ZSTD, True),
        (ACCEPTED, f"200 OK | {HTML} | {LONG} | X-Accel-Buffering: No", ALONE, False),
        (ACCEPTED, f"200 OK | {HTML} | {LONG} | X-Accel-Buffering: yes", ZSTD, True),
        (ACCEPTED, f"200 OK | {HTML} | {LONG} | Set-Cookie: a=b", ZSTD, True),
        # Vary and ETag
        (ACCEPTED, f"200 OK | {HTML} | {LONG} | Vary: Origin", {**ZSTD, "vary": "Origin, Accept-Encoding"}, True),
        (ACCEPTED, f"200 OK | {HTML} | {LONG} | Vary: Origin | Vary: X", {**ZSTD, "vary": "Origin, X, Accept-Encoding"}, True),
        (ACCEPTED, f"200 OK | {HTML} | {LONG} | Vary: accept-encoding", {"content-encoding": "zstd"}, True),
        (ACCEPTED, f"200 OK | {HTML} | {LONG} | Vary: *", {"content-encoding": "zstd"}, True),
        ("", f"200 OK | {HTML} | {LONG} | Vary: Origin", {"vary": "Origin, Accept-Encoding"}, False),
        (ACCEPTED, f'200 OK | {HTML} | {LONG} | ETag: "x"', {**ZSTD, "etag": 'W/"x"'}, True),
        (ACCEPTED, f'200 OK | {HTML} | {LONG} | ETag: W/"x"', ZSTD, True),
        ("", f'200 OK | {HTML} | {LONG} | ETag: "x"', VARY, False),
    ],
)
def test_which_responses_are_compressed(request_: str, response: str, expected: dict[str, str], compressed: bool) -> None:
    edits = hook(request_, response)
    assert written(edits) == expected
    assert (edits.transform is not None) is compressed
    if not compressed:
        assert edits.drop <= {b"vary"}


def test_what_counts_in_the_octets_before_is_taken_out() -> None:
    digests = "Content-MD5: x | Digest: x | Content-Digest: x | Repr-Digest: x"
    edits = hook(ACCEPTED, f"200 OK | {HTML} | {LONG} | Accept-Ranges: bytes | {digests} | X-A: 1")
    gone = {b"accept-ranges", b"content-length", b"content-md5", b"digest", b"content-digest", b"repr-digest"}
    assert edits.drop == gone | {b"vary", b"content-encoding"}


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (f'200 OK | {HTML} | {LONG} | ETag: "x" | Accept-Ranges: bytes', {**ZSTD, "etag": 'W/"x"'}),
        (f"200 OK | {HTML}", ZSTD),
        (f"200 OK | {HTML} | Content-Length: 1023", ALONE),
        ("204 No Content", ALONE),
    ],
)
def test_head_has_the_fields_of_get_and_no_length(response: str, expected: dict[str, str]) -> None:
    edits = hook(ACCEPTED, response, method="HEAD")
    assert written(edits) == expected and edits.transform is None
    assert (b"content-length" in edits.drop) is bool(expected)


@pytest.mark.parametrize(
    ("asked", "etag", "expected"),
    [
        ('W/"x"', '"x"', {"etag": 'W/"x"', **VARY}),
        ('"a", W/"x"', '"x"', {"etag": 'W/"x"', **VARY}),
        ('"x"', '"x"', ALONE),
        ('W/"x"', 'W/"x"', ALONE),
        ('W/"xx"', '"x"', ALONE),
        ("*", '"x"', ALONE),
    ],
)
def test_not_modified_has_the_validator_by_which_the_client_asked(asked: str, etag: str, expected: dict[str, str]) -> None:
    edits = hook(f"{ACCEPTED} | If-None-Match: {asked}", f"304 Not Modified | ETag: {etag}")
    assert written(edits) == expected and edits.transform is None


@pytest.mark.parametrize(
    ("settings", "response", "expected"),
    [
        ({"algorithms": ("gzip", "zstd")}, f"200 OK | {HTML} | {LONG}", {"content-encoding": "gzip", **VARY}),
        ({"min_size": "10k"}, f"200 OK | {HTML} | {LONG}", ALONE),
        ({"min_size": 0}, f"200 OK | {HTML} | Content-Length: 1", ZSTD),
        ({"types": ["image/*"]}, f"200 OK | {HTML} | {LONG}", ALONE),
        ({"types": ["Image/*"]}, f"200 OK | Content-Type: image/x.y | {LONG}", ZSTD),
        ({"types": ["text/event-stream"]}, f"200 OK | Content-Type: text/event-stream | {LONG}", ZSTD),
        ({"set_cookie": False}, f"200 OK | {HTML} | {LONG} | Set-Cookie: a=b", ALONE),
        ({"set_cookie": False}, f"200 OK | {HTML} | {LONG}", ZSTD),
    ],
)
def test_settings(settings: dict[str, Any], response: str, expected: dict[str, str]) -> None:
    assert written(hook(ACCEPTED, response, **settings)) == expected


def test_fields_of_other_hooks_count() -> None:
    made = compression()
    asked = parse_request(f"GET / HTTP/1.1\r\nHost: a.test\r\n{ACCEPTED}\r\n\r\n".encode(), 9999, 99)
    head = parse_response(f"HTTP/1.1 200 OK\r\n{HTML}\r\n{LONG}\r\nVary: A\r\n\r\n".encode(), b"GET", 9999, 99)
    edits = Edits(200, False, head)
    edits.set(b"Vary", b"Origin")
    edits.add(b"Cache-Control", b"no-transform")
    made.on_response(Exchange(0.0, 0.0, "1.2.3.4", "9.9.9.9", "http", asked), edits)
    assert edits.transform is None and written(edits) == {"vary": "Origin", "cache-control": "no-transform"}
    edits.remove(b"Cache-Control")
    made.on_response(Exchange(0.0, 0.0, "1.2.3.4", "9.9.9.9", "http", asked), edits)
    assert edits.transform is not None and written(edits) == {**ZSTD, "vary": "Origin, Accept-Encoding"}


def test_our_own_answers_are_left_alone() -> None:
    made = compression()
    asked = parse_request(f"GET / HTTP/1.1\r\nHost: a.test\r\n{ACCEPTED}\r\n\r\n".encode(), 9999, 99)
    for exchange in (Exchange(0.0, 0.0, "1.2.3.4", "9.9.9.9", "http", asked), Exchange(0.0, 0.0, "1.2.3.4", "9.9.9.9", "http")):
        edits = Edits(200, True, OwnHead(200, ((b"Content-Type", b"text/html"),), 5000))
        made.on_response(exchange, edits)
        assert edits.transform is None and not edits.extra and not edits.drop


LOCATION = "services:\n  - name: s\n    locations:\n      - path: /\n        backends: [{url: 'http://127.0.0.1:1'}]\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{algorithms: [deflate]}", "has `deflate`, which is not one of zstd, br, gzip"),
        ("{algorithms: [gzip, gzip]}", "must name at least one algorithm, and each only once"),
        ("{algorithms: []}", "must name at least one algorithm"),
        ("{level: 8}", "must be at most 7"),
        ("{level: 0}", "must be at least 1"),
        ("{min_size: -1}", "must be"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(f"{LOCATION}        compression: {text}\n")
    with pytest.raises(ConfigError) as caught:
        load(str(path))
    assert problem in str(caught.value)
