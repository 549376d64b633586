"""Documents as operators may see them."""

from __future__ import annotations

from typing import Any

import pytest

from terraster.config.telling import masked


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"Authorization": "x", "X-Other": "y"}, {"Authorization": "(hidden)", "X-Other": "y"}),
        ({"X-Other": "Basic dXNlcjpwdw=="}, {"X-Other": "(hidden)"}),
        ({"X-Other": ["bearer abc.def"]}, {"X-Other": ["(hidden)"]}),
        (
            {"X-Other": "Bearer ${cookie:sid}", "realm": "Basic access for all"},
            {"X-Other": "Bearer ${cookie:sid}", "realm": "Basic access for all"},
        ),
        ({"url": "https://ann:hunter2@hooks.test/x"}, {"url": "https://(hidden)@hooks.test/x"}),
        (
            {"health_check": {"path": "/ok", "headers": {"X-Foo": "hush"}, "request_body": "hush"}},
            {"health_check": {"path": "/ok", "headers": {"X-Foo": "(hidden)"}, "request_body": "(hidden)"}},
        ),
        (
            {"healthCheck": {"requestBody": "hush"}, "health_check": "off"},
            {"healthCheck": {"requestBody": "(hidden)"}, "health_check": "off"},
        ),
        (
            {"match": {"methods": ["GET"], "headers": {"X-Foo": ["hush"]}, "query": {"a": "hush"}, "cookies": {"b": True}}},
            {"match": {"methods": ["GET"], "headers": {"X-Foo": "(hidden)"}, "query": {"a": "(hidden)"}, "cookies": "(hidden)"}},
        ),
        ({"url": "https://hooks.test:8443/a@b"}, {"url": "https://hooks.test:8443/a@b"}),
    ],
)
def test_credentials_are_hidden_by_name_and_by_form(value: Any, shown: Any) -> None:
    assert masked(value) == shown
