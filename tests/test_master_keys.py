"""The secret of session cookies: made once, whoever comes first, and what is said when it cannot be used."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from terraster.config.key_file import SIZE
from terraster.errors import StartError
from terraster.master.keys import cookie_key


def test_it_is_made_once_for_us_alone_and_kept(tmp_path: Path) -> None:
    state = tmp_path / "new" / "state"
    key = cookie_key(str(state))
    assert len(key) == SIZE and len(set(key)) > 8
    assert cookie_key(str(state)) == key
    assert [path.name for path in state.iterdir()] == ["cookie.key"]
    assert stat.S_IMODE((state / "cookie.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_all_that_begin_at_once_have_the_same(tmp_path: Path) -> None:
    for number in range(20):
        state = str(tmp_path / str(number))
        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(cookie_key, [state] * 8))) == 1
        assert os.listdir(state) == ["cookie.key"]


@pytest.mark.parametrize("content", [b"", b"short", bytes(SIZE - 1), bytes(SIZE + 1)])
def test_another_size(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cookie.key").write_bytes(content)
    with pytest.raises(StartError, match=r"cookie\.key does not have 32 octets; remove it"):
        cookie_key(str(tmp_path))
    assert (tmp_path / "cookie.key").read_bytes() == content


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "cookie.key").mkdir()
    with pytest.raises(StartError, match="is not a regular file; remove it"):
        cookie_key(str(tmp_path))


@pytest.mark.parametrize("kind", ["link", "file in the way"])
def test_what_cannot_be_read_or_made(tmp_path: Path, kind: str) -> None:
    state = tmp_path / "state"
    if kind == "link":
        state.mkdir()
        (state / "cookie.key").symlink_to(tmp_path / "elsewhere")
    else:
        state.write_text("")
    with pytest.raises(StartError, match=r"cannot read or make .*cookie\.key.*state_dir"):
        cookie_key(str(state))
