"""HPACK under a fuzzer (`tests/harness/hpack_fuzzer.py`): its corpus and some new inputs each time, a hundred thousand blocks in
`make test-all`, and an hour with `make fuzz`."""

from __future__ import annotations

import os
import random

import pytest

from .harness.hpack_fuzzer import CORPUS, Fuzzer, corpus, judge, outcome

SECONDS = float(os.environ.get("FUZZ_SECONDS", "10"))


def test_the_corpus() -> None:
    for blocks in corpus():
        for seed in range(5):
            judge(blocks, random.Random(seed))


def test_the_corpus_has_all_kinds() -> None:
    assert len(list(CORPUS.glob("*.hex"))) == len(corpus()) > 20
    found = [one for blocks in corpus() for one in outcome(blocks, 300)[0]]
    assert {kind for kind, _ in found} == {"fields", "large", "error"}
    assert {text for kind, text in found if kind == "error"} == {
        "block cut off, or no entry of this index",
        "end of string within a string",
        "index 0",
        "integer too large",
        "malformed padding",
        "string cut off",
        "table size above the limit",
        "table size behind a field",
    }


def test_new_inputs_for_a_moment() -> None:
    fuzzer = Fuzzer(1, corpus())
    fuzzer.run(1.0)
    assert fuzzer.runs > 20


@pytest.mark.nightly
def test_new_inputs() -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    fuzzer = Fuzzer(seed, corpus())
    most = int(2_500 * SECONDS)
    found = fuzzer.run(10 * SECONDS, most)
    assert fuzzer.blocks >= most, f"seed {seed}"
    for blocks in found:
        print(f"led somewhere new: {' '.join(block.hex() for block in blocks)}")
