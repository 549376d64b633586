"""Where HTTP/2 is spoken with clients, and with which limits: one rule for the checks and for the resolver.

Over TLS a service offers it by ALPN. The nearest level that says something decides: the service with its own `tls`, then the top with its
`tls`; within a level `false` wins over `true`. A `next_protos` without h2 is a `false` of its block, unless `tls.http2: true` is beside it.
If no level says anything, `next_protos` with h2 switches it on, else the default decides.

In clear a client begins with HTTP/2 before any service is known. So a listener speaks it if one of its services does; if these have
different limits, the lowest ones hold there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

from terraster.wire.http2.limits import Limits

from .cipher_suites import is_of_tls13, suits_http2
from .listeners import Rule
from .messages import Complaint
from .settings import LimitSettings, ServiceSettings, Settings
from .settings.http2 import OVER_TLS, Http2Settings
from .settings.tls import TlsSettings
from .snapshot import Listener, Service

__all__ = ["Http2Rule", "lowest", "protocols", "warnings"]

Path = tuple[str | int, ...]
_H2, _HTTP1 = "h2", "http/1.1"
_KEYS = tuple(field.name for field in fields(Limits))
_FIELD = 32  # octets that a field counts beyond its name and value: RFC 9113, section 6.5.2


class Http2Rule:
    """The rule for one configuration's top."""

    __slots__ = ("_limits", "_rule", "_top")

    def __init__(self, top: Settings, rule: Rule) -> None:
        self._top = top
        self._rule = rule
        heads = top.limits or LimitSettings.model_validate({})
        size = heads.header_size + _FIELD * heads.header_count
        limits = Limits(header_list_size=size, header_size=heads.header_size, header_count=heads.header_count)
        self._limits = _laid(limits, top.http2)

    def of(self, service: ServiceSettings) -> Limits | None:
        """The limits of a service, None if it speaks no HTTP/2."""
        return _laid(self._limits, service.http2) if self.speaks(service) else None

    def speaks(self, service: ServiceSettings) -> bool:
        """True if the service speaks HTTP/2 with its clients."""
        top, own = self._top, service.tls
        if not self._rule.tls(service):
            said = _says(service.http2)
            return bool(_says(top.http2) if said is None else said)
        levels = [(service.http2, own), (top.http2, top.tls if own is None else None)]
        for switch, tls in levels:
            words = (_says(switch), None if tls is None else tls.http2, _lists(tls))
            if False in words:
                return False
            if True in words:
                return True
        return OVER_TLS

    def in_clear(self, listener: Listener, service: Service) -> Listener:
        """A plain listener with what one more of its services adds. One with TLS is there for its redirect, so the top alone decides."""
        limits = service.http2 if service.tls is None else self._limits if _says(self._top.http2) else None
        found = lowest(listener.http2, limits)
        return listener if found == listener.http2 else replace(listener, http2=found)


def protocols(tls: TlsSettings, http2: bool) -> tuple[str, ...]:
    """The protocols that a service offers by ALPN, best first. http2: True if it speaks HTTP/2"""
    written = tls.next_protos or (_HTTP1,)
    if not http2:
        return tuple(name for name in written if name != _H2) or (_HTTP1,)
    return written if _H2 in written else (_H2, *written)


def lowest(one: Limits | None, other: Limits | None) -> Limits | None:
    """The limits of a plain listener that two services share: of each the lower one."""
    if one is None or other is None or one == other:
        return other if one is None else one
    return replace(one, **{key: min(getattr(one, key), getattr(other, key)) for key in _KEYS})


def _laid(limits: Limits, written: Http2Settings | None) -> Limits:
    """Limits with what a level writes laid over them, key by key; themselves if that is nothing new."""
    if written is None:
        return limits
    given: dict[str, Any] = {key: value for key in _KEYS if (value := written.written(key)) is not None}
    if "header_list_size" in given:
        given["header_size"] = given["header_list_size"]  # else the limit for HTTP/1.1 would hold beside it
    return replace(limits, **given) if given else limits


def _says(written: Http2Settings | None) -> bool | None:
    return None if written is None else written.enabled


def _lists(tls: TlsSettings | None) -> bool | None:
    """What `next_protos` of a block says; None if it says nothing, or has no say beside `http2: true`."""
    if tls is None or not tls.next_protos:
        return None
    return True if _H2 in tls.next_protos else None if tls.http2 else False


def warnings(top: Settings, services: Sequence[tuple[Path, ServiceSettings]]) -> Iterator[Complaint]:
    """Keys about HTTP/2 that contradict each other, each once."""
    rule = Rule(top)
    http2 = Http2Rule(top, rule)
    said: set[Path] = set()
    spoken: dict[str, str] = {}  # plain listeners with HTTP/2, and a service that wants it there
    for path, service in services:
        if not rule.tls(service):
            if http2.speaks(service):
                spoken.update((address, service.label) for address, _ in rule.of(service) if address not in spoken)
            continue
        for complaint in _of_tls(top, path, service, http2):
            if complaint[0] not in said:
                said.add(complaint[0])
                yield complaint
    for path, service in services:
        if _says(service.http2) is False and not rule.tls(service):
            for address, _ in rule.of(service):
                if address in spoken:
                    words = f"`http2` is on at {address} all the same, because service `{spoken[address]}` has it there"
                    yield (*path, "http2"), True, words
                    break


def _of_tls(top: Settings, path: Path, service: ServiceSettings, http2: Http2Rule) -> Iterator[Complaint]:
    """The contradictions between the keys of a level that decide for a service with TLS."""
    own = service.tls is not None
    level: Settings | ServiceSettings = service if own else top
    here, settings = path if own else (), level.tls
    assert settings is not None
    switch = _says(level.http2)
    if switch is False and settings.http2:
        yield (*here, "tls", "http2"), True, "`tls.http2` has no effect beside `http2: false`"
    if own and switch and settings.http2 is False:
        yield (*here, "http2"), True, "`http2` has no effect beside `tls.http2: false`"
    if settings.next_protos:
        off = switch is False or settings.http2 is False
        if _H2 in settings.next_protos:
            if off:
                key = "http2" if switch is False else "tls.http2"
                place = (*here, "tls", "next_protos", settings.next_protos.index(_H2))
                yield place, False, f"`next_protos`: h2 is not offered beside `{key}: false`"
        elif settings.http2 and not off:
            words = "`next_protos` has no h2, but `http2: true` beside it offers it, and first"
            yield (*here, "tls", "next_protos"), True, words
        elif own and switch and not off:
            yield (*here, "http2"), True, "`http2` has no effect, because `next_protos` has no h2"
    suites = [name for name in settings.cipher_suites if not is_of_tls13(name)]
    if suites and settings.min_version == "1.2" and http2.speaks(service) and not any(map(suits_http2, suites)):
        words = "`cipher_suites` has none that is allowed for HTTP/2 (RFC 9113, 9.2.2): clients that speak TLS 1.2 may refuse it"
        yield (*here, "tls", "cipher_suites"), True, f"{words}; set `http2: false`, or add one with ECDHE and GCM"
