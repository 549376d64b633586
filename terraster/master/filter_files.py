"""The files that filters use: read, checked, and laid into each new configuration (`terraster.config.filter_sources`).

They are looked at again from time to time, as those of certificates are. New ones are taken without a reload. A file that cannot be used
keeps a configuration from being run, unless an earlier version of it was read: that stays in use. Documents that the admin worker
fetches are files too. They may be missing: a filter then says that it cannot decide yet.

Editors and scripts empty a file before they write it again. A list of addresses that are denied would let all of them in meanwhile, so a file
that has become empty is at fault until it has stayed so for one interval of looks.
"""

from __future__ import annotations

from collections.abc import Callable

from terraster.certs.certificate import CertificateError
from terraster.certs.files import Files, Signature, read_octets, signature
from terraster.config.filter_sources import file_of, fill, sources
from terraster.config.settings.kinds import Source
from terraster.errors import StartError
from terraster.logs.program import ProgramLog
from terraster.net.yielding import yield_to_loop

from .agenda import Agenda
from .participant import Proposal
from .watched_files import KeptFiles, WatchedFiles

__all__ = ["FilterFiles"]


class FilterFiles(WatchedFiles):
    """The files that were read last.

    changed: puts new ones into effect; may wait. log: as for `KeptFiles`
    """

    name = "filter_files"

    def __init__(self, log: ProgramLog, agenda: Agenda, changed: Callable[[], bool]) -> None:
        super().__init__(agenda, changed)
        self._kept: KeptFiles[bytes] = KeptFiles(self._read, log, "requests from now on are judged by it")
        self._sources: dict[Files, Source] = {}
        self._used: dict[Files, Source] = {}  # in effect
        self._emptied: dict[Files, tuple[Signature, float]] = {}  # and since when
        self._state_dir = ""

    def prepare(self, new: Proposal) -> None:
        self._state_dir = new.snapshot.state_dir
        new.snapshot = fill(new.snapshot, self._octets)

    def kept(self, new: Proposal) -> list[str]:
        return [line for files in _used(new) if (line := self._kept.kept(files))]

    def commit(self, new: Proposal) -> None:
        self._used = _used(new)
        self._kept.forget(self._used)
        self._sources = {files: source for files, source in self._sources.items() if files in self._used}
        self._emptied = {files: since for files, since in self._emptied.items() if self._kept.problem(files)}
        super().commit(new)

    def has_files(self) -> bool:
        return bool(self._used)

    def has_news(self) -> bool:
        for files, source in list(self._used.items()):
            yield_to_loop()
            if files in self._used and self._get(files, source)[1]:
                return True
        return False

    def _octets(self, where: str, source: Source) -> bytes | None:
        """See `terraster.config.filter_sources.fill`. Raises StartError for a file that cannot be used and never could."""
        files = (file_of(self._state_dir, source),)
        found = self._get(files, source)[0]
        if found is None and source.fetch is None:
            raise StartError(f"{where}: {self._kept.problem(files)}")
        return found

    def _get(self, files: Files, source: Source) -> tuple[bytes | None, bool]:
        self._sources[files] = source
        return self._kept.get(files)

    def _read(self, files: Files) -> bytes:
        source = self._sources[files]
        octets = read_octets(files[0], source.largest)
        if not octets and not self._stays_empty(files):
            raise CertificateError(f"{files[0]}: has become empty, perhaps to be written anew", files[0])
        try:
            source.check(octets)
        except ValueError as error:
            raise CertificateError(f"{files[0]}: {error}", files[0]) from None
        return octets

    def _stays_empty(self, files: Files) -> bool:
        """True if a file was empty before, or has been since one interval ago."""
        if not self._kept.known(files):
            return True
        now, state = self._agenda.clock(), signature(files)
        since = self._emptied.get(files)
        if since is None or since[0] != state:
            self._emptied[files] = since = state, now
        return now - since[1] >= self._interval


def _used(new: Proposal) -> dict[Files, Source]:
    return {(file_of(new.snapshot.state_dir, source),): source for _, source in sources(new.snapshot)}
