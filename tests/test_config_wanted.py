"""Who asks for an address: the words of an error about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from .harness.configuration import Loader

TEXT = """\
listen: ["127.0.0.1:80"]
admin_port: 81
metrics: {listen: "127.0.0.1:82"}
services:
  - {name: own, host: a.test, listen: ["unix:/run/a.sock", "127.0.0.1:8001"], locations: [{path: /, redirect: "https://x/"}]}
  - {name: other, host: b.test, port: 8002, locations: [{path: /, redirect: "https://x/"}]}
  - name: shared
    host: c.test
    locations: [{path: /, redirect: "https://x/"}]
"""
BARE = "backends: [http://10.0.0.1]\n"


@pytest.mark.parametrize(
    ("text", "address", "expected"),
    [
        (TEXT, "127.0.0.1:8001", "service `own`, FILE:5:60"),
        (TEXT, "unix:/run/a.sock", "service `own`, FILE:5:40"),
        (TEXT, ":8002", "service `other`, FILE:6:39"),
        (TEXT, "127.0.0.1:80", "service `shared`, FILE:1:10"),
        (TEXT, "127.0.0.1:81", "the management API, FILE:2:13"),
        (TEXT.replace("admin_port: 81", "api: {port: 91}"), "127.0.0.1:91", "the management API, FILE:2:13"),
        (TEXT, "127.0.0.1:82", "`metrics`, FILE:3:19"),
        (TEXT, "127.0.0.1:9999", ""),
        ("http_port: 83\n" + BARE, ":83", "service `default`, FILE:1:12"),
        (BARE, ":8080", "service `default`, as the default; FILE names no other port for it"),
        (BARE, "127.0.0.1:8081", "the management API, as the default; FILE names no other port for it"),
        (BARE, "127.0.0.1:9090", "`metrics`, as the default; FILE names no other port for it"),
        ("no such key: 1\n", ":8080", ""),
    ],
)
def test_who_asks_and_where(tmp_path: Path, text: str, address: str, expected: str) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(text)
    assert Loader({}).asks(address, str(file)) == expected.replace("FILE", str(file))


def test_a_service_of_another_file_is_named_with_that_file(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("health_check: off\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "s.yaml").write_text(
        'services:\n- name: far\n  port: 8003\n  locations: [{path: /, redirect: "https://x/"}]\n'
    )
    found = Loader({}).asks(":8003", str(tmp_path / "t.yaml"), services_dir=str(tmp_path / "more"))
    assert found == f"service `far`, {tmp_path}/more/s.yaml:3:9"
