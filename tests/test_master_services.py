"""Orders about whole services: their keys, and the configuration that follows from them."""

from __future__ import annotations

import pytest

from terraster.config.snapshot import Location, Service
from terraster.filters.maintenance import MaintenanceSettings
from terraster.filters.respond import RespondSettings
from terraster.master.operator.services import in_maintenance, service_key, service_of


@pytest.mark.parametrize("name", ["shop", "service", "service shop", "a/b", "späti"])
def test_keys(name: str) -> None:
    assert service_of(service_key(name)) == name
    assert service_of(f"{name}/ http://10.0.0.1:80") == service_of(f"service x{name}/ http://10.0.0.1:80") == ""


def test_all_locations_are_under_maintenance() -> None:
    page, off = MaintenanceSettings(enabled=False, page="/soon.html"), MaintenanceSettings(enabled=False)
    respond = ("respond", RespondSettings())
    shared = (("maintenance", page), respond)
    locations = (
        Location("a", "/", filters=shared),
        Location("b", "/open", filters=(("maintenance", off),)),
        Location("c", "/bare"),
    )
    made = in_maintenance(Service("s", ("*",), (), locations, filters=shared))
    found = [dict(one.filters)["maintenance"] for one in (made, *made.locations)]
    assert all(isinstance(one, MaintenanceSettings) and one.enabled for one in found)
    assert [getattr(one, "page", "") for one in found] == ["/soon.html", "/soon.html", None, None]
    assert made.locations[0].filters is made.filters and respond in made.filters
    assert not page.enabled, "the configuration itself stays as it is"
