"""The Terraster that is kept running: nothing of one test is there for the next, and what is amiss fails the test that had it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .harness import warm
from .harness.backends import Backend, always, ok
from .harness.client import get
from .harness.program import Program
from .harness.terraster_process import is_gone, service, wait_gone


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[warm.Pool]:
    pool = warm.Pool(lambda: tmp_path_factory.mktemp("warm"))
    yield pool
    pool.close()


@pytest.fixture
def origin() -> Iterator[Backend]:
    with Backend(always(ok())) as origin:
        yield origin


@pytest.fixture
def borrow(pool: warm.Pool, tmp_path: Path, origin: Backend) -> Callable[..., warm.Warm]:
    count = 0

    def borrow(**keys: object) -> warm.Warm:
        nonlocal count
        count += 1
        return pool.borrow(f"test {count}", tmp_path / str(count), service(origin.url), **keys)

    return borrow


def master(proxy: warm.Warm) -> Program:
    """The master's process, without the test being told."""
    assert proxy.kept.program is not None
    return proxy.kept.program


def test_nothing_of_a_test_is_there_for_the_next(borrow, origin) -> None:
    with borrow(limits={"header_count": 10}) as one:
        assert get(one.address).status == 200
        assert get(one.address, fields="X: y\r\n" * 20).status == 431
        assert [line["status"] for line in one.log(2)] == [200, 431]
        assert any(origin.url in name for name in one.metrics())
        assert "generation" in one.said
    with borrow() as other:
        assert master(other) is master(one), "a start for each test"
        assert other.said.count("reload (test)") == 1, "the other test's words"
        assert get(other.address, fields="X: y\r\n" * 20).status == 200
        assert [line["status"] for line in other.log()] == [200]
        assert {value for name, value in other.metrics().items() if name.startswith("terraster_backend_requests_total")} == {1}


def test_two_at_a_time(borrow) -> None:
    with borrow() as one, borrow() as other, borrow(workers=2) as third:
        assert len({one.port, other.port, third.port}) == 3
        assert (len(one.workers()), len(third.workers())) == (1, 2)


def test_a_traceback_fails_the_test_that_had_it(borrow, capsys) -> None:
    with pytest.raises(AssertionError, match="Traceback"), borrow() as proxy, master(proxy).output.open("a") as output:
        output.write("Traceback (most recent call last):\n")
    assert is_gone(master(proxy).pid)
    with borrow() as other:
        assert other.pid != master(proxy).pid
    with borrow() as expected:
        expected.expect_traceback = True
        with master(expected).output.open("a") as output:
            output.write("Traceback (most recent call last):\n")


def test_a_traceback_after_a_test_names_that_test(borrow) -> None:
    with borrow() as proxy:
        pass
    with master(proxy).output.open("a") as output:
        output.write("Traceback (most recent call last):\n")
    with pytest.raises(AssertionError, match="after test 1 was over:\nTraceback"):
        borrow()
    assert is_gone(master(proxy).pid)


@pytest.mark.parametrize("who", ["master", "worker"])
def test_a_process_that_ends_fails_the_test_that_had_it(borrow, who: str) -> None:
    with pytest.raises(AssertionError, match="processes ended"), borrow() as proxy:
        pid = master(proxy).pid if who == "master" else max(proxy.kept.processes)
        os.kill(pid, signal.SIGKILL)
        if who == "master":
            master(proxy).wait()
        wait_gone(pid)
    with borrow() as other:
        assert get(other.address).status == 200


def test_a_test_that_was_told_process_ids_may_end_them(borrow) -> None:
    with borrow() as proxy:
        proxy.signal(signal.SIGTERM)
        assert proxy.program.wait() == 0
    with borrow() as other:
        assert get(other.address).status == 200


@pytest.mark.parametrize("told", [True, False])
def test_a_worker_that_ends_while_the_instance_is_given_back(borrow, told: bool) -> None:
    """It was there when that was looked at first."""
    proxy = borrow()
    if told:
        proxy.workers()
    rest, worker = proxy.kept.rest, max(proxy.kept.processes)

    def late() -> None:
        os.kill(worker, signal.SIGKILL)
        wait_gone(worker)
        rest()

    proxy.kept.rest = late
    if told:
        proxy.__exit__(None)
    else:
        with pytest.raises(AssertionError, match="processes ended"):
            proxy.__exit__(None)
    assert is_gone(master(proxy).pid)


def test_a_connection_that_stays_open_fails_the_test_that_had_it(borrow, monkeypatch) -> None:
    monkeypatch.setattr(warm, "PATIENCE", 0.3)
    with pytest.raises(AssertionError, match="sockets too many"), borrow() as proxy:
        client = proxy.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").response()
    client.close()
    assert is_gone(master(proxy).pid)


def test_a_key_that_wants_a_start_is_no_key_for_a_kept_one(borrow) -> None:
    with pytest.raises(AssertionError, match="state_dir needs a restart"):
        borrow(state_dir="/nowhere")


def test_what_failed_is_replaced(borrow) -> None:
    with pytest.raises(RuntimeError), borrow() as proxy:
        raise RuntimeError
    assert is_gone(master(proxy).pid)
