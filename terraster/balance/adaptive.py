"""Adaptive: shares that follow what all workers measured in the last seconds, and the power of two choices among them.

About four times a second, at the first pick that is due, a worker reads the counters of each member over all seats for the last `_WINDOW`
seconds: attempts, responses, the time they took, failures, and responses with a status that counts against the backend. So all workers see
the same, and a worker with little to do knows as much as the busiest one. The counters give a factor:

    (alike × usual time / own time)²  ×  (share of attempts that succeeded)³          within 1/200 … 1

- The usual time is the median (of two, the quicker) of the members where most attempts succeeded, so that quick
  failures set no standard. Up to `_ALIKE` times that counts as equal. Squared, as time to answer grows with the share: at 10 × the usual
  time a member gets some 1.5 % of its part, and its queue is gone within the window.
- A member that was asked and has not answered since counts as no quicker than that silence is long. A hung backend loses its share
  within half a second, long before a timeout ends the requests. This also holds if clients leave before the timeout: only an answer or
  a failure ends a silence, not a client that leaves. Where no request waits at the moment, it takes two readings, as a client may have left
  at once.
- Failures count by their share alone, however quick they are. They are not part of the times.
- A factor falls at once. It rises by `_RISE` a second at most while there are answers, and by `_DRIFT` a second where there were none. So a
  member that got no requests for a while is tried again.
- A single stall (a garbage collection, a page from the disk) says nothing about the next request. But a few answers of 300 ms outweigh
  thousands of 0.3 ms. So the two readings in a row that add most are left out of the time of a member whose factor is above
  `_TRUSTED` (two, as the answers to a stall may come on both sides of a reading). A member that was silent and answers again gets
  back at once what the silence took from it, once in a window. A member that is slow for longer, or stalls again, counts as slow.

`terraster.balance.random_two` draws by weight times factor, and compares requests in flight by it. That makes the algorithm quick: a
backend that stalls has more requests in flight within milliseconds, and loses every comparison before any factor moves.

For `status`, each worker writes its factor (per mille) and the mean time to answer (nanoseconds) into its seat: `SeatBackend.SHARE`
and `SeatBackend.EWMA`.

Envoy's client-side weighted round robin has the same parts, but needs reports from the backends. This one needs nothing from them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from statistics import median_low
from typing import ClassVar, NamedTuple

from ..exchange import Exchange
from ..state.cells import SeatBackend, responses
from .contract import Balancer, Member
from .random_two import RandomTwo

__all__ = ["Adaptive"]

_ACTIVE, _REQUESTS, _FAILURES, _LATENCY = SeatBackend.ACTIVE, SeatBackend.REQUESTS, SeatBackend.FAILURES, SeatBackend.LATENCY
_BAD = SeatBackend.BAD_STATUSES
_EVERY = 0.25  # seconds between two readings
_WINDOW = 2.0
_LEAST = 1 / 200
_ALIKE = 1.25
_RISE, _DRIFT = 4.0, 1.5
_TRUSTED = 0.5
_LONG_AGO = -1e9


class _Count(NamedTuple):
    """The counters of a member since its slot was leased, over all seats."""

    asked: int
    answered: int
    nanoseconds: int
    failed: int
    bad: int


class Adaptive(RandomTwo):
    """See above. ``factors``: the members' (those with a weight), in order."""

    __slots__ = ("factors", "_readings", "_pending", "_silent", "_doubted", "_before", "_forgiven", "_due")

    name: ClassVar[str] = "adaptive"

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__(members)
        self.factors = [1.0] * len(self._players)
        self._readings: deque[tuple[float, list[_Count]]] = deque()  # oldest first
        self._forgiven = [_LONG_AGO] * len(self._players)  # when a silence was last forgotten
        self._forget()
        self._due = 0.0

    def _forget(self) -> None:
        """Begin anew, with what is read from now on."""
        count = len(self._players)
        self._readings.clear()
        self._pending = [0] * count  # asked and not answered at the last reading, as far as is known
        self._silent: list[float | None] = [None] * count  # asked since then, and nothing answered
        self._doubted = [False] * count  # True if it answered nothing the last time that it was asked
        self._before = [0.0] * count  # its factor when the silence began, 0.0 = it is not silent

    def pick(self, exchange: Exchange | None, tried: Collection[Member], now: float) -> Member | None:
        if now >= self._due:
            self._due = now + _EVERY
            self._look(now)
        return super().pick(exchange, tried, now)

    def _look(self, now: float) -> None:
        """Read, and compute the factors anew. Readings that are too old (there were no picks) are dropped."""
        reading = self._read()
        if reading is None:
            return
        readings = self._readings
        if readings and (now - readings[-1][0] > _WINDOW or _backwards(readings[-1][1], reading)):
            self._forget()
        readings.append((now, reading))
        while len(readings) > 2 and readings[1][0] <= now - _WINDOW:
            readings.popleft()
        if len(readings) > 1:
            self._judge(now)

    def _read(self) -> list[_Count] | None:
        """The sums of all seats; None while the master moves rows from one seat to another."""
        if not self._players:
            return []
        view = self._players[0].view
        q, table = view.q, view.table
        kept = view.kept_backends
        rows = [*(row for row in view.all_backends if row not in kept), *kept]  # the dead first, last where their counts have gone
        moving = table.moving()
        counts = []
        for member in self._players:
            at = [row + member.offset for row in rows]
            counts.append(
                _Count(
                    sum([q[row + _REQUESTS] for row in at]),
                    sum([responses(q, row) for row in at]),
                    sum([q[row + _LATENCY] for row in at]),
                    sum([q[row + _FAILURES] for row in at]),
                    sum([q[row + _BAD] for row in at]),
                )
            )
        return None if moving & 1 or table.moving() != moving else counts

    def _judge(self, now: float) -> None:
        then, before = self._readings[0]
        last, previous = self._readings[-2]
        latest = self._readings[-1][1]
        times: list[float] = []  # seconds, 0.0 = nothing was answered
        well: list[float | None] = []
        silence: list[float] = []
        for place, count in enumerate(latest):
            window = _Count(*(max(0, new - old) for new, old in zip(count, before[place], strict=True)))
            times.append(window.nanoseconds / window.answered / 1e9 if window.answered else 0.0)
            ended = window.answered + window.failed
            well.append(max(0.0, 1 - (window.failed + window.bad) / ended) if ended else None)
            silence.append(self._listen(place, last, now, count, previous[place]))
        standard = [took for took, good in zip(times, well, strict=True) if took and good is not None and good > 0.5]
        usual = median_low(standard) if standard else 0.0
        passed = now - last
        for place, member in enumerate(self._players):
            took, good, factor = max(times[place], silence[place]), well[place], self.factors[place]
            if silence[place] or self._before[place]:
                factor = self._after_silence(place, silence[place], now)
            part = 1.0 if good is None else good**3
            target = part * _quickness(took, usual)
            if target < factor and factor > _TRUSTED and not silence[place]:
                target = min(factor, part * _quickness(self._without_the_worst(place), usual))
            known = good is not None or silence[place] > 0
            rise = (_RISE if known else _DRIFT) ** passed
            factor = self.factors[place] = max(_LEAST, min(target, 1.0, factor * rise))
            view = member.view
            row = view.backends + member.offset
            view.q[row + SeatBackend.SHARE] = max(1, round(1000 * factor))
            if took:
                view.q[row + SeatBackend.EWMA] = int(took * 1e9)
        self._weigh([member.weight * factor for member, factor in zip(self._players, self.factors, strict=True)])

    def _listen(self, place: int, last: float, now: float, count: _Count, previous: _Count) -> float:
        """The seconds for which a member that was asked has not answered; 0.0 if it is not silent, or it is not known."""
        since, pending = self._silent[place], self._pending[place]
        asked = count.asked - previous.asked
        ended = count.answered + count.failed - previous.answered - previous.failed
        if not (asked or ended or pending or since is not None):
            return 0.0
        left = pending + asked - ended
        active = self._players[place].active() if left > 0 or ended <= 0 else 0
        self._pending[place] = max(0, min(active, left))
        if ended > 0:
            self._silent[place] = None
            self._doubted[place] = False
            return 0.0
        waits = active > 0
        if asked > 0 or (waits and since is not None):
            if since is not None:
                begin = since
            else:  # it may have been asked a moment ago, unless it owed an answer already
                begin = self._silent[place] = last if pending or self._doubted[place] else now
            return now - begin if waits or since is not None or self._doubted[place] else 0.0
        if since is not None:  # those who asked have left, and nobody asks any more
            self._silent[place] = None
            self._doubted[place] = True
        return 0.0

    def _after_silence(self, place: int, silence: float, now: float) -> float:
        """The factor to continue with: the one before the silence, if that ended with an answer and was the only one in a window."""
        factor, before = self.factors[place], self._before[place]
        if silence:
            self._before[place] = before or factor
            return factor
        self._before[place] = 0.0
        answered = self._readings[-1][1][place].answered > self._readings[-2][1][place].answered
        if factor >= before or not answered or now - self._forgiven[place] < _WINDOW:
            return factor
        self._forgiven[place] = now
        return before

    def _without_the_worst(self, place: int) -> float:
        """Seconds that the answers of the window took, but for the two readings in a row that add most, if there were others."""
        counts = [reading[place] for _, reading in self._readings]
        nanoseconds = counts[-1].nanoseconds - counts[0].nanoseconds
        answered = counts[-1].answered - counts[0].answered
        rest = []
        for before, after in zip(counts, counts[2:], strict=False):
            others = answered - (after.answered - before.answered)
            if others > 0:
                rest.append((nanoseconds - (after.nanoseconds - before.nanoseconds)) / others / 1e9)
        return min(rest, default=nanoseconds / answered / 1e9 if answered else 0.0)

    def continue_from(self, old: Balancer) -> None:
        super().continue_from(old)
        if not isinstance(old, Adaptive):
            return
        before = {member.backend.id: factor for member, factor in zip(old._players, old.factors, strict=True)}
        self.factors = [before.get(member.backend.id, 1.0) for member in self._players]
        self._weigh([member.weight * factor for member, factor in zip(self._players, self.factors, strict=True)])


def _quickness(took: float, usual: float) -> float:
    """The part of its weight that a member deserves by the seconds that it takes."""
    return (_ALIKE * usual / took) ** 2 if usual and took > _ALIKE * usual else 1.0


def _backwards(before: list[_Count], after: list[_Count]) -> bool:
    """True if a slot was leased anew in between."""
    return any(new < old for counts in zip(before, after, strict=True) for old, new in zip(*counts, strict=True))
