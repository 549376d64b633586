"""`ip_access`: what may be written, how levels add up, and which addresses come in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from terraster.errors import ConfigError, HttpError
from terraster.exchange import Exchange
from terraster.filters.contract import Place
from terraster.filters.ip_access import IpAccess, IpAccessSettings
from terraster.state.table import Table
from terraster.state.view import SeatView

from .harness.configuration import load

FILE = "/etc/office"


class Head:
    method, target, size, content_length, chunked, fields = b"GET", b"/", 0, 0, False, ()


def made(contents: dict[str, bytes] | None = None, **written: Any) -> IpAccess:
    view = SeatView(Table(1, 1, 1))
    return IpAccess(IpAccessSettings(**written).with_contents(contents or {}), Place(None, None, view, {"refused": 112}), view)


def ask(one: IpAccess, client: str, peer: str = "192.0.2.9") -> str:
    """Why the request is refused; "" if it is not."""
    try:
        assert one.on_request(Exchange(0.0, 0.0, client, peer, "http", Head())) is None
    except HttpError as error:
        assert (error.status, error.reason) == (403, "http_request_denied")
        return error.detail
    return ""


DENIED, OTHERS = "ip_access: the client's address is denied", "ip_access: the client's address is not one of those that are allowed"


@pytest.mark.parametrize(
    "written, answers",
    [
        ({"allow": "10.0.0.0/8"}, {"10.0.0.1": "", "::ffff:10.0.0.1": "", "11.0.0.1": OTHERS, "::1": OTHERS, "unix": OTHERS}),
        (
            {"deny": ["10.0.0.0/8", "::1"]},
            {"10.0.0.1": DENIED, "::ffff:10.0.0.1": DENIED, "11.0.0.1": "", "::1": DENIED, "unix": ""},
        ),
        ({"allow": ["10.0.0.0/8"], "deny": ["10.1.0.0/16"]}, {"10.0.0.1": "", "10.1.0.1": DENIED, "11.0.0.1": OTHERS}),
        ({"allow": ["10.1.0.1"], "deny": ["10.0.0.0/8"]}, {"10.1.0.1": DENIED, "11.0.0.1": OTHERS}),
        ({"deny": "all"}, {"10.0.0.1": DENIED, "unix": DENIED}),
        ({"allow": "all", "deny": ["unix"]}, {"10.0.0.1": "", "::1": "", "unix": DENIED}),
        ({"allow": ["unix"]}, {"unix": "", "127.0.0.1": OTHERS}),
    ],
)
def test_who_comes_in(written: dict[str, Any], answers: dict[str, str]) -> None:
    one = made(**written)
    assert {address: ask(one, address) for address in answers} == answers


def test_the_peer_may_be_meant() -> None:
    one = made(allow="192.0.2.0/24", on="peer")
    assert ask(one, "10.0.0.1", "192.0.2.9") == ""
    assert ask(one, "192.0.2.9", "10.0.0.1") == OTHERS.replace("client's", "peer's")


def test_files_add_to_lists() -> None:
    one = made(
        {FILE: b"10.0.0.0/8\n", "/etc/bad": b"10.1.0.0/16"}, allow="192.0.2.1", allow_files=(FILE,), deny_files=("/etc/bad",)
    )
    assert [ask(one, address) for address in ("192.0.2.1", "10.0.0.1", "10.1.0.1", "11.0.0.1")] == ["", "", DENIED, OTHERS]
    assert ask(made({FILE: b""}, allow_files=(FILE,)), "10.0.0.1") == OTHERS, "an empty file allows nobody"
    assert ask(made({FILE: b""}, deny_files=(FILE,)), "10.0.0.1") == ""


@pytest.mark.parametrize("written", [{"allow": []}, {"allow": "ten"}, {"deny": ["10.0.0.0/33"]}, {"deny": [1]}, {"on": "host"}])
def test_what_may_not_be_written(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        IpAccessSettings(**written)


@pytest.mark.parametrize("written", [{}, {"deny": []}, {"on": "peer"}])
def test_a_filter_without_a_list_is_refused(written: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="`ip_access` needs `allow`, `deny`"):
        made(**written)


def test_a_list_of_a_narrower_level_takes_the_place_of_the_wider_ones_with_its_files() -> None:
    wide = IpAccessSettings(allow="10.0.0.0/8", allow_files=(FILE,), deny="10.1.0.0/16", on="peer")
    narrow = IpAccessSettings(allow="192.0.2.1").over(wide)
    assert (narrow.allow, narrow.allow_files, narrow.deny, narrow.on) == (("192.0.2.1/32",), (), ("10.1.0.0/16",), "peer")
    narrow = IpAccessSettings(deny_files=("/etc/bad",)).over(wide)
    assert (narrow.allow, narrow.allow_files, narrow.deny, narrow.deny_files) == (("10.0.0.0/8",), (FILE,), (), ("/etc/bad",))
    assert IpAccessSettings(on="client").over(wide).allow == wide.allow


def test_equal_lists_are_one_set() -> None:
    contents = {FILE: b"10.0.0.0/8"}
    first, second = (IpAccessSettings(allow_files=(FILE,)).with_contents(dict(contents)) for _ in range(2))
    assert first.networks("allow") is second.networks("allow")


def test_a_missing_file_has_a_place(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("10.0.0.1\n")
    (tmp_path / "a.yaml").write_text("middleware: [{ip_access: {deny_files: [here, gone]}}]\nbackends: ['http://127.0.0.1:1']\n")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "a.yaml")
    assert [str(one) for one in caught.value.problems] == [
        f"{tmp_path}/a.yaml:1:46: the file {tmp_path}/gone cannot be read: No such file or directory"
    ]
