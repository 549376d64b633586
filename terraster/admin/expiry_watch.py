"""Operators are told before a certificate or a CRL ends: a log line, and a mail if `cert_manager.alerting` has a mail server.

Each is told once at each stage (`terraster.policy.expiry`): the threshold, 14 days, 7 days, 1 day, and the end. A file in the state directory
knows what was told, so that a restart does not tell it again. It knows a certificate by its file and its end: a renewed one begins anew. A mail
that cannot be sent is tried again, ever later, and the admin worker answers meanwhile.

    expiry.json   {"told": {"certificate /etc/a.pem 1767225600": {"ends": 1767225600, "logged": 604800.0, "mailed": 604800.0}}}
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gevent.event import Event

from ..config.management import secured
from ..config.snapshot import Alerting, Snapshot
from ..policy.expiry import next_stage, span, stage
from . import mail

__all__ = ["ExpiryWatch", "Watched", "watched"]

_LOOK = 60.0  # seconds between two looks, at most
_FIRST, _LONGEST = 60.0, 6 * 3600.0  # seconds until a mail is tried again
_KEPT = 90 * 86400.0  # seconds after its end for which the file remembers a certificate
_SHOWN = 50  # lines of a mail


@dataclass(frozen=True, slots=True)
class Watched:
    """Something that ends: its kind ("certificate" or "CRL"), what operators call it, its file, its dates as seconds since 1970, and what
    happens at its end if that is not obvious."""

    kind: str
    name: str
    file: str
    not_before: float
    not_after: float
    then: str = ""

    @property
    def key(self) -> str:
        return f"{self.kind} {self.file} {self.not_after:.0f}"

    def words(self, now: float) -> str:
        """When it ends, as a sentence."""
        left = self.not_after - now
        day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.not_after))
        when = f"expired at {day}" if left <= 0 else f"expires in {span(left)}, at {day}"
        return f"{self.kind} {self.file} ({self.name}) {when}{self.then and f': {self.then}'}"


def watched(snapshot: Snapshot) -> list[Watched]:
    """Everything in a configuration that ends: certificates, then lists of revoked ones. A file of several services is there once."""
    return [*_certificates(snapshot), *_crls(snapshot)]


def _certificates(snapshot: Snapshot) -> list[Watched]:
    names: dict[str, list[str]] = {}
    certificates = {}
    for service in secured(snapshot):
        for one in service.tls.certificates if service.tls is not None else ():
            certificates[one.file] = one
            names.setdefault(one.file, []).append(service.name)
    return [
        Watched("certificate", _listed(names[one.file]), one.file, one.not_before, one.not_after) for one in certificates.values()
    ]


def _crls(snapshot: Snapshot) -> list[Watched]:
    names: dict[str, list[str]] = {}
    ends = {}
    for service in snapshot.services:
        asked = None if service.tls is None else service.tls.client_auth
        if asked is not None and asked.authorities is not None and asked.authorities.crl_until:
            ends[asked.crl_file] = asked.authorities
            names.setdefault(asked.crl_file, []).append(service.name)
    then = "from its end on clients with certificates are refused"
    return [Watched("CRL", _listed(names[file]), file, one.crl_begun, one.crl_until, then) for file, one in ends.items()]


class ExpiryWatch:
    """The watch of one admin worker.

    running: returns the running configuration
    log:     the program's log
    send:    as `terraster.admin.mail.send`
    clock:   time.time()
    """

    def __init__(
        self,
        running: Callable[[], Snapshot],
        log: Any,
        send: Callable[[Alerting, str, str], None] = mail.send,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._running = running
        self._log = log
        self._send = send
        self._clock = clock
        self._changed = Event()
        self._told: dict[str, dict[str, float]] = {}
        self._unusable = ""
        self._alerting: Alerting | None = None
        self._delay = 0.0  # seconds from the last failed mail to the next attempt; 0.0 = none has failed
        self._after = 0.0  # time at which a mail may be tried
        self.failure: dict[str, Any] | None = None  # ``text since`` of mails that cannot be sent

    def changed(self) -> None:
        """Look at once: there is a new configuration."""
        self._changed.set()

    def run(self) -> None:
        """For ever, in a greenlet of its own."""
        while True:
            self._changed.clear()
            try:
                seconds = self.look()
            except Exception:
                self._log.exception("the watch over certificates failed; it goes on")
                seconds = _LOOK
            self._changed.wait(seconds)

    def look(self) -> float:
        """Tell what is to be told. Returns the seconds until the next look. Waits for the mail server."""
        snapshot, now = self._running(), self._clock()
        self._load(snapshot.state_dir)
        things = watched(snapshot)
        due = [
            (one, reached)
            for one in things
            if (reached := stage(one.not_before, one.not_after, snapshot.certificate_threshold, now)) is not None
        ]
        if unlogged := [(one, reached) for one, reached in due if self._is_new(one, "logged", reached)]:
            for one, _ in unlogged:
                self._log.warning("%s", one.words(now))
            self._note(snapshot.state_dir, unlogged, "logged", now)
        unmailed = [(one, reached) for one, reached in due if self._is_new(one, "mailed", reached)]
        if snapshot.alerting is None or not unmailed or snapshot.alerting != self._alerting:
            self._alerting = snapshot.alerting
            self.failure, self._delay, self._after = None, 0.0, 0.0
        if snapshot.alerting is not None and unmailed and now >= self._after:
            self._mail(snapshot.alerting, snapshot.state_dir, unmailed, now)
        steps = (next_stage(one.not_before, one.not_after, snapshot.certificate_threshold, now) for one in things)
        soon = [seconds for seconds in steps if seconds is not None]
        if self._after:
            soon.append(self._after - self._clock())
        return max(0.05, min([_LOOK, *soon]))

    def _is_new(self, one: Watched, how: str, reached: float) -> bool:
        told = self._told.get(one.key, {}).get(how)
        return told is None or reached < told

    def _mail(self, alerting: Alerting, directory: str, due: Sequence[tuple[Watched, float]], now: float) -> None:
        host = socket.gethostname()
        lines = [one.words(now) for one, _ in due]
        kinds = " and ".join(f"{kind}s" for kind in dict.fromkeys(one.kind for one, _ in due))
        subject = lines[0] if len(lines) == 1 else f"{len(lines)} {kinds} expire or have expired"
        more = [f"... and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
        text = "\n".join(
            [
                f"Terraster on {host}:",
                "",
                *lines[:_SHOWN],
                *more,
                "",
                "terrasterctl certificates and terrasterctl status show them.",
                "",
            ]
        )
        try:
            self._send(alerting, f"[{host}] Terraster: {subject}", text)
        except mail.MailError as error:
            self._delay = min(_LONGEST, 2 * self._delay or _FIRST)
            self._after = self._clock() + self._delay
            self.failure = {"text": str(error), "since": self.failure["since"] if self.failure else now}
            self._log.warning("no mail about certificates that expire: %s; tried again in %.0f s", error, self._delay)
            return
        self.failure, self._delay, self._after = None, 0.0, 0.0
        self._log.info("mail about %s sent to %s", _listed([one.file for one, _ in due]), ", ".join(alerting.receivers))
        self._note(directory, due, "mailed", now)

    def _note(self, directory: str, due: Sequence[tuple[Watched, float]], how: str, now: float) -> None:
        for one, reached in due:
            self._told.setdefault(one.key, {"ends": one.not_after})[how] = reached
        self._told = {key: told for key, told in self._told.items() if told["ends"] > now - _KEPT}
        path = os.path.join(directory, "expiry.json")
        temporary = f"{path}.{os.getpid()}"
        try:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump({"told": self._told}, file)
            os.replace(temporary, path)
            self._unusable = ""
        except OSError as error:
            with suppress(OSError):
                os.unlink(temporary)
            if self._unusable != str(error):
                self._unusable = str(error)
                self._log.warning("cannot write %s: %s; after a restart operators are told again", path, error.strerror)

    def _load(self, directory: str) -> None:
        """Read the stages that were told by the process before this one, or meanwhile by that of another master."""
        try:
            with open(os.path.join(directory, "expiry.json"), "rb") as file:
                found = json.loads(file.read(1 << 24))["told"]
            for key, told in found.items():
                mine = self._told.setdefault(str(key), {"ends": float(told["ends"])})
                for how in ("logged", "mailed"):
                    if how in told:
                        mine[how] = min(float(told[how]), mine.get(how, float("inf")))
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if self._unusable != str(error):
                self._unusable = str(error)
                self._log.warning("cannot use %s/expiry.json: %s; operators may be told again", directory, error)


def _listed(names: Sequence[str]) -> str:
    """At most three names, and how many more there are."""
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + rest
