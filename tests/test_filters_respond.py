"""Fixed answers: what may be written, and what is answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from terraster.config.resolve import resolve
from terraster.errors import ConfigError
from terraster.exchange import Exchange
from terraster.filters.answer import Answer
from terraster.filters.contract import Place
from terraster.filters.respond import Respond, RespondSettings
from terraster.state.table import Table
from terraster.state.view import SeatView

from .harness.configuration import load

TEXT = (b"Content-Type", b"text/plain; charset=utf-8")


def answer(**written: Any) -> Answer:
    view = SeatView(Table(1, 1, 1))
    settings = RespondSettings(**written).with_contents({"/a/b.txt": b"in a file", "/a/b.json": b"{}"})
    made = Respond(settings, Place(None, None, view, {"answers": 112}), view)
    exchange = Exchange(0.0, 0.0, "1.2.3.4", "9.9.9.9", "http")
    exchange.method, exchange.host, exchange.path, exchange.query = b"GET", b"a.test", b"/x", b"y=1"
    return made.on_request(exchange)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({}, Answer(200)),
        ({"body": "ok\n"}, Answer(200, (TEXT,), b"ok\n")),
        ({"status": 503, "body": "später"}, Answer(503, (TEXT,), "später".encode())),
        ({"status": 204, "headers": {"X-A": "1"}}, Answer(204, ((b"X-A", b"1"),))),
        (
            {"body": "{}", "headers": {"content-type": "application/json"}},
            Answer(200, ((b"content-type", b"application/json"),), b"{}"),
        ),
        ({"file": "/a/b.txt"}, Answer(200, (TEXT,), b"in a file")),
        ({"file": "/a/b.json", "status": 404}, Answer(404, ((b"Content-Type", b"application/json"),), b"{}")),
        (
            {"file": "/a/b.json", "headers": {"Content-Type": "application/problem+json"}},
            Answer(200, ((b"Content-Type", b"application/problem+json"),), b"{}"),
        ),
        ({"status": 302, "headers": {"Location": "https://${host}${uri}"}}, Answer(302, ((b"Location", b"https://a.test/x?y=1"),))),
    ],
)
def test_answers(written: dict[str, Any], expected: Answer) -> None:
    assert answer(**written) == expected


LOCATION = "services:\n  - name: s\n    locations:\n      - path: /\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("        respond: {status: 199}\n", "5:27: `status` must be at least 200"),
        (
            "        respond: {status: 204, body: x}\n",
            "5:18: `respond` has a `body`, which an answer with `status` 204 cannot have",
        ),
        ("        respond: {body: x, file: t.yaml}\n", "5:18: `respond` has both `body` and `file`: keep one"),
        (
            "        respond: {status: 304, file: t.yaml}\n",
            "5:18: `respond` has a `file`, which an answer with `status` 304 cannot have",
        ),
        ("        respond: {headers: {Content-Length: 1}}\n", "5:29: `Content-Length` cannot be changed by rules"),
        ("        respond: {text: x}\n", "5:19: unknown key `text`"),
        ("        respond: off\n", "4:9: location / has neither `backends` nor `redirect`"),
    ],
)
def test_what_is_refused_is_told_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "t.yaml").write_text(LOCATION + text)
    with pytest.raises(ConfigError) as error:
        load(str(tmp_path / "t.yaml"))
    assert [str(one).removeprefix(f"{tmp_path}/t.yaml:") for one in error.value.problems][0].startswith(problem)


def test_a_location_takes_the_place_of_what_its_service_answers(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(
        "services:\n"
        "  - name: s\n"
        "    respond: {status: 503, body: closed}\n"
        "    locations:\n"
        "      - path: /a\n"
        "      - {path: /b, respond: {body: open}}\n"
        "      - {path: /c, respond: off, backends: [{url: http://h}]}\n"
    )
    (service,) = resolve(load(str(tmp_path / "t.yaml")), 1).services
    found = [dict(place.filters).get("respond") for place in (service, *service.locations)]
    closed, open_ = RespondSettings(status=503, body="closed"), RespondSettings(body="open")
    assert found == [closed, closed, open_, None]


NEEDED = " in `headers`, or clients do not know what to do"


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ("respond: {status: 302}", ["5:19: `status` 302 needs the field `Location`" + NEEDED]),
        ("respond: {status: 302, headers: {location: /x}}", []),
        ("respond: {status: 401}", ["5:19: `status` 401 needs the field `WWW-Authenticate`" + NEEDED]),
        ("middleware: [{respond: {status: 405}}]", ["5:33: `status` 405 needs the field `Allow`" + NEEDED]),
        ("respond: {enabled: off, status: 405}\n        backends: [{url: http://h}]", []),
        ("respond: {body: x}\n        backends: [{url: http://h}]", ["5:9: `respond` answers every request of /: the `backends` get none"]),
        (
            "middleware: [{respond: {body: x}}]\n        backends: [{url: http://h}]",
            ["5:23: `respond` answers every request of /: the `backends` get none"],
        ),
        ("respond: {body: x}\n        redirect: https://a.test/", ["5:9: `respond` has no effect in /: `redirect` comes first"]),
    ],
)  # fmt: skip
def test_what_can_hardly_be_meant_is_told_with_its_place(tmp_path: Path, text: str, warnings: list[str]) -> None:
    (tmp_path / "t.yaml").write_text(f"{LOCATION}        {text}\n")
    found = [one.removeprefix(f"{tmp_path}/t.yaml:") for one in load(str(tmp_path / "t.yaml")).warnings]
    assert found == warnings


def test_a_file_is_named_beside_the_configuration_and_has_to_be_there(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(LOCATION + "        respond: {file: none.txt}\n")
    with pytest.raises(ConfigError, match=r"t\.yaml:5:25: the file .*/none\.txt cannot be read"):
        load(str(tmp_path / "t.yaml"))
