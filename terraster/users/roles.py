"""Roles of users and API tokens, from the least to the most: reader, operator, admin."""

from __future__ import annotations

__all__ = ["ADMIN", "OPERATOR", "READER", "ROLES", "least"]

READER, OPERATOR, ADMIN = ROLES = ("reader", "operator", "admin")
"""reader: read. operator: also change backends and reload. admin: also users, configuration, everything."""


def least(one: str, other: str) -> str:
    """The role of the two that may do less."""
    return ROLES[min(ROLES.index(one), ROLES.index(other))]
