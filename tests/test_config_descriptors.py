"""Names of descriptors in a configuration, and which descriptors a log may use."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from terraster.config import descriptors
from terraster.errors import ConfigError
from tests.harness.configuration import load


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("stdout", 1),
        ("-", 1),
        ("/dev/stdout", 1),
        ("/dev/fd/1", 1),
        ("/proc/self/fd/1", 1),
        ("stderr", 2),
        ("/dev/stderr", 2),
        ("/dev/fd/2", 2),
        ("/proc/self/fd/2", 2),
        ("/dev/fd/37", 37),
        ("/proc/self/fd/37", 37),
        ("/dev/fd/", None),
        ("/dev/fd/01", None),
        ("/dev/fd/1/x", None),
        ("/dev/fd/99999999", None),
        ("./stdout", None),
        ("/var/log/stderr", None),
        ("/dev/null", None),
    ],
)
def test_names(name: str, number: int | None) -> None:
    assert descriptors.number(name) == number
    if number is not None:
        assert descriptors.number(descriptors.spelt(number)) == number


def test_all_names_of_a_descriptor_are_one_destination() -> None:
    assert descriptors.spelt(1) == descriptors.STDOUT and descriptors.spelt(2) == descriptors.STDERR
    assert [descriptors.described(path) for path in ("-", "/dev/fd/2", "/dev/fd/7", "/a/log")] == [
        "standard output",
        "standard error",
        "descriptor 7",
        "/a/log",
    ]


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("/dev/stderr")
    (tmp_path / "two").symlink_to("one")
    (tmp_path / "file").write_text("")
    (tmp_path / "three").symlink_to("file")
    (tmp_path / "round").symlink_to("round")
    found = [descriptors.behind(str(tmp_path / name)) for name in ("one", "two", "file", "three", "round", "none")]
    assert found == [2, 2, None, None, None, None]


def test_a_descriptor_that_is_not_for_logs_is_refused(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with socket.socket() as listening, socket.socket() as plain, open(tmp_path / "file", "w") as file:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        for fd in (reader, writer, listening.fileno(), plain.fileno()):
            os.set_inheritable(fd, True)
        assert [descriptors.unusable(fd) for fd in (reader, writer, listening.fileno(), plain.fileno(), file.fileno())] == [
            "it is open for reading only",
            "",
            "it is a listening socket",
            "",
            "Terraster did not inherit it",
        ]
        assert plain.getblocking(), "the flags of a shared socket stay"
    os.close(reader)
    os.close(writer)
    assert descriptors.unusable(writer) == "it is not open"


def logged(tmp_path: Path, access_log: str) -> str:
    """The path of the access log in a snapshot."""
    file = tmp_path / "terraster.yaml"
    file.write_text(f"backends: [http://127.0.0.1:9]\naccess_log: {access_log}\n")
    return load(str(file)).access_log.path


@pytest.mark.parametrize(
    ("written", "path"),
    [("stderr", "/dev/fd/2"), ("/dev/stdout", "-"), ("{path: /proc/self/fd/2}", "/dev/fd/2"), ("./stderr", None), ("a.log", None)],
)
def test_a_configuration_may_name_one(written: str, path: str | None, tmp_path: Path) -> None:
    assert logged(tmp_path, written) == (path or str(tmp_path / os.path.normpath(written)))


def test_one_that_cannot_be_written_to_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the access log cannot be written to descriptor 999999: it is not open"):
        logged(tmp_path, "/dev/fd/999999")
