"""The two that measure: what a slow, hung, failing or erratic backend gets, and how soon it is back, on a simulated clock."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from terraster.balance.adaptive import Adaptive
from terraster.balance.response_time import ResponseTime
from terraster.state.cells import BackendCells, SeatBackend
from tests.harness.balancing import Done, Service, World, off, percentile, shares, spread, steady, uneven

MEASURING = ["adaptive", "response-time"]
BAD_FROM, BAD_UNTIL, END = 4.0, 12.0, 24.0

Trouble = Callable[[float, float, float], tuple[float, bool]]
"""(usual seconds, seconds until it is over, a number from 0 to below 1) → as `Service`."""

TROUBLES: dict[str, Trouble] = {
    "slow": lambda usual, left, chance: (10 * usual, True),
    "hung": lambda usual, left, chance: (left + usual, True),
    "timing out": lambda usual, left, chance: (min(left + usual, 2.0), False),
    "failing fast": lambda usual, left, chance: (0.0005, False),
    "erratic": lambda usual, left, chance: (30 * usual if chance < 0.2 else usual, True),
}


def troubled(trouble: Trouble) -> Service:
    """Four of equal speed; the first is in trouble for a while."""

    def service(place: int, now: float, chance: object) -> tuple[float, bool]:
        usual = 0.01 * chance.lognormvariate(0.0, 0.4)  # type: ignore[attr-defined]
        if place == 0 and BAD_FROM <= now < BAD_UNTIL:
            return trouble(usual, BAD_UNTIL - now, chance.random())  # type: ignore[attr-defined]
        return usual, True

    return service


def lived(policy: str, trouble: Trouble, clients: int = 16) -> tuple[World, list[Done]]:
    world = World([1, 1, 1, 1], policy)
    finished: list[Done] = []
    service = troubled(trouble)
    while world.clock < END:
        finished += world.run(clients, 4000, service, seed=len(finished) + 1)
    return world, finished


def during(finished: list[Done], begin: float, end: float) -> list[Done]:
    """The attempts that were begun then."""
    return [done for done in finished if begin <= done.ended - done.seconds < end]


@pytest.mark.parametrize("policy", MEASURING)
@pytest.mark.parametrize("kind", TROUBLES)
def test_one_in_trouble_loses_its_share_and_has_it_back_within_ten_seconds(policy: str, kind: str) -> None:
    _, finished = lived(policy, TROUBLES[kind])
    before, bad, after = (during(finished, *span) for span in ((1, 4), (6, 12), (BAD_UNTIL + 10, END)))
    assert shares(before)[0] == pytest.approx(0.25, rel=0.05)
    assert shares(bad).get(0, 0.0) < (0.02 if kind == "erratic" else 0.01)
    assert shares(after)[0] == pytest.approx(0.25, rel=0.1)


@pytest.mark.parametrize("policy", MEASURING)
def test_one_of_four_ten_times_slower_does_not_show_in_the_99th_percentile(policy: str) -> None:
    measured, turns = (
        percentile(during(lived(name, TROUBLES["slow"])[1], BAD_FROM + 2, BAD_UNTIL), 0.99) for name in (policy, "round-robin")
    )
    assert measured < 0.04 < 0.15 < turns


@pytest.mark.parametrize("policy", MEASURING)
@pytest.mark.parametrize("clients", [1, 4, 64])
def test_shares_follow_the_weights_where_speeds_are_equal(policy: str, clients: int) -> None:
    for service in (steady(), spread()):
        assert off(World([5, 3, 1, 1], policy).run(clients, 20_000, service), [5, 3, 1, 1]) < 0.05
    assert off(World([5, 3, 1, 1], policy).run(clients, 20_000, uneven()), [5, 3, 1, 1]) < 0.1


@pytest.mark.parametrize("policy", MEASURING)
def test_a_newcomer_gets_a_share_and_not_everything(policy: str) -> None:
    world = World([1, 1, 1, 1], policy)
    world.admit(3, BackendCells.NONE)
    world.run(16, 4000, spread())
    world.admit(3, BackendCells.ALL)
    finished = world.run(16, 1000, spread())
    assert shares(finished[:400])[3] == pytest.approx(0.25, rel=0.15)


@pytest.mark.parametrize("policy", MEASURING)
def test_a_fast_one_does_not_starve_the_others_when_idle(policy: str) -> None:
    world = World([1, 1], policy)
    finished = world.run(1, 4000, lambda place, now, chance: (0.001 if place else 0.0012, True))
    assert shares(finished)[0] > 0.45


def test_a_worker_judges_by_what_all_of_them_saw() -> None:
    world = World([1, 1], "adaptive", workers=2)
    here, there = (balancer for balancer in world.balancers if isinstance(balancer, Adaptive))
    row = world.table.seat_backend(2, 0)
    for turn in range(8):
        now = turn * 0.3
        world.q[row + SeatBackend.REQUESTS] += 10
        world.q[row + SeatBackend.FAILURES] += 10
        member = here.pick(None, (), now)
        assert member is not None
        here.done(member, False, now)
    assert here.factors[0] == pytest.approx(1 / 200) and here.factors[1] == 1.0
    assert there.factors == [1.0, 1.0]  # it has not looked
    assert world.q[world.table.seat_backend(1, 0) + SeatBackend.SHARE] == 5
    assert world.q[world.table.seat_backend(1, 1) + SeatBackend.SHARE] == 1000


def test_a_dead_worker_and_a_slot_leased_anew_say_nothing_bad() -> None:
    world = World([1, 1], "adaptive", workers=2)
    balancer = world.balancers[0]
    assert isinstance(balancer, Adaptive)
    world.run(4, 400, steady())
    world.table.retire(2, [0, 1], [])
    world.run(4, 400, steady())
    assert balancer.factors == [1.0, 1.0]
    for seat in range(3):
        world.table.forget_backend(seat, 0)
    world.run(4, 400, steady())
    assert balancer.factors == [1.0, 1.0]


def test_open_streams_are_not_silence() -> None:
    """Long answers keep a backend busy without a new response head."""
    for policy in MEASURING:
        world = World([1, 1], policy, workers=1)
        (balancer,) = world.balancers
        for number in range(20):
            member = balancer.pick(None, (), number * 0.01)
            assert member is not None
            row = member.view.backends + member.offset
            world.q[row + SeatBackend.REQUESTS] += 1
            world.q[row + SeatBackend.BUCKET] += 1
            world.q[row + SeatBackend.LATENCY] += 5_000_000
            balancer.answered(member, 0.005, number * 0.01 + 0.005)
        before = world.active()
        assert sum(before) == 20 and min(before) >= 8
        for number in range(10):  # an hour later
            member = balancer.pick(None, (), 3600 + number * 0.01)
            assert member is not None
            balancer.answered(member, 0.005, 3600 + number * 0.01)
        assert sum(world.active()) == 30 and min(world.active()) >= 13


@pytest.mark.parametrize("policy", MEASURING)
def test_a_reload_keeps_what_is_known_by_id(policy: str) -> None:
    world = World([1, 1, 1], policy)
    world.run(8, 4000, lambda place, now, chance: (0.1 if place == 1 else 0.01, True))
    for balancer, members in zip(world.balancers, world.members, strict=True):
        new = type(balancer)([members[1], members[2]])
        new.resume_from(balancer)
        if isinstance(new, Adaptive):
            assert new.factors[0] < 0.1 and new.factors[1] == 1.0
        if isinstance(new, ResponseTime):
            assert new._average[0] > 5 * new._average[1] > 0
            assert new._costs[0] > 5 * new._costs[1]


def test_averages_stand_in_the_own_seat() -> None:
    world = World([1, 1], "response-time")
    world.run(4, 1000, steady(0.02))
    for seat in (1, 2):
        assert world.q[world.table.seat_backend(seat, 0) + SeatBackend.EWMA] == pytest.approx(20e6, rel=0.01)


def test_quick_failures_are_no_standard() -> None:
    world = World([1, 1], "adaptive", workers=1)
    finished = world.run(8, 8000, lambda place, now, chance: (0.01, True) if place else (0.0001, False))
    assert shares([done for done in finished if done.ended > 2])[0] < 0.02


def test_a_session_taken_without_weight_is_measured_by_nobody() -> None:
    world = World([1, 0], "response-time", workers=1)
    (balancer,) = world.balancers
    asleep = world.members[0][1]
    assert asleep.take()
    balancer.answered(asleep, 1.0, 1.0)
    balancer.done(asleep, True, 1.0)
    assert world.active() == [0, 0]


def visit(world: World, now: float, seconds: float, answers: Callable[[int], bool]) -> tuple[int, float]:
    """One client, which leaves after so many seconds: the backend that it was sent to, and when it left or was answered."""
    (balancer,) = world.balancers
    member = balancer.pick(None, (), now)
    assert member is not None
    row = member.view.backends + member.offset
    world.q[row + SeatBackend.REQUESTS] += 1
    if not answers(member.slot):
        balancer.done(member, False, now + seconds)
        return member.slot, now + seconds
    world.q[row + SeatBackend.BUCKET] += 1
    world.q[row + SeatBackend.LATENCY] += 2_000_000
    if balancer.measures:
        balancer.answered(member, 0.002, now + 0.002)
    balancer.done(member, False, now + 0.002)
    return member.slot, now + 0.003


@pytest.mark.parametrize("policy", MEASURING)
def test_a_hung_one_loses_its_share_where_clients_do_not_wait_for_a_timeout(policy: str) -> None:
    world = World([1, 1], policy, workers=1)
    now, met = 0.0, [0, 0]
    while now < 30:
        place, now = visit(world, now, 0.4, lambda place: place == 0)
        met[place] += 1
    assert met[1] < 0.02 * sum(met)
    while now < 60:  # and has it back when it answers
        _, now = visit(world, now, 0.4, lambda place: True)
    begin, met = now, [0, 0]
    while now < begin + 5:
        place, now = visit(world, now, 0.4, lambda place: True)
        met[place] += 1
    assert met[1] > 0.4 * sum(met)


@pytest.mark.parametrize("policy", MEASURING)
def test_who_leaves_at_once_says_nothing_about_a_backend(policy: str) -> None:
    world = World([1, 1], policy, workers=1)
    now, met = 0.0, [0, 0]
    for turn in range(600):
        leaves = turn in (300, 301)  # both are asked; then little goes on
        place, ended = visit(world, now, 0.001, lambda place, leaves=leaves: not leaves)  # type: ignore[misc]
        now = ended if turn < 300 else now + 0.2
        met[place] += turn > 301
    assert min(met) > 0.35 * sum(met)


def test_a_slot_leased_anew_between_two_readings_is_no_negative_time() -> None:
    """Another worker may zero its row a moment after this one has read what the slot's former holder left there."""
    world = World([1, 1], "adaptive", workers=2)
    balancer = world.balancers[0]
    assert isinstance(balancer, Adaptive)
    there, here = (world.table.seat_backend(seat, 0) for seat in (2, 1))
    for cell, count in ((SeatBackend.REQUESTS, 5), (SeatBackend.BUCKET, 5), (SeatBackend.LATENCY, 150 * 10**9)):
        world.q[there + cell] = count
    assert balancer.pick(None, (), 10.0)
    world.table.forget_backend(2, 0)
    for cell, count in ((SeatBackend.REQUESTS, 100), (SeatBackend.BUCKET, 100), (SeatBackend.LATENCY, 10**8)):
        world.q[here + cell] += count
    assert balancer.pick(None, (), 10.3)
    assert balancer.factors == [1.0, 1.0]


STALL = 5.0  # when it begins


def stalled(members: int, clients: int, pause: float, stalls: tuple[float, ...], seconds: float = 0.3) -> list[Done]:
    """Equal backends that answer in 0.3 ms; the first one stalls for so long at these moments, and then answers all that it was asked."""
    usual = spread(0.0003)

    def service(place: int, now: float, chance: object) -> tuple[float, bool]:
        took, good = usual(place, now, chance)  # type: ignore[arg-type]
        for begin in stalls:
            if place == 0 and begin - took < now < begin + seconds:
                return begin + seconds - now + took, good
        return took, good

    requests = int(9 * clients / (pause + 0.0003))
    return World([1] * members, "adaptive").run(clients, requests, service, pause=pause)


@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.6, 1.0])
@pytest.mark.parametrize(
    ("members", "clients", "pause"), [(2, 16, 0.002), (4, 16, 0.002), (2, 16, 0.02), (4, 16, 0.02), (2, 4, 0.1)]
)
def test_a_single_stall_is_forgiven(members: int, clients: int, pause: float, seconds: float) -> None:
    """From half a second after it on, whether there are many requests or few."""
    finished = stalled(members, clients, pause, (STALL,), seconds)
    over = STALL + seconds
    assert shares(during(finished, 1, STALL))[0] == pytest.approx(1 / members, rel=0.05)
    assert shares(during(finished, over + 0.5, over + 2.5))[0] > 0.8 / members


@pytest.mark.parametrize("members", [2, 4])
def test_one_that_stalls_again_and_again_is_not_forgiven(members: int) -> None:
    finished = stalled(members, 16, 0.002, (4.5, 5.1, 5.7, 6.3, 6.9))
    assert shares(during(finished, 6.0, 8.0)).get(0, 0.0) < 0.1 / members


def test_a_hung_one_is_left_alone_within_half_a_second() -> None:
    _, finished = lived("adaptive", TROUBLES["hung"])
    assert shares(during(finished, BAD_FROM + 0.5, BAD_UNTIL)).get(0, 0.0) < 0.002


def test_one_that_was_asked_a_moment_ago_is_not_silent() -> None:
    """It was asked after the last reading, and its answer is on the way."""
    world = World([1, 1], "adaptive", workers=1)
    (balancer,) = world.balancers
    assert isinstance(balancer, Adaptive)
    for turn in range(4):  # the first one answers, the second is never asked
        now = turn * 0.3
        assert balancer.pick(None, (world.members[0][1],), now)
        row = world.views[0].backends + world.members[0][0].offset
        world.q[row + SeatBackend.REQUESTS] += 1
        world.q[row + SeatBackend.BUCKET] += 1
        world.q[row + SeatBackend.LATENCY] += 300_000
        balancer.done(world.members[0][0], False, now)
    member = balancer.pick(None, (world.members[0][0],), 1.19)
    assert member is world.members[0][1]
    world.q[member.view.backends + member.offset + SeatBackend.REQUESTS] += 1
    assert balancer.pick(None, (), 1.5)
    assert balancer.factors == [1.0, 1.0]
    assert balancer.pick(None, (), 1.8)
    assert balancer.factors[1] < 0.01, "it has said nothing since the reading before"


def test_one_that_is_slow_whenever_it_is_asked_loses_its_share_also_where_that_is_seldom() -> None:
    """Two requests a second, so there is little to leave out."""
    finished = World([1, 1], "adaptive").run(1, 60, lambda place, now, chance: (0.001 if place else 0.2, True), pause=0.5)
    assert shares(during(finished, 10, 60)).get(0, 0.0) < 0.1
