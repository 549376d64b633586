"""Sessions of HTTP/2 under a fuzzer (`tests/harness/frame_fuzzer.py`): its corpus each time, a minute of new inputs in `make test-all`, and
more with `make fuzz`."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from .harness.frame_fuzzer import CORPUS, Fuzzer, corpus, judge, outcome

SECONDS = float(os.environ.get("FUZZ_SECONDS", "10"))


@pytest.mark.parametrize("file", sorted(CORPUS.glob("*.hex")), ids=lambda file: file.stem)
def test_the_corpus(file: Path) -> None:
    judge(bytes.fromhex(file.read_text()), random.Random(1))


def test_the_corpus_has_all_kinds() -> None:
    events: set[str] = set()
    lines: set[str] = set()
    codes: set[int] = set()
    for octets in corpus():
        for answers in (False, True):
            said, sent, code = outcome([octets], answers)
            events |= {one.partition(" ")[0] for one in said}
            lines |= {one.partition(" ")[0] for one in sent}
            codes.add(code)
    assert events == {"REQUEST", "DATA", "END", "RESET", "ROOM", "FAILED", "GONE", "RESPONSE", "INTERIM"}
    assert lines == {"HEADERS", "DATA", "RST_STREAM", "SETTINGS", "PING", "GOAWAY", "WINDOW_UPDATE"}
    assert codes >= {-1, 1, 3, 5, 6, 9, 11}


def test_new_inputs_for_a_moment() -> None:
    fuzzer = Fuzzer(1, corpus())
    fuzzer.run(1.0)
    assert fuzzer.runs > 2


@pytest.mark.nightly
def test_new_inputs() -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    fuzzer = Fuzzer(seed, corpus())
    found = fuzzer.run(SECONDS)
    assert fuzzer.runs > 3 * SECONDS, f"seed {seed}"
    for octets in found:
        print(f"led somewhere new: {octets.hex()}")
