"""The backend that an operator means: a service, perhaps a path, and a name or a URL, which may be shortened; and the answer if none or
several match.

Pure: a snapshot and words in, values or `Unfound` out.
"""

from __future__ import annotations

import difflib
from collections.abc import Container, Iterable, Iterator

from terraster.config.snapshot import Backend, Location, Service, Snapshot
from terraster.errors import TerrasterError

__all__ = [
    "Found",
    "Unfound",
    "backends",
    "base",
    "endpoint_id",
    "find",
    "label",
    "listed",
    "matching",
    "one_endpoint",
    "spellings",
]

_NAMED = 8  # candidates that a problem names before it only counts

Found = tuple[Service, Location, Backend]


class Unfound(TerrasterError):
    """No backend matches, or more than one. ``candidates``: what could be meant, as "SERVICE/PATH URL"."""

    def __init__(self, problem: str, candidates: Iterable[str] = ()) -> None:
        super().__init__(problem)
        self.candidates = list(candidates)


def find(snapshot: Snapshot, service: str, path: str, url: str) -> Found:
    """The one backend that is meant. Raises Unfound."""
    places = matching(snapshot, service, path, url)
    if len(places) == 1:
        return places[0]
    names = [label(place) for place in places]
    if len({place[1].id for place in places}) > 1:
        raise Unfound(f"{url} is in several locations of {service}: {listed(names)}", names)
    raise Unfound(f"{url} is not clear: {listed(names)}", names)


def matching(snapshot: Snapshot, service: str, path: str, url: str) -> list[Found]:
    """The backends that may be meant, at least one. Raises Unfound."""
    places = list(backends(snapshot))
    if service:
        wanted = service + path
        named = [place for place in places if not path and place[0].name == wanted] or [
            place for place in places if _same_path(place[1].id, wanted)
        ]
        named = named or [place for place in places if _same_path(f"{place[0].name}{place[1].path}", wanted)]  # any arm of a split
        if not named:
            raise _no_such_place(snapshot, service, path)
        places = named
    if not url:
        names = [label(place) for place in places]
        raise Unfound(f"which backend? There are {listed(names)}", names)
    for matches in (_is_url, _is_name, _is_authority):
        found = [place for place in places if matches(place[2], url)]
        if found:
            return found
    urls = list(dict.fromkeys(word for place in places for word in (place[2].name, place[2].url) if word))
    near = difflib.get_close_matches(url, urls, n=3, cutoff=0.6)
    who = f"{service}{path}" if service else "no service"
    hint = f"did you mean {listed(near)}?" if near else f"there are {listed(urls)}" if urls else "there are none at all"
    raise Unfound(f"{who} has {'no' if service else 'a'} backend {url}; {hint}", near or urls)


def _no_such_place(snapshot: Snapshot, service: str, path: str) -> Unfound:
    names = [one.name for one in snapshot.services]
    name = service if path or service in names else service.partition("/")[0]
    if name in names:
        locations = [one.id for one in snapshot.services[names.index(name)].locations if one.backends]
        wanted = path or service[len(name) :] or "/"
        if not locations:
            return Unfound(f"service {name} has no backends")
        return Unfound(f"service {name} has no location {wanted} with backends; there are {listed(locations)}", locations)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {listed(near)}?" if near else f"there are {listed(names)}" if names else "there are none"
    return Unfound(f"no service is called {name}; {hint}", near or names)


def _same_path(name: str, wanted: str) -> bool:
    return name == wanted or name.rstrip("/") == wanted.rstrip("/")


def _is_url(backend: Backend, url: str) -> bool:
    if backend.socket and url == f"unix:{backend.socket}":
        return not backend.base_path
    return backend.url == url or backend.url.rstrip("/") == url.rstrip("/")


def _is_name(backend: Backend, name: str) -> bool:
    return backend.name == name


def _is_authority(backend: Backend, url: str) -> bool:
    """A URL in short: without its scheme, perhaps without its path or its port; the path of a unix socket."""
    if backend.socket:
        return url in (backend.socket, f"unix:{backend.socket}")
    short = url.partition("://")[2] or url
    written = backend.url.partition("://")[2]
    if "://" in url and not backend.url.startswith(url.partition("://")[0] + "://"):
        return False
    return short.lower().rstrip("/") in (written.lower(), written.partition("/")[0].lower(), backend.authority, backend.host)


def spellings(url: str) -> set[str]:
    """The words for a backend that is no longer configured: its URL, without its last slash or its scheme; the path of a unix
    socket."""
    return {url, url.rstrip("/"), url.partition("://")[2] or url, url.removeprefix("unix:")}


def backends(snapshot: Snapshot) -> Iterator[Found]:
    """Every backend, in the order of the configuration."""
    for service in snapshot.services:
        for location in service.locations:
            for backend in location.backends:
                yield service, location, backend


def base(name: str, configured: Container[str]) -> str:
    """The id in the file of which this is an endpoint: endpoints have "@ADDRESS" appended."""
    base = name
    while base not in configured and "@" in base:
        base = base.rpartition("@")[0]
    return base if base in configured else name


def endpoint_id(name: str, backend: Backend) -> str:
    """The id under which changes of one endpoint are kept: that of its backend in the file, and "@ADDRESS", for SRV "@TARGET:PORT". "" if
    the backend has no endpoints, as its URL has an address or a path. Unlike `Backend.id` it does not depend on what the name had before."""
    if backend.socket or not backend.address:
        return ""
    return f"{name}@{backend.endpoint or (f'{backend.host}:{backend.port}' if backend.srv else backend.address)}"


def one_endpoint(url: str, ending: str, found: Found, endpoints: Iterable[Backend]) -> Backend:
    """The endpoint that "URL@ENDING" means: the ending of its id, or its address. Raises Unfound."""
    known = {endpoint_id("", one)[1:]: one for one in endpoints if endpoint_id("", one)}
    matches = [one for name, one in known.items() if ending in (name, one.address)]
    if len(matches) == 1:
        return matches[0]
    names = [f"{found[2].url}@{name}" for name in known]
    if not names:
        raise Unfound(f"{found[2].url} has no endpoints", [label(found)])
    problem = f"{url} is not clear" if matches else f"{found[2].url} has no endpoint {ending}"
    raise Unfound(f"{problem}; there are {listed(names)}", [f"{found[1].id} {name}" for name in names])


def label(found: Found) -> str:
    """A backend as operators write it: "SERVICE/PATH URL", or "SERVICE/PATH NAME (URL)"."""
    backend = found[2]
    return f"{found[1].id} {backend.name} ({backend.url})" if backend.name else f"{found[1].id} {backend.url}"


def listed(names: list[str]) -> str:
    """Names as a problem has them: the first few, and how many more there are."""
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
