"""What inherited keys say of each other: what contradicts itself is an error, what has no effect a warning where it is written."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

import pytest

from terraster.errors import ConfigError
from tests.harness.configuration import Loader


def said(directory: Path, text: str) -> list[str]:
    """The problems of a file, else its warnings, each as "LINE:COL: words"."""
    file = directory / "t.yaml"
    file.write_text(text)
    try:
        found = list(Loader({}).load(str(file)).warnings)
    except ConfigError as error:
        found = [str(problem) for problem in error.problems]
    return [line.removeprefix(f"{file}:") for line in found]


def text(top: str = "", service: str = "", location: str = "", backends: str = "[{url: 'http://h1'}, {url: 'http://h2'}]") -> str:
    """Line 1: the top; 5: the service; 8: the location; 9: its backends."""
    body = f"services:\n- name: a\n  host: a\n  {service or '# no key'}\n  locations:\n  - path: /\n"
    rest = f"{location or '# no key'}\nbackends: {backends}\n"
    return f"{top or '# no key'}\n{body}{indent(rest, '    ')}"


CASES = [
    # what contradicts itself
    (text("connection_pool: {max_idle: 9, max_open: 5}"), ["1:29: `max_idle` 9 is more than `max_open` 5"]),
    (text("connection_pool: {max_open: 5}", location="connection_pool: {max_idle: 9}"), ["8:33: `max_idle` 9 is more than `max_open` 5"]),
    (text("connection_pool: {max_idle: 9}", "connection_pool: {max_open: 5}"), ["5:31: `max_idle` 9 is more than `max_open` 5"]),
    (text("connection_pool: {max_idle: 9, max_open: 0}", location="connection_pool: {max_open: 9}"), []),
    (text("outlier: {time: 10m}"), ["1:17: `max_time` 300s is less than `time` 600s"]),
    (text("outlier: {max_time: 5s}"), ["1:21: `max_time` 5s is less than `time` 10s"]),
    (text("outlier: {time: 10m, enabled: no}"), []),
    (
        text("sticky: {secure: false}", "sticky: {same_site: none}", "lb_policy: sticky-session"),
        ["5:23: `same_site: none` with `secure: false`: browsers refuse such a cookie"],
    ),
    (text("circuit_breaker: {}", "middleware: [{circuit_breaker: {}}]"), []),
    (
        text("middleware: [{circuit_breaker: {}}]\ncircuit_breaker: {}"),
        ["1:15: `circuit_breaker` is defined twice: here and at the top level"],
    ),
    (
        text("", "middleware: [{circuit_breaker: {}}, {circuit_breaker: off}]"),
        ["5:40: `circuit_breaker` is defined twice: keep one entry of it"],
    ),
    (
        text(backends="[{url: 'http://h1', backup: true, priority: 1}]"),
        ["9:35: `backup` and `priority` both define when the backend is used: keep one"],
    ),
    # what has no effect
    (text("sticky: {ttl: 1h}"), ["1:1: `sticky` is for `algorithm: sticky-session` and has no effect here"]),
    (text("sticky: {ttl: 1h}", location="lb_policy: sticky-session"), []),
    (text("sticky: {ttl: 1h}\nalgorithm: sticky-session"), []),
    (text("", "sticky: {ttl: 1h}"), ["5:3: `sticky` is for `lb_policy: sticky-session` and has no effect here"]),
    (text("", "", "sticky: {ttl: 1h}"), ["8:5: `sticky` is for `lb_policy: sticky-session` and has no effect here"]),
    (text("", "", "hash_on: path"), ["8:5: `hash_on` is for `lb_policy: consistent-hash` and has no effect here"]),
    (text("", "hash_on: path", "lb_policy: consistent_hash"), []),
    (text("algorithm: ip-hash", "", "hash_balance_factor: 1.5"), []),
    (text("", "", "hash_balance_factor: off"), []),
    (
        text("hash_balance_factor: 2"),
        ["1:1: `hash_balance_factor` is for `algorithm: consistent-hash` or `algorithm: ip-hash` and has no effect here"],
    ),
    (text("", "", "lb_policy: ip-hash\nslow_start: 30s"), ["9:5: `slow_start` has no effect under `ip-hash`"]),
    (text("", "", "slow_start: 30s\nlb_policy: consistent-hash"), ["8:5: `slow_start` has no effect under `consistent-hash`"]),
    (text("algorithm: ip-hash\nslow_start: 30s"), ["2:1: `slow_start` has no effect under `ip-hash`"]),
    (text("slow_start: 30s", "", "slow_start: 0\nlb_policy: round-robin"), []),
    (text("", "", "slow_start: 0\nlb_policy: ip-hash"), []),
    (text("", "", "slow_start: 30s\nlb_policy: sticky-session"), []),  # it is for new sessions
    (
        text("", "", "slow_start: 30s\nlb_policy: sticky-session\nsticky: {algorithm: ip-hash}"),
        ["8:5: `slow_start` has no effect under `ip-hash`"],
    ),
    (text("outlier: {statuses: 500}"), ["1:11: `statuses` without `bad_statuses` or `ratio` ejects nothing"]),
    (text("outlier: {statuses: 500}", location="outlier: {ratio: 10%}"), []),
    (text("outlier: {failures: 0, connect_errors: 0}", "outlier: {bad_statuses: 2}"), []),
    (text("outlier: {ratio: 10%}", location="outlier: {statuses: 500, window: 1m, min_requests: 5}"), []),
    (
        text("", "outlier: {window: 1m, min_requests: 5}"),
        ["5:13: `window` without `ratio` has no effect", "5:25: `min_requests` without `ratio` has no effect"],
    ),
    (text("outlier: {failures: 0, connect_errors: 0}"), ["1:1: `outlier` has no condition: set `off`, or one of its numbers"]),
    (text("outlier: off"), []),
    (text("outlier: {max_ejected: 49%}"), ["1:11: `max_ejected` 0.49 of 2 backends is less than one: no backend is ever ejected"]),
    (text("", "", "outlier: {max_ejected: 49%}"), ["8:15: `max_ejected` 0.49 of 2 backends is less than one: no backend is ever ejected"]),
    (text("outlier: {max_ejected: 50%}"), []),
    (text("outlier: {max_ejected: 0}"), []),
    (text("outlier: {max_ejected: 49%}", location="outlier: {max_ejected: 100%}"), []),
    (
        text("outlier: {max_ejected: 33%}", backends="[{url: 'http://h1'}, {url: 'http://h2'}, {url: 'http://h3'}]"),
        ["1:11: `max_ejected` 0.33 of 3 backends is less than one: no backend is ever ejected"],
    ),
    (
        text("outlier: {max_ejected: 50%}", backends="[{url: 'http://10.0.0.1'}, {url: 'http://10.0.0.2', weight: 0}]"),
        ["1:11: `max_ejected` 0.5 of 1 backend is less than one: no backend is ever ejected"],
    ),
    (
        text("outlier: {max_ejected: 33%}", backends="['unix:/run/app.sock']"),
        ["1:11: `max_ejected` 0.33 of 1 backend is less than one: no backend is ever ejected"],
    ),
    (text("outlier: {max_ejected: 33%}", backends="[{url: 'http://many.example'}]"), []),
    (text("outlier: {max_ejected: 33%}", backends="[{url: 'srv+http://many.example'}, {url: 'http://h2'}]"), []),
    (text("", "", "queue: {size: 5}"), ["8:5: `queue` without `max_connections` of a backend: no backend is ever full, so no request waits"]),
    (text("queue: {size: 5}", "queue: {size: 6}"), []),
    (text("", "", "queue: off"), []),
    (text("", "", "queue: {size: 5}", "[{url: 'http://h1', max_connections: 5}, {url: 'http://h2'}]"), []),
    (text("connection_pool: {max_open: 7}", "", "queue: {size: 5}"), []),
    (text(backends="[{url: 'http://h1', backup: true}]"), ["9:35: every backend here is a `backup`: this has the same effect as no `backup`"]),
    (text(backends="[{url: 'http://h1', backup: true}, {url: 'http://h2'}]"), []),
    ("backends: [{url: 'http://h', backup: true}]\n", ["1:30: every backend here is a `backup`: this has the same effect as no `backup`"]),
]  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), CASES)
def test_what_is_said(tmp_path: Path, given: str, expected: list[str]) -> None:
    assert said(tmp_path, given) == expected


def test_it_is_said_on_every_load(tmp_path: Path) -> None:
    """The service comes out of the cache; what it inherits has changed."""
    file = tmp_path / "t.yaml"
    loader = Loader({})
    good = text("connection_pool: {max_open: 20}", location="connection_pool: {max_idle: 9}")
    file.write_text(good)
    first = loader.load(str(file))
    file.write_text(good.replace("20", "5"))
    with pytest.raises(ConfigError, match="`max_idle` 9 is more than `max_open` 5"):
        loader.load(str(file))
    file.write_text(good.replace("20", "10"))
    assert loader.load(str(file)).services[0] is first.services[0]
