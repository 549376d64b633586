"""Which passwords and names users may choose."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.users import names
from terraster.users.policy import DAY, Policy, expires, generate, normal, reasons, rules

LENGTH = "must have at least 12 characters"
OCTETS = "must have at most 72 octets in UTF-8"
UPPER = "must contain an upper-case letter"
LOWER = "must contain a lower-case letter"
DIGIT = "must contain a digit"
SPECIAL = "must contain a special character"
RUN = "must not contain more than 3 equal characters in a row"
NAME = "must not contain the user name"
KNOWN = "must not be a well-known password with digits or special characters added"


def sequence(of: str) -> str:
    return f"must not contain a sequence such as {of}"


CASES = [
    ("Vq7!tGw2#pLz", "ada", ()),
    ("Vq7!tGw2#pL", "ada", (LENGTH,)),
    ("", "ada", (LENGTH, UPPER, LOWER, DIGIT, SPECIAL)),
    ("vq7!tgw2#plz", "ada", (UPPER,)),
    ("VQ7!TGW2#PLZ", "ada", (LOWER,)),
    ("Vqs!tGwd#pLz", "ada", (DIGIT,)),
    ("Vq7xtGw2xpLz", "ada", (SPECIAL,)),
    ("Vq7 tGw2 pLz", "ada", (SPECIAL,)),
    ("Vq7!!!tGw2pLz", "ada", ()),
    ("Vq7!!!!tGw2pLz", "ada", (RUN,)),
    ("Vq7!tGw2#pLz" + "é!T7" * 12, "ada", ()),
    ("Vq7!tGw2#pLz" + "é!T7" * 12 + "x", "ada", (OCTETS,)),
    ("Vq7!tGwabc#pLz", "ada", (sequence("abc"),)),
    ("Vq7!tGwCbA#pLz", "ada", (sequence("cba"),)),
    ("Vq!tGw#pLz321x", "ada", (sequence("321"),)),
    ("Vq!tGw#pLz135x", "ada", ()),
    ("Vq7!tGw2#p9:;Lz", "ada", ()),
    ("Vq7!AdaGw2#pLz", "ada", (NAME,)),
    ("Vq7!4d@Gw2#pLzx", "adal", ()),
    ("Vq7!4d@1!2#pzX", "adal", (NAME,)),
    ("Vq7!tGw2#pLz\n", "ada", ("must not contain control characters",)),
    ("P@ssw0rd!2076xX"[:13] + "!", "ada", (KNOWN,)),
    ("!!Summer-2031-!!", "ada", (KNOWN,)),
    ("Terraster#8080", "ada", (KNOWN,)),
    ("AdminAdmin!!7913", "ada", (KNOWN,)),
    ("Letmein.Dragon7", "ada", (KNOWN,)),
    ("dr0w55@P!!9135", "ada", (KNOWN,)),
    ("short1!", "short", (LENGTH, UPPER, NAME)),
]


@pytest.mark.parametrize(("password", "name", "broken"), CASES, ids=range(len(CASES)))
def test_every_broken_rule_is_named_at_once(password: str, name: str, broken: tuple[str, ...]) -> None:
    assert reasons(password, name, Policy()) == broken


def test_the_length_is_that_of_the_configuration() -> None:
    assert reasons("Vq7!tGw2#pLz", "ada", Policy(min_length=20)) == ("must have at least 20 characters",)
    assert rules(Policy(min_length=20, history=3, expiry_days=90))[0] == "at least 20 characters"
    assert rules(Policy(history=3, expiry_days=90))[-2:] == ("none of the last 3 passwords", "a new one every 90 days")
    assert len(rules(Policy(history=0))) == len(rules(Policy())) - 1


def test_a_password_expires_when_the_configuration_says() -> None:
    assert expires(1000, Policy(expiry_days=0)) == 0
    assert expires(1000, Policy(expiry_days=2)) == 1000 + 2 * DAY


@pytest.mark.parametrize("length", [12, 30, 72])
def test_a_generated_password_keeps_the_rules(length: int) -> None:
    policy = Policy(min_length=length)
    made = {generate(policy, "ada") for _ in range(50)}
    assert len(made) == 50 and not any(reasons(one, "ada", policy) for one in made)


@given(st.text(max_size=80), st.text(max_size=20))
def test_any_text_is_judged(password: str, name: str) -> None:
    assert all(reasons(normal(password), names.canonical(name), Policy()))


def test_two_ways_to_write_one_letter_are_one_password() -> None:
    assert normal("e\u0301") == normal("\u00e9")


SPELLINGS = ["ada", "ADA", " ada ", "a\u200bda", "\tada\n", "ａｄａ", "Ａda\u00a0", "a\u00adda", "ada\u3000"]


@pytest.mark.parametrize("written", SPELLINGS)
def test_a_name_has_one_spelling(written: str) -> None:
    assert names.canonical(written) == "ada"
    assert not names.broken("ada")


@pytest.mark.parametrize("name", ["", "-", "a b", "аda", "a" * 65, ".ada", "ada.", "ada/..", "<b>", "a\0", "ada\u0301"])
def test_a_name_is_plain(name: str) -> None:
    assert names.broken(name)
