"""Fixtures of the scenarios: what a fixture starts, it ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from ..harness.backends import Backend, Peer, Request, always, ok
from ..harness.disks import PAGE
from ..harness.terraster_process import Terraster, service
from ..harness.warm import FRESH, Pool

Answer = bytes | Callable[[Request], bytes | None]
Start = Callable[..., Terraster]

_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Remember that a test failed, for the fixtures that it used."""
    report = yield
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed
    return report


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What is entered here is left, in reverse order, when the scenario ends."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def sockets(stack: ExitStack) -> Path:
    """A folder for unix sockets: its path is short, as that of a socket has 107 octets at most."""
    return Path(stack.enter_context(TemporaryDirectory(prefix="t-")))


@pytest.fixture
def backend(stack: ExitStack) -> Callable[..., Backend]:
    """Make a backend: ``backend(answer=…)`` answers every request alike, ``backend(script)`` runs a script per connection. ``path``: it
    listens on a unix socket."""

    def make(script: Callable[[Peer], None] | None = None, *, answer: Answer | None = None, path: str = "") -> Backend:
        if script is None:
            assert answer is not None
            script = always(answer)
        return stack.enter_context(Backend(script, path=path))

    return make


@pytest.fixture
def slow(backend: Callable[..., Backend]) -> Backend:
    """A backend that answers /slow only when its `go` is set, and everything else at once: with the request's body, or its target."""
    go = threading.Event()

    def script(peer: Peer) -> None:
        while request := peer.request():
            if request.target == "/slow":
                assert go.wait(30)
            peer.send(ok(request.body or request.target.encode()))

    origin = backend(script)
    origin.go = go  # type: ignore[attr-defined]
    return origin


@pytest.fixture(scope="session")
def warm_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """The instances that are kept running."""
    pool = Pool(lambda: tmp_path_factory.mktemp("warm"))
    yield pool
    pool.close()


@pytest.fixture
def started(request: pytest.FixtureRequest, stack: ExitStack) -> Iterator[list[Terraster]]:
    """What the scenario started; it is told if the scenario failed."""
    started: list[Terraster] = []
    yield started
    for one in started:
        one.failed = request.node.stash.get(_FAILED, False)


@pytest.fixture
def fresh(tmp_path: Path, stack: ExitStack, started: list[Terraster]) -> Start:
    """Start a Terraster of its own, called as `terraster` is: for scenarios that start, end, kill or count what a start brings."""

    def start(*parts: Any, **keys: Any) -> Terraster:
        folder = tmp_path / f"terraster{len(started) + 1}"
        started.append(stack.enter_context(Terraster(folder, *_services(parts), **keys)))
        return started[-1]

    return start


@pytest.fixture
def terraster(
    request: pytest.FixtureRequest, tmp_path: Path, stack: ExitStack, started: list[Terraster], warm_pool: Pool, fresh: Start
) -> Start:
    """A Terraster: ``terraster(backend, …, key=…)`` or ``terraster(service(…), …, key=…)``. One that is kept running is given these
    services and keys; if a key wants a start, it is a fresh one."""

    def borrow(*parts: Any, **keys: Any) -> Terraster:
        if not FRESH.isdisjoint(keys):
            return fresh(*parts, **keys)
        folder = tmp_path / f"terraster{len(started) + 1}"
        started.append(stack.enter_context(warm_pool.borrow(request.node.nodeid, folder, *_services(parts), **keys)))
        return started[-1]

    return borrow


def _services(parts: tuple[Any, ...]) -> list[Any]:
    """Whole services as they are, and one of everything that has a URL."""
    services = [part for part in parts if isinstance(part, dict)]
    urls = [part.url for part in parts if not isinstance(part, dict)]
    return [service(*urls), *services] if urls else services


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 pages."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs root and mount")
    options = f"size={64 * PAGE},mode=0700"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, timeout=60).returncode:
        pytest.skip("needs the right to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=60)
