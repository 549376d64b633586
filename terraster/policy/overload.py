"""Overload of a worker: which share of new requests it refuses, so that those that it serves do not wait ever longer.

The lag of the loop is how long one of its turns takes: so long everything that is ready waits for its turn. Queues that empty again are
harmless, so what counts is the least lag of an interval, as in CoDel (Nichols, Jacobson: Controlling Queue Delay, 2012). One long turn, of a
reload or a garbage collection, changes nothing. From there on the share that is let in follows the ratio of limit and lag, bounded in each
interval, like the gradient of adaptive concurrency limits (Netflix concurrency-limits; Envoy's adaptive concurrency filter).

Memory is judged like a scaled trigger of Envoy's overload manager: the share grows over the last tenth below the limit. A process gives memory
back late or never, so a step from none to all would end all service at once.
"""

from __future__ import annotations

from math import inf
from weakref import WeakValueDictionary

__all__ = ["MOST", "Gate", "Gates", "LagGate", "LeastLag", "MemoryGate"]

INTERVAL = 0.5
"""Seconds of which the least lag counts."""

FEWEST = 3
"""Lags that an interval has at least: where turns are longer than `INTERVAL`, one of them still decides nothing."""

MOST = 0.95
"""The greatest share that is refused. The rest shows clients that the service is there."""

_LESS, _MORE = 0.5, 1.5  # bounds of the factor by which the share that is let in changes in an interval
_SCALE = 0.1  # the part of the memory limit over which the share grows
_GOLDEN = 0.6180339887498949


class Gate:
    """Refuses a share of requests. share: 0 to `MOST`."""

    __slots__ = ("_at", "share", "__weakref__")

    def __init__(self) -> None:
        self.share = 0.0
        self._at = 0.0

    def refuses(self) -> bool:
        """True if the next request is refused.

        Steps of the golden ratio spread refusals evenly, and in no rhythm that a client could share."""
        self._at = at = (self._at + _GOLDEN) % 1.0
        return at < self.share


class LagGate(Gate):
    """A gate by the lag of the loop. limit: seconds"""

    __slots__ = ("limit",)

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def judge(self, lag: float) -> None:
        """Change the share after an interval. lag: the least of the interval, seconds"""
        factor = self.limit / lag if lag > 0.0 else inf
        let_in = (1.0 - self.share) * min(_MORE, max(_LESS, factor))
        self.share = min(MOST, max(0.0, 1.0 - let_in))


class MemoryGate(Gate):
    """A gate by the memory of the process, or of its cgroup. limit: octets, or a part of the cgroup's limit"""

    __slots__ = ("limit",)

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def judge(self, used: float) -> None:
        """Change the share. used: what there is of the limit's kind"""
        over = used / self.limit - (1.0 - _SCALE)
        self.share = min(MOST, max(0.0, over / _SCALE))


class LeastLag:
    """The least lag of each interval."""

    __slots__ = ("_count", "_ends", "_least")

    def __init__(self) -> None:
        self._count = 0
        self._ends = inf
        self._least = inf

    def add(self, lag: float, now: float) -> float | None:
        """The least lag of the interval that ends with this one, None if none ends. Seconds; now: monotonic."""
        if not self._count:
            self._ends = now + INTERVAL
            self._least = inf
        self._count += 1
        self._least = min(self._least, lag)
        if now < self._ends or self._count < FEWEST:
            return None
        self._count = 0
        return self._least


class Gates:
    """The gates of a process by their limits. Plans that follow each other share them, so that a reload lets in no more than before.

    by_lag, by_memory, by_share: those that a filter has; by_share: of the memory of the cgroup. A gate is forgotten after its last filter.
    """

    __slots__ = ("by_lag", "by_memory", "by_share")

    def __init__(self) -> None:
        self.by_lag: WeakValueDictionary[float, LagGate] = WeakValueDictionary()
        self.by_memory: WeakValueDictionary[int, MemoryGate] = WeakValueDictionary()
        self.by_share: WeakValueDictionary[float, MemoryGate] = WeakValueDictionary()

    def lag(self, limit: float) -> LagGate:
        """The gate for this limit, seconds."""
        gate = self.by_lag.get(limit)
        if gate is None:
            gate = self.by_lag[limit] = LagGate(limit)
        return gate

    def memory(self, limit: int) -> MemoryGate:
        """The gate for this limit, octets."""
        gate = self.by_memory.get(limit)
        if gate is None:
            gate = self.by_memory[limit] = MemoryGate(limit)
        return gate

    def share(self, limit: float) -> MemoryGate:
        """The gate for this part of the cgroup's limit, up to 1."""
        gate = self.by_share.get(limit)
        if gate is None:
            gate = self.by_share[limit] = MemoryGate(limit)
        return gate
