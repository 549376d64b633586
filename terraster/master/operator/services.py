"""Orders of operators about whole services, as a part of a configuration: maintenance. They are kept with those about backends
(`terraster.master.operator.overrides`), under a key that no backend has, because the id of one ends in a URL."""

from __future__ import annotations

from dataclasses import replace

from terraster.config.snapshot import Filters, Service
from terraster.filters.maintenance import Maintenance, MaintenanceSettings

__all__ = ["in_maintenance", "service_key", "service_of"]

_PREFIX = "service "


def service_key(service: str) -> str:
    """The key of the orders about a service."""
    return _PREFIX + service


def service_of(key: str) -> str:
    """The service that a key is for; "" for the id of a backend."""
    name = key.removeprefix(_PREFIX)
    return name if name != key and "://" not in name else ""


def in_maintenance(service: Service) -> Service:
    """The service under maintenance: all of its locations, also those that switch it off. The page and the other keys are those that are
    written."""
    filters = _switched_on(service.filters)
    locations = tuple(
        [
            replace(one, filters=filters if one.filters is service.filters else _switched_on(one.filters))
            for one in service.locations
        ]
    )
    return replace(service, filters=filters, locations=locations)


def _switched_on(filters: Filters) -> Filters:
    name = Maintenance.name
    written = next((settings for kind, settings in filters if kind == name), None)
    settings = written.switched_on() if isinstance(written, MaintenanceSettings) else MaintenanceSettings.model_validate({})
    return (*((kind, one) for kind, one in filters if kind != name), (name, settings))
