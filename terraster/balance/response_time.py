"""Response time: the backend where a request would wait least, going by how long answers took of late and how many are under way.

Finagle's peak EWMA (``PeakEwma`` in com.twitter.finagle.loadbalancer): a moving average of the time to the response head, quick to
rise and slow to fall, times the requests in flight. Here it is a factor of the cost of a member in
`terraster.balance.weighted_least_connections`, so

    minimise average × (active + 1 − credit) / weight

and backends of equal speed get their weights, at any load. Requests in flight are those of all workers, averages each worker's own.

- Up goes a share of `_UP` of each sample that is above the average, down at least `_DOWN` of each below. (Finagle jumps to a peak and
  falls by time. That way the busiest backend, which has most samples, has the highest peaks and never gets its weight. A stall
  shows in the requests in flight first anyway.)
- What is above the others decays towards the middle one of them in some `_DECAY` seconds, so one that was slow is tried again.
- A failure counts as an answer that took ten times as long as is usual, twice as long as the average, or as long as it took,
  whichever is most: never as a quick one.
- One that has been asked and does not answer counts as no quicker than that silence is long. Where the client leaves before a
  time-out says so, that is all there is to learn, and it is learnt.
- One that is not known yet counts as the middle one of those that are: it gets its share, not everything.
- Nobody counts as slower than `_WORST` times the middle one, so that even the worst is tried, with one request in some hundreds.
- Averages up to `_ALIKE` times the middle one count as that: chance alone makes such differences.

Of a large group a pick looks at a few members (`terraster.balance.window`). Only for these it lets time pass, and it does not look for the
middle one of all as often.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import exp
from statistics import median_low
from typing import ClassVar

from ..exchange import Exchange
from ..state.cells import SeatBackend
from .contract import Balancer, Member
from .weighted_least_connections import WeightedLeastConnections

__all__ = ["ResponseTime"]

_ACTIVE, _EWMA = SeatBackend.ACTIVE, SeatBackend.EWMA
_UP = 0.1
_DOWN = 0.05
_DECAY = 5.0
_WORST = 100.0
_ALIKE = 1.5
_PENALTY = 10.0
_UNKNOWN = 1.0  # seconds: what a failure counts as where nothing has been answered yet
_REFRESH = 0.05  # seconds between two looks at what only time changes
_NOT = -1.0  # waits for nobody
_PART = 16  # of a large group, so many picks times this are as many as it has members between two looks at who is the middle one


class ResponseTime(WeightedLeastConnections):
    """See above. ``_average``: seconds, 0.0 = not known; ``_usual``: the middle one; ``_samples``: how many, up to what matters;
    ``_since``: when the first request was sent that nothing has been answered after."""

    __slots__ = ("_place", "_average", "_samples", "_stamp", "_since", "_usual", "_due", "_seen", "_faded", "_picks")

    name: ClassVar[str] = "response-time"
    measures: bool = True

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__(members)
        count = len(self._players)
        self._place = {member: place for place, member in enumerate(self._players)}
        self._average = [0.0] * count
        self._samples = [0] * count
        self._stamp = [0.0] * count
        self._since = [_NOT] * count
        self._usual = 0.0
        self._due = self._seen = 0.0
        self._faded = [0.0] * count if self._window is not None else []  # when time passed for it last
        self._picks = 0

    def pick(self, exchange: Exchange | None, tried: Collection[Member], now: float) -> Member | None:
        if now >= self._due:
            if self._window is None:
                self._refresh(now)
            elif self._picks * _PART >= len(self._players) or not self._usual:
                self._compare(now)
            self._picks += 1
        member = WeightedLeastConnections.pick(self, exchange, tried, now)
        if member is not None:
            place = self._place[member]
            if self._since[place] < 0:
                self._since[place] = now
        return member

    def answered(self, member: Member, seconds: float, now: float) -> None:
        place = self._place.get(member)
        if place is None:  # without weight: only sessions take it
            return
        self._since[place] = _NOT
        average = self._average[place] or self._usual
        if self._usual:
            seconds = min(seconds, _WORST * self._usual)
        if not average:
            average = seconds
        elif seconds > average:
            average += (seconds - average) * _UP
        else:
            samples = self._samples[place]
            gain = _DOWN
            if samples < 20:  # the first ones tell more than what it began with
                gain = max(gain, 1 / (samples + 2))
                self._samples[place] = samples + 1
            gain = max(gain, 1 - exp((self._stamp[place] - now) / _DECAY))
            average += (seconds - average) * gain
        self._learn(place, average, now)

    def done(self, member: Member, failed: bool, now: float) -> None:
        Balancer.done(self, member, failed, now)
        place = self._place.get(member)
        if place is None:
            return
        since = self._since[place]
        view = member.view
        if not failed and since >= 0 and not view.cells[view.backends + member.offset + _ACTIVE]:
            self._since[place] = _NOT  # nobody waits any more, and nothing was answered
            waited = min(now - since, _WORST * self._usual) if self._usual else now - since
            if waited > max(self._average[place], self._usual):
                self._learn(place, waited, now)
        if failed:
            self._since[place] = _NOT
            waited = now - since if since >= 0 else 0.0
            usual = self._usual or _UNKNOWN / _PENALTY
            self._learn(place, min(max(waited, 2 * self._average[place], _PENALTY * usual), _WORST * usual), now)

    def _learn(self, place: int, average: float, now: float) -> None:
        self._average[place] = average
        self._stamp[place] = now
        if self._faded:
            self._faded[place] = now
        member = self._players[place]
        view = member.view
        view.cells[view.backends + member.offset + _EWMA] = int(average * 1e9)
        self._costs[place] = self._slow(average) / member.weight

    def _slow(self, seconds: float) -> float:
        """How many times slower than usual."""
        usual = self._usual
        if not usual or seconds <= _ALIKE * usual:
            return 1.0
        return min(seconds / usual, _WORST)

    def _refresh(self, now: float) -> None:
        """Let time pass: over averages, over silence, and over who is the middle one."""
        average = self._average
        known = [seconds for seconds in average if seconds]
        if known:
            usual = self._usual = median_low(known)
            keep = exp(min(self._seen - now, 0.0) / _DECAY)
            for place, member in enumerate(self._players):
                seconds = average[place]
                if seconds > usual:
                    seconds = average[place] = usual + (seconds - usual) * keep
                if self._since[place] >= 0:
                    seconds = max(seconds, now - self._since[place])
                self._costs[place] = self._slow(seconds) / member.weight
        self._seen = now
        self._due = now + _REFRESH

    def _compare(self, now: float) -> None:
        """Find out who is the middle one of a large group."""
        known = [seconds for seconds in self._average if seconds]
        if known:
            self._usual = median_low(known)
        self._left = self._picks = 0  # the weights are added up anew
        self._due = now + _REFRESH

    def _cheapest(self, places: Sequence[int], refused: Collection[Member], now: float) -> tuple[int, int, float]:
        usual = self._usual
        if usual:
            average, faded, since = self._average, self._faded, self._since
            costs, players = self._costs, self._players
            for place in places:
                member = players[place]
                seconds = average[place]
                if seconds > usual:
                    seconds = average[place] = usual + (seconds - usual) * exp(min(faded[place] - now, 0.0) / _DECAY)
                    faded[place] = now
                elif since[place] < 0:
                    costs[place] = 1 / member.weight
                    continue
                if since[place] >= 0:
                    seconds = max(seconds, now - since[place])
                costs[place] = self._slow(seconds) / member.weight
        return WeightedLeastConnections._cheapest(self, places, refused, now)

    def continue_from(self, old: Balancer) -> None:
        super().continue_from(old)
        if not isinstance(old, ResponseTime):
            return
        self._usual, self._seen = old._usual, old._seen
        places = {member.backend.id: place for place, member in enumerate(old._players)}
        for place, member in enumerate(self._players):
            before = places.get(member.backend.id)
            if before is not None and old._average[before]:
                self._samples[place] = old._samples[before]
                self._learn(place, old._average[before], old._stamp[before])
