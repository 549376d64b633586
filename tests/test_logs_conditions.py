"""Which requests an access log has: conditions, levels and samples."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from terraster.config.log_when import DURATIONS, TEXTS, read
from terraster.config.loggers import AccessLog, Sampling
from terraster.exchange import CONNECT_TIME, QUEUE_TIME, Exchange
from terraster.logs.conditions import Choice

from .test_logs_access import an_exchange


def logged(x: Exchange, when: str, **config: object) -> bool:
    return Choice(AccessLog(when=when, **config)).takes(x)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ("status == 200", True),
        ("status >= 500 or duration > 1s", False),
        ("status >= 500 or duration > 1ms", True),
        ("status < 300 and method == GET", True),
        ("status < 300 and not method == GET", False),
        ("not (status >= 300 or tries > 1)", True),
        ("error", False),
        ("user or tries", True),
        ("host == shop.example and path == /cart", True),
        ("service == shop and location == /cart and client == 192.0.2.17 and peer == 198.51.100.1", True),
        ("upstream == http://10.0.0.1:8080 and upstream_name != db1.zone2", True),
        ("level == info", True),
        ("level >= warn", False),
        ("bytes_in < 1k and bytes_out > 1k", True),
        ("upstream_time <= 1.23ms", True),
        ("scheme == http and termination_state == --", True),
        ("queue_time > 0s", False),
        ("connect_time < 1h", False),
    ],
)
def test_conditions(when: str, holds: bool) -> None:
    x = an_exchange()
    assert logged(x, when) is holds


def test_a_duration_that_is_missing_is_in_no_order() -> None:
    x = an_exchange(upstream_time=-1.0)
    assert not logged(x, "upstream_time < 1s") and not logged(x, "upstream_time > 0s") and not logged(x, "upstream_time")
    x.spent(QUEUE_TIME, 0.5)
    x.spent(QUEUE_TIME, 0.75)
    assert logged(x, "queue_time == 1.25s") and logged(x, "queue_time") and not logged(x, "connect_time")
    x.spent(CONNECT_TIME, 0.0)
    assert logged(x, "connect_time == 0s")


@pytest.mark.parametrize("field", ["status", "tries", "bytes_in", "bytes_out", *DURATIONS, *TEXTS])
def test_every_field_has_a_value_also_for_a_request_that_could_not_be_read(field: str) -> None:
    x = Exchange(0.0, 0.0, "", "", "", None)
    assert read(field) and logged(x, field) is (field in ("method", "termination_state"))  # "-" and "LR"


def test_level_condition_and_sample_all_have_a_say() -> None:
    batch = [an_exchange(status=status, duration=duration) for status in (200, 404, 503) for duration in (0.5, 2.0)]
    choice = Choice(AccessLog(least=400, when="duration > 1s"))
    chosen = [x for x in batch if choice.takes(x)]
    assert [x.status for x in chosen] == [404, 503]
    assert Choice(AccessLog()).takes_all and not Choice(AccessLog(sample=0.5)).takes_all


def test_a_share_is_chosen_by_the_request_and_has_all_errors() -> None:
    batch = [an_exchange(request_id=b"id%d" % number, status=200 + 303 * (number % 2)) for number in range(4000)]
    one, other = (
        [x for x in batch if choice.takes(x)] for choice in (Choice(AccessLog(sample=0.1)), Choice(AccessLog(sample=0.1)))
    )
    assert one == other
    assert sum(x.status == 503 for x in one) == 2000 and 130 < sum(x.status == 200 for x in one) < 270


def test_sampling_by_the_logger_counts_equal_lines_of_a_second() -> None:
    cart, home = (SimpleNamespace(path=path) for path in ("/cart", "/"))
    choice = Choice(AccessLog(sampling=Sampling(3, 10)))

    def kept(count: int, **keys: object) -> int:
        return sum(choice.takes(an_exchange(**keys)) for _ in range(count))

    assert kept(24, wall=10.0, location=cart) == 3 + 2
    assert (kept(2, wall=10.5, location=home), kept(2, wall=10.5, location=cart, status=404)) == (2, 2)
    assert kept(5, wall=10.9, location=cart) == 0
    assert kept(5, wall=11.0, location=cart) == 3
    assert kept(50, wall=11.0, location=cart, status=500) == 50
    choice = Choice(AccessLog(sampling=Sampling(0, 0)))
    assert not any(choice.takes(an_exchange()) for _ in range(5))
