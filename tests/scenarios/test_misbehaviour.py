"""One bad backend among good ones, under load through two workers, with no health checks: what clients notice, and for how long.

Each scenario is the same: all is well, then one of three backends begins to misbehave in one way, then it is good again. Clients send
GETs and POSTs all the time. ``python -m tests.scenarios.test_misbehaviour`` runs them all and prints the figures as a table.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ..harness.backends import Peer, Request, ok
from ..harness.client import Connection, get
from ..harness.fault import Moody
from ..harness.readings import of, quiet, total
from ..harness.terraster_process import Terraster, service
from ..harness.waiting import wait_until

WARM = 0.5  # seconds that all is well
BAD = 3.0  # seconds of misbehaviour
EJECTED = 1.0  # seconds that the first ejection lasts: the n-th lasts n times as long, up to three
READERS, WRITERS = 4, 2
FAILURES = 5  # in a row, until the backend is ejected

Behaviour = Callable[[Peer, Request], bool]


def _reset(octets: bytes = b"") -> Behaviour:
    def behave(peer: Peer, request: Request) -> bool:
        if octets:
            peer.send(octets)
            time.sleep(0.02)  # a reset overtakes what was not read yet
        peer.reset()
        return False

    return behave


def _closes(octets: bytes) -> Behaviour:
    def behave(peer: Peer, request: Request) -> bool:
        peer.send(octets)
        return False

    return behave


def _hangs(peer: Peer, request: Request) -> bool:
    peer.rest()
    return False


def _answers(octets: bytes, seconds: float = 0.0) -> Behaviour:
    def behave(peer: Peer, request: Request) -> bool:
        time.sleep(seconds)
        peer.send(octets)
        return True

    return behave


def _idles_a_second(peer: Peer, request: Request) -> bool:
    peer.send(ok())
    peer.sock.settimeout(1.0)
    return True


def _flaps(peer: Peer, request: Request) -> bool:
    """Half a second good, half a second bad."""
    if time.monotonic() % 1.0 < 0.5:
        return _reset()(peer, request)
    peer.send(ok())
    return True


@dataclass(frozen=True)
class Case:
    """A way to misbehave. broken: answers may break off within, which no proxy can hide once they have begun; late: some time after
    their heads. unnoticed: nothing is wrong with its answers, so it stays in use. response: `timeouts.response`, short only where the
    case is about it: a stalled machine makes good backends late as well. keys: more configuration."""

    behave: Behaviour | None
    broken: bool = False
    late: bool = False
    unnoticed: bool = False
    response: str = "5s"
    keys: dict[str, Any] = field(default_factory=dict)


HELD_BACK = {"retry": {"response_size": "64k"}}
ON_500 = {"retry": {"on": "500-599"}, "outlier": {"bad_statuses": FAILURES, "statuses": "500-599"}}

CASES = {
    "refuses": Case(None),
    "resets before the head": Case(_reset()),
    "resets within the head": Case(_reset(b"HTTP/1.1 200 OK\r\nContent-Le")),
    "resets after the head": Case(_reset(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"), broken=True, late=True),
    "half a body": Case(_closes(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), broken=True),
    "half a body, held back": Case(_closes(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), keys=HELD_BACK),
    "hangs": Case(_hangs, response="300ms"),
    "answers in 100 ms": Case(_answers(ok(b"slow"), 0.1), unnoticed=True),
    "closes idle connections at 1 s": Case(_idles_a_second, unnoticed=True),
    "garbage": Case(_closes(b"\x15\x03\x01\x00\x02\x02\x50garbage\r\n\r\n")),
    "500s": Case(_answers(ok(b"broken", status=b"500 Internal Server Error")), keys=ON_500),
    "flaps": Case(_flaps),
}


@dataclass
class Figures:
    """What came of it. Times in seconds, -1 where nothing of the kind happened."""

    gets: int = 0
    gets_failed: int = 0
    posts: int = 0
    posts_failed: int = 0
    executed_twice: int = 0
    slowest_get: float = 0.0
    until_avoided: float = -1.0
    until_back: float = -1.0
    ejections: int = 0
    errors: Counter[str] = field(default_factory=Counter)


class Clients:
    """Clients that send GETs and POSTs until they are told to stop; each POST has a body of its own."""

    def __init__(self, proxy: Terraster, figures: Figures) -> None:
        self._proxy = proxy
        self._figures = figures
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._numbers = itertools.count()
        self._threads = [threading.Thread(target=self._run, args=(number >= READERS,)) for number in range(READERS + WRITERS)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, posts: bool) -> None:
        connection: Connection | None = None
        figures = self._figures
        while not self._over.wait(0.01):
            began = time.monotonic()
            try:
                if connection is None:
                    connection = self._proxy.connect()
                if posts:
                    body = b"order %09d" % next(self._numbers)
                    connection.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 15\r\n\r\n" + body)
                else:
                    connection.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
                answer = connection.response("POST" if posts else "GET")
                what = "" if answer.status == 200 else str(answer.status)
                if "close" in answer.all("connection"):
                    connection.close()
                    connection = None
            except Exception as error:  # h11 says in its own words that a body broke off
                what = type(error).__name__
                if connection is not None:
                    connection.close()
                connection = None
            took = time.monotonic() - began
            with self._lock:
                if what:
                    figures.errors[f"{'POST' if posts else 'GET'} {what}"] += 1
                if posts:
                    figures.posts += 1
                    figures.posts_failed += what != ""
                else:
                    figures.gets += 1
                    figures.gets_failed += what != ""
                    figures.slowest_get = max(figures.slowest_get, took)
        if connection is not None:
            connection.close()


def run(start: Callable[..., Terraster], case: Case) -> Figures:
    """Let a backend misbehave in one way, and watch. start: gives a Terraster with these services and keys."""
    figures = Figures()
    with contextlib.ExitStack() as stack:
        moody, *good = [stack.enter_context(Moody()) for _ in range(3)]
        outlier = {"failures": FAILURES, "time": f"{EJECTED}s", "max_time": f"{3 * EJECTED}s", **case.keys.get("outlier", {})}
        keys = {**case.keys, "outlier": outlier, "timeouts": {"response": case.response, "read": "2s"}}
        proxy = start(service(moody.url, *(one.url for one in good)), workers=2, **keys)
        with Clients(proxy, figures):
            time.sleep(WARM)
            began = time.monotonic()
            if case.behave is None:
                moody.refuse()
            else:
                moody.fault = case.behave
            if not case.unnoticed:
                with contextlib.suppress(AssertionError):
                    wait_until(lambda: not of(proxy, "terraster_backend_up", moody.url), deadline=BAD)
                    figures.until_avoided = time.monotonic() - began
            time.sleep(max(0.0, began + BAD - time.monotonic()))
            if case.behave is None:
                moody.listen()
            moody.fault = None
            ended = time.monotonic()
            wait_until(lambda: moody.good and moody.good[-1] > ended, "it never came back")
            figures.until_back = next(moment for moment in moody.good if moment > ended) - ended
            time.sleep(0.3)
        quiet(proxy)
        figures.ejections = int(of(proxy, "terraster_backend_ejections_total", moody.url))
        executed = sum((one.executed for one in (moody, *good)), Counter())
        figures.executed_twice = sum(count > 1 for count in executed.values())
    return figures


@pytest.mark.parametrize("name", list(CASES))
def test_one_bad_backend_of_three(terraster, name: str) -> None:
    case = CASES[name]
    figures = run(terraster, case)
    print(f"\n{name}: {figures}")
    assert figures.gets > 200 and figures.posts > 100
    assert figures.executed_twice == 0
    rounds = figures.ejections + 1
    if case.broken:
        # What has gone out cannot be taken back: as many as it takes to eject, each time, and those under way meanwhile. Where some
        # time passes between a head and its end, heads of others look like answers meanwhile, and end the row.
        patience = 5 if case.late else 1
        assert figures.gets_failed + figures.posts_failed <= rounds * (FAILURES + READERS + WRITERS) * patience
    else:
        assert figures.gets_failed == 0, figures.errors
        assert figures.posts_failed <= rounds * (FAILURES + WRITERS), figures.errors
    if case.behave is None:
        assert figures.posts_failed <= WRITERS, figures.errors  # under way when it ended all its connections
    if case.unnoticed:
        assert figures.posts_failed == 0, figures.errors
    if case.unnoticed:
        assert figures.ejections == 0
        assert figures.until_back < 0.5
    else:
        assert 0 <= figures.until_avoided < 2.5
        assert figures.until_back < 3 * EJECTED + 1


# ------------------------------------------------------------------------------------------------------------------- circuit breakers

BROKEN = _answers(ok(b"broken", status=b"500 Internal Server Error"))
THRESHOLD, OPEN_FOR, PROBES = 5, 1.0, 2


def breaker(**keys: Any) -> dict[str, Any]:
    return {
        "circuit_breaker": {"threshold": THRESHOLD, "timeout": f"{OPEN_FOR}s", "probes": PROBES, **keys},
        "outlier": False,
        "retry": {"on": "500-599", "min_per_second": 1000},
        "workers": 2,
    }


def bursts(moments: list[float], apart: float) -> list[list[float]]:
    """Moments in groups with pauses of more than ``apart`` seconds between them."""
    groups: list[list[float]] = []
    for moment in moments:
        if not groups or moment - groups[-1][-1] > apart:
            groups.append([])
        groups[-1].append(moment)
    return groups


@pytest.fixture
def pair(stack):
    return [stack.enter_context(Moody()) for _ in range(2)]


@contextlib.contextmanager
def crowd(proxy: Terraster, count: int = 24):
    """So many clients on connections of their own, enough for both workers to have some, that send GETs all the time."""
    over = threading.Event()
    statuses: Counter[int] = Counter()
    lock = threading.Lock()

    def run() -> None:
        with proxy.connect() as client:
            while not over.wait(0.02):
                status = client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").response().status
                with lock:
                    statuses[status] += 1

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        over.set()
        for thread in threads:
            thread.join()


def circuit(proxy: Terraster, url: str) -> int:
    return int(of(proxy, "terraster_backend_circuit_state", url))


def test_a_circuit_opens_for_all_workers_and_closes_again(terraster, pair) -> None:
    """Counted and timed at the backend, which both workers ask all the time."""
    moody, _good = pair
    proxy = terraster(service(*(one.url for one in pair)), **breaker())
    with crowd(proxy) as statuses:
        time.sleep(0.5)
        began = time.monotonic()
        moody.fault = BROKEN
        time.sleep(3.5)
        ended = time.monotonic()
        moody.fault = None
        wait_until(lambda: circuit(proxy, moody.url) == 0, "the circuit was not closed")
        closed = time.monotonic() - ended
        time.sleep(0.5)
    groups = bursts([moment for moment in moody.arrivals if began <= moment < ended], 0.4)
    first, trials = groups[0], groups[1:]
    spread = first[-1] - first[THRESHOLD - 1] if len(first) > THRESHOLD else 0.0
    print(f"\n{len(first)} failures until all left it alone, the last one {spread * 1e3:.0f} ms after the one that opened it;")
    print(
        f"trials in each of {len(trials)} half-open times: {[len(group) for group in trials]}; closed {closed:.2f} s after it was good"
    )
    assert set(statuses) == {200}
    assert THRESHOLD <= len(first) <= 4 * THRESHOLD
    assert spread < 0.2
    assert 2 <= len(trials) <= 3
    assert all(len(group) <= PROBES for group in trials)
    assert closed < OPEN_FOR + 0.5
    assert len(moody.good) > 0 and moody.good[-1] > ended + closed
    quiet(proxy)


def test_no_more_than_so_many_try_it(terraster, pair) -> None:
    """While the trials are still under way, from many clients through two workers."""
    moody, _good = pair
    proxy = terraster(service(*(one.url for one in pair)), **breaker())
    over = threading.Event()

    def answers_when_told(peer: Peer, request: Request) -> bool:
        assert over.wait(30)
        peer.send(ok(b"well"))
        return True

    with crowd(proxy):
        moody.fault = BROKEN
        wait_until(lambda: circuit(proxy, moody.url) == 1)
        # Requests that were on their way when it opened still arrive: trials begin OPEN_FOR after it.
        wait_until(lambda: moody.at_once == 0 and moody.arrivals[-1] < time.monotonic() - OPEN_FOR / 4)
        moody.most, moody.fault = 0, answers_when_told
        wait_until(lambda: moody.at_once == PROBES, "it was never tried")
        time.sleep(0.3)  # the crowd would come now
        assert moody.at_once == moody.most == PROBES
        over.set()
        wait_until(lambda: circuit(proxy, moody.url) == 0)
        wait_until(lambda: moody.most > PROBES or len(moody.good) > 10 * PROBES, "closed, and nobody came")
    quiet(proxy)


def test_one_bad_trial_opens_it_again(terraster, pair) -> None:
    moody, _good = pair
    proxy = terraster(service(*(one.url for one in pair)), **breaker(probes=3))
    turns = itertools.count()

    def second_one_is_bad(peer: Peer, request: Request) -> bool:
        return (BROKEN if next(turns) % 3 == 1 else _answers(ok()))(peer, request)

    with crowd(proxy):
        moody.fault = BROKEN
        wait_until(lambda: circuit(proxy, moody.url) == 1)
        openings = of(proxy, "terraster_backend_circuit_openings_total", moody.url)
        moody.fault = second_one_is_bad
        wait_until(lambda: of(proxy, "terraster_backend_circuit_openings_total", moody.url) >= openings + 2)
    assert circuit(proxy, moody.url) != 0
    quiet(proxy)


def test_a_trial_without_a_result_is_not_the_last_one(terraster, stack) -> None:
    """Its client left. The circuit is tried again after a while."""
    moody = stack.enter_context(Moody())
    keys = {**breaker(threshold=1, probes=1), "retry": False, "workers": 1}
    proxy = terraster(service(moody.url), **keys)
    moody.fault = BROKEN
    assert get(proxy.address).status == 500
    wait_until(lambda: circuit(proxy, moody.url) == 1)
    assert get(proxy.address).status == 503
    moody.fault = _hangs
    wait_until(lambda: circuit(proxy, moody.url) == 2)
    with proxy.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        wait_until(lambda: len(moody.arrivals) == 2)
    moody.fault = None
    assert get(proxy.address).status == 503, "there is no second trial yet"
    wait_until(lambda: get(proxy.address).status == 200, "the circuit is half-open for good", 3)
    wait_until(lambda: circuit(proxy, moody.url) == 0)
    quiet(proxy)


def test_failures_of_one_backend_say_nothing_of_another(terraster, pair) -> None:
    moody, good = pair
    proxy = terraster(service(*(one.url for one in pair)), **breaker())
    with crowd(proxy, 8):
        moody.fault = BROKEN
        wait_until(lambda: circuit(proxy, moody.url) == 1)
        time.sleep(0.5)
    assert circuit(proxy, good.url) == 0
    assert total(proxy, "terraster_backend_circuit_openings_total") == of(
        proxy, "terraster_backend_circuit_openings_total", moody.url
    )


def main() -> None:
    """All scenarios, and their figures as a table."""
    head = ("one bad backend of three", "GETs", "failed", "slowest", "POSTs", "failed", "twice", "avoided after", "back after")
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for name in sys.argv[1:] or CASES:
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:

            def start(*services: Any, folder: str = folder, stack: contextlib.ExitStack = stack, **keys: Any) -> Terraster:
                return stack.enter_context(Terraster(Path(folder) / "terraster", *services, **keys))

            seen = run(start, CASES[name])
        avoided = f"{seen.until_avoided * 1e3:.0f} ms" if seen.until_avoided >= 0 else "–"
        row = (name, seen.gets, seen.gets_failed, f"{seen.slowest_get * 1e3:.0f} ms", seen.posts, seen.posts_failed)
        print(f"| {' | '.join(map(str, row))} | {seen.executed_twice} | {avoided} | {seen.until_back * 1e3:.0f} ms |", flush=True)


if __name__ == "__main__":
    main()
