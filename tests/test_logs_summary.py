"""A request in a few fields: what it shows, what it leaves out, and how long it may become."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from terraster.config.snapshot import AccessLog
from terraster.exchange import Exchange
from terraster.logs.summary import FIELDS, LONGEST, Summaries


def exchange(target: bytes, log: AccessLog | None = None, **facts: Any) -> Exchange:
    """A request of a place with this access log; None: of no place, with the log of the top."""
    made = Exchange(1.0, 1000.0, "10.0.0.1", "10.0.0.1", "http")
    made.target, made.method, made.host, made.request_id = target, b"GET", b"a.test", b"0123456789abcdef00000001"
    made.plan = SimpleNamespace(snapshot=SimpleNamespace(access_log=AccessLog()))
    if log is not None:
        made.service = SimpleNamespace(name="shop", access_log=log)
        made.location = SimpleNamespace(label="/api", access_log=log)
    for name, value in facts.items():
        setattr(made, name, value)
    return made


def summary(one: Exchange, reason: str = "") -> dict[str, Any]:
    return dict(zip(FIELDS, Summaries().of(one, reason), strict=True))


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        (AccessLog(), "/a?token=****&b=c"),
        (AccessLog(redact_query=("b",), mask="#"), "/a?token=x&b=#"),
        (AccessLog(format="combined"), "/a?token=****&b=c"),
        (AccessLog(format="{client} {uri}"), "/a?token=****&b=c"),
        (AccessLog(fields=("uri", "status")), "/a?token=****&b=c"),
        (AccessLog(path=""), "/a"),
        (AccessLog(query=False), "/a"),
        (AccessLog(fields=("status",)), "/a"),
        (AccessLog(format="{client}"), "/a"),
    ],
)
def test_the_query_is_shown_as_an_access_line_would_have_it(log: AccessLog, shown: str) -> None:
    assert summary(exchange(b"/a?token=x&b=c", log))["path"] == shown


def test_a_request_of_no_place_has_the_log_of_the_top() -> None:
    found = summary(exchange(b"http://me:pass@a.test/a?secret=x", None, error="http_request_error"), "respond")
    assert (found["path"], found["service"], found["location"], found["backend"]) == (
        "http://****@a.test/a?secret=****",
        "",
        "",
        "",
    )
    assert found["reason"] == "http_request_error"


def test_a_reason_is_that_of_the_error_or_else_the_one_that_is_given() -> None:
    assert summary(exchange(b"/"), "respond")["reason"] == "respond"
    assert summary(exchange(b"/"))["reason"] == ""


def test_a_detail_is_masked() -> None:
    assert summary(exchange(b"/", AccessLog(), detail="http://u:p@b/: token=x"))["detail"] == "http://****@b/: token=****"


def test_a_long_target_is_cut_before_it_is_masked_and_tells_no_secret() -> None:
    long = b"x" * 5000
    assert summary(exchange(b"/a?token=" + long))["path"] == "/a?token=****"
    assert summary(exchange(b"/a?b=" + long))["path"].endswith("x...")
    for target in (b"http://me:" + long + b"@a.test/", b"//me:" + long + b"@a.test/"):
        assert summary(exchange(target))["path"] == "..."


def test_texts_are_cut_and_control_no_terminal() -> None:
    found = summary(exchange(b"/" + b"x" * 5000, None, host=b"a\x1b[2J\xff\n" + b"y" * 5000, method=b"M" * 500, detail="z" * 5000))
    assert len(found["path"]) == len(found["detail"]) == LONGEST and found["path"].endswith("...")
    assert found["host"].startswith(r"a\x1b[2J\xff\x0a") and len(found["host"]) < 250 and len(found["method"]) == 32
    assert all(one.isprintable() for one in found.values() if isinstance(one, str))
