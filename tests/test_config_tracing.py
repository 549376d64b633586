"""Tracing in a configuration: which requests are recorded, where spans go, and the words about what cannot work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from terraster.config import tracing
from terraster.config.resolve import resolve
from terraster.config.snapshot import Snapshot
from terraster.config.tracing import Sampling, Tracing
from terraster.errors import ConfigError

from .harness.configuration import Loader

URL = "http://127.0.0.1:4318"


def load(tmp_path: Path, top: object, service: object = None) -> Any:
    file = tmp_path / "t.yaml"
    one: dict[str, Any] = {"name": "a", "host": "a.test", "locations": [{"path": "/", "backends": ["http://127.0.0.1:9"]}]}
    one |= {} if service is None else {"tracing": service}
    file.write_text(yaml.safe_dump({"health_check": "off", **({} if top is None else {"tracing": top}), "services": [one]}))
    return Loader({}).load(str(file))


def snapshot(tmp_path: Path, top: object, service: object = None) -> Snapshot:
    return resolve(load(tmp_path, top, service), 1)


RATIO = {"endpoint": URL, "sampler": "traceidratio", "ratio": "1%"}


@pytest.mark.parametrize(
    ("top", "service", "unrouted", "of_service"),
    [
        (None, None, None, None),
        ("off", None, None, None),
        ("off", "off", None, None),
        ({"endpoint": URL}, None, Sampling(), Sampling()),
        ({"endpoint": URL}, "on", Sampling(), Sampling()),
        ({"endpoint": URL}, "off", Sampling(), None),
        ({"endpoint": URL, "enabled": False}, None, None, None),
        ({"endpoint": URL, "enabled": False}, "on", None, Sampling()),
        (RATIO, None, Sampling("traceidratio", 0.01), Sampling("traceidratio", 0.01)),
        (RATIO, {"ratio": 0.5}, Sampling("traceidratio", 0.01), Sampling("traceidratio", 0.5)),
        (RATIO, {"ratio": 0}, Sampling("traceidratio", 0.01), Sampling("traceidratio", 0.0)),
        (RATIO, {"sampler": "always_on"}, Sampling("traceidratio", 0.01), Sampling("always_on", 0.01)),
    ],
)
def test_a_service_comes_before_the_top(
    tmp_path: Path, top: object, service: object, unrouted: Sampling | None, of_service: Sampling | None
) -> None:
    made = snapshot(tmp_path, top, service)
    assert (made.sampling, made.services[0].tracing) == (unrouted, of_service)
    assert (made.tracing is not None) is (unrouted is not None or of_service is not None)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"endpoint": URL}, Tracing(f"{URL}/v1/traces")),
        ({"endpoint": f"{URL}/"}, Tracing(f"{URL}/v1/traces")),
        ({"endpoint": f"{URL}/otlp"}, Tracing(f"{URL}/otlp")),
        ({"endpoint": URL, "protocol": "grpc"}, Tracing(URL, "grpc")),
        ({"endpoint": URL, "headers": {"X-Key": "k"}}, Tracing(f"{URL}/v1/traces", headers=(("x-key", "k"),))),
        (
            {"endpoint": URL, "resource": {"a.b": 1}, "timeout": "2s"},
            Tracing(f"{URL}/v1/traces", resource=(("a.b", "1"),), timeout=2.0),
        ),
    ],
)
def test_where_spans_go(tmp_path: Path, written: object, expected: Tracing) -> None:
    assert snapshot(tmp_path, written).tracing == expected


def test_a_secret_is_read_from_a_file_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("Bearer x\n")
    made = snapshot(tmp_path, {"endpoint": URL, "headers": {"Authorization": "file:key"}})
    assert made.tracing is not None and made.tracing.headers == (("authorization", "Bearer x"),)
    assert "Bearer" not in repr(made)


@pytest.mark.parametrize(
    ("top", "service", "words"),
    [
        ("on", None, "`tracing` needs `endpoint`"),
        ({"sampler": "always_on"}, None, "`tracing` needs `endpoint`"),
        (None, "on", "`tracing` of a service needs `tracing.endpoint` at the top"),
        ({"endpoint": "collector:4318"}, None, "must be the URL of an OTLP receiver"),
        ({"endpoint": "http://h?x=1"}, None, "must be the URL of an OTLP receiver"),
        ({"endpoint": "http://u:p@h"}, None, "must not contain a user name or password: use `headers`"),
        ({"endpoint": "http://h:0"}, None, "must have a port from 1 to 65535"),
        ({"endpoint": "http://h:99999"}, None, "must have a port from 1 to 65535"),
        ({"endpoint": "http://h/x", "protocol": "grpc"}, None, "must have no path for `protocol: grpc`"),
        ({"endpoint": URL, "ca_file": "ca.pem"}, None, "`ca_file` is for an https:// endpoint"),
        ({"endpoint": URL, "sampler": "sometimes"}, None, "sampler"),
        ({"endpoint": URL, "ratio": 50}, None, "write 50% or 0.5"),
        ({"endpoint": URL}, "maybe", "must be `on`, `off` or a mapping"),
    ],
)
def test_an_error_has_its_place(tmp_path: Path, top: object, service: object, words: str) -> None:
    (tmp_path / "ca.pem").write_text("")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, top, service)
    (problem,) = caught.value.problems
    assert words in problem.message and problem.line > 0 and problem.file == str(tmp_path / "t.yaml")


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_missing_packages_are_told_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str) -> None:
    missing = f"opentelemetry.exporter.otlp.proto.{protocol}"
    monkeypatch.setattr(tracing, "_is_installed", lambda package: package != missing)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, {"endpoint": URL, "protocol": protocol})
    (problem,) = caught.value.problems
    assert "pip install 'terraster[tracing]'" in problem.message and problem.line == 9
    monkeypatch.setattr(tracing, "_is_installed", lambda package: package == "opentelemetry.sdk.trace")
    load(tmp_path, "off")


def test_a_package_that_is_not_there_is_found_missing() -> None:
    assert tracing._is_installed("opentelemetry.sdk.trace")
    assert not tracing._is_installed("opentelemetry.nothing") and not tracing._is_installed("none_such.at.all")


def test_a_ratio_without_its_sampler_is_doubted(tmp_path: Path) -> None:
    (words,) = load(tmp_path, {"endpoint": URL, "ratio": 0.5}).warnings
    assert "`ratio` has no effect with `sampler: parentbased_always_on`" in words
    (words,) = load(tmp_path, {"endpoint": URL}, {"sampler": "always_on", "ratio": 0.5}).warnings
    assert "`ratio` has no effect with `sampler: always_on`" in words
    assert load(tmp_path, {"endpoint": URL, "sampler": "traceidratio"}, {"ratio": 0.5}).warnings == ()
