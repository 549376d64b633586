"""Redirects: answers with another URL. The status is always 308, which keeps the method and the body (RFC 9110, section 15.4.9).

- `http_redirect`: plain-HTTP requests go to the same URL under https, at `redirect_port` (`HttpsRedirect`).
- `redirect`, a path, if the location has backends: requests for exactly that path of the service go to the location's path
  (`ExactRedirect`).
- `redirect` without backends, or as an http(s) URL: requests below the location go there, with the rest of their path and their query
  (`PrefixRedirect`).

The source of an `ExactRedirect` lies outside of its location. So `redirects` gives a location also the redirects of other locations whose
source lies in it. `elsewhere` gives the redirects for paths without a location. `Redirect` is the filter that applies them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from ..config.snapshot import Location, Service
from ..errors import BadRequest, ConfigError, Problem
from ..exchange import Exchange
from ..route.forks import of_service
from ..route.host import split_host
from ..route.location import https_target
from ..route.prefix import normal
from ..route.target import canonical
from ..state.view import SeatView
from .answer import Answer
from .contract import Counter, Filter, Place, Stage, Tally

__all__ = ["ExactRedirect", "HttpsRedirect", "PrefixRedirect", "Redirect", "elsewhere", "redirects"]

Rule = Callable[[Exchange], Answer | None]


class Redirect(Filter):
    """Answers requests with a redirect. It is made from `redirect`, `http_redirect` and `redirect_port`, so it has no key of its own."""

    __slots__ = ("_answered", "_rules")

    name: ClassVar[str] = "redirect"
    stage: ClassVar[Stage] = Stage.REDIRECTS
    counters: ClassVar[tuple[Counter, ...]] = (Counter("answers", "Requests answered with a redirect."),)

    def __init__(self, settings: None, place: Place, view: SeatView) -> None:
        """Raises `ConfigError` for a redirect that can never work."""
        service, location = place.service, place.location
        self._rules: tuple[Rule, ...] = ()
        if service is not None:
            self._rules = elsewhere(service) if location is None else redirects(service, location)
        self._answered: Tally | None = place.tally("answers") if self._rules else None

    def needs(self, hook: str) -> bool:
        return bool(self._rules)

    def on_request(self, exchange: Exchange) -> Answer | None:
        for rule in self._rules:
            answer = rule(exchange)
            if answer is not None:
                if self._answered is not None:
                    self._answered.count()
                return answer
        return None


def redirects(service: Service, location: Location) -> tuple[Rule, ...]:
    """The redirects for the requests of a location, in the order in which they are tried. Raises `ConfigError`."""
    filters: list[Rule] = []
    if location.http_redirect:
        filters.append(HttpsRedirect(service.redirect_port))
    filters += _exact(service, location)
    if location.redirect and not _is_exact(location):
        filters.append(PrefixRedirect(location.path.encode("ascii"), location.redirect.encode("ascii")))
    return tuple(filters)


def elsewhere(service: Service) -> tuple[Rule, ...]:
    """The redirects for paths without a location, in the order in which they are tried."""
    if any(location.match is None and not normal(location.path.encode("ascii")) for location in service.locations):
        return ()
    filters: list[Rule] = []
    if service.http_redirect:
        filters.append(HttpsRedirect(service.redirect_port))
    filters += _exact(service, None)
    return tuple(filters)


def _is_exact(location: Location) -> bool:
    return location.forwards and not location.arm and location.redirect.startswith("/")


def _exact(service: Service, at: Location | None) -> list[Rule]:
    """The exact redirects whose source lies in the location ``at``; None: in no location."""
    origins = [location for location in service.locations if _is_exact(location)]
    if not origins:
        return []
    forks = of_service(service)
    filters: list[Rule] = []
    for location in origins:
        try:
            source, _ = canonical(location.redirect.encode("ascii"), False, service.merge_slashes)
            there = forks.candidates(source)
            if any(one.payload is at for one in there) if at is not None else not there or there[-1].test is not None:
                filters.append(ExactRedirect(source, location.path.encode("ascii")))
        except (BadRequest, ValueError) as error:
            raise ConfigError([Problem("configuration", 0, 0, f"`redirect` {location.redirect}: {error}")]) from None
    return filters


class HttpsRedirect:
    """Plain HTTP → https, same host."""

    __slots__ = ("port",)

    def __init__(self, port: int) -> None:
        self.port = port

    def __call__(self, exchange: Exchange) -> Answer | None:
        if exchange.scheme != "http":
            return None
        name = split_host(exchange.host)[0] if exchange.host else b""
        path = exchange.path if exchange.path.startswith(b"/") else b"/"  # OPTIONS *
        return _moved(https_target(name, self.port, path, exchange.query))


class ExactRedirect:
    """One path → another one."""

    __slots__ = ("source", "target")

    def __init__(self, source: bytes, target: bytes) -> None:
        """source, target: canonical paths. ValueError if they are the same."""
        if source == target:
            raise ValueError(f"a redirect to itself: {source!r}")
        self.source = source
        self.target = target

    def __call__(self, exchange: Exchange) -> Answer | None:
        if exchange.path != self.source:
            return None
        return _moved(b"%b?%b" % (self.target, exchange.query) if exchange.query else self.target)


class PrefixRedirect:
    """Every path below a prefix → the same path below another prefix or below an absolute URL.

    A target with its own query or fragment is not a prefix: every request is redirected to exactly that target.
    """

    __slots__ = ("prefix", "target", "whole")

    def __init__(self, prefix: bytes, target: bytes) -> None:
        self.prefix = normal(prefix)
        self.target = target
        self.whole = b"?" in target or b"#" in target

    def __call__(self, exchange: Exchange) -> Answer | None:
        if self.whole:
            return _moved(self.target)
        rest = exchange.path[len(self.prefix) :] if exchange.path.startswith(b"/") else b""
        target = self.target.rstrip(b"/") + rest if rest else self.target
        if exchange.query:
            target = b"%b?%b" % (target, exchange.query)
        if target.startswith(b"//"):  # otherwise the client's path would name another host
            target = b"/" + target.lstrip(b"/")
        return _moved(target)


def _moved(target: bytes) -> Answer:
    return Answer(308, ((b"Location", target),))
