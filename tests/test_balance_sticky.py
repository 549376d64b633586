"""Sessions: who gets which cookie, who keeps to whom, and what a cookie cannot do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.balance.contract import Balancer
from terraster.balance.registry import make
from terraster.balance.sticky import cookie_name, token
from terraster.config.snapshot import Location, Sticky
from terraster.errors import ConfigError
from terraster.exchange import Exchange
from terraster.state.cells import BackendCells
from tests.harness.balancing import World, backend
from tests.test_balance_hashes import ask

KEY = b"k" * 32
SHOP = Location("s/shop", "/shop", "sticky-session", sticky=Sticky(key=KEY))
NAME = cookie_name(SHOP)
DOWN, DRAINING = BackendCells.DOWN, BackendCells.DRAINING


def visit(balancer: Balancer, cookie: str = "", exchange: Exchange | None = None) -> tuple[int, str]:
    """One request: the backend that answered, and the cookie that the client has then."""
    exchange = exchange or ask(fields=[f"Cookie: {cookie}"] if cookie else [])
    member = balancer.pick(exchange, (), 0.0)
    assert member is not None
    exchange.backend = member
    line = balancer.set_cookie(exchange).decode()
    balancer.done(member, False, 0.0)
    return member.slot, line.removeprefix("Set-Cookie: ").partition(";")[0] if line else cookie


def value(place: int, location: Location = SHOP, key: bytes = KEY) -> str:
    return f"{cookie_name(location)}={token(key, location.id, f'b{place}').decode()}"


def test_a_client_keeps_to_its_backend_in_every_worker_and_others_take_turns() -> None:
    world = World([1, 1, 1], SHOP)
    place, cookie = visit(world.balancers[0])
    for number in range(10):
        assert visit(world.balancers[number % 2], cookie) == (place, cookie)
    assert [visit(world.balancers[0])[0] for _ in range(6)] == [1, 2, 0, 1, 2, 0]  # sessions used up no turns


def test_the_cookie_is_set_once() -> None:
    (balancer,) = World([1, 1], SHOP, workers=1).balancers
    exchange = ask(fields=["Cookie: x=1", f"Cookie: a=b;{value(1)}; c=d"])
    exchange.backend = balancer.pick(exchange, (), 0.0)
    assert exchange.backend.slot == 1
    assert balancer.set_cookie(exchange) == b""
    exchange.backend = balancer.members[0]  # a retry ended elsewhere
    assert balancer.set_cookie(exchange).startswith(b"Set-Cookie: " + value(0).encode() + b";")


@pytest.mark.parametrize("cookie", [f"x{value(1)}", f"{value(1)}x", f"{NAME}={NAME}", f"{NAME}", f"{NAME}=", f'{NAME}="'])
def test_what_only_looks_like_the_cookie(cookie: str) -> None:
    (balancer,) = World([1, 1], SHOP, workers=1).balancers
    for place in (0, 1):
        assert visit(balancer, cookie) == (place, value(place))


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=";,"), max_size=40))
def test_a_forged_cookie_is_ignored(forged: str) -> None:
    (balancer,) = World([1, 1], SHOP, workers=1).balancers
    assert visit(balancer, f"{NAME}={forged}") == (0, value(0))
    assert visit(balancer, f"{NAME}={forged}") == (1, value(1))


@pytest.mark.parametrize(
    "foreign", [value(1, replace(SHOP, id="s/other"), KEY), value(1, SHOP, b"another host's key"), f"{NAME}=b1", value(7)]
)
def test_a_foreign_cookie_is_ignored(foreign: str) -> None:
    (balancer,) = World([1, 1], SHOP, workers=1).balancers
    renamed = f"{NAME}={foreign.partition('=')[2]}"
    assert visit(balancer, renamed) == (0, value(0))


def test_two_cookies_the_second_of_which_is_good() -> None:
    (balancer,) = World([1, 1, 1], SHOP, workers=1).balancers
    assert visit(balancer, f"{NAME}=old; {value(2)}")[0] == 2


def test_whoever_has_two_cookies_keeps_to_the_one_that_took_over() -> None:
    """The next request goes by the first, so the answer of the second names it."""
    world = World([1, 1], SHOP, workers=1)
    (balancer,) = world.balancers
    world.admit(0, BackendCells.NONE, state=DOWN)
    both = f"{value(0)}; {value(1)}"
    assert visit(balancer, both) == (1, value(1))
    assert visit(balancer, f"{NAME}=of-a-backend-that-is-gone; {value(1)}")[1].startswith(NAME + "=of-")  # none is set
    world.admit(0, BackendCells.ALL)
    assert visit(balancer, both) == (0, both)


def test_a_quoted_cookie_is_not_set_again() -> None:
    (balancer,) = World([1, 1], SHOP, workers=1).balancers
    name, _, token_ = value(1).partition("=")
    quoted = f'{name}="{token_}"'
    assert visit(balancer, quoted) == (1, quoted)


def test_sessions_survive_reload_and_restart() -> None:
    old = World([1, 1, 1], SHOP, workers=1)
    cookie = visit(old.balancers[0])[1]
    new = World([1, 1, 1, 1], SHOP, workers=1)
    new.balancers[0].resume_from(old.balancers[0])
    assert visit(new.balancers[0], cookie)[0] == 0
    assert [visit(new.balancers[0])[0] for _ in range(3)] == [1, 2, 3]  # and the turns go on
    assert visit(World([1, 1, 1], SHOP, workers=1).balancers[0], value(1)) == (1, value(1))


def test_a_drained_backend_keeps_its_sessions_and_gets_no_new_ones() -> None:
    world = World([1, 1], SHOP, workers=1)
    (balancer,) = world.balancers
    world.admit(1, BackendCells.NONE, state=DRAINING)
    assert {visit(balancer)[0] for _ in range(4)} == {0}
    assert visit(balancer, value(1)) == (1, value(1))


def test_a_drained_backend_that_fails_loses_its_sessions_until_the_master_has_decided() -> None:
    world = World([1, 1], SHOP, workers=1)
    (balancer,) = world.balancers
    world.admit(1, BackendCells.NONE, state=DRAINING)
    world.members[0][1].suspend()
    assert visit(balancer, value(1)) == (0, value(0))
    world.members[0][1].resume()
    assert visit(balancer, value(1)) == (1, value(1))


@pytest.mark.parametrize("state", [DOWN, BackendCells.MAINTENANCE, BackendCells.EJECTED])
def test_a_dead_one_gives_its_sessions_to_another_in_the_same_answer(state: int) -> None:
    world = World([1, 1], SHOP, workers=1)
    (balancer,) = world.balancers
    world.admit(1, BackendCells.NONE, state=state)
    assert visit(balancer, value(1)) == (0, value(0))


def test_a_retry_goes_to_another_with_its_cookie() -> None:
    (balancer,) = World([1, 1], SHOP, workers=1).balancers
    exchange = ask(fields=[f"Cookie: {value(1)}"])
    first = balancer.pick(exchange, (), 0.0)
    assert first is not None and first.slot == 1
    balancer.done(first, True, 0.0)
    exchange.backend = balancer.pick(exchange, (first,), 0.0)
    assert exchange.backend.slot == 0
    assert balancer.set_cookie(exchange).startswith(b"Set-Cookie: " + value(0).encode() + b";")


def test_weight_0_slow_start_and_limits() -> None:
    backends = (backend(0), backend(1, 0), backend(2, max_connections=1), backend(3))
    world = World([1, 0, 1, 1], replace(SHOP, backends=backends), workers=1)
    (balancer,) = world.balancers
    world.admit(3, BackendCells.RAMPING, ramp=1)
    assert {visit(balancer)[0] for _ in range(9)} == {0, 2}
    assert [visit(balancer, value(place))[0] for place in range(4)] == [0, 1, 2, 3]
    assert balancer.members[2].take()  # full
    place, cookie = visit(balancer, value(2))
    assert place != 2 and cookie == value(place)


def test_a_session_stays_in_a_lower_tier() -> None:
    backends = (backend(0), backend(1, priority=1))
    (balancer,) = World([1, 1], replace(SHOP, backends=backends), workers=1).balancers
    assert [visit(balancer)[0] for _ in range(3)] == [0, 0, 0]
    assert visit(balancer, value(1))[0] == 1


@pytest.mark.parametrize(
    ("sticky", "scheme", "rest"),
    [
        (Sticky(), "http", "Path=/shop; HttpOnly; SameSite=Lax"),
        (Sticky(), "https", "Path=/shop; Secure; HttpOnly; SameSite=Lax"),
        (Sticky(secure="always"), "http", "Path=/shop; Secure; HttpOnly; SameSite=Lax"),
        (Sticky(secure="never"), "https", "Path=/shop; HttpOnly; SameSite=Lax"),
        (Sticky(path="/", domain="example.com", ttl=90.5, same_site="none"), "https",
         "Path=/; Domain=example.com; Max-Age=90; Secure; HttpOnly; SameSite=None"),
        (Sticky(same_site=""), "http", "Path=/shop; HttpOnly"),
    ],
)  # fmt: skip
def test_attributes(sticky: Sticky, scheme: str, rest: str) -> None:
    (balancer,) = World([1], replace(SHOP, sticky=replace(sticky, name="id", key=KEY)), workers=1).balancers
    exchange = ask()
    exchange.scheme = scheme
    exchange.backend = balancer.members[0]
    assert balancer.cookie
    assert balancer.set_cookie(exchange).decode() == f"Set-Cookie: id={token(KEY, 's/shop', 'b0').decode()}; {rest}\r\n"


def test_a_path_that_no_cookie_can_name() -> None:
    (balancer,) = World([1], replace(SHOP, path="/a/b;v=1/c"), workers=1).balancers
    exchange = ask()
    exchange.backend = balancer.members[0]
    assert b"; Path=/a/; " in balancer.set_cookie(exchange)


def test_names_and_values() -> None:
    assert cookie_name(SHOP) != cookie_name(replace(SHOP, id="s/"))
    assert len({value(place) for place in range(50)}) == 50
    assert "b1" not in value(1) and len(token(KEY, "l", "b")) == 22


@pytest.mark.parametrize("policy", ["least-connections", "random-two", "ip-hash", "first"])
def test_over_any_algorithm(policy: str) -> None:
    location = replace(SHOP, sticky=replace(SHOP.sticky, algorithm=policy))
    (balancer,) = World([1, 1, 1], location, workers=1).balancers
    place, cookie = visit(balancer)
    assert {visit(balancer, cookie)[0] for _ in range(10)} == {place}


def test_not_over_itself() -> None:
    with pytest.raises(ConfigError, match="cannot choose"):
        make(replace(SHOP, sticky=Sticky(algorithm="sticky-session")), [])
