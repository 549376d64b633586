"""Flame graphs of the proxy worker under load: where the time of a request goes, as pictures.

    make flames                                    # docs/flames/compiled.svg and pure.svg, from a small GET
    make flames ARGS="--case tls --folder bench/results"

The compiled worker is sampled by perf, which sees the kernel, the libraries and the compiled rooms, but only calls of the interpreter where a
room is pure. The pure worker is sampled by py-spy, which sees functions of Python, and the kernel as part of the function that called it. So
the two pictures have different details. A stack begins at the event loop: what is below it is alike in every sample and left out.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from peers import PURE, Backend, launch
from place import program
from profile_worker import busiest
from wrk import CASES, Case, run, url_of

ROOT = Path(__file__).resolve().parent.parent
WIDTH, ROW, SIDE, TOP = 1200, 17, 10, 64
LEAST = 0.002  # share below which a frame is not drawn

COLOURS = {
    "kernel": "#e8a33d",
    "Terraster": "#4c9a6a",
    "interpreter": "#7a8fd0",
    "gevent and greenlet": "#b07cc6",
    "libraries": "#9aa4ad",
}

Stack = tuple[str, ...]  # frames from the event loop to the running function, each as "kind:name"


@dataclass
class Frame:
    """A function within the same callers. count: its samples; inner: the functions that it calls, by name"""

    count: int = 0
    inner: dict[str, Frame] = field(default_factory=dict)


# ---------------------------------------------------------------------------------------------------------------------- reading


def of_cython(symbol: str) -> str | None:
    """The name that a symbol of Cython has in the source, as in `terraster.proxy.Proxy._live`; None for every other symbol."""
    found = re.match(r"__pyx_(?:f|pw|pf|tp_\w+?|getprop|setprop)_+(\d.*)", symbol)
    if found is None:
        return None
    rest, parts = found[1], []
    while counted := re.match(r"(\d+)", rest):
        end = counted.end() + int(counted[1])
        if end > len(rest) or rest[end : end + 1] not in ("", "_"):
            break  # the number of a function in its class, not a length
        parts.append(rest[counted.end() : end])
        rest = rest[end:].removeprefix("_")
    rest = re.sub(r"^\d+", "", rest)
    return ".".join([*parts, rest] if rest else parts)


def kind_of(library: str) -> str:
    """The kind of a frame of perf, a key of `COLOURS`."""
    if "kernel" in library:
        return "kernel"
    if re.search(r"/terraster/(?!.*site-packages).*\.so$", library):
        return "Terraster"
    if "gevent" in library or "greenlet" in library:
        return "gevent and greenlet"
    if "libpython" in library or re.search(r"/python3[.\d]*$", library):
        return "interpreter"
    return "libraries"


def of_perf(text: str) -> Counter[Stack]:
    """The stacks in the output of `perf script -F ip,sym,dso`, cut at the event loop or the start of the greenlet."""
    found: Counter[Stack] = Counter()
    for sample in text.split("\n\n"):
        frames = []
        for line in sample.splitlines():
            match = re.match(r"\s+[0-9a-f]+ (.+) \((.*)\)$", line)
            if match is None:
                continue
            symbol = match[1].split("+0x")[0]
            if symbol.startswith(("ev_run", "greenlet::UserGreenlet::inner_bootstrap")):
                break
            name = of_cython(symbol) or symbol
            frames.append(f"{kind_of(match[2])}:{name.removeprefix('terraster.')}")
        if frames:
            found[tuple(reversed(frames))] += 1
    return found


def of_spy(text: str) -> Counter[Stack]:
    """The stacks in the raw output of py-spy."""
    found: Counter[Stack] = Counter()
    for line in text.splitlines():
        frames, _, count = line.rpartition(" ")
        names = []
        for frame in frames.split(";"):
            match = re.match(r"(\S+) \((.*?)(?::\d+)?\)$", frame)
            if match is None:
                continue
            name, file = match.groups()
            kind = "Terraster" if "terraster" in file else "gevent and greenlet" if "gevent" in file else "libraries"
            names.append(f"{kind}:{name} ({file.rpartition('terraster/')[2]})")
        at = max((number for number, name in enumerate(names) if name.startswith("gevent") and ":run " in name), default=-1)
        if names[at + 1 :]:
            found[tuple(names[at + 1 :])] += int(count)
    return found


# ---------------------------------------------------------------------------------------------------------------------- drawing


def tree_of(stacks: Counter[Stack]) -> Frame:
    """All stacks as one tree."""
    root = Frame()
    for stack, count in stacks.items():
        root.count += count
        at = root
        for name in stack:
            at = at.inner.setdefault(name, Frame())
            at.count += count
    return root


def depth(frame: Frame, total: int) -> int:
    """How many rows the frames within this one need."""
    return max((1 + depth(inner, total) for inner in frame.inner.values() if inner.count >= LEAST * total), default=0)


def boxes(frame: Frame, total: int, left: float, row: int) -> Iterable[tuple[float, float, int, str, int]]:
    """(left, width, row, name, samples) of all frames within this one, the widest first. Lengths in samples"""
    for name, inner in sorted(frame.inner.items(), key=lambda item: -item[1].count):
        if inner.count >= LEAST * total:
            yield left, inner.count, row, name, inner.count
            yield from boxes(inner, total, left, row + 1)
        left += inner.count


def picture(stacks: Counter[Stack], title: str, note: str) -> str:
    """An SVG: the event loop is at the bottom, each row is called by the row below it, the width is the share of the samples."""
    root = tree_of(stacks)
    total = root.count or 1
    rows = depth(root, total)
    height = TOP + rows * ROW + SIDE
    scale = (WIDTH - 2 * SIDE) / total
    shapes = []
    for left, wide, row, full, count in boxes(root, total, 0, 0):
        kind, _, name = full.partition(":")
        x, y, width = SIDE + left * scale, height - SIDE - (row + 1) * ROW, max(0.5, wide * scale - 0.5)
        room = int((width - 6) / 6.1)
        text = name if len(name) <= room else name[: room - 1] + "…" if room > 3 else ""
        told = f'<text x="{x + 3:.1f}" y="{y + 12.5:.1f}">{escape(text)}</text>' if text else ""
        shapes.append(
            f'<g><title>{escape(name)}: {count / total:.1%} ({kind})</title><rect x="{x:.1f}" y="{y}" width="{width:.1f}" '
            f'height="{ROW - 1}" rx="1.5" fill="{COLOURS[kind]}"/>{told}</g>'
        )
    kinds = Counter[str]()
    for stack, count in stacks.items():
        kinds[stack[-1].partition(":")[0]] += count
    legend, x = [], SIDE
    for kind, colour in COLOURS.items():
        if kinds[kind]:
            told = f"{kind} {kinds[kind] / total:.0%}"
            legend.append(
                f'<rect x="{x}" y="41" width="11" height="11" rx="2" fill="{colour}"/><text x="{x + 16}" y="51">{told}</text>'
            )
            x += 40 + 7 * len(told)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="ui-sans-serif, system-ui, sans-serif" '
        f'font-size="11" fill="#16202a"><rect width="{WIDTH}" height="{height}" fill="#fbfaf7"/>'
        f'<text x="{SIDE}" y="20" font-size="15" font-weight="600">{escape(title)}</text>'
        f'<text x="{SIDE}" y="35" fill="#55606b">{escape(note)}</text>{"".join(legend)}\n' + "\n".join(shapes) + "\n</svg>\n"
    )


# --------------------------------------------------------------------------------------------------------------------- sampling


def by_perf(pid: int, seconds: int, folder: Path) -> Counter[Stack]:
    """Sample by perf, with the stacks unwound from DWARF: Python is built without frame pointers."""
    data = folder / "perf.data"
    record = [
        "perf",
        "record",
        "-q",
        "-e",
        "cpu-clock",
        "-F",
        "399",
        "--call-graph",
        "dwarf,16384",
        "-o",
        str(data),
        "-p",
        str(pid),
    ]
    subprocess.run([*record, "--", "sleep", str(seconds)], check=True, capture_output=True)
    script = ["perf", "script", "-i", str(data), "-F", "comm,ip,sym,dso", "--no-inline"]
    return of_perf(subprocess.run(script, check=True, capture_output=True, text=True).stdout)


def by_spy(pid: int, seconds: int, folder: Path) -> Counter[Stack]:
    """Sample by py-spy."""
    raw = folder / "stacks"
    record = [program("py-spy"), "record", "--nonblocking", "--function", "-r", "399", "-d", str(seconds), "-f", "raw"]
    subprocess.run([*record, "-o", str(raw), "-p", str(pid)], check=True, capture_output=True)
    return of_spy(raw.read_text())


def sample(peer_name: str, case: Case, seconds: int, take: Callable[[int, int, Path], Counter[Stack]]) -> Counter[Stack]:
    """Start a Terraster and a load, and sample its worker."""
    with tempfile.TemporaryDirectory(prefix="terraster-flames-") as name:
        folder = Path(name)
        os.chmod(folder, 0o755)
        running = []
        try:
            backend = Backend(folder)
            running.append(backend.running)
            peer = launch(peer_name, False, folder, backend.ports, calls=backend.calls)
            assert peer.running is not None
            running.append(peer.running)
            run(url_of(peer, case), case, seconds=1)
            load = threading.Thread(target=run, args=(url_of(peer, case), case), kwargs={"seconds": seconds + 2})
            load.start()
            found = take(busiest(peer.pid), seconds, folder)
            load.join()
        finally:
            for process in running:
                process.stop()
    return found


def main() -> int:
    """Sample both speeds, and write a picture of each."""
    parser = argparse.ArgumentParser(prog="make flames", description="Draw flame graphs of the proxy worker under load.")
    parser.add_argument("--case", choices=list(CASES), default="small")
    parser.add_argument("--seconds", type=int, default=8, help="of sampling (default: 8)")
    parser.add_argument("--folder", type=Path, default=ROOT / "docs" / "flames", help="for the pictures (default: docs/flames)")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    case = CASES[arguments.case]
    suffix = "" if arguments.case == "small" else f"-{arguments.case}"
    for peer, word, tool, take in (("terraster", "compiled", "perf", by_perf), (PURE, "pure", "py-spy", by_spy)):
        stacks = sample(peer, case, arguments.seconds, take)
        note = f"{sum(stacks.values()):,} samples by {tool}. Each row is called by the row below it; the lowest is called by the event loop."
        file = arguments.folder / f"{word}{suffix}.svg"
        file.write_text(picture(stacks, f"{case.title}: Terraster {word}", note))
        print(file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
