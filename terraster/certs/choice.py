"""The certificates that a service takes from folders, by its hosts, and the one that a client gets, by the name that it asks for.

Pure. A name is covered by a certificate that has it, or else by one that has the wildcard one label above it (RFC 9525, section 6.3). Among
those of one kind of key: one that is valid now comes before one that is not, then the exact name before the wildcard, then the one that is
valid longest. Certificates with keys of several kinds stand side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from terraster.config.host_patterns import examples, is_pattern, matches
from terraster.config.snapshot import Certificate, Service

__all__ = ["Choices", "Folder", "covers", "uncovered"]


def covers(certificate: Certificate, name: str) -> bool:
    """True if a client that asks for this name accepts the certificate. name: a host name in lower case, or "*.example.com" """
    return name in certificate.names or _wildcard(name) in certificate.names


def uncovered(service: Service) -> list[str]:
    """The hosts of a service with TLS that none of its certificates covers; "*" if it has none at all."""
    assert service.tls is not None
    certificates = service.tls.certificates
    if not certificates:
        return list(service.hosts)
    known = {name for one in certificates for name in one.names}
    return [host for host in service.hosts if host != "*" and not _is_known(host, known)]


def _is_known(host: str, known: set[str]) -> bool:
    """True if one of these names of certificates is for a host; for a regular expression, if one is for some of its names."""
    if is_pattern(host):
        return any(_is_for(host, name) for name in known)
    return host in known or _wildcard(host) in known


def _is_for(pattern: str, name: str) -> bool:
    """True if a certificate with this name is for names that an expression matches. A wildcard is tried with some of them."""
    if name.startswith("*."):
        return any(_wildcard(example) == name for example in examples(pattern))
    return matches(pattern, name)


class Folder:
    """The certificates of one folder, ready to be asked for hosts. now: time.time()"""

    def __init__(self, certificates: Iterable[Certificate], now: float) -> None:
        self._now = now
        self._all = tuple(certificates)
        self._by_name: dict[str, list[Certificate]] = {}
        self._below: dict[str, list[Certificate]] = {}  # by each domain above the names of a certificate
        for one in self._all:
            for name in one.names:
                self._by_name.setdefault(name, []).append(one)
                while name := name.partition(".")[2]:
                    self._below.setdefault(name, []).append(one)

    def choose(self, host: str) -> list[Certificate]:
        """The certificates for a host of a service: for an exact one the best of each kind; for a wildcard these too, and the best of each
        name below it; for "*" and a regular expression the best of each name that it matches."""
        if is_pattern(host):
            return self._best_of(dict.fromkeys(name for one in self._all for name in one.names if _is_for(host, name)))
        if not host.startswith("*"):
            return self._best(host)
        within = self._all if host == "*" else self._below.get(host[2:], ())
        names = dict.fromkeys(name for one in within for name in one.names if host == "*" or name.endswith(host[1:]))
        return list(dict.fromkeys([*([] if host == "*" else self._best(host)), *self._best_of(names)]))

    def _best_of(self, names: Iterable[str]) -> list[Certificate]:
        return list(dict.fromkeys(one for name in names for one in self._best(name)))

    def _best(self, name: str) -> list[Certificate]:
        """The best certificate of each kind that covers a name, the most recent kind of key first."""
        best: dict[str, Certificate] = {}
        for one in (*self._by_name.get(name, ()), *self._by_name.get(_wildcard(name), ())):
            known = best.get(one.kind)
            if known is None or self._rank(one, name) > self._rank(known, name):
                best[one.kind] = one
        return [best[kind] for kind in sorted(best)]

    def _rank(self, one: Certificate, name: str) -> tuple[bool, bool, float]:
        return one.not_before <= self._now < one.not_after, name in one.names, one.not_after


class Choices:
    """Which of a service's certificates a client gets. certificates: the best first"""

    __slots__ = ("_all", "_by_name", "_uniform")

    def __init__(self, certificates: Sequence[Certificate]) -> None:
        self._all = _one_of_a_kind(certificates)
        self._uniform = len({one.names for one in certificates}) < 2
        by_name: dict[str, list[Certificate]] = {}
        if not self._uniform:
            for one in certificates:
                for name in one.names:
                    by_name.setdefault(name, []).append(one)
        self._by_name = {name: _one_of_a_kind(several) for name, several in by_name.items()}

    def of(self, name: str) -> tuple[Certificate, ...]:
        """The certificates for a server name, one of each kind; for a name that none has, and for no name, the first ones."""
        if self._uniform:
            return self._all
        return self._by_name.get(name) or self._by_name.get(_wildcard(name)) or self._all


def _one_of_a_kind(certificates: Iterable[Certificate]) -> tuple[Certificate, ...]:
    first: dict[str, Certificate] = {}
    for one in certificates:
        first.setdefault(one.kind, one)
    return tuple(first.values())


def _wildcard(name: str) -> str:
    return f"*.{name.partition('.')[2]}"
