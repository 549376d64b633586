"""The secret that signs access tokens: which is used, and where an own one is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from terraster.config.signing import fault
from terraster.users.faults import Unavailable
from terraster.users.secret import SigningKey

GOOD = "k3:9d/QpX;rT0v_Zb7Lm-Ws5Yc!Hn2Ef"

CASES = [
    (GOOD, ""),
    (GOOD[:-1], "has 31 octets, but at least 32 are needed"),
    ("é" * 2 + GOOD[:-4], ""),
    ("mySecretKey", "is the placeholder of an example, which everyone knows"),
    ("YourSecretKey", "is the placeholder of an example, which everyone knows"),
    ("your-256-bit-secret-your-256-bit-secret", "is the placeholder of an example, which everyone knows"),
    ("please_change_me_please_change_me_please", "is the placeholder of an example, which everyone knows"),
    ("ab" * 16, "repeats fewer than 8 different characters"),
    ("", "has 0 octets, but at least 32 are needed"),
]


@pytest.mark.parametrize(("secret", "why"), CASES)
def test_a_secret_that_protects_nothing_is_named(secret: str, why: str) -> None:
    assert fault(secret) == why


def key(secret: str, directory: Path) -> bytes:
    return SigningKey(lambda: (secret, str(directory)))()


def test_an_own_secret_is_made_once_and_kept(tmp_path: Path) -> None:
    state = tmp_path / "state"
    made = key("", state)
    assert len(made) == 32 and (state / "jwt.key").stat().st_mode & 0o777 == 0o600
    assert key("", state) == key("mySecretKey", state) == made
    assert [path.name for path in state.iterdir()] == ["jwt.key"]


def test_a_secret_of_the_configuration_is_used_without_a_file(tmp_path: Path) -> None:
    assert key(GOOD, tmp_path) == key(GOOD, tmp_path) != key(GOOD + "x", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_change_of_the_configuration_changes_the_secret(tmp_path: Path) -> None:
    configured = [("", str(tmp_path))]
    signing = SigningKey(lambda: configured[0])
    own = signing()
    configured[0] = (GOOD, str(tmp_path))
    assert signing() == key(GOOD, tmp_path) != own


@pytest.mark.parametrize("what", ["short", "folder", "link", "no directory"])
def test_a_file_that_cannot_be_the_secret_is_named(tmp_path: Path, what: str) -> None:
    file = tmp_path / "jwt.key"
    if what == "short":
        file.write_bytes(b"x")
    elif what == "folder":
        file.mkdir()
    elif what == "link":
        file.symlink_to("/dev/zero")
    else:
        tmp_path = file / "below"
        file.touch()
    with pytest.raises(Unavailable, match=r"jwt\.key"):
        key("", tmp_path)
