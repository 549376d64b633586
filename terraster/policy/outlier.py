"""Outlier detection: ejects a backend whose requests fail, and decides for how long (Envoy's outlier detection).

Streaks   attempts in a row that failed (`Outlier.failures`), attempts in a row without a connection (`connect_errors`, counted separately:
          such an attempt counts in both), and responses in a row with a bad status (`bad_statuses`). A streak ends as soon as
          anything better is seen, see `terraster.policy.streak`. Any response ends the streaks of failures, whatever its status. A
          failed attempt brings no response, so it leaves the streak of bad statuses as it is.
Ratio     the share of bad attempts within a window. Only bad ones are reported, so the attempts are known at these moments alone.
          The window begins with the newest of them that is at least a window ago: never too few good ones are counted, and a
          ratio may be noticed a window late at worst (Envoy looks at fixed windows, and is as late).
Time      the n-th ejection in a row lasts n times `time`, up to `max_time`; for each `time` in service without another one n
          shrinks by one.

A backend that is ejected is not judged. Times are seconds, all of the same clock.

The master decides with a `Record` for all workers together. A worker has a `Suspicion` of its own, which follows the same rules on what
this worker alone saw: where its own failures are enough it need not wait for the master.
"""

from __future__ import annotations

from collections import deque
from math import ceil

from terraster.config.snapshot import Outlier

from .retry import covers
from .streak import BEFORE, FIRST, NEXT, Turn

__all__ = ["Record", "Suspicion"]

_PARTS = 10  # a window is looked at in so many steps
_NEVER = float("-inf")


class Record:
    """The failures of one backend, over all workers.

    failures, connect_errors, bad_statuses: lengths of the streaks; out: True if it is ejected; times: ejections in a row; kept: samples
    from before the window that are needed
    """

    __slots__ = ("failures", "connect_errors", "bad_statuses", "out", "times", "_back", "_bad", "_samples")

    kept = 1

    def __init__(self) -> None:
        self.failures = self.connect_errors = self.bad_statuses = 0
        self.out = False
        self.times = 0
        self._back = _NEVER  # when it last came back
        self._bad = 0  # bad attempts ever
        self._samples: deque[tuple[float, int, int]] = deque([(_NEVER, 0, 0)])  # (moment, attempts, bad attempts) before it

    def report(self, rules: Outlier, place: Turn, kind: str, status: int, attempts: int, now: float) -> str:
        """Take one bad report. Why the backend should be ejected, a clause without a full stop, or "" if it should not.

        place:    of the report among the others, see `Streak.place`
        kind:     "connect" (no connection), "failure" (no proper response) or "status" (a proper one with this status, which may
                  be none that `rules` calls bad)
        attempts: made over all workers so far, this one included
        """
        if self.out:
            return ""
        failed = kind != "status"
        bad = failed or covers(rules.statuses, status)
        self._sample(rules.window, attempts, now)
        self._bad += bad
        self._count(place, kind, bad)
        if failed and 0 < rules.connect_errors <= self.connect_errors:
            return f"{_number(self.connect_errors, 'attempt')} in a row made no connection"
        if failed and 0 < rules.failures <= self.failures:
            return f"{_number(self.failures, 'attempt')} in a row failed"
        if not failed and 0 < rules.bad_statuses <= self.bad_statuses:
            return f"{_number(self.bad_statuses, 'response')} in a row had a bad status"
        if bad and rules.ratio > 0:
            return self._share(rules, attempts, now)
        return ""

    def eject(self, rules: Outlier, now: float) -> float:
        """It is ejected now; for how many seconds."""
        if self.times:
            self.times = max(0, self.times - int((now - self._back) / rules.time))
        self.times = min(self.times + 1, max(1, ceil(rules.max_time / rules.time)))
        self.out = True
        return min(self.times * rules.time, max(rules.time, rules.max_time))

    def resume(self, times: int, now: float) -> None:
        """Go on from the record of another master: so many ejections in a row."""
        self.times = times
        self._back = now

    def readmit(self, attempts: int, now: float) -> None:
        """It is back; see `restart`. How often it was out is not forgotten."""
        self.out = False
        self._back = now
        self.restart(attempts, now)

    def restart(self, attempts: int, now: float) -> None:
        """Nothing of before counts any more. ``attempts``: made so far."""
        self.failures = self.connect_errors = self.bad_statuses = 0
        self._samples = deque([(now, attempts, self._bad)])

    def _count(self, place: Turn, kind: str, bad: bool) -> None:
        if place == BEFORE:
            return
        if place == FIRST:
            self.failures = self.connect_errors = self.bad_statuses = 0
        if kind == "status":
            self.failures = self.connect_errors = 0
            self.bad_statuses = self.bad_statuses + 1 if bad else 0
        else:
            self.failures += 1
            self.connect_errors = self.connect_errors + 1 if kind == "connect" else 0

    def _sample(self, window: float, attempts: int, now: float) -> None:
        """Note the counts before this report. Of the samples from before the window only the newest `kept` stay."""
        samples = self._samples
        if now - samples[-1][0] >= window / _PARTS:
            samples.append((now, max(0, attempts - 1), self._bad))
        while len(samples) > self.kept and samples[self.kept][0] <= now - window:
            samples.popleft()

    def _share(self, rules: Outlier, attempts: int, now: float) -> str:
        """Why it should be ejected for its share of bad attempts, or ""."""
        _, before, bad = self._samples[0]
        wrong = self._bad - bad
        made = max(attempts - before, wrong)
        if made >= max(1, rules.min_requests) and wrong >= rules.ratio * made:
            return f"{wrong} of {made} attempts within {rules.window:g} s were bad"
        return ""


class _Part(Record):
    """The failures that one worker saw. Failures that others saw may begin the master's window later, and those that it takes together with an
    earlier one may begin it earlier. So the share must be too large, and there must be enough attempts, wherever the window begins."""

    __slots__ = ()

    kept = 2

    def _share(self, rules: Outlier, attempts: int, now: float) -> str:
        _, earliest, _ = self._samples[0]
        for sample in self._samples:
            if sample[0] > now - rules.window:
                break
        _, latest, bad = sample
        wrong = self._bad - bad
        if attempts - latest >= max(1, rules.min_requests) and wrong >= rules.ratio * (attempts - earliest):
            return f"{wrong} bad attempts"
        return ""


class Suspicion:
    """The failures of one backend that one worker saw. ``at``: the time of the last one. ``since``: when the backend came to its state: what
    was before another state does not count.

    The worker reports each failure when it happens, so nothing is out of order, unlike in the master. It counts too few rather than too
    many: failures that other workers saw are missing, and a good response to any worker, or any response to another worker, ends the row.
    """

    __slots__ = ("at", "since", "_record", "_responses")

    def __init__(self, since: int) -> None:
        self.at = _NEVER
        self.since = since
        self._responses = -1
        self._record = _Part()

    def report(self, rules: Outlier, kind: str, status: int, responses: int, attempts: int, now: float) -> bool:
        """True if the backend should be ejected for this failure and those before it.

        kind, status, attempts: as `Record.report` has them; responses: good ones to this worker and all to other workers so far
        """
        place = NEXT if responses == self._responses else FIRST
        self.at, self._responses = now, responses
        return self._record.report(rules, place, kind, status, attempts, now) != ""


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
