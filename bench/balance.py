"""Balancing algorithms side by side, before four backends of which one turns bad.

    make bench-balance                                                   # everything, about 12 minutes
    make bench-balance ARGS="--quick"                                    # two behaviours, shorter: about 2 minutes
    make bench-balance ARGS="--behaviours slow --algorithms round-robin,adaptive"
    make bench-balance ARGS="--json bench/results/balance.json --plots docs/img"
    make bench-balance ARGS="--from bench/results/balance.json --plots docs/img"    # draw earlier figures again

Terraster has two workers, no access log and no health checks, so only traffic shows that a backend is bad. The backends are
`bad_backends.py`. The client is `open_loop.py`, with the same arrivals for each algorithm. Each run begins with a fresh Terraster and a
warm-up that is not counted.

This is not a test: figures depend on the machine. The report also has the CPU time of each part, and the delays of client and backends, to
show that only the backends were overloaded. If the machine stalled in a run (the client sent 1 % of its requests more than 20 ms late), the
run says nothing about an algorithm. It is repeated, at most twice.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from bad_backends import BACKENDS, MEAN, SLOTS, Bad, raise_limit
from balance_figures import Figures, Use, figures, percentile
from open_loop import arrivals, load
from tree import cpu_seconds

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from terraster.config.algorithms import ALGORITHMS  # noqa: E402
from tests.harness.terraster_process import Terraster, service  # noqa: E402

RATE = 600.0  # requests a second: half of what four backends can do, two thirds of what three can
WARM_UP = 2.0
STALLED = 0.020  # seconds, see above
RUNS = 3
COMPARED = ["round-robin", "least-connections", "random-two", "response-time", "adaptive"]


@dataclass(frozen=True)
class Behaviour:
    """The behaviour of the first backend, the length of the load, and the configuration besides the algorithm."""

    title: str
    bad: Bad
    length: float
    keys: dict[str, Any] = field(default_factory=dict)


BEHAVIOURS = {
    "equal": Behaviour("all four alike", Bad(), 8),
    "slow": Behaviour("one 10 times slower for 10 s", Bad("slow", 10, 5, 15), 25),
    "erratic": Behaviour("one 20 times slower every other second, for 10 s", Bad("erratic", 20, 5, 15), 22),
    "resets": Behaviour("one resets every request for 8 s", Bad("resets", 1, 3, 11), 20),
    "resets-unejected": Behaviour(
        "one resets every request for 8 s, `outlier: off`", Bad("resets", 1, 3, 11), 20, {"outlier": False}
    ),
    "errors": Behaviour("one answers 500 at once for 8 s", Bad("errors", 1, 3, 11), 20),
    "errors-ejected": Behaviour(
        "one answers 500 at once for 8 s, `outlier: {bad_statuses: 5, statuses: 500-599}`",
        Bad("errors", 1, 3, 11),
        20,
        {"outlier": {"bad_statuses": 5, "statuses": "500-599"}},
    ),
}
USUAL = [name for name in BEHAVIOURS if name != "errors-ejected"]


def quick(one: Behaviour) -> Behaviour:
    """The same behaviour in less time."""
    bad = one.bad
    if bad.kind == "none":
        return Behaviour(one.title, bad, 4, one.keys)
    return Behaviour(one.title, Bad(bad.kind, bad.factor, 2, 6), 11, one.keys)


def machine_ticks() -> tuple[int, int]:
    """(busy ticks, all ticks) of all cores since the machine started."""
    fields = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)


def measure(algorithm: str, name: str, behaviour: Behaviour, folder: Path) -> Figures:
    """Measure one run."""
    backends = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "bad_backends.py"), json.dumps(asdict(behaviour.bad))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert backends.stdin is not None and backends.stdout is not None
    try:
        ports = json.loads(backends.stdout.readline())
        site = service(*(f"http://127.0.0.1:{port}" for port in ports), location={"lb_policy": algorithm})
        with Terraster(folder, site, workers=2, access_log="off", **behaviour.keys) as terraster:
            assert "is not in effect yet" not in terraster.said, f"{algorithm} is not built"
            zero = time.monotonic() + WARM_UP + 0.3
            backends.stdin.write(json.dumps(zero) + "\n")
            backends.stdin.flush()
            due = arrivals(RATE, -WARM_UP, behaviour.length)
            busy, ticks = machine_ticks()
            used, own, begun = sum(cpu_seconds(terraster.pid)), time.process_time(), time.monotonic()
            samples = asyncio.run(load(terraster.address, due, zero))
            took = time.monotonic() - begun
            used, own = sum(cpu_seconds(terraster.pid)) - used, time.process_time() - own
            busy, ticks = (after - before for after, before in zip(machine_ticks(), (busy, ticks), strict=True))
        seen = json.loads(backends.communicate(timeout=30)[0])
    finally:
        if backends.poll() is None:
            backends.kill()
            backends.wait()
    late = percentile([sample.late for sample in samples], 0.99)
    use = Use(own / took, seen["cpu"] / took, used / took, busy / ticks, late, seen["late_p99"])
    return figures(algorithm, name, behaviour.bad, behaviour.length, samples, seen["arrivals"], use)


def settle(algorithm: str, name: str, behaviour: Behaviour, folder: Path) -> Figures:
    """The first of at most `RUNS` runs without a stall of the machine. If all stalled, the run that stalled least."""
    found: list[Figures] = []
    while len(found) < RUNS and not any(one.use.client_late <= STALLED for one in found):
        one = measure(algorithm, name, behaviour, folder / f"{name}-{algorithm}-{len(found)}")
        late = f"sent {one.use.client_late * 1e3:.1f} ms late"
        print(f"{name} {algorithm}: p99 {one.p99 * 1e3:.0f} ms, share {one.share:.1%}, {late}", file=sys.stderr, flush=True)
        found.append(one)
    return min(found, key=lambda one: one.use.client_late)


def table(results: list[Figures], behaviours: dict[str, Behaviour]) -> str:
    """One Markdown table for each behaviour."""
    parts = []
    for name, behaviour in behaviours.items():
        rows = [one for one in results if one.behaviour == name]
        if not rows:
            continue
        is_bad = behaviour.bad.kind != "none"
        head = ["algorithm", "p50 ms", "p99 ms", "longest ms", "failed"]
        head += ["share while bad", "< 2 % after", "back after"] if is_bad else ["share"]
        lines = [f"**{behaviour.title[0].upper()}{behaviour.title[1:]}**", "", _row(head), "|" + "---|" * len(head)]
        for one in rows:
            cells = [one.algorithm, f"{one.p50 * 1e3:.0f}", f"{one.p99 * 1e3:.0f}", f"{one.longest * 1e3:.0f}"]
            cells += [f"{one.failures} of {one.requests}", f"{one.share:.1%}"]
            cells += [_seconds(one.avoided), _seconds(one.back)] if is_bad else []
            lines.append(_row(cells))
        lines += ["", _used(rows)]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} s"


def _used(rows: list[Figures]) -> str:
    most = {part: max(getattr(one.use, part) for one in rows) for part in ("client", "backends", "terraster", "machine")}
    late = [max(getattr(one.use, part) for one in rows) * 1e3 for part in ("client_late", "backends_late")]
    return (
        f"At most: client {most['client']:.0%}, backends {most['backends']:.0%}, Terraster {most['terraster']:.0%} of a core; machine "
        f"{most['machine']:.0%} busy; sent {late[0]:.1f} ms late, answered {late[1]:.1f} ms late (p99)."
    )


def conditions() -> str:
    """The conditions under which the figures were measured."""
    kernel = platform.release().partition("-")[0]
    return (
        f"{date.today()}: {os.cpu_count()} cores, Linux {kernel}, Python {platform.python_version()}; {RATE:g} requests/s, {BACKENDS} "
        f"backends that work on {SLOTS} requests at a time for {MEAN * 1e3:g} ms each (exponential), 2 workers."
    )


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Balancing algorithms before backends that turn bad.")
    parser.add_argument("--algorithms", type=_names(ALGORITHMS), default=COMPARED, metavar="A,B")
    parser.add_argument("--behaviours", type=_names(BEHAVIOURS), metavar="A,B", help=f"of {', '.join(BEHAVIOURS)}")
    parser.add_argument("--quick", action="store_true", help="shorter runs, and only slow and resets")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, after each run")
    parser.add_argument("--resume", action="store_true", help="measure only what the file of --json lacks")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw plots there (needs matplotlib: pip install '.[bench]')")
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="FILE", help="measure nothing, use the figures of a --json file"
    )
    found = parser.parse_args(arguments)
    if found.resume and not found.json:
        parser.error("--resume needs --json")
    if found.behaviours is None:
        found.behaviours = ["slow", "resets"] if found.quick else USUAL
    return found


def _names(known: Any) -> Any:
    def names(text: str) -> list[str]:
        asked = text.split(",")
        for name in asked:
            if name not in known:
                raise argparse.ArgumentTypeError(f"unknown: {name} (known: {', '.join(known)})")
        return asked

    return names


def read(source: Path) -> tuple[str, list[Figures]]:
    """The conditions and figures of a file that ``--json`` wrote."""
    kept = json.loads(source.read_text())
    return kept["conditions"], [Figures(**{**one, "use": Use(**one["use"])}) for one in kept["results"]]


def write(file: Path, said: str, results: list[Figures]) -> None:
    """Keep the conditions and figures; `read` reads them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"conditions": said, "results": [asdict(one) for one in results]}))


def main(arguments: list[str]) -> int:
    options = parse_arguments(arguments)
    behaviours = {name: quick(one) if options.quick else one for name, one in BEHAVIOURS.items()}
    said, results = conditions(), []
    if options.source:
        said, results = read(options.source)
    elif options.resume and options.json.exists():
        said, results = read(options.json)
    if not options.source:
        raise_limit()
        with tempfile.TemporaryDirectory(prefix="terraster-balance-") as folder:
            for name, algorithm in itertools.product(options.behaviours, options.algorithms):
                if any((one.behaviour, one.algorithm) == (name, algorithm) for one in results):
                    continue
                results.append(settle(algorithm, name, behaviours[name], Path(folder)))
                if options.json:
                    write(options.json, said, results)
    order = [*COMPARED, *ALGORITHMS]
    results.sort(key=lambda one: (list(BEHAVIOURS).index(one.behaviour), order.index(one.algorithm)))
    print(f"{said}\n\n{table(results, behaviours)}")
    if options.plots:
        from balance_plots import draw

        for name in {one.behaviour: None for one in results}:
            rows = [one for one in results if one.behaviour == name]
            if behaviours[name].bad.kind != "none":
                draw(options.plots / f"balance-{name}.svg", behaviours[name].title, behaviours[name].bad, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
