"""Names of locations and backends that are the same in two generations: the same text in the file is the same thing."""

from __future__ import annotations

__all__ = ["backend_id", "label", "location_id"]


def label(path: str, mark: str) -> str:
    """A location within its service. mark: tells it from others of its path (`terraster.config.match.mark`)"""
    return f"{path}#{mark}" if mark else path


def location_id(service: str, label: str) -> str:
    """The stable id of a location."""
    return f"{service}{label}"


def backend_id(service: str, label: str, url: str) -> str:
    """The stable id of a backend: its service, its location, its URL."""
    return f"{service}{label} {url}"
