"""`terraster plugin`: a new plugin with its test, and tests on recorded requests; and the text of `terrasterctl plugins`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from terraster.cli.main import main
from terraster.cli.plugins import shown

ECHO = """
class Echo:
    name = "echo"

    def on_request(self, request):
        if request.path == "/loop":
            while True:
                pass
        if request.path == "/own":
            return 201, {"X-Own": "1"}, {"client": request.client, "args": request.args, "user": request.user}
        request.headers["X-Seen"] = request.headers.get("x-sent", "nothing")
        del request.headers["X-Secret"]

    def on_request_body(self, request, body):
        if body == b"bad":
            return 403

    def on_response(self, request, response):
        response.headers["X-Status"] = response.status

    def on_response_body(self, request, response, body):
        return body[::-1]
"""


def test_a_new_plugin_passes_its_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "plugins"
    assert main(["plugin", "new", "my_plugin", "--directory", str(folder)]) == 0
    assert (folder / "my_plugin.py").stat().st_mode & 0o022 == 0
    assert main(["plugin", "test", str(folder / "my_plugin.py")]) == 0
    said = capsys.readouterr().out
    assert "OK: 2 requests" in said and "answered by the plugin" in said
    assert main(["plugin", "new", "my_plugin", "--directory", str(folder)]) == 2, "it is there already"
    assert main(["plugin", "test", str(folder / "my_plugin.py"), "--set", "greeting=bye"]) == 1
    assert "header X-Greeting is bye, not hello" in capsys.readouterr().out
    assert main(["plugin", "test", str(folder / "my_plugin.py"), "--set", "greting=bye"]) == 2
    assert "unknown key `greting`; did you mean `greeting`?" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["jwt", "timeouts", "My", "a-b", "_a", "test_a", "1a", "é"])
def test_a_name_that_no_plugin_may_have(tmp_path: Path, name: str) -> None:
    assert main(["plugin", "new", "--directory", str(tmp_path), "--", name]) == 2
    assert list(tmp_path.iterdir()) == []


RECORDS: list[tuple[dict[str, Any], list[str]]] = [
    (
        {
            "request": {"path": "/own?a=b", "client": "192.0.2.9"},
            "expect": {"status": 201, "headers": {"x-own": "1"}, "upstream": None},
        },
        [],
    ),
    (
        {
            "request": {"path": "/own"},
            "expect": {"body": {"client": "192.0.2.1", "args": {}, "user": ""}, "headers": {"X-Status": 201}},
        },
        [],
    ),
    ({"request": {"headers": {"X-Sent": "a", "X-Secret": "b"}}, "expect": {"upstream": {"X-Seen": "a", "X-Secret": None}}}, []),
    ({"request": {"method": "POST", "body": "bad"}, "expect": {"status": 403}}, []),
    ({"response": {"status": 404, "body": "abc"}, "expect": {"status": 404, "body": "cba", "headers": {"X-Status": "404"}}}, []),
    ({"request": {"path": "/loop"}, "expect": {"status": 500}}, []),
    ({"expect": {"status": 201}}, ["status is 200, not 201"]),
    ({"expect": {"upstream": None}}, ["the backend gets the request"]),
    ({"request": {"path": "/own"}, "expect": {"upstream": {}}}, ["the backend gets nothing"]),
    (
        {"expect": {"headers": {"X-Status": None, "X-No": "1"}}},
        ["header X-Status is 200, and should not be there", "header X-No is not there, not 1"],
    ),
    ({"response": {"body": "a"}, "expect": {"body": "b"}}, ["body is b'a', not 'b'"]),
    ({"expect": {"state": 1}}, ["`expect` has `state`; it may have status, headers, upstream, body"]),
]


@pytest.mark.parametrize("record, wrong", RECORDS)
def test_a_record(tmp_path: Path, capsys: pytest.CaptureFixture[str], record: dict[str, Any], wrong: list[str]) -> None:
    (tmp_path / "echo.py").write_text(ECHO)
    (tmp_path / "echo.requests.json").write_text(json.dumps([record]))
    assert main(["plugin", "test", str(tmp_path / "echo.py")]) == bool(wrong)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert [line for line in lines[1:-1] if not line.startswith(("warning: ", "error: "))] == wrong


def test_an_access_log_is_a_recording_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "echo.py").write_text(ECHO)
    (tmp_path / "log").write_text('{"method": "GET", "host": "a", "uri": "/own", "client": "192.0.2.1", "status": 200}\n')
    assert main(["plugin", "test", str(tmp_path / "echo.py"), "--requests", str(tmp_path / "log")]) == 0
    assert "ok   echo: GET /own → 201, answered by the plugin" in capsys.readouterr().out


@pytest.mark.parametrize(
    "code, records, words",
    [
        ("a = = 1\n", "[]", "echo.py:1:5: is not valid Python"),
        (ECHO, "[1]", "must be a list of objects"),
        (ECHO, "{", "echo.requests.json: "),
        (ECHO, '[{"request": {"path": "no"}}]', "the path of a request begins with /, not 'no'"),
        (ECHO + "\n    def setup(self, context):\n        raise OSError('no')\n", "[{}]", "setup failed: OSError: no"),
    ],
)
def test_what_cannot_be_tested(tmp_path: Path, capsys: pytest.CaptureFixture[str], code: str, records: str, words: str) -> None:
    (tmp_path / "echo.py").write_text(code)
    (tmp_path / "echo.requests.json").write_text(records)
    assert main(["plugin", "test", str(tmp_path / "echo.py")]) == 2
    assert words in capsys.readouterr().err


def test_a_plugin_without_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One request is tried, and what the plugin changed is told; a file that is named has to be there."""
    (tmp_path / "mark.py").write_text(
        "class Mark:\n    name = 'mark'\n\n    def on_request(self, request):\n        request.headers['X-In'] = '1'\n\n"
        "    def on_response(self, request, response):\n        response.headers['X-Out'] = '2'\n"
    )
    assert main(["plugin", "test", str(tmp_path / "mark.py")]) == 0
    first, second, *changed, last = capsys.readouterr().out.splitlines()
    assert (
        first
        == f"there are no recorded requests ({tmp_path / 'mark.requests.json'}), so this is one GET / (docs/plugins.md, Testing)"
    )
    assert second.startswith("ok   mark: GET / → 200 (") and last == "OK: 1 requests"
    assert [line.strip() for line in changed] == ["backend gets: X-In: 1", "client gets: X-Out: 2"]
    assert main(["plugin", "test", str(tmp_path / "mark.py"), "--requests", str(tmp_path / "none.json")]) == 2
    assert "none.json: No such file or directory" in capsys.readouterr().err


def test_a_line_of_a_plugin_has_a_bound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "chatty.py"
    file.write_text(
        "class Chatty:\n    name = 'chatty'\n\n    def setup(self, context):\n        self.context = context\n\n"
        "    def on_request(self, request):\n        self.context.log('x' * 100_000)\n"
    )
    (tmp_path / "chatty.requests.json").write_text('[{"request": {}}]')
    assert main(["plugin", "test", str(file)]) == 0
    (line,) = [line.strip() for line in capsys.readouterr().out.splitlines() if "xxx" in line]
    assert line == f"info: plugin chatty: {'x' * 8192} …"


def test_the_list_of_plugins() -> None:
    one = {
        "name": "geo",
        "state": "quarantined",
        "file": "/p/geo.py",
        "problem": "/p/geo.py:3:7: is not valid Python: no",
        "services": ["a", "b", "c", "d"],
        "calls": 12,
        "mean_seconds": 0.0012,
        "answers": 3,
        "exceptions": 4,
        "timeouts": 1,
        "skipped": 7,
        "quarantined_workers": 1,
        "deaths": 2,
        "counters": {"hits": 9},
    }
    assert shown({"plugins": [one]}, colour=False, width=100).splitlines() == [
        "NAME  STATE        CALLS   MEAN  ANSWERS  FAULTS  SKIPPED  SERVICES",
        "geo   QUARANTINED     12  1.2ms        3       5        7  a, b, c and 1 more",
        "  quarantine: in 1 worker: 4 exceptions, 1 timeout, 2 deaths of workers",
        "  new version: /p/geo.py:3:7: is not valid Python: no; the one before stays in use",
        "  counters: hits 9",
    ]
    assert shown({"plugins": []}, colour=False, width=100) == "no plugin is in use\n"
