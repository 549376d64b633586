"""The means of filters while a request is explained: nothing waits, nothing leaves the process, nothing is counted for others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from terraster.config.settings.plugins import PluginUse
from terraster.errors import HttpError
from terraster.exchange import Exchange
from terraster.filters.answer import Answer
from terraster.filters.runtime import Fields, Hooked, Reply, Runtime
from terraster.policy.htpasswd import matches
from terraster.wire.edits import Edits

if TYPE_CHECKING:
    from terraster.filters.copies import Copy

__all__ = ["Untold", "equip"]


class Untold(Exception):  # noqa: N818: nothing has failed
    """Only traffic can tell what a filter decides here."""


class _Passwords:
    """See `terraster.filters.runtime.Passwords`."""

    def verify(self, client: str, user: bytes, password: bytes, hashed: bytes) -> bool:
        return matches(hashed, password)


class _Subrequests:
    """See `terraster.filters.runtime.Subrequests`."""

    def get(self, exchange: Exchange, path: str, target: bytes, fields: Fields, about: Fields) -> Reply:
        raise Untold("its server decides, and is not asked here")


class _Mirrors:
    """See `terraster.filters.runtime.Mirrors`."""

    def hold(self, octets: int, most: int) -> bool:
        return True

    def release(self, octets: int) -> None:
        pass

    def send(self, copy: Copy) -> str:
        return ""


class _Bodies:
    """See `terraster.filters.runtime.Bodies`."""

    def read(self, exchange: Exchange, most: int) -> bytes | None:
        raise Untold("the body of the request decides")


class _Unhooked:
    """A plugin whose code does not run."""

    def on_request(self, exchange: Exchange) -> Answer | None:
        raise Untold("its code decides, and does not run here")

    def on_upstream(self, exchange: Exchange, edits: Edits) -> None:
        pass

    def on_response(self, exchange: Exchange, edits: Edits) -> None:
        pass

    def on_error(self, exchange: Exchange, error: HttpError) -> Answer | None:
        return None

    def on_log(self, exchange: Exchange) -> None:
        pass


class _Plugins:
    """See `terraster.filters.runtime.Plugins`."""

    def hooked(self, use: PluginUse) -> Hooked:
        return _Unhooked()


def equip(runtime: Runtime) -> None:
    """Give the filters of a plan these means."""
    runtime.passwords = _Passwords()
    runtime.subrequests = _Subrequests()
    runtime.mirrors = _Mirrors()
    runtime.bodies = _Bodies()
    runtime.plugins = _Plugins()
