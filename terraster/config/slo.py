"""Service level objectives of a location: the share of its requests that are to go well."""

from __future__ import annotations

from dataclasses import dataclass

from . import quantities

__all__ = ["Objective", "Slo"]


@dataclass(frozen=True, slots=True)
class Objective:
    """One objective: that `percent` of the requests are answered without a server error, or within `bound` seconds.

    bound: 0.0 for availability
    """

    percent: float
    bound: float = 0.0

    @property
    def name(self) -> str:
        """Its name within its location, for labels of metrics: "availability", "latency-95"."""
        return f"latency-{self.percent:g}" if self.bound else "availability"

    @property
    def words(self) -> str:
        """The objective for operators: "availability 99.9 %", "latency 95 % in 300ms"."""
        within = f" in {quantities.shown(self.bound, quantities.SECONDS)}" if self.bound else ""
        return f"{'latency' if self.bound else 'availability'} {self.percent:g} %{within}"

    @property
    def counts(self) -> str:
        """The name of its counts. Another `percent` has the same counts, another `bound` has its own."""
        return f"slower than {self.bound:g}" if self.bound else "server errors"

    @property
    def allowed(self) -> float:
        """The share of requests that may be bad, above 0 and below 1."""
        return round(1 - self.percent / 100, 12)


@dataclass(frozen=True, slots=True)
class Slo:
    """The objectives of one location. window: seconds over which they hold"""

    availability: float | None = None  # percent
    latency: tuple[tuple[float, float], ...] = ()  # percent and bound in seconds, the lowest percent first
    window: float = 30 * 86400.0

    def __str__(self) -> str:
        """In words: "availability 99.9 %, latency 95 % in 300ms, over 30d"."""
        return f"{', '.join(one.words for one in self.objectives)}, over {quantities.shown(self.window, quantities.SECONDS)}"

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """Availability first, then latency."""
        found = () if self.availability is None else (Objective(self.availability),)
        return (*found, *(Objective(percent, bound) for percent, bound in self.latency))
