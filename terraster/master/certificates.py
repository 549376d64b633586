"""The certificates of all services: read from their files, checked, and laid into each new configuration.

The files are looked at again from time to time. New ones are taken without a reload of the configuration, under open connections.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from terraster.certs.acme_store import certificate_file
from terraster.certs.certificate import CertificateError
from terraster.certs.choice import Folder, covers, uncovered
from terraster.certs.files import Signature, has_both, open_to_others, read_files, signature
from terraster.certs.folder import pairs, remaining
from terraster.config.management import NAME
from terraster.config.snapshot import Certificate, Service, Snapshot, Tls
from terraster.errors import StartError
from terraster.logs.program import ProgramLog
from terraster.net.yielding import yield_to_loop

from .agenda import Agenda
from .participant import Proposal
from .watched_files import WatchedFiles

__all__ = ["Certificates"]

_TURN = 20  # pairs of files between two turns of the loop: some 4 ms if they must be read

Files = tuple[str, str]


class Certificates(WatchedFiles):
    """The certificates that were read last, by their files (certificate, key).

    A pair that was good once and is not now, because it is being written, does not keep a configuration from being run: the good
    certificate stays in use, with a warning. In a folder (`cert_dir`) a pair that never was good is a warning too, and so is a host for
    which the folder has nothing.

    log:     a line for each pair that changed, or that cannot be used
    changed: puts new certificates into effect; may wait
    clock:   time.time(): of two certificates in a folder the one that is valid now is used
    """

    name = "certificates"

    def __init__(
        self, log: ProgramLog, agenda: Agenda, changed: Callable[[], bool], clock: Callable[[], float] = time.time
    ) -> None:
        self._log = log
        super().__init__(agenda, changed)
        self._clock = clock
        self._known: dict[Files, tuple[Signature, Certificate]] = {}
        self._used: dict[Files, list[str]] = {}  # with the names of the services
        self._made: dict[str, tuple[Service, Service]] = {}  # as given, and with its certificates
        self._broken: dict[Files, str] = {}  # why, as it was said last
        self._parts: dict[str, Signature] = {}  # files in folders that have only a key or only certificates
        self._searched: dict[str, list[Files]] = {}  # the pairs of each folder, as they were found last
        self._unlisted: dict[str, str] = {}  # folders that cannot be listed, and why
        self._without: dict[str, list[str]] = {}  # hosts without a certificate, by service
        self._turns = 0.0  # time.time() at which a certificate of a folder begins or ends, so that another one may be the best
        self._looks = 0

    def prepare(self, new: Proposal) -> None:
        new.snapshot = self._fill(new.snapshot)

    def kept(self, new: Proposal) -> list[str]:
        if not self._broken:
            return []
        used, folders = self._in_use(new.snapshot)
        wanted = {*used, *(files for folder in folders for files in self._searched.get(folder, ()))}
        lines = []
        for files, why in self._broken.items():
            if files in wanted:
                names = ", ".join(used.get(files, ()))
                stays = f"the certificate from before stays in use{f' (for {names})' if names else ''}"
                lines.append(f"{why}; {stays if files in self._known else 'it is not used'}")
        return lines

    def _in_use(self, snapshot: Snapshot) -> tuple[dict[Files, list[str]], set[str]]:
        """The files of certificates that services have, with the names of these, and the folders that are searched."""
        used: dict[Files, list[str]] = {}
        of_api = () if snapshot.admin_tls is None else snapshot.admin_tls.files
        folders: set[str] = set()
        by_file = {files[0]: files for several in self._searched.values() for files in several}
        for service in snapshot.services:
            if service.tls is not None:
                folders.update(service.tls.folders)
                listed = service.tls.files
                found = (by_file[one.file] for one in service.tls.certificates[len(listed) :] if one.file in by_file)
                for files in dict.fromkeys((*listed, *_obtained(snapshot, service), *found)):
                    used.setdefault(files, []).append(service.name)
        for files in dict.fromkeys(of_api):
            used.setdefault(files, []).append(NAME)
        return used, folders

    def commit(self, new: Proposal) -> None:
        used, folders = self._in_use(new.snapshot)
        self._used = used
        self._searched = {folder: found for folder, found in self._searched.items() if folder in folders}
        self._unlisted = {folder: why for folder, why in self._unlisted.items() if folder in folders}
        seen = {*used, *(files for found in self._searched.values() for files in found)}
        self._known = {files: found for files, found in self._known.items() if files in seen}
        self._broken = {files: why for files, why in self._broken.items() if files in seen}
        self._parts = {file: found for file, found in self._parts.items() if (file, file) in seen}
        self._tell_uncovered(new.snapshot)
        if len(self._made) > len(new.snapshot.services):
            kept = {service.name for service in new.snapshot.services}
            self._made = {name: made for name, made in self._made.items() if name in kept}
        super().commit(new)

    def detail(self) -> Any:
        """A row for each pair in use, and one with fewer keys for each that is in a folder and cannot be used."""
        if not (self._used or self._broken):
            return None
        rows: list[dict[str, Any]] = [
            {
                "file": files[0],
                "services": names,
                "names": list(found.names),
                "kind": found.kind,
                "issuer": found.issuer,
                "not_before": found.not_before,
                "not_after": found.not_after,
                "fingerprint": found.fingerprint,
                "problem": self._broken.get(files),
            }
            for files, names in self._used.items()
            if files in self._known
            for found in (self._known[files][1],)
        ]
        idle = ((files, why) for files, why in self._broken.items() if files not in self._used)
        return rows + [{"file": files[0], "services": [], "problem": why} for files, why in idle]

    def has_files(self) -> bool:
        return bool(self._used or self._searched)

    def has_news(self) -> bool:
        if self._turns and self._clock() >= self._turns:
            return True
        for files in list(self._used):
            self._rest()
            if files in self._used and self._read_obtained(files)[1]:
                return True
        for folder in list(self._searched):
            before = self._searched.get(folder)
            if before is None:
                continue  # a reload came between, and nobody searches it any longer
            if self._list(folder) != before:
                return True
            for files in before:
                self._rest()
                if files not in self._used and self._read(files, folder=True)[1]:
                    return True
        return False

    def _fill(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with the certificates of its services. Raises StartError for a pair that cannot be used and never could. Yields."""
        if snapshot.admin_tls is not None:
            snapshot = replace(snapshot, admin_tls=self._of_management(snapshot.admin_tls))
        if all(service.tls is None for service in snapshot.services):
            return snapshot
        wanted = dict.fromkeys(folder for one in snapshot.services if one.tls is not None for folder in one.tls.folders)
        now, self._turns = self._clock(), 0.0
        folders = {folder: self._search(folder, now) for folder in wanted}
        services = tuple(
            service if service.tls is None else self._filled(service, folders, _obtained(snapshot, service))
            for service in snapshot.services
        )
        return replace(snapshot, services=services)

    def _filled(self, service: Service, folders: Mapping[str, Folder], obtained: tuple[Files, ...]) -> Service:
        """obtained: files that may be missing, because ACME has not obtained them yet"""
        assert service.tls is not None
        certificates = []
        for files in service.tls.files:
            self._rest()
            found = self._read(files)[0]
            if found is None:
                raise StartError(f"service {service.name}: {self._broken[files]}")
            certificates.append(found)
        for files in obtained:
            self._rest()
            if (one := self._read_obtained(files)[0]) is not None:
                certificates.append(one)
        certificates += chosen(service.hosts, certificates, [folders[folder] for folder in service.tls.folders])
        given, filled = self._made.get(service.name, (None, service))
        if given is not service or filled.tls is None or filled.tls.certificates != tuple(certificates):
            filled = replace(service, tls=replace(service.tls, certificates=tuple(certificates)))
            self._made[service.name] = service, filled
        return filled

    def _of_management(self, tls: Tls) -> Tls:
        """TLS of the management port with its certificates. Raises StartError as `_fill` does."""
        certificates = []
        for files in tls.files:
            found = self._read(files)[0]
            if found is None:
                raise StartError(f"{NAME}: {self._broken[files]}")
            certificates.append(found)
        return replace(tls, certificates=tuple(certificates))

    def _search(self, folder: str, now: float) -> Folder:
        """The certificates in a folder that can be used."""
        self._searched[folder] = self._list(folder)
        found = []
        for files in self._searched[folder]:
            self._rest()
            if (one := self._read(files, folder=True)[0]) is not None:
                found.append(one)
        for moment in (moment for one in found for moment in (one.not_before, one.not_after) if moment > now):
            self._turns = min(self._turns or moment, moment)
        return Folder(found, now)

    def _list(self, folder: str) -> list[Files]:
        """The pairs in a folder now. Half of a pair that was there counts as the pair; a folder that cannot be listed stays as it was."""
        before = self._searched.get(folder, [])
        try:
            found, errors = pairs(folder)
        except OSError as error:
            found, errors = before, [error]
        why = "; ".join(f"cannot list {error.filename}: {error.strerror}" for error in errors)
        if why and self._unlisted.get(folder) != why:
            self._log.warning("%s; certificates from there that are in use stay in use", why)
        if why:
            self._unlisted[folder] = why
        else:
            self._unlisted.pop(folder, None)
        return remaining([files for files in before if files in self._known], found, [error.filename for error in errors])

    def _read(self, files: Files, folder: bool = False) -> tuple[Certificate | None, bool]:
        """The certificate of a pair, read again if the files changed; the one from before if they are at fault; None if there was none. And
        True if it is another one than before. folder: True for a pair that was found in a folder, so that nobody wrote its name down"""
        before = self._known.get(files)
        try:
            now = signature(files)
            if before is not None and before[0] == now:
                self._broken.pop(files, None)
                return before[1], False
            if folder and self._is_part(files, now, before is not None):
                return None, False
            found = read_files(files)
            if signature(files) != now:
                raise CertificateError(f"{files[0]} or {files[1]} is being written")
        except OSError as error:
            return self._fault(files, f"cannot read {error.filename}: {error.strerror}", folder)
        except CertificateError as error:
            return self._fault(files, str(error), folder)
        self._broken.pop(files, None)
        self._known[files] = now, found
        self._tell_open(files[1], open_to_others(now))
        if before is None:
            return found, True
        if before[1] != found:
            until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(found.not_after))
            self._log.info("certificate %s: changed; the new one is valid until %s", files[0], until)
        return found, before[1] != found

    def _tell_open(self, key: str, mode: int) -> None:
        """A warning for a key that others may read, each time that it was read. systemd guards its credentials by other means."""
        credentials = os.environ.get("CREDENTIALS_DIRECTORY")
        if mode and not (credentials and key.startswith(f"{credentials}/")):
            self._log.warning("the private key in %s is open to others than its owner (mode %04o): chmod 600 %s", key, mode, key)

    def _read_obtained(self, files: Files) -> tuple[Certificate | None, bool]:
        """`_read` for files that may not be there yet."""
        if files not in self._known and not os.path.exists(files[0]):
            return None, False
        return self._read(files, folder=True)

    def _is_part(self, files: Files, now: Signature, known: bool) -> bool:
        """True for a file that is paired with itself and has no key, or no certificate."""
        if known or files[0] != files[1]:
            return False
        if self._parts.get(files[0]) != now:
            if has_both(files[0]):
                self._parts.pop(files[0], None)
                return False
            self._parts[files[0]] = now
        return True

    def _fault(self, files: Files, why: str, folder: bool) -> tuple[Certificate | None, bool]:
        before = self._known.get(files)
        if self._broken.get(files) != why and (before is not None or folder):
            self._log.warning("%s; %s", why, "it is not used" if before is None else "the certificate from before stays in use")
        self._broken[files] = why
        return None if before is None else before[1], False

    def _tell_uncovered(self, snapshot: Snapshot) -> None:
        """A warning for each service of which a host has no certificate in the folders that are searched for it, once."""
        found = {}
        for service in snapshot.services:
            if service.tls is not None and service.tls.folders and (hosts := uncovered(service)):
                found[service.name] = hosts
                if self._without.get(service.name) != hosts:
                    where = " or ".join(service.tls.folders)
                    self._log.warning("service %s: no certificate for %s in %s", service.name, ", ".join(hosts), where)
        self._without = found

    def _rest(self) -> None:
        self._looks += 1
        if self._looks % _TURN == 0:
            yield_to_loop()


def chosen(hosts: Iterable[str], own: Iterable[Certificate], folders: Sequence[Folder]) -> list[Certificate]:
    """The certificates that a service takes from folders: for each host that none of its own covers, from the first that has some."""
    found: dict[Certificate, None] = {}
    for host in hosts:
        if not any(covers(one, host) for one in own):
            found.update(dict.fromkeys(next((some for folder in folders if (some := folder.choose(host))), ())))
    return list(found)


def _obtained(snapshot: Snapshot, service: Service) -> tuple[Files, ...]:
    """The file that ACME keeps a service's certificate in."""
    if snapshot.acme is None or service.tls is None or not service.tls.domains:
        return ()
    file = certificate_file(snapshot.state_dir, snapshot.acme.directory, service.name)
    return ((file, file),)
