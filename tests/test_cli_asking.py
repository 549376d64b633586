"""What terrasterctl says of a call that the API refuses, and of numbers that it does not send."""

from __future__ import annotations

from typing import Any, cast

import pytest

from terraster.cli.asking import api
from terraster.cli.control import Control, Refused
from terraster.cli.ctl import main


class Refusing:
    """A Terraster that refuses each call but that of its health."""

    def __init__(self, problem: dict[str, Any]) -> None:
        self.problem = problem

    def ask(self, *_words: str) -> None:
        """It runs."""

    def exchange(self, *_call: Any) -> tuple[int, dict[str, Any]]:
        return 422, self.problem


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (
            {
                "detail": "the query is wrong; parameters of listTop: seconds, limit",
                "errors": [{"pointer": "/seconds", "detail": "must be at least 1"}],
            },
            "the query is wrong; parameters of listTop: seconds, limit; seconds: must be at least 1",
        ),
        (
            {"detail": "it is refused", "errors": [{"pointer": "", "detail": "c.yaml:1:1: unknown key `x`"}]},
            "it is refused; c.yaml:1:1: unknown key `x`",
        ),
        (
            {"detail": "there is no service x", "errors": [{"pointer": "/service_name", "detail": "there is no service x"}]},
            "there is no service x",
        ),
        ({"detail": "too many at once"}, "too many at once"),
    ],
)
def test_a_refusal_says_what_is_wrong(problem: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused) as refused:
        api(cast(Control, Refusing(problem)), "GET", "/api/top?seconds=0")
    assert str(refused.value) == words


@pytest.mark.parametrize("words", [("0",), ("0", "5"), ("5", "0"), ("--", "-1"), ("x",), ("٣",)])
def test_a_difference_is_between_generations_that_can_be(words: tuple[str, ...], capsys) -> None:
    with pytest.raises(SystemExit):
        main(["diff", *words])
    assert "is not the number of a generation" in capsys.readouterr().err
