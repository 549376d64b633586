"""The answers to an authority that a master finds at its start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from terraster.certs.acme_answers import kept_answers
from terraster.certs.acme_kinds import alpn_certificate
from terraster.certs.acme_store import Store, folder
from terraster.certs.challenges import NONE, Answers
from terraster.config.authority import Acme
from terraster.config.snapshot import Snapshot, Tls

from .harness.tls_facts import tls_service

DIRECTORY = "https://acme.test/dir"
PAIR = alpn_certificate("a.test", bytes(32))


def read(state_dir: Path, *services: str, directory: str = DIRECTORY) -> Answers:
    acme = Acme(directory) if directory else None
    made = tuple(replace(tls_service(name), tls=Tls(domains=(f"{name}.test",), challenge="http-01")) for name in services)
    return kept_answers(Snapshot(1, (), (*made, tls_service("by-files")), state_dir=str(state_dir), acme=acme))


def keep(state_dir: Path, service: str, **values: Any) -> None:
    Store(folder(str(state_dir), DIRECTORY)).keep_order(service, {"url": "https://acme.test/order/1", **values})


def test_those_of_all_orders_under_way_and_of_no_service_that_is_not_there(tmp_path: Path) -> None:
    keep(tmp_path, "shop", tokens={"t1": "t1.key"})
    keep(tmp_path, "*", tokens={}, certificates={"a.test": PAIR})
    keep(tmp_path, "new")
    keep(tmp_path, "gone", tokens={"t2": "t2.key"})
    keep(tmp_path, "by-files", tokens={"t3": "t3.key"})
    assert read(tmp_path, "shop", "*", "new") == Answers({"t1": "t1.key"}, {"a.test": PAIR})
    assert read(tmp_path, "shop", directory="") == NONE
    assert read(tmp_path, "shop", directory="https://other.test/dir") == NONE


def test_none_where_nothing_was_ever_ordered(tmp_path: Path) -> None:
    assert read(tmp_path, "shop") == NONE


@pytest.mark.parametrize(
    "damage",
    [
        {"tokens": []},
        {"tokens": {"t": 1}},
        {"tokens": {"t": "\ud800"}},
        {"certificates": "none"},
        {"certificates": {"b.test": None}},
        {"certificates": {"b.test": PAIR[: len(PAIR) // 2]}},
    ],
)
def test_what_was_damaged_keeps_no_worker_from_starting(tmp_path: Path, damage: dict[str, Any]) -> None:
    keep(tmp_path, "bad", **damage)
    keep(tmp_path, "good", tokens={"t1": "t1.key"})
    assert read(tmp_path, "bad", "good") == Answers({"t1": "t1.key"})


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path) -> None:
    place = Path(folder(str(tmp_path), DIRECTORY))
    place.parent.mkdir()
    place.write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        read(tmp_path, "shop")
