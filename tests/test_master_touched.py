"""Which backends a reload would touch."""

from __future__ import annotations

from dataclasses import replace

import pytest

from terraster.config.diff import diff
from terraster.config.snapshot import Snapshot
from terraster.master.operator.touched import of_change

from .test_master_commands import SERVICES, snapshot

OLD = snapshot(SERVICES)


def named(new: Snapshot) -> list[str]:
    return [f"{service}{place} {backend.url}" for service, place, backend in of_change(OLD, diff(OLD, new))]


def of_shop(**of_location: object) -> Snapshot:
    """The configuration with another first location of the shop."""
    blog, shop = sorted(OLD.services, key=lambda one: one.name)
    location = replace(shop.locations[0], **of_location)  # type: ignore[arg-type]
    return replace(OLD, generation=2, services=(blog, replace(shop, locations=(location, *shop.locations[1:]))))


ALL = ["shop/ http://10.0.0.1:80", "shop/ http://10.0.0.2:80"]


@pytest.mark.parametrize(
    ("new", "touched"),
    [
        (replace(OLD, generation=2), []),
        (of_shop(backends=OLD.services[0].locations[0].backends[:1]), ["shop/ http://10.0.0.2:80"]),
        (of_shop(policy="random"), ALL),
        (replace(OLD, services=tuple(one for one in OLD.services if one.name != "shop")), [*ALL, "shop/api http://10.0.0.1:80/v1"]),
        (
            replace(OLD, services=tuple(replace(one, hosts=("a.test",)) if one.name == "shop" else one for one in OLD.services)),
            [*ALL, "shop/api http://10.0.0.1:80/v1"],
        ),
    ],
)
def test_only_what_a_change_is_about_is_touched(new: Snapshot, touched: list[str]) -> None:
    assert named(new) == touched


def test_a_changed_backend_is_touched_alone() -> None:
    one, two = OLD.services[0].locations[0].backends
    assert named(of_shop(backends=(one, replace(two, weight=7)))) == ["shop/ http://10.0.0.2:80"]


def test_new_backends_touch_no_others() -> None:
    one, two = OLD.services[0].locations[0].backends
    new = replace(two, id="shop/ http://10.0.0.3:80", url="http://10.0.0.3:80")
    assert named(of_shop(backends=(one, two, new))) == []
