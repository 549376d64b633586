"""Certificates by ACME in a configuration: names, challenges, and the words about those that cannot work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from terraster.config.resolve import resolve
from terraster.errors import ConfigError

from .harness.configuration import Loader

BACKENDS = [{"path": "/", "backends": ["http://127.0.0.1:9"]}]


def load(tmp_path: Path, top: dict[str, Any], **service: Any) -> Any:
    file = tmp_path / "t.yaml"
    one = {"name": "a", "host": "a.test", "locations": BACKENDS, "tls": {"auto_cert": True}, **service}
    file.write_text(yaml.safe_dump({"health_check": "off", **top, "services": [one]}))
    return Loader({}).load(str(file))


@pytest.mark.parametrize(
    ("top", "service", "domains", "challenge"),
    [
        ({}, {}, ("a.test",), "tls-alpn-01"),
        ({}, {"port": 8443}, ("a.test",), "http-01"),
        ({}, {"listen": "127.0.0.1:443"}, ("a.test",), "http-01"),
        ({}, {"host": ["a.test", "*.a.test", "b.test"]}, ("a.test", "b.test"), "tls-alpn-01"),
        ({}, {"host": "*", "tls": {"auto_cert": True, "domains": ["C.test"]}}, ("c.test",), "tls-alpn-01"),
        ({"acme": {"challenge": "http-01"}}, {}, ("a.test",), "http-01"),
    ],
)
def test_names_and_challenge(
    tmp_path: Path, top: dict[str, Any], service: dict[str, Any], domains: tuple[str, ...], challenge: str
) -> None:
    tls = resolve(load(tmp_path, top, **service), 1).services[0].tls
    assert tls is not None and (tls.domains, tls.challenge) == (domains, challenge)


@pytest.mark.parametrize(
    ("top", "service", "words"),
    [
        ({}, {"tls": {"auto_cert": True, "domains": "*.a.test"}}, "issues a wildcard only by `acme.challenge: dns-01`"),
        ({}, {"host": "*"}, "service `a` has no exact `host`; add `domains`"),
        ({}, {"tls": {"auto_cert": True, "domains": "192.0.2.1"}}, "no certificate for it"),
        ({"acme": {"challenge": "dns-01"}}, {}, "needs `dns_hook`"),
        ({"acme": {"challenge": "dns-01", "dns_hook": "none"}}, {}, "the hook file"),
        ({"acme": {"directory": "http://a.test/dir"}}, {}, "https URL"),
    ],
)
def test_an_error_has_its_place(tmp_path: Path, top: dict[str, Any], service: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, top, **service)
    (problem,) = caught.value.problems
    assert words in problem.message and problem.line > 0 and problem.file == str(tmp_path / "t.yaml")


@pytest.mark.parametrize(
    ("top", "service", "words"),
    [
        ({}, {}, None),
        ({"http_port": 80, "https_port": 443, "acme": {"challenge": "http-01"}}, {"http_redirect": True}, None),
        ({}, {"port": 8443}, "add `http_port: 80` and `http_redirect: true`"),
        ({"acme": {"challenge": "tls-alpn-01"}}, {"port": 8443}, "add `https_port: 443`"),
        ({"acme": {"email": "a@b.test"}}, {"tls": None, "port": 8080}, "`acme` has no effect"),
    ],
)
def test_a_listener_that_no_authority_reaches_is_a_warning(
    tmp_path: Path, top: dict[str, Any], service: dict[str, Any], words: str | None
) -> None:
    service = dict(service)
    if "tls" in service:
        service["tls"] = {"enabled": False}
    found = [one for one in load(tmp_path, top, **service).warnings if "acme" in one or "auto_cert" in one]
    assert len(found) == (words is not None), found
    assert words is None or words in found[0]


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    snapshot = resolve(load(tmp_path, {"acme": {"eab": {"kid": "k", "hmac_key": "very-secret"}}}), 1)
    assert snapshot.acme is not None and snapshot.acme.eab_key == "very-secret"
    assert "very-secret" not in repr(snapshot)
