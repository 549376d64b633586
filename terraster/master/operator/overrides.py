"""The overrides: operators' changes at run time, above the configuration file, for as long as they want them.

Keyed by backend id, as the file has it; an order about a whole service has a key of its own (`terraster.master.operator.services`). For each
key at most one order (drain or maintenance) and one weight that hold, each with who, when, why and until when, those that hold again when one
ends, and the last `HISTORY` actions. It outlives workers, reloads, restarts and upgrades: it is kept in ``overlay.json`` in `state_dir`:

    {"version": 1, "backends": {ID: {"order": ACTION or null, "weight": ACTION or null, "history": [ACTION, …], "gone": MOMENT,
                                     "under_order": [ACTION, …], "under_weight": [ACTION, …]}}}

- The file is written before anything takes effect, whole, under another name, and then renamed. Where that fails (a full disk), the
  change is refused and nothing has changed.
- During an upgrade two masters have the file. Whatever one changes, it changes in what the file says at that moment, under a lock
  (flock(2) on ``overlay.lock``, held for one write), and `reread` takes over what the other wrote.
- A file, or an entry of it, that cannot be understood is set aside under another name, and logged as an error. It must not keep Terraster
  from serving, and it may be worth a look. A file that cannot be read just now is left as it is, and nothing is written over it.
- An entry whose backend is no longer configured is kept for `KEPT` seconds, so that a reload that brings the backend back
  finds it.

Orders take effect through `terraster.master.backends.states`, weights through `apply`, see `terraster.master.operator.commands`. Moments are
time.time(); 0 = for good, or never. Master only; no call yields.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from gevent import monkey

from terraster.config.snapshot import Location, Service, Snapshot
from terraster.errors import StartError
from terraster.logs.program import ProgramLog
from terraster.master.participant import Participant, Proposal
from terraster.master.steps import Step, nothing

from .action import LOG, Action, Entry, parsed, written
from .services import in_maintenance, service_of

__all__ = ["KEPT", "Overrides"]

KEPT = 86400.0  # seconds that an entry without a backend is kept

_MOST = 64 * 1024 * 1024  # octets of a file that is read at all
_TRIES, _STEP = 1000, 0.002  # how often, and after how many seconds, a lock is tried: it is held for a write, so for milliseconds
_NAMED = 5  # entries that a message names before it only counts

Entries = dict[str, Entry]


class _Broken(Exception):
    """The file must be set aside. ``entries``: what is left."""

    def __init__(self, entries: Entries, why: str) -> None:
        super().__init__(why)
        self.entries = entries


class Overrides(Participant):
    """The overrides of one state directory.

    directory: made (0700) when something is to be kept there
    clock:     time.time

    ``entries``: by backend id; ``news``: another process changed them; `Orders` brings that into effect and makes it False.
    """

    name = "overrides"

    def __init__(self, directory: str, log: ProgramLog, clock: Callable[[], float] = time.time, step: Step = nothing) -> None:
        self._step = step
        self.path = os.path.join(directory, "overlay.json")
        self.entries: Entries = {}
        self.news = False
        self._directory = directory
        self._log = log
        self._clock = clock
        self._loaded = False
        self._seen: tuple[int, int, int] | None = None  # the file as it was read or written last
        self._told = ""  # the last complaint: what goes wrong five times a second is told once
        self._applied: dict[str, tuple[Service, dict[str, int], Service]] = {}
        self._maintained: dict[str, tuple[Service, Service]] = {}

    def load(self) -> None:
        """Read the file. Never raises: a file that cannot be read is logged, and one that cannot be understood is set aside as well."""
        self.reread()
        self._loaded, self.news = True, False

    def reread(self) -> bool:
        """Read the file again if another process has written it: the other master of an upgrade. True if that changed anything. Never
        raises: a file that cannot be read changes nothing, and is logged."""
        before = self.entries
        try:
            try:
                self._catch_up()
            except _Broken as broken:
                if not self._loaded:
                    self.entries = broken.entries
                with self._locked():
                    self._catch_up_or_mend()
            self._told = ""
        except StartError as error:
            self._tell(error)
        return self.entries != before

    def record(self, name: str, action: Action) -> Entry | None:
        """Action a backend, by its id. Returns what there was before. Raises StartError if it cannot be kept; nothing has changed
        then."""
        return self._edit(lambda entries: {**entries, name: entries.get(name, Entry()).after(action)}).get(name)

    def record_all(self, actions: Mapping[str, Action]) -> None:
        """Action several backends, in one write. Raises as `record` does: none is changed then."""
        self._edit(lambda entries: {**entries, **{name: entries.get(name, Entry()).after(one) for name, one in actions.items()}})

    def restore(self, name: str, action: Action, before: Entry | None) -> None:
        """Take an action back that did not take effect, unless another one followed. Raises StartError."""

        def restored(entries: Entries) -> Entries:
            if action not in entries.get(name, Entry()).history[-1:]:
                return entries
            rest = {key: value for key, value in entries.items() if key != name}
            return rest if before is None else {**rest, name: before}

        self._edit(restored)

    def expire(self) -> Entries:
        """End actions that are over, and forget entries that have had no backend for too long. Returns the entries before, by id, of those that
        changed.

        It ends even if that cannot be written: it ends again after a restart, then.
        """
        now = self._clock()

        def left(entries: Entries) -> Entries:
            return {name: one.ended(now) for name, one in entries.items() if not (one.gone and now - one.gone >= KEPT)}

        before = self._edit_or_tell(left)
        return {name: one for name, one in before.items() if self.entries.get(name, one) != one}

    def next_end(self) -> float:
        """When `expire` has something to do again; 0 = never."""
        moments = [
            action.until
            for entry in self.entries.values()
            for action in (entry.order, entry.weight, entry.forced)
            if action and action.until
        ]
        moments += [entry.gone + KEPT for entry in self.entries.values() if entry.gone]
        return min(moments, default=0.0)

    def follow(self, names: Iterable[str], alone: bool = True) -> None:
        """These are the ids of the backends that are configured now. alone: not during an upgrade, where the other master may have
        others: an entry without a backend is not gone then."""
        if not self.entries:
            return
        known, now = set(names), self._clock()

        def followed(name: str, entry: Entry) -> Entry:
            gone = 0.0 if name in known else entry.gone or (now if alone else 0.0)
            return entry if gone == entry.gone else replace(entry, gone=gone)

        self._edit_or_tell(lambda entries: {name: followed(name, entry) for name, entry in entries.items()})

    def prepare(self, new: Proposal) -> None:
        new.snapshot = self._with_level(self._in_maintenance(self.apply(new.snapshot)))

    def apply(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with the weights of the operators in it. A service in which nothing differs from the last time is the very
        object of the last time, and where there is nothing to change, that of the file."""
        weights = {name: entry.weight.weight for name, entry in self.entries.items() if entry.weight is not None}
        if not weights:
            self._applied = {}
            return snapshot
        before, self._applied = self._applied, {}
        services = tuple(self._service(service, weights, before) for service in snapshot.services)
        return replace(snapshot, services=services) if self._applied else snapshot

    def _in_maintenance(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with the orders of operators about whole services in it; the objects are those of the last time as far as can be."""
        names = {service_of(name) for name, entry in self.entries.items() if entry.order is not None} - {""}
        before, self._maintained = self._maintained, {}
        if not names:
            return snapshot
        for service in snapshot.services:
            if service.name in names:
                last = before.get(service.name)
                made = last[1] if last is not None and last[0] is service else in_maintenance(service)
                self._maintained[service.name] = service, made
        services = tuple([self._maintained.get(service.name, (service, service))[1] for service in snapshot.services])
        return replace(snapshot, services=services)

    def _with_level(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with the level of the log that an operator wants."""
        wanted = self.entries.get(LOG, Entry()).forced
        return snapshot if wanted is None else replace(snapshot, log_level=wanted.what.removeprefix("level "))

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

    # The file.

    def _edit(self, change: Callable[[Entries], Entries]) -> Entries:
        """Change what the file says now. Returns what that was. Raises StartError: nothing has changed then."""
        with self._locked():
            self._catch_up_or_mend()
            before = self.entries
            entries = change(before)
            if entries != before:
                self._write(entries)
        return before

    def _edit_or_tell(self, change: Callable[[Entries], Entries]) -> Entries:
        """The same for what happens even if it cannot be written."""
        before = self.entries
        if change(before) == before:
            return before
        try:
            return self._edit(change)
        except StartError as error:
            self._tell(error)
            before = self.entries
            self.entries = change(before)
            return before

    def _tell(self, error: StartError) -> None:
        if str(error) != self._told:
            self._told = str(error)
            self._log.error("%s", error)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone with the file. Raises StartError."""
        lock = os.path.join(self._directory, "overlay.lock")
        try:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StartError(f"cannot write {self.path}: {error.strerror}") from error
        try:
            if not _lock(descriptor, lock):
                raise StartError(f"cannot write {self.path}: another process holds {lock}")
            yield
        finally:
            os.close(descriptor)

    def _catch_up(self) -> None:
        """Take over what another process wrote. Raises _Broken, or StartError if the file cannot be read."""
        try:
            if _signature(os.stat(self.path)) == self._seen:
                return
            text, seen = self._read()
        except FileNotFoundError:
            if self._seen is not None:
                raise _Broken(self.entries, "it was removed") from None
            return
        except OSError as error:
            raise StartError(f"cannot read {self.path}: {error.strerror}; it is left as it is") from error
        except ValueError as error:
            raise _Broken(self.entries, str(error)) from error
        try:
            entries, bad = parsed(text)
        except (ValueError, RecursionError) as error:
            raise _Broken(self.entries, str(error)) from error
        if bad:
            entries.update({name: entry for name, entry in self.entries.items() if name in bad})
            raise _Broken(entries, _listed([f"{name!r}: {why}" for name, why in bad.items()]))
        self._take(entries)
        self._seen = seen

    def _catch_up_or_mend(self) -> None:
        """The same with the lock: what is broken is set aside, and what is left of it, or was known before, written anew."""
        try:
            self._catch_up()
        except _Broken as broken:
            aside = f"{self.path}.broken-{time.strftime('%Y%m%dT%H%M%S', time.localtime(self._clock()))}"
            try:
                os.rename(self.path, aside)
                kept = f"it is kept as {aside}"
            except FileNotFoundError:
                kept = "nothing is left of it"
            except OSError as failure:
                kept = f"and it cannot be set aside: {failure.strerror}"
            if self._loaded:
                rest = "Orders and weights stay in effect, and are written anew"
            elif broken.entries:
                rest = "The other entries hold, and are written anew"
            else:
                rest = "Its orders and weights are no longer in effect"
            self._log.error("%s cannot be used (%s); %s. %s", self.path, broken, kept, rest)
            self._take(broken.entries)
            self._seen = None
            if self.entries:
                self._write(self.entries)

    def _take(self, entries: Entries) -> None:
        if entries != self.entries:
            self.entries, self.news = entries, True

    def _write(self, entries: Entries) -> None:
        content = written(entries)
        temporary = f"{self.path}.new"  # one name: only the owner of the lock writes it, and one that died leaves no other
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as stream:
                    os.fchmod(descriptor, 0o600)
                    stream.write(content)
                    stream.flush()
                    os.fsync(descriptor)
                    seen = _signature(os.fstat(descriptor))
                self._step("overrides written")
                os.replace(temporary, self.path)
                self._step("overrides renamed")
            except BaseException:
                os.unlink(temporary)
                raise
        except OSError as error:
            raise StartError(f"cannot write {self.path}: {error.strerror}") from error
        self.entries, self._seen = entries, seen
        try:
            _sync(self._directory)
        except OSError as error:
            self._log.warning("%s is written, but may not outlive a loss of power: %s", self.path, error.strerror)

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


def _lock(descriptor: int, path: str) -> bool:
    """Take a lock, and wait for it as long as a write may take. The hub waits too: an edit must not yield. Raises StartError."""
    sleep: Callable[[float], None] = monkey.get_original("time", "sleep")
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            sleep(_STEP)
        except OSError as error:
            raise StartError(f"cannot lock {path}: {error.strerror}") from error
    return False


def _listed(texts: list[str]) -> str:
    rest = len(texts) - _NAMED
    return "; ".join(texts[:_NAMED]) + (f"; and {rest} more" if rest > 0 else "")
