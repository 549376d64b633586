"""The reader of ClientHellos under a fuzzer (`tests/harness/hello_fuzzer.py`): its corpus each time, a minute of new inputs in `make test-all`,
and an hour with `make fuzz`."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .harness.hello_fuzzer import CORPUS, Engine, Fuzzer, corpus, judge, made_by_openssl, outcome, rerecorded

SECONDS = float(os.environ.get("FUZZ_SECONDS", "10"))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine(tmp_path_factory.mktemp("engine"))


@pytest.mark.parametrize("file", sorted(CORPUS.glob("*.hex")), ids=lambda file: file.stem)
def test_the_corpus(file: Path, engine: Engine) -> None:
    judge(bytes.fromhex(file.read_text()), random.Random(1), engine)


def test_the_corpus_has_all_kinds() -> None:
    kinds = {outcome([octets])[0] for octets in corpus()}
    assert kinds == {"hello", "more", "error"}
    assert {found[0] for kind, found in (outcome([one]) for one in corpus()) if kind == "error"} == {
        0,
        10,
        22,
        47,
        50,
        70,
        112,
    }


@settings(max_examples=60, deadline=None)
@given(st.integers(), st.sampled_from((1, 7, 100, 1200, 16384)), st.sampled_from((0, 1200, 2400, 20000)))
def test_hellos_of_openssl(seed: int, size: int, more: int) -> None:
    """With settings by chance, in records of any size, as long as those with post-quantum key shares and longer."""
    made, name, protocols = made_by_openssl(random.Random(seed))
    octets = rerecorded(made, size, more)
    assert outcome([octets]) == ("hello", (name, protocols))
    judge(octets, random.Random(seed), None)


def test_openssl_sees_the_same(engine: Engine) -> None:
    for seed in range(60):
        made, name, _ = made_by_openssl(random.Random(seed))
        opinion = engine.opinion(made)
        assert opinion is not None
        assert opinion[0].lower().rstrip(".") == name
        judge(made, random.Random(seed), engine)


def test_every_cut(engine: Engine) -> None:
    for octets in corpus():
        if len(octets) < 1000:
            whole = outcome([octets])
            for cut in range(len(octets) + 1):
                assert outcome([octets[:cut], octets[cut:]]) == whole


def test_new_inputs_for_a_moment(engine: Engine) -> None:
    fuzzer = Fuzzer(1, engine, corpus())
    fuzzer.run(1.0)
    assert fuzzer.runs > 20


@pytest.mark.nightly
def test_new_inputs(engine: Engine) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    fuzzer = Fuzzer(seed, engine, corpus())
    found = fuzzer.run(SECONDS)
    assert fuzzer.runs > 20 * SECONDS, f"seed {seed}"
    for octets in found:
        print(f"led somewhere new: {octets.hex()}")
