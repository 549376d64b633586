"""The JSON Schema and the loader agree. That it accepts what the loader takes is asked at each load of these tests
(`tests.harness.configuration`); here is what it refuses, and the spellings that it has to know."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from .harness.configuration import load, refused_by_schema
from .test_config_loader import BAD, GOOD

ROOT = Path(__file__).parent.parent
CAN_SAY = re.compile(
    r"unknown key|is missing|must be (at least|at most|more than|less than|a number|a whole number|a mapping|a list|true or false)"
    r"|names an unknown algorithm"
)
"""Faults that a schema can describe: those of single values, and of names of keys."""


def _cases() -> list[Any]:
    found = []
    for case in BAD:
        text, expected = case if isinstance(case, tuple) else case.values
        if expected and all(CAN_SAY.search(line) for line in expected) and "/dev" not in text:
            found.append(pytest.param(text, id=expected[0][:60]))
    return found


@pytest.mark.parametrize("text", _cases())
def test_what_the_loader_refuses_for_a_value_the_schema_refuses_too(text: str) -> None:
    assert list(refused_by_schema(text)) != []


def test_there_are_such_cases() -> None:
    assert len(_cases()) >= 30


@pytest.mark.parametrize(
    "line",
    [
        "access_log: stdout",
        "access_log: off",
        "access_log: false",
        "access_log: /tmp/access.log",
        "retry: off",
        "retry: {on: 503}",
        "outlier: off",
        "outlier: 'On'",
        "health_check: no",
        'port: "${P:-8080}"',
        'port: "8080"',
        "proxy_protocol: Yes",
        "algorithm: Least_Connections",
        "timeouts: {read: 90, total: 1h30m}",
        "limits: {body_size: 10M, header_count: '50'}",
        "headers: {response_headers: {X-V: 0x10, X-W: 1.10, X-X: null, X-Y: on}}",
        "services: [{name: 1.10, host: a, http_redirect: on}]",
        "workers: ${W:-2}",
    ],
)
def test_spellings(tmp_path: Path, line: str) -> None:
    (tmp_path / "t.yaml").write_text(f"{GOOD}{line}\n")
    load(str(tmp_path / "t.yaml"))


@pytest.mark.parametrize(
    "line",
    [
        "admin_port: 0",
        "port: 65536",
        "port: [80]",
        "health_check: {interval: 0}",
        "panic_threshold: 50",
        "middleware: [{}]",
        "services: [{port: 1}]",
    ],
)
def test_what_the_schema_knows_of_values(line: str) -> None:
    assert list(refused_by_schema(f"{GOOD}{line}\n")) != []


@pytest.mark.parametrize(
    "name",
    [
        "etc/terraster.yaml",
        "etc/docker.yaml",
        "terraster/config/default.yaml",
        *(f"tests/data/{name}.yaml" for name in ("quickstart", "basic", "advanced", "later-services", "later-middleware-tls")),
    ],
)
def test_examples(name: str) -> None:
    assert list(refused_by_schema((ROOT / name).read_text())) == []
