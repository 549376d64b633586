"""The overlay: what operators changed at run time, above the configuration file, for as long as they want it.

Keyed by backend id, as the file has it. For each backend at most one order (drain or maintenance) and one weight, each with who,
when, why and until when, and the last `HISTORY` touches. It outlives workers, reloads, restarts and upgrades, as it stands in
``overlay.json`` in the state directory:

    {"version": 1, "backends": {ID: {"order": TOUCH or null, "weight": TOUCH or null, "history": [TOUCH, …], "gone": MOMENT}}}

- The file is written before anything takes effect, whole, under another name, and then renamed. Where that fails (a full disk), the
  change is refused and nothing has changed.
- A file that cannot be read is set aside under another name and told of as an error. It must not keep Terraster from serving,
  and it may be worth a look.
- An entry whose backend is not configured any more is kept for `KEPT` seconds, so that a reload that brings the backend back
  finds it.
- During an upgrade two masters have the file. Each looks whether the other has written before it changes something.

Orders take effect through `terraster.master.standing`, weights through `apply`, see `terraster.master.steering`. Moments are
time.time(); 0 = for good, or never. Master only.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from terraster.config.snapshot import Location, Service, Snapshot
from terraster.errors import StartError

__all__ = ["DRAIN", "ENABLE", "EXPIRED", "HISTORY", "KEPT", "MAINTENANCE", "WEIGHT", "WEIGHT_OF_FILE", "Entry", "Overlay", "Touch"]

HISTORY = 20  # touches that are kept for each backend
KEPT = 86400.0  # seconds that an entry without a backend is kept

DRAIN, MAINTENANCE, ENABLE, WEIGHT, WEIGHT_OF_FILE, EXPIRED = "drain", "maintenance", "enable", "weight", "weight file", "expired"

_VERSION = 1
_END = 1e12  # seconds: no moment is later
_MOST = 64 * 1024 * 1024  # octets of a file that is read at all


@dataclass(frozen=True, slots=True)
class Touch:
    """One thing that somebody did to a backend, or (`EXPIRED`) the end of it. ``weight``: of `WEIGHT` only, else -1."""

    what: str
    when: float
    by: str = ""
    reason: str = ""
    until: float = 0.0
    weight: int = -1


@dataclass(frozen=True, slots=True)
class Entry:
    """All there is for one backend. ``gone``: since when no such backend is configured, 0 = it is."""

    order: Touch | None = None
    weight: Touch | None = None
    history: tuple[Touch, ...] = ()
    gone: float = 0.0

    def touched(self, touch: Touch) -> Entry:
        """What it is after somebody touched the backend."""
        order, weight = self.order, self.weight
        if touch.what in (DRAIN, MAINTENANCE):
            order = touch
        elif touch.what == ENABLE:
            order = None
        elif touch.what == WEIGHT:
            weight = touch
        elif touch.what == WEIGHT_OF_FILE:
            weight = None
        return replace(self, order=order, weight=weight, history=(*self.history, touch)[-HISTORY:])

    def ended(self, now: float) -> Entry:
        """What is left of it at a moment."""
        entry = self
        for name in ("order", "weight"):
            touch: Touch | None = getattr(entry, name)
            if touch is not None and 0 < touch.until <= now:
                end = Touch(EXPIRED, touch.until, "Terraster", f"the time of {touch.what} was over", weight=touch.weight)
                history = (*entry.history, end)[-HISTORY:]
                entry = replace(entry, order=entry.order if name == "weight" else None, history=history)
                entry = replace(entry, weight=None) if name == "weight" else entry
        return entry


class Overlay:
    """The overlay of one state directory.

    directory: made (0700) when something is to be kept there
    log:       gunicorn's logger
    clock:     time.time
    """

    def __init__(self, directory: str, log: Any, clock: Callable[[], float] = time.time) -> None:
        self.path = os.path.join(directory, "overlay.json")
        self.entries: dict[str, Entry] = {}
        self._directory = directory
        self._log = log
        self._clock = clock
        self._seen: tuple[int, int, int] | None = None  # the file as it was read or written last
        self._applied: dict[str, tuple[Service, dict[str, int], Service]] = {}

    def load(self) -> None:
        """Read what was kept. Never raises: what cannot be read is set aside and told of."""
        try:
            text, self._seen = self._read()
            self.entries = _parsed(text)
        except FileNotFoundError:
            self.entries, self._seen = {}, None
        except (OSError, ValueError, RecursionError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            aside = f"{self.path}.broken-{time.strftime('%Y%m%dT%H%M%S', time.localtime(self._clock()))}"
            try:
                os.rename(self.path, aside)
                kept = f"it is kept as {aside}"
            except OSError as failure:
                kept = f"and it cannot be set aside: {failure.strerror}"
            self._log.error(
                "%s cannot be read (%s); %s. What was drained, in maintenance or had another weight is so no more",
                self.path,
                why,
                kept,
            )

    def reread(self) -> bool:
        """Read the file again if somebody else has written it: the other master of an upgrade. Whether it was so."""
        try:
            changed = _signature(os.stat(self.path)) != self._seen
        except OSError:
            changed = self._seen is not None
        if changed:
            self.load()
        return changed

    def record(self, name: str, touch: Touch) -> Entry | None:
        """Touch a backend, by its id. Returns what there was before. Raises StartError if it cannot be kept; nothing has changed
        then."""
        before = self.entries.get(name)
        self._write({**self.entries, name: (before or Entry()).touched(touch)})
        return before

    def restore(self, name: str, entry: Entry | None) -> None:
        """Take a change back that did not take effect. Raises StartError."""
        entries = {key: value for key, value in self.entries.items() if key != name}
        self._write(entries if entry is None else {**entries, name: entry})

    def expire(self) -> dict[str, Entry]:
        """End what is over, and forget what is without a backend for too long. What there was before, by id, for those that changed.

        It ends even if that cannot be written: it ends again after a restart, then.
        """
        now = self._clock()
        before: dict[str, Entry] = {}
        entries: dict[str, Entry] = {}
        for name, entry in self.entries.items():
            ended = entry.ended(now)
            if ended is not entry:
                before[name] = entry
            if not (entry.gone and now - entry.gone >= KEPT):
                entries[name] = ended
        if before or len(entries) != len(self.entries):
            self._write_or_tell(entries)
        return before

    def next_end(self) -> float:
        """When `expire` has something to do again; 0 = never."""
        moments = [touch.until for entry in self.entries.values() for touch in (entry.order, entry.weight) if touch and touch.until]
        moments += [entry.gone + KEPT for entry in self.entries.values() if entry.gone]
        return min(moments, default=0.0)

    def follow(self, names: Iterable[str]) -> None:
        """These are the ids of the backends that are configured now."""
        if not self.entries:
            return
        known, now = set(names), self._clock()
        entries = {
            name: replace(entry, gone=0.0 if name in known else entry.gone or now) if (name in known) == bool(entry.gone) else entry
            for name, entry in self.entries.items()
        }
        if entries != self.entries:
            self._write_or_tell(entries)

    def apply(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with the weights of the overlay in it. A service in which nothing differs from the last time is the very
        object of the last time, and where there is nothing to change, that of the file."""
        weights = {name: entry.weight.weight for name, entry in self.entries.items() if entry.weight is not None}
        if not weights:
            self._applied = {}
            return snapshot
        before, self._applied = self._applied, {}
        services = tuple(self._service(service, weights, before) for service in snapshot.services)
        return replace(snapshot, services=services) if self._applied else snapshot

    def _service(
        self, service: Service, weights: dict[str, int], before: dict[str, tuple[Service, dict[str, int], Service]]
    ) -> Service:
        own = {
            backend.id: weights[backend.id]
            for location in service.locations
            for backend in location.backends
            if backend.id in weights
        }
        if not own:
            return service
        last = before.get(service.name)
        if last is not None and last[0] is service and last[1] == own:
            self._applied[service.name] = last
            return last[2]
        made = replace(service, locations=tuple(_location(location, own) for location in service.locations))
        self._applied[service.name] = (service, own, made)
        return made

    def _write_or_tell(self, entries: dict[str, Entry]) -> None:
        try:
            self._write(entries)
        except StartError as error:
            self._log.error("%s", error)
            self.entries = entries

    def _write(self, entries: dict[str, Entry]) -> None:
        content = json.dumps(
            {"version": _VERSION, "backends": {name: asdict(entry) for name, entry in sorted(entries.items())}}, indent=1
        ).encode()
        temporary = f"{self.path}.{os.getpid()}"
        try:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as stream:
                    os.fchmod(descriptor, 0o600)
                    stream.write(content)
                    stream.flush()
                    os.fsync(descriptor)
                    seen = _signature(os.fstat(descriptor))
                os.replace(temporary, self.path)
            except BaseException:
                os.unlink(temporary)
                raise
            _sync(self._directory)
        except OSError as error:
            raise StartError(f"cannot write {self.path}: {error.strerror}") from error
        self.entries, self._seen = entries, seen

    def _read(self) -> tuple[bytes, tuple[int, int, int]]:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as stream:
            text = stream.read(_MOST + 1)
            if len(text) > _MOST:
                raise ValueError("it is too large")
            return text, _signature(os.fstat(descriptor))


def _location(location: Location, weights: dict[str, int]) -> Location:
    if not any(backend.id in weights for backend in location.backends):
        return location
    backends = tuple(replace(backend, weight=weights.get(backend.id, backend.weight)) for backend in location.backends)
    return replace(location, backends=backends)


def _signature(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_mtime_ns, status.st_size


def _sync(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _parsed(text: bytes) -> dict[str, Entry]:
    """The entries that a file holds. Raises ValueError."""
    root = json.loads(text)
    if not isinstance(root, dict) or root.get("version") != _VERSION or not isinstance(root.get("backends"), dict):
        raise ValueError(f"it is no overlay of version {_VERSION}")
    return {name: _entry(value) for name, value in root["backends"].items()}


def _entry(value: Any) -> Entry:
    if not isinstance(value, dict) or not isinstance(value.get("history"), list):
        raise ValueError("an entry is not what it should be")
    order, weight = (None if value.get(name) is None else _touch(value[name]) for name in ("order", "weight"))
    if (order is not None and order.what not in (DRAIN, MAINTENANCE)) or (weight is not None and weight.weight < 0):
        raise ValueError("an entry is not what it should be")
    return Entry(order, weight, tuple(_touch(touch) for touch in value["history"])[-HISTORY:], _number(value.get("gone", 0.0)))


def _touch(value: Any) -> Touch:
    if not isinstance(value, dict) or not all(isinstance(value.get(name), str) for name in ("what", "by", "reason")):
        raise ValueError("a touch is not what it should be")
    weight = value.get("weight", -1)
    if isinstance(weight, bool) or not isinstance(weight, int):
        raise ValueError("a weight is no whole number")
    return Touch(value["what"], _number(value.get("when")), value["by"], value["reason"], _number(value.get("until", 0.0)), weight)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _END:
        raise ValueError("a moment is no number")
    return float(value)
