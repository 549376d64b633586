"""Settings of filters without effect: the warning, and where it is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from terraster.filters.registry import KINDS

from .test_config_level_checks import said, text

CORS = "`cors` names no `allowed_origins`: scripts of other origins may read nothing, as without `cors`"
SECURITY = "`security` names no field, so it adds none"
HSTS = "has no effect without `hsts: true`"
CLAIM = "`key` is jwt:sub, but without the filter `jwt` no request has a claim: clients are told apart by their addresses"
OBSERVED = "has no effect with `mode: observe`"
URL = "has no effect without `jwks_url`"
KEY = "key: 0123456789abcdef0123456789abcdef"


def entry(written: str) -> str:
    return f"middleware: [{{{written}}}]"


CASES = [
    # written alone
    (text("", "", entry("cors: on")), [f"8:19: {CORS}"]),
    (text("", "", entry("cors: off")), []),
    (text("", "", entry("cors: {allowed_origins: ['https://a.test']}")), []),
    (text("", "", entry("security: on")), [f"8:19: {SECURITY}"]),
    (text("", "", entry("security: {frame_options: deny}")), []),
    (text("", "", entry("security: {xss_protection: on}")), []),
    (text("", "", entry("security: {frame_options: deny, hsts_preload: yes}")), [f"8:51: `hsts_preload` {HSTS}"]),
    (
        text("", "", entry("security: {frame_options: deny, hsts_max_age: 1d, hsts_include_subdomains: yes}")),
        [f"8:51: `hsts_max_age` {HSTS}", f"8:69: `hsts_include_subdomains` {HSTS}"],
    ),
    (text("", "", entry("security: {hsts: on, hsts_include_subdomains: yes, hsts_preload: yes}")), []),
    (
        text("", "", entry("security: {hsts: on, hsts_preload: yes}")),
        [
            "8:40: `hsts_preload` has no effect: browsers' list wants `hsts_include_subdomains` and a `hsts_max_age` of a year as well"
        ],
    ),
    (text("", "", entry("error_pages: {intercept: yes}")), ["8:19: `error_pages` names no page, so errors stay as they are"]),
    (text("", "", entry("error_pages: {404: off}")), []),
    (text("", "", entry(f"jwt: {{{KEY}, jwks_refresh: 1m}}")), [f"8:64: `jwks_refresh` {URL}"]),
    (
        text("", "", entry("jwt: {jwks_url: 'http://h/', jwks_ca_file: /etc/hostname}")),
        ["8:48: `jwks_ca_file` has no effect with a `jwks_url` of http"],
    ),
    (text("", "", "compression: {types: []}"), ["8:19: `types` is empty, so nothing is compressed; `compression: off` says so"]),
    (text("", "", "compression: on"), []),
    (text("", "", entry("rate_limit: {requests_per_second: 1, key: 'jwt:sub'}")), [f"8:56: {CLAIM}"]),
    (
        text("", "", entry("rate_limit: {requests_per_second: 1, mode: observe, headers: none, status: 503}")),
        [f"8:71: `headers` {OBSERVED}", f"8:86: `status` {OBSERVED}"],
    ),
    (text("", "", "headers: {}"), ["8:5: `headers` names no field, so it changes none"]),
    (
        text("", "", "buffer: {request: no, response: no}"),
        ["8:5: `buffer` reads neither requests nor responses ahead; `buffer: off` says so"],
    ),
    (text("", "", "buffer: {disk: 0, directory: /tmp}"), ["8:23: `directory` has no effect with `disk: 0`"]),
    # with what a wider level says
    (text("cors: {allowed_origins: ['https://a.test']}", "", entry("cors: {max_age: 1h}")), []),
    (text("security: {hsts: on}", "", entry("security: {hsts_max_age: 1d}")), []),
    (text("", entry(f"jwt: {{{KEY}}}"), entry("rate_limit: {requests_per_second: 1, key: 'jwt:sub'}")), []),
    (text("", entry("jwt: off"), entry("rate_limit: {requests_per_second: 1, key: 'jwt:sub'}")), [f"8:56: {CLAIM}"]),
    (
        text("rate_limit: {requests_per_second: 1, status: 503}", "", entry("rate_limit: {mode: observe}")),
        [],
    ),
    # a narrower level may complete it
    (text("security: {hsts_max_age: 1d, frame_options: deny}"), [f"1:12: `hsts_max_age` {HSTS}"]),
    (text("security: {hsts_max_age: 1d}", entry("security: {hsts: on}")), []),
    (text("cors: on", "", entry("cors: {allowed_origins: ['https://a.test']}")), []),
    (text("", entry("cors: on")), [f"5:17: {CORS}"]),
    (text("rate_limit: {requests_per_second: 1, key: 'jwt:sub'}"), [f"1:38: {CLAIM}"]),
    (text("rate_limit: {requests_per_second: 1, key: 'jwt:sub'}", "", entry(f"jwt: {{{KEY}}}")), []),
    # entries of other names are told apart
    (
        text("", entry("rate_limit: {name: a, requests_per_second: 1}"), entry("rate_limit: {name: a, key: 'jwt:sub'}")),
        [f"8:41: {CLAIM}"],
    ),
]


@pytest.mark.parametrize(("written", "expected"), CASES)
def test_what_is_said(tmp_path: Path, written: str, expected: list[str]) -> None:
    assert said(tmp_path, written) == expected


def test_kinds_lean_on_kinds_that_there_are() -> None:
    names = {kind.name for kind in KINDS}
    assert all(kind.settings.leans_on <= names for kind in KINDS if kind.settings is not None)
