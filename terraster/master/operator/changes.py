"""The changes that a program or an operator asks for: checked as far as they are clear by themselves, and the place that each is about.

A change is a dict, see `terraster.master.operator.edit_commands`. Master only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from terraster.config.addresses import url as parsed_url
from terraster.config.edits import (
    ADD,
    CONFLICT,
    KINDS,
    LOCATION_ADD,
    LOCATION_REMOVE,
    LOCATION_REPLACE,
    LOCATION_SET,
    REMOVE,
    SET,
    UNKNOWN,
    Edit,
    value_of,
)
from terraster.config.snapshot import Backend, Location, Service
from terraster.master.running import Running

from .account import refusal
from .commands import LONGEST
from .edits import Edits
from .find import Unfound, listed, matching
from .overrides import Overrides

__all__ = ["MOST_CHANGES", "Command", "Places", "Refused", "asked"]

MOST_CHANGES = 1000  # in one command


class Refused(Exception):
    """A command cannot be done."""

    def __init__(self, code: str, *problems: str, candidates: Sequence[str] = (), current: str = "") -> None:
        super().__init__(*problems)
        self.answer = {**refusal(problems[0], candidates), "problems": list(problems), "code": code}
        if current:
            self.answer["etag"] = current


class Command:
    """One command. ``answer``: None until it is known."""

    __slots__ = ("answer", "by", "changes", "conditions", "edits", "places", "reason")

    def __init__(self, changes: list[dict[str, Any]], by: str, reason: str) -> None:
        self.changes = changes
        self.by = by
        self.reason = reason
        self.answer: dict[str, Any] | None = None
        self.edits: list[Edit] = []
        self.places: set[tuple[str, str]] = set()
        self.conditions = any(change.get("if_match") for change in changes)

    def refuse(self, code: str, problems: Sequence[str]) -> None:
        self.answer = Refused(code, *problems).answer


def asked(changes: Any, by: str, reason: str, if_match: str) -> Command:
    """The command, as far as it is clear without the configuration. Raises Refused."""
    if not isinstance(changes, list) or not changes or not all(isinstance(one, dict) for one in changes):
        raise Refused("invalid", "a command needs a list of changes")
    if len(changes) > MOST_CHANGES:
        raise Refused("invalid", f"a command has at most {MOST_CHANGES} changes, this one has {len(changes)}")
    made = []
    for one in changes:
        if one.get("kind") not in KINDS:
            raise Refused("invalid", f"there is no kind of change {one.get('kind')!r}; there are {', '.join(KINDS)}")
        seconds = one.get("for") or 0.0
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST:
            raise Refused("invalid", f"the time must be between 0 and {LONGEST:.0f} seconds")
        words = {name: one.get(name) or "" for name in ("service", "path", "url", "if_match")}
        if not all(isinstance(word, str) and word.isprintable() for word in words.values()):
            raise Refused("invalid", "`service`, `path`, `url` and `if_match` must be words")
        value = dict(one.get("value") or {})
        if one["kind"] == ADD:
            value.setdefault("url", words["url"])
        try:
            value_of(value)
            if one["kind"] == ADD:
                url = parsed_url(value["url"]).text
                if words["url"] and parsed_url(words["url"]).text != url:
                    raise Refused("invalid", "the `url` of the change is another one than that of its `value`")
                words["url"] = url
        except ValueError as error:
            raise Refused(
                "invalid", f"`url` {error}" if one["kind"] == ADD and str(error).startswith("must") else str(error)
            ) from None
        _check_keys(one["kind"], value)
        made.append(
            {**words, "if_match": words["if_match"] or if_match, "kind": one["kind"], "value": value, "for": float(seconds)}
        )
    return Command(made, by, reason)


class Places:
    """The places that changes are about, in the configuration that runs."""

    def __init__(self, running: Running, edits: Edits, overrides: Overrides) -> None:
        self._running = running
        self._edits = edits
        self._overrides = overrides

    def place(self, change: dict[str, Any]) -> tuple[Service, str]:
        """The service and the location that a change is about; a backend's URL becomes the configured one. Raises Refused."""
        loaded, service, path = self._running.loaded, change["service"], change["path"]
        if not path and "/" in service and service not in [one.name for one in loaded.services]:
            service, slash, rest = service.partition("/")
            path = slash + rest
        if change["kind"] in (REMOVE, SET):
            try:
                found = matching(loaded, service, path, change["url"])
            except Unfound as error:
                raise Refused(UNKNOWN, str(error), candidates=error.candidates) from None
            if len(found) > 1:
                names = [f"{one[1].id} {one[2].url}" for one in found]
                raise Refused(
                    "ambiguous", f"{change['url']} is in several places: {listed(names)}; name the service", candidates=names
                )
            ((where, location, backend),) = found
            change["url"] = backend.url
            if "weight" in change["value"]:
                self._refuse_overridden(backend)
            return where, location.place
        where = self._service(service)
        if change["kind"] == LOCATION_ADD:
            return where, self._new_label(change["value"])
        location = self._location(where, path, change["kind"])
        if change["kind"] == LOCATION_REPLACE and self._new_label(change["value"]) != location.place:
            raise Refused("invalid", f"a location keeps its `path`, `name` and `match`: this one is {location.place}")
        return where, location.place

    def _service(self, name: str) -> Service:
        services = self._running.loaded.services
        if not name and len(services) == 1:
            return services[0]
        found = next((one for one in services if one.name == name), None)
        if found is None:
            names = [one.name for one in services]
            words = f"no service is called {name}" if name else "which service?"
            raise Refused(UNKNOWN if name else "ambiguous", f"{words}; there are {listed(names)}", candidates=names)
        return found

    def _location(self, service: Service, path: str, kind: str) -> Location:
        locations = [one for one in service.locations if not one.arm or kind in (ADD, LOCATION_SET)]
        if not path:
            found = [one for one in locations if one.backends] or locations
            if len(found) == 1:
                return found[0]
        for same in (_is_place, _is_place_without_slash, _is_path):
            found = [one for one in locations if path and same(one, path)]
            if len(found) == 1:
                return found[0]
        names = [one.id for one in locations]
        words = f"service {service.name} has no location {path}" if path else f"which location of {service.name}?"
        raise Refused(UNKNOWN if path else "ambiguous", f"{words}; there are {listed(names)}", candidates=names)

    def _new_label(self, value: dict[str, Any]) -> str:
        assert self._edits.documents is not None
        try:
            return self._edits.documents.label(value)
        except ValueError:
            raise Refused(
                "invalid", "the location needs a `path` like /api, and where it has them a right `name` and `match`"
            ) from None

    def _refuse_overridden(self, backend: Backend) -> None:
        entry = self._overrides.entries.get(backend.id)
        if entry is not None and entry.weight is not None:
            action = entry.weight
            raise Refused(
                CONFLICT,
                f"the weight of {backend.url} is kept at {action.weight} by {action.by or 'an operator'} "
                f"(`terrasterctl backend weight`): end that first, with the weight `file`",
            )


def _check_keys(kind: str, value: dict[str, Any]) -> None:
    """Raises Refused if a change says nothing, or something that others say, or that nobody would heed."""
    if kind in (REMOVE, LOCATION_REMOVE) and value:
        raise Refused("invalid", f"`{kind}` takes no `value`")
    if kind in (SET, LOCATION_SET) and not value:
        raise Refused("invalid", "the change sets no key")
    if kind == SET and "url" in value:
        raise Refused("invalid", "the `url` of a backend cannot be changed: remove it, and add another one")
    if kind == LOCATION_SET and (more := sorted(value.keys() - {"lb_policy", "max_connections"})):
        raise Refused("invalid", f"`{more[0]}` cannot be set for a location, only `lb_policy` and `max_connections`")


def _is_place(location: Location, path: str) -> bool:
    return location.place == path


def _is_place_without_slash(location: Location, path: str) -> bool:
    return location.place.rstrip("/") == path.rstrip("/")


def _is_path(location: Location, path: str) -> bool:
    return not location.arm and location.path.rstrip("/") == path.rstrip("/")
