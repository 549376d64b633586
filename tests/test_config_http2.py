"""Where HTTP/2 is spoken, with which limits, and what a check says about keys that contradict each other."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from terraster.config.diff import diff, patch
from terraster.config.http2 import lowest
from terraster.config.resolve import resolve
from terraster.config.settings.base import keys_of
from terraster.config.settings.http2 import OVER_TLS, Http2Settings
from terraster.config.snapshot import Http2Limits, Snapshot
from terraster.errors import ConfigError
from terraster.plan import Plan, compile_plan
from terraster.state.leases import Leases, capacities
from terraster.state.table import Table
from terraster.state.view import SeatView

from .harness.configuration import load

BACKENDS = "locations: [{path: /, backends: [http://10.0.0.1]}]"
SIZE, COUNT = 32768 + 32 * 100, 100
"""Of a head: what the limits for HTTP/1.1 allow by default, as HTTP/2 counts."""
LIMITS = Http2Limits(header_list_size=SIZE, header_count=COUNT)


def made(folder: Path, top: str, *services: str) -> tuple[Snapshot, list[str]]:
    """The snapshot of services that are written as flow mappings, a, b …, and the warnings."""
    (folder / "c.pem").touch()
    lines = [f"- {{name: {chr(97 + n)}, host: {chr(97 + n)}.test, {one}, {BACKENDS}}}" for n, one in enumerate(services)]
    (folder / "t.yaml").write_text("\n".join([top or "# no key", "services:", *lines, ""]))
    settings = load(str(folder / "t.yaml"))
    return resolve(settings, 1), [line.partition("t.yaml:")[2] for line in settings.warnings]


CLEAR, TLS = "port: 80", "port: 443, tls: {cert_file: c.pem}"

OFF = ("http/1.1",)
ON = ("h2", "http/1.1")
DEFAULT = ON if OVER_TLS else OFF


def tls(more: str, service: str = "") -> str:
    return f"port: 443, tls: {{cert_file: c.pem, {more}}}{f', {service}' if service else ''}"


@pytest.mark.parametrize(
    ("top", "service", "offered"),
    [
        ("", TLS, DEFAULT),
        ("http2: true", TLS, ON),
        ("http2: false", TLS, OFF),
        ("http2: {max_streams: 5}", TLS, ON),
        ("http2: {enabled: false, max_streams: 5}", TLS, OFF),
        ("", f"{TLS}, http2: on", ON),
        ("http2: off", f"{TLS}, http2: on", ON),
        ("http2: on", f"{TLS}, http2: off", OFF),
        ("http2: off", f"{TLS}, http2: {{window: 1M}}", ON),
        ("", tls("http2: true"), ON),
        ("http2: false", tls("http2: true"), ON),
        ("http2: true", tls("http2: false"), OFF),
        ("", tls("http2: true", "http2: false"), OFF),
        ("", tls("http2: false", "http2: true"), OFF),
        ("", tls("next_protos: [http/1.1]"), OFF),
        ("http2: true", tls("next_protos: [http/1.1]"), OFF),
        ("", tls("next_protos: [http/1.1]", "http2: true"), OFF),
        ("", tls("next_protos: [http/1.1], http2: true"), ON),
        ("", tls("next_protos: [http/1.1, h2]"), ("http/1.1", "h2")),
        ("http2: false", tls("next_protos: [h2]"), ("h2",)),
        ("", tls("next_protos: [h2], http2: false"), OFF),
        ("", tls("next_protos: [h2, http/1.0]", "http2: false"), ("http/1.0",)),
        ("tls: {cert_file: c.pem, http2: true}", "underscores: drop", ON),
        ("tls: {cert_file: c.pem, http2: false}\nhttp2: true", "underscores: drop", OFF),
        ("tls: {cert_file: c.pem, http2: false}", "http2: true", ON),
        ("tls: {cert_file: c.pem, next_protos: [http/1.1]}", "http2: true", ON),
        ("tls: {cert_file: c.pem, http2: true}", "http2: false", OFF),
        ("tls: {cert_file: c.pem, http2: true}", TLS, DEFAULT),
    ],
)
def test_over_tls(tmp_path: Path, top: str, service: str, offered: tuple[str, ...]) -> None:
    snapshot, _ = made(tmp_path, top, service)
    (one,) = snapshot.services
    assert one.tls is not None
    assert one.tls.protocols == offered
    assert (one.http2 is not None) is ("h2" in offered)
    assert [listener.http2 for listener in snapshot.listeners] == [None], "a TLS listener asks the handshake"


@pytest.mark.parametrize(
    ("top", "service", "limits"),
    [
        ("http2: true", "", LIMITS),
        ("http2: {max_streams: 5}", "http2: {window: 128k}", {"max_streams": 5, "window": 131072}),
        ("http2: {max_streams: 5}", "http2: {max_streams: 6}", {"max_streams": 6}),
        ("http2: {enabled: false, max_streams: 5}", "http2: true", {"max_streams": 5}),
        ("limits: {header_size: 64k, header_count: 10}", "http2: true",
         {"header_list_size": 65536 + 320, "header_size": 65536, "header_count": 10}),
        ("limits: {header_size: 64k}\nhttp2: {header_list_size: 8k}", "http2: {header_count: 9}",
         {"header_list_size": 8192, "header_size": 8192, "header_count": 9}),
        ("", "http2: {resets_per_second: 7, connection_window: 2M, buffered_octets: 1M, head_octets: 1M}",
         {"resets_per_second": 7, "head_octets": 1 << 20, "connection_window": 2 << 20, "buffered_octets": 1 << 20}),
    ],
)  # fmt: skip
def test_each_limit_is_inherited_by_itself(tmp_path: Path, top: str, service: str, limits: Any) -> None:
    snapshot, warned = made(tmp_path, top, f"{CLEAR}, {service}" if service else CLEAR)
    wanted = (
        limits if isinstance(limits, Http2Limits) else Http2Limits(**{"header_list_size": SIZE, "header_count": COUNT, **limits})
    )
    assert snapshot.services[0].http2 == wanted
    assert snapshot.listeners[0].http2 == wanted
    assert warned == []


def test_every_key_is_a_limit_with_its_default() -> None:
    keys = {name: field.default for name, field in keys_of(Http2Settings).items() if name != "enabled"}
    known = {field.name: field.default for field in fields(Http2Limits)}
    assert keys.keys() <= known.keys()
    assert {name: default for name, default in keys.items() if default is not None}.items() <= known.items()


def in_clear(snapshot: Snapshot) -> dict[str, int]:
    """`max_streams` of each plain listener with HTTP/2."""
    return {one.address: one.http2.max_streams for one in snapshot.listeners if one.http2 is not None}


@pytest.mark.parametrize(
    ("top", "services", "spoken"),
    [
        ("", (CLEAR,), {}),
        ("http2: true", (CLEAR, "port: 81", TLS), {":80": 128, ":81": 128}),
        ("http2: true", ("port: 81, http2: false",), {}),
        ("", (CLEAR, f"{CLEAR}, http2: {{max_streams: 5}}"), {":80": 5}),
        ("", (f"{CLEAR}, http2: {{max_streams: 7}}", f"{CLEAR}, http2: {{max_streams: 5}}", CLEAR), {":80": 5}),
        ("http2: {max_streams: 9}", (f"{CLEAR}, http2: {{max_streams: 70}}", CLEAR), {":80": 9}),
        ("http_port: 80\nhttps_port: 443", ("tls: {cert_file: c.pem}, http_redirect: true, http2: true",), {}),
        ("http_port: 80\nhttps_port: 443\nhttp2: true", ("tls: {cert_file: c.pem, http2: false}, http_redirect: true",), {":80": 128}),
        ("http_port: 80\nhttps_port: 443", ("tls: {cert_file: c.pem}, http_redirect: true, http2: {max_streams: 5}", "http2: true"),
         {":80": 128}),
        ("tls: {cert_file: c.pem}\nhttp2: true", ("underscores: drop",), {}),
        ("", ("port: 80, tls: {enabled: false, http2: true}",), {}),
    ],
)  # fmt: skip
def test_in_clear_a_listener_speaks_it_for_one_service(
    tmp_path: Path, top: str, services: tuple[str, ...], spoken: dict[str, int]
) -> None:
    snapshot, _ = made(tmp_path, top, *services)
    assert in_clear(snapshot) == spoken


def test_of_two_limits_the_lower_one_holds_for_each_key() -> None:
    one, other = Http2Limits(max_streams=5, window=99999), Http2Limits(max_streams=9)
    assert lowest(one, other) == lowest(other, one) == Http2Limits(max_streams=5)
    assert lowest(one, None) is lowest(None, one) is one
    assert lowest(None, None) is None


@pytest.mark.parametrize(
    ("top", "services", "expected"),
    [
        ("http2: true", (CLEAR, TLS, tls("http2: false")), []),
        ("http2: false", (tls("http2: true"),), []),
        ("", (tls("next_protos: [h2, http/1.1]"),), []),
        ("", (tls("next_protos: [http/1.1]"),), []),
        ("http2: true", (tls("next_protos: [http/1.1]"),), []),
        ("", (tls("http2: true", "http2: false"),), ["3:62: `tls.http2` has no effect beside `http2: false`"]),
        ("", (tls("http2: false", "http2: on"),), ["3:77: `http2` has no effect beside `tls.http2: false`"]),
        ("", (tls("http2: true, next_protos: [http/1.1]"),),
         ["3:75: `next_protos` has no h2, but `http2: true` beside it offers it, and first"]),
        ("", (tls("next_protos: [http/1.1]", "http2: true"),), ["3:88: `http2` has no effect, because `next_protos` has no h2"]),
        ("", (tls("next_protos: [http/1.1, h2], http2: off"),), ["3:86: `next_protos`: h2 is not offered beside `tls.http2: false`"]),
        ("", (tls("next_protos: [h2]", "http2: off"),), ["3:76: `next_protos`: h2 is not offered beside `http2: false`"]),
        ("tls: {cert_file: c.pem, next_protos: [h2]}\nhttp2: off", ("underscores: drop", "tls: off, port: 81"),
         ["1:39: `next_protos`: h2 is not offered beside `http2: false`"]),
        ("tls: {cert_file: c.pem, next_protos: [h2]}", ("http2: off", "underscores: drop"), []),
        ("", (f"{CLEAR}, http2: on", f"{CLEAR}, http2: off", CLEAR),
         ["4:37: `http2` is on at :80 all the same, because service `a` has it there"]),
        ("http2: off", (f"{CLEAR}, http2: on", CLEAR), []),
        ("", (tls("http2: true, cipher_suites: [AES128-GCM-SHA256, ECDHE-RSA-AES128-SHA]"),),
         ["3:75: `cipher_suites` has none that is allowed for HTTP/2 (RFC 9113, 9.2.2): clients that speak TLS 1.2 may refuse it; "
          "set `http2: false`, or add one with ECDHE and GCM"]),
        ("", (tls("http2: true, cipher_suites: [ECDHE-RSA-AES128-SHA, ECDHE-RSA-CHACHA20-POLY1305]"),), []),
        ("", (tls("http2: true, min_version: '1.3', cipher_suites: [ECDHE-RSA-AES128-SHA]"),), []),
        ("", (tls("http2: true, cipher_suites: [TLS_AES_128_GCM_SHA256]"),), []),
        ("", (tls("http2: false, cipher_suites: [ECDHE-RSA-AES128-SHA]"),), []),
    ],
)  # fmt: skip
def test_contradictions_are_warned_of(tmp_path: Path, top: str, services: tuple[str, ...], expected: list[str]) -> None:
    _, warned = made(tmp_path, top, *services)
    assert warned == expected


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{max_streams: 0}", "1:22: `max_streams` must be at least 1"),
        ("{max_streams: 10001}", "1:22: `max_streams` must be at most 10000"),
        ("{header_list_size: 1023}", "1:27: `header_list_size` must be at least 1024"),
        ("{header_count: 0}", "1:23: `header_count` must be at least 1"),
        ("{resets_per_second: 0}", "1:28: `resets_per_second` must be at least 1"),
        ("{window: 16k}", "1:17: `window` must be at least 65535"),
        ("{window: 2G}", "1:17: `window` must be at most 2147483647"),
        ("{connection_window: 65534}", "1:28: `connection_window` must be at least 65535"),
        ("{buffered_octets: 1}", "1:26: `buffered_octets` must be at least 65535"),
        ("{streams: 5}", "1:9: unknown key `streams`; did you mean `max_streams`?"),
        ("5", "1:8: `http2` must be `on`, `off` or a mapping"),
    ],
)
def test_values_out_of_range(tmp_path: Path, value: str, said: str) -> None:
    (tmp_path / "t.yaml").write_text(f"http2: {value}\nbackends: [http://10.0.0.1]\n")
    with pytest.raises(ConfigError) as caught:
        load(str(tmp_path / "t.yaml"))
    assert [str(one).partition("t.yaml:")[2] for one in caught.value.problems] == [said]


def plan(snapshot: Snapshot) -> Plan:
    table = Table(*capacities(4, 4, 1))
    return compile_plan(Leases(table).assign(snapshot), SeatView(table))


def connection(address: str, **more: Any) -> Any:
    listener = SimpleNamespace(address=address, tls=more.pop("tls", False), last_plan=more.pop("last_plan", None))
    return SimpleNamespace(listener=listener, http2=more.pop("http2", None), **more)


def test_a_connection_finds_its_limits(tmp_path: Path) -> None:
    snapshot, _ = made(tmp_path, "", f"{CLEAR}, http2: {{max_streams: 5}}", "port: 81", tls("http2: true"))
    here = plan(snapshot)
    clear = snapshot.services[0].http2
    assert here.http2(connection(":80")) == clear
    assert here.http2(connection(":81")) is None
    assert here.http2(connection(":443", tls=True)) is None, "a client that did not choose h2"
    assert here.http2(connection(":443", tls=True, http2=LIMITS)) is LIMITS
    none = plan(made(tmp_path, "", "port: 81")[0])
    assert none.http2(connection(":80")) is None
    assert none.http2(connection(":80", last_plan=here)) == clear, "a listener that a reload removed"


def test_a_reload_changes_it_without_a_new_listener(tmp_path: Path) -> None:
    off, _ = made(tmp_path, "", CLEAR, tls("http2: false"))
    on, _ = made(tmp_path, "http2: {max_streams: 5}", CLEAR, tls("http2: true"))
    more, _ = made(tmp_path, "http2: {max_streams: 5, window: 1M}", CLEAR, tls("http2: true"))
    change = diff(off, on)
    assert (change.listeners_added, change.listeners_removed, change.restart) == ((), (), ())
    assert change.describe() == [
        "~ listener :80: http2: off → on",
        "~ service a: ~ http2: off → on",
        "~ service b: ~ tls",
        "~ service b: ~ http2: off → on",
    ]
    assert patch(off, change) == on
    assert diff(on, more).describe() == [
        f"~ {who}http2: window 65535 → 1M" for who in ("listener :80: ", "service a: ~ ", "service b: ~ ")
    ]
    assert diff(on, on).describe() == []
