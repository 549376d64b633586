"""Which files of a folder are pairs, and which of them are being written rather than gone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from terraster.certs.certificate import CertificateError
from terraster.certs.files import read_octets
from terraster.certs.folder import complaints, pairs, pairs_of, remaining

from .harness.authority import Authority

CA = Authority()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("a.pem a.key b.crt b.key", "a.pem/a.key b.crt/b.key"),
        ("a.test.pem a.test-key.pem b.pem b.key.pem", "a.test.pem/a.test-key.pem b.pem/b.key.pem"),
        ("both.pem", "both.pem/both.pem"),
        ("README cert.pem chain.pem fullchain.pem privkey.pem", "fullchain.pem/privkey.pem"),
        ("cert.pem privkey.pem", "cert.pem/privkey.pem"),
        ("cert.pem key.pem", "cert.pem/key.pem"),
        ("ca.crt tls.crt tls.key", "tls.crt/tls.key ca.crt/ca.crt"),
        ("server.pem secret.key", "server.pem/secret.key"),
        ("one.pem two.pem secret.key", "one.pem/one.pem two.pem/two.pem"),
        ("a.key notes.txt", ""),
        ("", ""),
    ],
)
def test_pairs_among_the_names_of_a_folder(names: str, expected: str) -> None:
    assert [f"{certificate}/{key}" for certificate, key in pairs_of(names.split())] == expected.split()


def test_the_folders_of_lego_have_a_certificate_for_each_name_and_nothing_to_complain_of(tmp_path: Path) -> None:
    account = tmp_path / "accounts" / "acme.test" / "x@a.test"
    (account / "keys").mkdir(parents=True)
    (account / "account.json").write_text("{}")
    (account / "keys" / "x@a.test.key").write_bytes(CA.issue("account").key)
    folder = tmp_path / "certificates"
    folder.mkdir()
    for name in ("a.test", "_.b.test"):
        issued = CA.issue(name.replace("_", "*"))
        for end, octets in (("crt", issued.chain), ("key", issued.key), ("issuer.crt", CA.issuer), ("json", b"{}")):
            (folder / f"{name}.{end}").write_bytes(octets)
    for top in (tmp_path, folder):
        whole = [files for files in pairs(str(top))[0] if files[0] != files[1]]
        assert sorted(whole) == [(f"{folder}/{name}.crt", f"{folder}/{name}.key") for name in ("_.b.test", "a.test")]
        assert complaints(str(top)) == []


def made(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def found(folder: Path) -> list[str]:
    return ["/".join(str(Path(one).relative_to(folder)) for one in files) for files in pairs(str(folder))[0]]


def test_folders_below_are_searched_and_hidden_ones_are_not(tmp_path: Path) -> None:
    made(
        tmp_path,
        "a.pem",
        "a.key",
        "live/fullchain.pem",
        "live/privkey.pem",
        "li/ve/x.pem",
        "de/ep/er/x.pem",
        "..2026/tls.crt",
        ".b.pem",
    )
    assert found(tmp_path) == ["a.pem/a.key", "li/ve/x.pem/li/ve/x.pem", "live/fullchain.pem/live/privkey.pem"]


def test_links_as_kubernetes_swaps_them_are_followed(tmp_path: Path) -> None:
    made(tmp_path, "..1/tls.crt", "..1/tls.key")
    (tmp_path / "..data").symlink_to("..1")
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    assert found(tmp_path) == ["tls.crt/tls.key"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        pairs(str(tmp_path / "none"))


def left(folder: Path, before: tuple[str, str]) -> list[tuple[str, str]]:
    full = str(folder / before[0]), str(folder / before[1])
    return [(Path(one).name, Path(other).name) for one, other in remaining([full], pairs(str(folder))[0], ())]


def test_half_of_a_pair_is_still_the_pair(tmp_path: Path) -> None:
    chain, key = CA.issue("a.test").write(tmp_path, "a")
    assert left(tmp_path, ("a.pem", "a.key")) == [("a.pem", "a.key")]
    saved = key.read_bytes()
    key.unlink()
    assert left(tmp_path, ("a.pem", "a.key")) == [("a.pem", "a.key")]
    chain.write_bytes(chain.read_bytes() + saved)
    assert left(tmp_path, ("a.pem", "a.key")) == [("a.pem", "a.pem")], "now the file has both"
    key.write_bytes(saved)
    assert left(tmp_path, ("a.pem", "a.pem")) == [("a.pem", "a.key")]
    chain.unlink()
    assert left(tmp_path, ("a.pem", "a.key")) == [("a.pem", "a.key")]
    key.unlink()
    assert left(tmp_path, ("a.pem", "a.key")) == []


def test_the_pairs_of_a_folder_that_cannot_be_listed_stay(tmp_path: Path) -> None:
    files = str(tmp_path / "live" / "a.pem"), str(tmp_path / "live" / "a.key")
    assert remaining([files], [], [str(tmp_path / "live")]) == [files]
    assert remaining([files], [], ()) == []


def test_a_pipe_is_no_certificate_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.pem")
    with pytest.raises(CertificateError, match="x.pem is not a file"):
        read_octets(str(tmp_path / "x.pem"))
