"""How the names of an order are proved, in the process that talks to an authority.

All that the authority is shown is kept with the order beforehand. So it is still there when the order is interrupted: the workers of the
next master give the answers from their first second on (`terraster.certs.acme_answers`), and a record of the DNS is removed once, by the
process that resumes the order.
"""

from __future__ import annotations

import datetime
import os
import signal
import subprocess
import sys
from types import TracebackType
from typing import Any

from acme import client, errors, messages

from terraster.certs.acme_job import Job
from terraster.certs.acme_kinds import KINDS, alpn_certificate
from terraster.certs.acme_store import Store
from terraster.errors import TerrasterError

__all__ = ["HOOK_SECONDS", "ORDER_SECONDS", "Ending", "Failure", "Parent", "Proof", "deadline"]

HOOK_SECONDS = 300.0
"""The time that the hook of dns-01 has for one call."""

ORDER_SECONDS = 180.0
"""The time in which the authority must have proved the names, and again to sign."""


class Failure(TerrasterError):
    """No certificate. The text is for the operator. retry_after: seconds that the authority wants to be left alone, 0.0 = it does not say."""

    def __init__(self, text: str, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class Ending:
    """TERM ends the process at once; but while this is entered, at its end: a call of the hook is not cut off, and what came of it is kept.

    ``asked``: True once TERM has come
    """

    def __init__(self) -> None:
        self.asked = False
        self._holds = False

    def listen(self) -> None:
        """Handle TERM, and INT, which a terminal sends to all processes."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)

    def _end(self, *unused: object) -> None:
        self.asked = True
        if not self._holds:
            os._exit(1)

    def __enter__(self) -> None:
        self._holds = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._holds = False
        if self.asked:
            os._exit(1)


class Parent:
    """The process that decides, and that can show challenges to the authority."""

    def __init__(self) -> None:
        self.ending = Ending()

    def order(self) -> None:
        """A new order is about to be made. Raises `Failure` if it must not be."""
        raise NotImplementedError

    def present(self) -> None:
        """Have the answers given that are kept with the orders, and no others. Returns when all workers do. Raises `Failure`."""
        raise NotImplementedError


class Proof:
    """Proves the names of one order, and keeps it (see `terraster.certs.acme_store`).

    values: what is kept of the order
    """

    def __init__(self, job: Job, store: Store, parent: Parent) -> None:
        self._job = job
        self._store = store
        self._parent = parent
        self.values: dict[str, Any] = store.order(job.service)

    def keep(self, **values: Any) -> None:
        """Keep this of the order as well. Raises OSError."""
        self.values = {**self.values, **values}
        self._store.keep_order(self._job.service, self.values)

    def prove(self, acme: client.ClientV2, order: messages.OrderResource) -> messages.OrderResource:
        """Show the authority that the names are ours. Records of the DNS are left to `remove_records`. Raises `Failure`, or what the library
        raises."""
        key = acme.net.key
        assert key is not None
        todo = self._todo(order)
        if self._job.challenge == "dns-01":
            self._make_records(
                [(f"_acme-challenge.{name.removeprefix('*.')}", str(body.chall.validation(key))) for body, name in todo]
            )
        elif self._job.challenge == "http-01":
            self.keep(tokens={_token(body): str(body.chall.validation(key)) for body, _ in todo})
            self._parent.present()
        else:
            self.keep(certificates={name: alpn_certificate(name, body.chall.validation(key)) for body, name in todo})
            self._parent.present()
        try:
            for body, _ in todo:
                if body.status == messages.STATUS_PENDING:
                    acme.answer_challenge(body, body.chall.response(key))
            proved = acme.poll_authorizations(order, deadline())
        except errors.ValidationError:
            self._forget_answers()
            raise
        self._forget_answers()
        return proved

    def _todo(self, order: messages.OrderResource) -> list[tuple[messages.ChallengeBody, str]]:
        """The challenges that are to be answered, with the name of each."""
        kind = KINDS[self._job.challenge]
        todo = []
        for one in order.authorizations:
            if one.body.status == messages.STATUS_PENDING:
                name = one.body.identifier.value
                offered = [body for body in one.body.challenges if isinstance(body.chall, kind)]
                if not offered:
                    kinds = ", ".join(sorted(str(body.chall.to_partial_json()["type"]) for body in one.body.challenges))
                    raise Failure(
                        f"{name}: the authority offers no {self._job.challenge}, only {kinds or 'what Terraster does not know'}"
                    )
                todo.append((offered[0], name))
        return todo

    def _forget_answers(self) -> None:
        """The authority asks no longer. As long as it may ask, an order that failed keeps its answers too."""
        self.keep(tokens={}, certificates={})

    # Records of the DNS.

    def _records(self) -> list[list[Any]]:
        """Name, value, and True if the hook has made it; False if it began to."""
        found: list[list[Any]] = self.values.get("records", [])
        return found

    def _make_records(self, wanted: list[tuple[str, str]]) -> None:
        for name, value in wanted:
            if [name, value, True] in self._records():
                continue  # it was made before the order was interrupted
            others = [one for one in self._records() if one[:2] != [name, value]]
            self.keep(records=[*others, [name, value, False]])
            with self._parent.ending:
                _hook(self._job, "present", name, value)
                self.keep(records=[*others, [name, value, True]])

    def remove_records(self) -> None:
        """Remove all records that were made, or begun, for the order; none if it has another kind of challenge. A hook that fails is a warning.
        Raises OSError if that cannot be kept."""
        for name, value, made in self._records():
            with self._parent.ending:
                try:
                    _hook(self._job, "cleanup", name, value)
                except Failure as error:
                    if self._parent.ending.asked:
                        return  # it was ended together with us
                    print(f"warning: {error}", file=sys.stderr)
                self.keep(records=[one for one in self._records() if one != [name, value, made]])


def _token(body: messages.ChallengeBody) -> str:
    return str(body.chall.to_partial_json()["token"])


def deadline() -> datetime.datetime:
    """When the authority must be done."""
    return datetime.datetime.now() + datetime.timedelta(seconds=ORDER_SECONDS)


def _hook(job: Job, action: str, name: str, value: str) -> None:
    """Have a record of the DNS made or removed. Raises `Failure`."""
    try:
        done = subprocess.run(
            [job.dns_hook, action, name, value],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=HOOK_SECONDS,
            env={**os.environ, "TERRASTER_SERVICE": job.service},
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"`acme.dns_hook` {job.dns_hook} {action} took longer than {HOOK_SECONDS:g} s") from None
    except OSError as error:
        raise Failure(f"`acme.dns_hook` {job.dns_hook} cannot be run: {error.strerror}") from error
    if done.returncode:
        said = done.stdout.decode(errors="replace").strip().rpartition("\n")[2][:300]
        how = f"exit code {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
        raise Failure(f"`acme.dns_hook` {job.dns_hook} {action} {name} failed ({how}){': ' if said else ''}{said}")
