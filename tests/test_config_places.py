"""Where the error of a filter is said to be that shows only when the values of all levels are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from terraster.cli.main import main

from .test_config_level_checks import text

LOG = "access_log: {redact_query: [other]}"
KEY = "key: 0123456789abcdef0123456789abcdef"

CASES = [
    # nothing says it: the filter, where the narrowest level writes it
    (
        text("", "", "middleware: [{rate_limit: {burst: 3}}]"),
        "8:19: service a, /: `rate_limit` says nothing of `requests_per_second`",
    ),
    (text("rate_limit: {burst: 3}"), "1:1: service a, /: `rate_limit` says nothing of `requests_per_second`"),
    (
        text("rate_limit: {burst: 3}", "", "middleware: [{rate_limit: {status: 503}}]"),
        "8:19: service a, /: `rate_limit` says nothing of `requests_per_second`",
    ),
    (
        text(
            "rate_limit: {requests_per_second: 1}",
            "middleware: [{rate_limit: {name: b}}]",
            "middleware: [{rate_limit: {burst: 1}}]",
        ),
        "5:17: service a, /: `rate_limit` says nothing of `requests_per_second`",
    ),
    (text("", "middleware: [{limit_connections: {}}]"), "5:17: service a, /: `limit_connections` says nothing of `per_client`"),
    (text("middleware: [{shed: {}}]"), "1:15: service a, /: `shed` says nothing of `loop_lag` or `memory`"),
    (text("", "", "middleware: [{forward_auth: {}}]"), "8:19: service a, /: `forward_auth` needs a `url`"),
    (text("", "", "middleware: [{basic_auth: {users: {}}}]"), "8:19: service a, /: `basic_auth` needs `users` or `file`"),
    (text("", "middleware: [{jwt: {audience: x}}]"), "5:17: service a, /: `jwt` needs `jwks_url`, `jwks_file` or `key`"),
    (text("", "", "middleware: [{ip_access: {on: peer}}]"), "8:19: service a, /: `ip_access` needs `allow`, `deny`"),
    # levels that contradict each other: the key of the narrower one
    (
        text("cors: {allowed_origins: ['*']}", "", "middleware: [{cors: {allow_credentials: yes}}]"),
        "8:26: service a, /: `cors` has `*` in `allowed_origins` with `allow_credentials`: name them",
    ),
    (
        text("cors: {allow_credentials: yes}", "middleware: [{cors: {allowed_headers: ['*']}}]"),
        "5:24: service a, /: `cors` has `*` in `allowed_headers` with `allow_credentials`: name them",
    ),
    (text("", "", "buffer: {directory: /not/there}"), "8:14: service a, /: `buffer` has a `directory` that is not there"),
    (
        text(LOG, f"middleware: [{{jwt: {{{KEY}, query: token}}}}]", "middleware: [{jwt: {audience: x}}]"),
        "5:62: service a, /: `jwt` reads tokens from the parameter `token`",
    ),
    # of two locations with one path the one that is meant
    (
        text("", "", "middleware: [{shed: {loop_lag: 1s}}]")
        + "  - {path: /, match: {methods: PUT}, respond: {}}\n  - {path: /, match: {methods: POST}, respond: {}, middleware: [{shed: {}}]}\n",
        "11:66: service a, /#POST: `shed` says nothing of `loop_lag` or `memory`",
    ),
    # the services of other names and the locations of other paths are not meant
    (
        text("", "", "middleware: [{shed: {loop_lag: 1s}}]") + "  - path: /b/./c\n    respond: {}\n    middleware: [{shed: {}}]\n",
        "12:19: service a, /b/c: `shed` says nothing of `loop_lag` or `memory`",
    ),
]


@pytest.mark.parametrize(("written", "said"), CASES)
def test_an_error_has_the_line_of_the_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str], written: str, said: str) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(written)
    assert main(["--check", "--config", str(file)]) == 2
    assert capsys.readouterr().err.startswith(f"{file}:{said}")
