"""How much is lost when a pick looks at a few of many backends instead of all of them, by simulation.

    .venv/bin/python bench/many_backends.py [--members 200] [--algorithms A,B]

Each backend works on one request at a time, for 10 ms on average (exponential) divided by its speed. So many clients send one request after the
other, through two workers. Prints a Markdown table of the mean and the 99th percentile of the time to answer, and the share of the slower
backends, each after a look at a few and after a look at all. The runs are the same every time. Takes a minute; 1,000 backends take several.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from terraster.balance import contract
from terraster.balance.admitted import FEW
from tests.harness.balancing import Service, World, percentile

SPEEDS = {
    "speeds 1, 1, ½, 2": lambda count: [(1.0, 1.0, 0.5, 2.0)[place % 4] for place in range(count)],
    "one half 19 times slower, side by side": lambda count: [0.1 if place < count // 2 else 1.9 for place in range(count)],
    "every tenth 10 times slower": lambda count: [1.0 if place % 10 else 0.1 for place in range(count)],
}


def queued(speeds: list[float]) -> Service:
    """Backends that work on one request at a time."""
    free = [0.0] * len(speeds)

    def service(place: int, now: float, chance: Random) -> tuple[float, bool]:
        free[place] = max(now, free[place]) + chance.expovariate(100) / speeds[place]
        return free[place] - now, True

    return service


def lived(algorithm: str, speeds: list[float], clients: int, few: int) -> tuple[float, float, float]:
    """Mean and 99th percentile, in milliseconds, and the share of those slower than half the speed of the quickest."""
    contract.FEW = few
    finished = World([1] * len(speeds), algorithm).run(clients, 20 * max(len(speeds), clients // 2), queued(speeds))
    finished = finished[len(finished) // 3 :]
    slow = {place for place, speed in enumerate(speeds) if speed < min(1, max(speeds) / 2)}
    mean = sum(done.seconds for done in finished) / len(finished)
    return mean * 1e3, percentile(finished, 0.99) * 1e3, sum(done.backend in slow for done in finished) / len(finished)


def main() -> None:
    options = argparse.ArgumentParser(description="A look at a few backends beside a look at all.")
    options.add_argument("--members", type=int, default=200)
    options.add_argument("--algorithms", default="least-connections,weighted-least-connections,response-time")
    given = options.parse_args()
    print("| | clients | mean, ms: few | all | p99, ms: few | all | share of the slow: few | all |")
    print("|---|" + "---:|" * 7)
    for algorithm in given.algorithms.split(","):
        for name, speeds in SPEEDS.items():
            for clients in (given.members // 2, given.members, 3 * given.members):
                few, every = (lived(algorithm, speeds(given.members), clients, count) for count in (FEW, given.members))
                means = f"{few[0]:.1f} | {every[0]:.1f} | {few[1]:.0f} | {every[1]:.0f} | {few[2]:.1%} | {every[2]:.1%}"
                print(f"| {algorithm}, {name} | {clients} | {means} |", flush=True)


if __name__ == "__main__":
    main()
