"""Hosts that are regular expressions: which names they match, examples of them, and what is said about them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from terraster.config.host_patterns import examples, matches
from terraster.config.resolve import resolve
from terraster.config.settings import ServiceSettings, Settings
from terraster.errors import ConfigError

from .harness.configuration import Loader

LOCATIONS = [{"path": "/", "redirect": "https://elsewhere.test"}]


def load(tmp_path: Path, *services: dict[str, object], **top: object) -> Settings:
    file = tmp_path / "t.yaml"
    file.write_text(yaml.safe_dump({**top, "services": [{"locations": LOCATIONS, **service} for service in services]}))
    return Loader({}).load(str(file))


def said(tmp_path: Path, *hosts: tuple[str, object]) -> list[str]:
    """The warnings about services of these names and hosts."""
    settings = load(tmp_path, *[{"name": name, "host": host} for name, host in hosts])
    return [line.partition(": ")[2] for line in settings.warnings]


def refused(tmp_path: Path, *services: dict[str, object], **top: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, *services, **top)
    (problem,) = caught.value.problems
    assert problem.line
    return problem.message


@pytest.mark.parametrize(
    ("host", "name", "expected"),
    [
        (r"~^shop[0-9]+\.example$", "shop7.example", True),
        (r"~shop[0-9]+\.example", "shop7.example", True),
        (r"~shop[0-9]+\.example", "shop7.example.evil.test", False),
        (r"~shop[0-9]+\.example", "myshop7.example", False),
        (r"~SHOP\.example", "shop.example", True),
        (r"~.*\.a\.test", "a.test", False),
        (r"~\[::.*\]", "[::1]", True),
    ],
)
def test_an_expression_is_for_the_whole_name(host: str, name: str, expected: bool) -> None:
    assert matches(host, name) is expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (r"~^shop[0-9]+\.example$", ("shop0.example",)),
        (r"~(www\.)?(a|b)\.test", ("www.a.test", "www.b.test", "a.test", "b.test")),
        (r"~(?P<kind>dev|live)-[a-z]{3}\.test", ("dev-aaa.test", "live-aaa.test")),
        (r"~[^.]+\.test", ("0.test",)),
        (r"~\w+\.test", ("a.test",)),
        (r"~(?i)a", ()),
        (r"~\pL+", ()),
        pytest.param("~" + "(" * 20 + "a" + ")" * 20, ("a",), id="20 groups"),
        pytest.param("~" + "(" * 500 + "a" + ")" * 500, (), id="500 groups"),
    ],
)
def test_examples(host: str, expected: tuple[str, ...]) -> None:
    assert examples(host) == expected


@given(st.text("ab.|()[]^$*+?{2}\\d-:<>P", max_size=12))
def test_an_example_is_matched_whatever_the_expression(written: str) -> None:
    try:
        found = examples(f"~{written}")
    except ValueError:  # RE2 does not take it
        return
    assert all(matches(f"~{written}", name) for name in found)


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("~(a", "`host` is not a regular expression of RE2: missing ): (a"),
        ("~", "`host` has no regular expression behind ~"),
        ("~a(?=b)", "`host` is not a regular expression of RE2: invalid perl operator"),
        ("~ä", "`host` is a regular expression with more than 1024 characters, or with some that are not ASCII"),
        (["~a", "~a"], "`host` names ~a twice"),
    ],
)
def test_what_is_no_expression(tmp_path: Path, host: object, words: str) -> None:
    assert words in refused(tmp_path, {"name": "a", "host": host})


def test_an_expression_is_no_name_of_a_service(tmp_path: Path) -> None:
    assert "needs a `name`, as its hosts are regular expressions" in refused(tmp_path, {"host": "~a"})
    assert ServiceSettings.model_validate({"host": ["~a", "b.test"]}).label == "b.test"


def test_one_expression_belongs_to_one_service_of_a_listener(tmp_path: Path) -> None:
    services = [{"name": name, "host": "~a"} for name in ("one", "two")]
    assert refused(tmp_path, *services) == "`host` ~a on :8080 is already used by service `one`"
    services[1]["port"] = "8082"
    assert load(tmp_path, *services).warnings == ()


def test_the_certificate_of_an_expression_needs_domains(tmp_path: Path) -> None:
    service: dict[str, object] = {"name": "a", "host": [r"~^shop[0-9]+\.example$"], "tls": {"auto_cert": True}}
    assert "finds no name for a certificate: service `a` has no exact `host`; add `domains`" in refused(tmp_path, service)
    service["host"] = [r"~^shop[0-9]+\.example$", "shop.example"]
    tls = resolve(load(tmp_path, service), 1).services[0].tls
    assert tls is not None and tls.domains == ("shop.example",)
    service["tls"] = {"auto_cert": True, "domains": "~a"}
    assert "an authority issues no certificate for it" in refused(tmp_path, service)


@pytest.mark.parametrize(
    ("hosts", "words"),
    [
        (
            [("a", r"~shop[0-9]+\.example"), ("b", "*.example")],
            "`host` ~shop[0-9]+\\.example seems to get no request: shop0.example",
        ),
        ([("a", r"~shop\.example"), ("b", "shop.example")], "whose `host` shop.example comes before regular expressions"),
        ([("a", r"~shop[0-9]+\.example"), ("b", r"~shop.*\.example")], ""),
        (
            [("a", r"~shop\d\.test"), ("b", r"~shop[0-9-]+\.test")],
            "matches shop0.test, and so does ~shop[0-9-]+\\.test of service `b`, which is longer",
        ),
        ([("a", r"~s[0-9]+\.example"), ("b", "shop.example"), ("c", "*")], ""),
        ([("a", [r"~s[0-9]+\.example", "*.example"])], ""),
        ([("a", r"~s[0-9]+\.example"), ("b", r"~t[0-9]+\.example")], ""),
    ],
)
def test_names_that_others_take(tmp_path: Path, hosts: list[tuple[str, object]], words: str) -> None:
    found = said(tmp_path, *hosts)
    assert (len(found), words in "".join(found)) == (bool(words), True)
