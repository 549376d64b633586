"""Octets put together. octets.pyx is the compiled twin."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["joined"]

joined: Callable[[tuple[bytes, ...]], bytes] = b"".join
"""The octets of a tuple, one after the other."""
