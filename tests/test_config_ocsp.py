"""`tls.ocsp` in a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from terraster.config.resolve import resolve
from terraster.errors import ConfigError

from .harness.configuration import Loader


def load(tmp_path: Path, ocsp: Any) -> Any:
    (tmp_path / "c.pem").touch()
    one = {"name": "a", "host": "a.test", "locations": [{"path": "/", "backends": ["http://127.0.0.1:9"]}]}
    tls = {"cert_file": "c.pem", "ocsp": ocsp}
    file = tmp_path / "t.yaml"
    file.write_text(yaml.safe_dump({"health_check": "off", "services": [{**one, "tls": tls}]}))
    return Loader({}).load(str(file))


@pytest.mark.parametrize(
    ("written", "source"),
    [
        ("off", ""),
        (False, ""),
        ("no", ""),
        ("fetch", "fetch"),
        ("a.ocsp", "{here}/a.ocsp"),
        ("./fetch", "{here}/fetch"),
        ("/etc/a.der", "/etc/a.der"),
    ],
)
def test_where_responses_come_from(tmp_path: Path, written: Any, source: str) -> None:
    tls = resolve(load(tmp_path, written), 1).services[0].tls
    assert tls is not None and tls.ocsp == source.format(here=tmp_path)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (True, "must be `off`, `fetch` or the name of a file"),
        ("on", "must be `off`, `fetch` or the name of a file"),
        ("fecth", "'fecth', which is not `off`, `fetch` or a file; a file of this name is ./fecth"),
    ],
)
def test_words_that_mean_nothing(tmp_path: Path, written: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, written)
    (problem,) = caught.value.problems
    assert words in problem.message and problem.line > 0


def test_off_is_the_default(tmp_path: Path) -> None:
    assert resolve(load(tmp_path, "off"), 1).services[0].tls == resolve(load(tmp_path, ""), 1).services[0].tls
