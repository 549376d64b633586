"""Pages for errors: what may be written, which page a status has, and which files there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from terraster.config.resolve import resolve
from terraster.config.snapshot import Service
from terraster.errors import CLIENT, ConfigError, HttpError
from terraster.exchange import Exchange
from terraster.filters.contract import Place
from terraster.filters.error_pages import ErrorPages, ErrorPagesSettings
from terraster.state.table import Table
from terraster.state.view import SeatView
from terraster.wire.answers import OwnHead
from terraster.wire.edits import Edits

from .harness.configuration import load


def made(pages: dict[str, Any], **more: Any) -> ErrorPages:
    """With files whose content is their name."""
    settings = ErrorPagesSettings.model_validate({**pages, **more})
    settings = settings.with_contents({source.name: Path(source.name).name.encode() for source in settings.sources()})
    view = SeatView(Table(1, 1, 1))
    return ErrorPages(settings, Place(None, None, view, {"sent": 112, "intercepted": 113}), view)


def exchange() -> Exchange:
    one = Exchange(0.0, 0.0, "1.2.3.4", "9.9.9.9", "http")
    one.request_id = b"0123"
    return one


def body(filter: ErrorPages, status: int) -> str | None:
    answer = filter.on_error(exchange(), HttpError("x", status=status))
    return None if answer is None else answer.body.decode()


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        ({"404": "/a"}, {404: "a", 403: None, 405: None}),
        ({"5xx": "/a"}, {499: None, 500: "a", 599: "a"}),
        ({"5XX": "/a", "502-504": "/b", "503": "/c"}, {500: "a", 502: "b", 503: "c", 504: "b"}),
        ({"503": "/c", "502-504": "/b", "5xx": "/a"}, {500: "a", 502: "b", 503: "c", 504: "b"}),
        ({"401, 403": "/a", "4xx": "/b"}, {401: "a", 403: "a", 404: "b"}),
        ({"4xx": "/b", "404": "off"}, {403: "b", 404: None}),
        ({404: "/a", "pages": {"5xx": "/b"}}, {404: "a", 500: "b"}),
        ({"pages": {"404": "/a"}}, {404: "a"}),
    ],
)
def test_the_narrowest_page_counts(pages: dict[str, Any], expected: dict[int, str | None]) -> None:
    filter = made(pages)
    assert {status: body(filter, status) for status in expected} == expected


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("/a.html", b"text/html; charset=utf-8"),
        ("/a.HTM", b"text/html; charset=utf-8"),
        ("/a.txt", b"text/plain; charset=utf-8"),
        ("/a.json", b"application/json"),
        ("/a.xml", b"text/xml; charset=utf-8"),
        ("/a.svg", b"image/svg+xml"),
        ("/a", b"application/octet-stream"),
    ],
)
def test_the_name_says_the_type(file: str, kind: bytes) -> None:
    answer = made({"404": file}).on_error(exchange(), HttpError("x", status=404))
    assert answer is not None and dict(answer.headers)[b"Content-Type"] == kind


def test_an_error_of_ours_keeps_what_is_said_about_it() -> None:
    error = HttpError(
        "wait", status=429, reason="http_request_denied", blame=CLIENT, retry_after=7, fields=((b"WWW-Authenticate", b"Basic"),)
    )
    answer = made({"4xx": "/a.txt"}).on_error(exchange(), error)
    assert answer is not None and answer.status == 429
    fields = dict(answer.headers)
    assert (fields[b"Retry-After"], fields[b"WWW-Authenticate"], fields[b"X-Request-ID"]) == (b"7", b"Basic", b"0123")
    assert fields[b"Proxy-Status"] == b'terraster; error=http_request_denied; details="wait"'


def test_a_client_of_grpc_has_no_page() -> None:
    filter, call = made({"5xx": "/a"}, intercept=True), exchange()
    call.grpc = object()
    assert filter.on_error(call, HttpError("x", status=502)) is None
    edits = Edits(502, False, OwnHead(502, (), 0))
    filter.on_response(call, edits)
    assert (edits.body, edits.drop) == (None, set())


@pytest.mark.parametrize(
    ("status", "own", "replaced"),
    [(500, False, True), (500, True, False), (404, False, False), (200, False, False), (103, False, False)],
)
def test_what_is_intercepted(status: int, own: bool, replaced: bool) -> None:
    filter = made({"5xx": "/a"}, intercept=True)
    edits = Edits(status, own, OwnHead(status, (), 0))
    filter.on_response(exchange(), edits)
    assert (edits.body == b"a", bool(edits.drop)) == (replaced, replaced)


def test_a_hook_that_is_not_needed_is_not_called() -> None:
    for filter, needed in [
        (made({}), (False, False)),
        (made({"404": "off"}, intercept=True), (False, False)),
        (made({"404": "/a"}), (True, False)),
        (made({"404": "/a"}, intercept=True), (True, True)),
    ]:
        assert (filter.needs("on_error"), filter.needs("on_response")) == needed


BACKENDS = "backends: [http://10.0.0.1:1]\n"


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("{200: a.html}", "names `200`, which is not an error status: write 404, 4xx, 502-504, or several with commas"),
        ("{3xx: a.html}", "names `3xx`"),
        ("{40x: a.html}", "names `40x`"),
        ("{pages: {404a: a.html}}", "names `404a`"),
        ("{504-502: a.html}", "has a range that runs backwards: 504-502"),
        ("{404: a.html, intercpt: true}", "unknown key `intercpt`; did you mean `intercept`?"),
        ("{404: [a.html]}", "`404` must be text"),
        ("{404: }", "`404` has no value"),
    ],
)
def test_what_is_refused_is_told(tmp_path: Path, written: str, problem: str) -> None:
    (tmp_path / "t.yaml").write_text(f"{BACKENDS}middleware: [{{error_pages: {written}}}]\n")
    with pytest.raises(ConfigError, match=r"t.yaml:2:\d+: ") as error:
        load(str(tmp_path / "t.yaml"))
    assert problem in str(error.value)


def test_a_page_has_a_largest_size() -> None:
    (source,) = ErrorPagesSettings.model_validate({"404": "/a.html"}).sources()
    assert source.check(bytes(256 << 10))
    with pytest.raises(ValueError, match="is larger than 256 KiB"):
        source.check(bytes((256 << 10) + 1))


def test_a_narrower_level_changes_single_pages(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / f"{name}.html").touch()
    (tmp_path / "t.yaml").write_text(
        "middleware: [{error_pages: {404: a.html, 5xx: b.html}}]\n"
        "services:\n- name: s\n  middleware: [{error_pages: {404: c.html, intercept: true}}]\n  locations:\n"
        "  - {path: /a, backends: [http://h]}\n"
        "  - {path: /b, backends: [http://h], middleware: [{error_pages: {5xx: off, 503: d.html}}]}\n"
        "  - {path: /c, backends: [http://h], middleware: [{error_pages: off}]}\n"
    )
    snapshot = resolve(load(str(tmp_path / "t.yaml")), 1)
    (service,) = snapshot.services

    def pages(place: Any) -> dict[str, str]:
        return dict(place.filters)["error_pages"].pages  # type: ignore[attr-defined, no-any-return]

    a, b, c = service.locations
    assert pages(snapshot) == {"404": f"{tmp_path}/a.html", "5xx": f"{tmp_path}/b.html"}
    assert isinstance(service, Service) and pages(service) == pages(a) == {"404": f"{tmp_path}/c.html", "5xx": f"{tmp_path}/b.html"}
    assert pages(b) == {"404": f"{tmp_path}/c.html", "5xx": "", "503": f"{tmp_path}/d.html"}
    assert dict(b.filters)["error_pages"].intercept  # type: ignore[attr-defined]
    assert "error_pages" not in dict(c.filters)
