"""Fields that tell browsers to be careful: what may be written, and what each response gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from terraster.config.resolve import resolve
from terraster.errors import ConfigError
from terraster.exchange import Exchange
from terraster.filters.contract import Place
from terraster.filters.security import Security, SecuritySettings
from terraster.state.table import Table
from terraster.state.view import SeatView
from terraster.wire.answers import OwnHead
from terraster.wire.edits import Edits

from .harness.configuration import load


def edited(written: dict[str, Any], scheme: str = "https", status: int = 200, *given: tuple[bytes, bytes]) -> Edits:
    view = SeatView(Table(1, 1, 1))
    made = Security(SecuritySettings(**written), Place(None, None, view, {}), view)
    edits = Edits(status, False, OwnHead(status, given, 0))
    made.on_response(Exchange(0.0, 0.0, "1.2.3.4", "9.9.9.9", scheme), edits)
    return edits


HSTS = "Strict-Transport-Security: max-age="


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        ({}, []),
        ({"hsts": True}, [f"{HSTS}31536000"]),
        ({"hsts": True, "hsts_max_age": "90d"}, [f"{HSTS}7776000"]),
        ({"hsts": True, "hsts_max_age": 0}, [f"{HSTS}0"]),
        ({"hsts": True, "hsts_include_subdomains": True}, [f"{HSTS}31536000; includeSubDomains"]),
        (
            {"hsts": True, "hsts_include_subdomains": True, "hsts_preload": True, "hsts_max_age": "2000d"},
            [f"{HSTS}172800000; includeSubDomains; preload"],
        ),
        ({"hsts_preload": True, "hsts_max_age": "1h"}, []),
        ({"frame_options": "deny"}, ["X-Frame-Options: DENY"]),
        ({"frame_options": "SAMEORIGIN"}, ["X-Frame-Options: SAMEORIGIN"]),
        ({"frame_options": False}, []),
        ({"content_type_options": True}, ["X-Content-Type-Options: nosniff"]),
        ({"xss_protection": True}, ["X-XSS-Protection: 1; mode=block"]),
        ({"xss_protection": False}, []),
        ({"xss_protection": "0"}, ["X-XSS-Protection: 0"]),
        ({"xss_protection": "1; report=/x"}, ["X-XSS-Protection: 1; report=/x"]),
        ({"content_security_policy": "default-src 'self'"}, ["Content-Security-Policy: default-src 'self'"]),
        ({"content_security_policy_report_only": "img-src *"}, ["Content-Security-Policy-Report-Only: img-src *"]),
        ({"referrer_policy": "Strict-Origin"}, ["Referrer-Policy: strict-origin"]),
        ({"referrer_policy": "no-referrer, origin"}, ["Referrer-Policy: no-referrer, origin"]),
        ({"permissions_policy": "camera=(), geolocation=(self)"}, ["Permissions-Policy: camera=(), geolocation=(self)"]),
        (
            {"cross_origin_opener_policy": 'same-origin; report-to="Main"'},
            ['Cross-Origin-Opener-Policy: same-origin; report-to="Main"'],
        ),
        ({"cross_origin_embedder_policy": "require-corp"}, ["Cross-Origin-Embedder-Policy: require-corp"]),
        ({"cross_origin_resource_policy": "same-site"}, ["Cross-Origin-Resource-Policy: same-site"]),
        ({"content_security_policy": "off", "permissions_policy": "off", "referrer_policy": "off"}, []),
    ],
)
def test_fields(written: dict[str, Any], lines: list[str]) -> None:
    edits = edited(written)
    assert edits.extra.decode().splitlines() == lines
    assert edits.drop == {line.partition(":")[0].lower().encode() for line in lines}


def test_hsts_is_for_https_alone() -> None:
    written = {"hsts": True, "frame_options": "DENY"}
    assert edited(written, "http").extra == b"X-Frame-Options: DENY\r\n"
    assert edited({**written, "override": False}, "http").extra == b"X-Frame-Options: DENY\r\n"


@pytest.mark.parametrize("status", [100, 101, 103])
def test_interim_responses_are_left_alone(status: int) -> None:
    assert edited({"frame_options": "DENY"}, "https", status).extra == b""


def test_errors_have_them() -> None:
    assert edited({"frame_options": "DENY"}, "https", 502).extra == b"X-Frame-Options: DENY\r\n"


THEIRS = ((b"x-frame-options", b"SAMEORIGIN"), (b"Strict-Transport-Security", b"max-age=1"))


@pytest.mark.parametrize(
    ("override", "drop", "extra"),
    [
        (
            True,
            {b"x-frame-options", b"x-content-type-options", b"strict-transport-security"},
            b"X-Frame-Options: DENY\r\nX-Content-Type-Options: nosniff\r\nStrict-Transport-Security: max-age=31536000\r\n",
        ),
        (False, set(), b"X-Content-Type-Options: nosniff\r\n"),
    ],
)
def test_the_backends_own(override: bool, drop: set[bytes], extra: bytes) -> None:
    written = {"hsts": True, "frame_options": "DENY", "content_type_options": True, "override": override}
    edits = edited(written, "https", 200, *THEIRS)
    assert (edits.drop, edits.extra) == (drop, extra)


BACKENDS = "backends: [http://10.0.0.1:1]\n"


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (
            "{frame_options: ALLOW-FROM https://a.test}",
            "`frame_options` must be one of DENY, SAMEORIGIN, or off, not 'ALLOW-FROM https://a.test'",
        ),
        ("{referrer_policy: 'origin, always'}", "`referrer_policy` must be one of no-referrer, no-referrer-when-downgrade, "),
        ("{cross_origin_opener_policy: same}", "`cross_origin_opener_policy` must be one of unsafe-none, "),
        ('{content_security_policy: "a\\nb"}', "`content_security_policy` must not contain control characters"),
        ("{hsts: maybe}", "`hsts` must be"),
        ("{frame_option: DENY}", "unknown key `frame_option`; did you mean `frame_options`?"),
    ],
)
def test_what_is_refused_is_told(tmp_path: Path, written: str, problem: str) -> None:
    (tmp_path / "t.yaml").write_text(f"{BACKENDS}security: {written}\n")
    with pytest.raises(ConfigError, match=r"t.yaml:2:\d+: ") as error:
        load(str(tmp_path / "t.yaml"))
    assert problem in str(error.value)


def test_a_narrower_level_changes_single_keys(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(
        "security: {hsts: true, frame_options: DENY}\n"
        "services:\n- name: s\n  locations:\n"
        "  - {path: /a, backends: [http://h], middleware: [{security: {frame_options: off, override: false}}]}\n"
        "  - {path: /b, backends: [http://h], middleware: [{security: off}]}\n"
    )
    a, b = resolve(load(str(tmp_path / "t.yaml")), 1).services[0].locations
    found = dict(a.filters)["security"]
    assert found.given() == {"hsts": True, "frame_options": "", "override": False}
    assert "security" not in dict(b.filters)
