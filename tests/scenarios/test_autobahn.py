"""Autobahn's 301 WebSocket cases: through Terraster as good as through nothing, and as through nginx."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest

from ..harness.autobahn import CASES, EchoServer, bad, cache, install_ws, run_cases
from ..harness.nginx import PROXY, Nginx

pytestmark = pytest.mark.needs("npm", "node")


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EchoServer]:
    if importlib.util.find_spec("kosoku") is None:
        pytest.skip("left out: kosoku is not installed (pip install kosoku)")
    problem = install_ws(cache())
    if problem:
        pytest.skip(f"left out: {problem}")
    with EchoServer(cache(), tmp_path_factory.mktemp("ws") / "output") as server:
        yield server


@pytest.mark.nightly
def test_the_echo_server_itself_passes(echo: EchoServer) -> None:
    """Else nothing would be shown below."""
    verdicts = run_cases(echo.port)
    assert len(verdicts) == CASES
    assert bad(verdicts) == {}


def test_through_terraster(terraster, echo: EchoServer) -> None:
    verdicts = run_cases(terraster(echo, access_log="off").port)
    assert len(verdicts) == CASES
    assert bad(verdicts) == {}


@pytest.mark.nightly
@pytest.mark.needs("nginx")
def test_through_nginx(tmp_path, echo: EchoServer) -> None:
    """The same harness on another proxy: what is asked of Terraster is fair."""
    with Nginx(tmp_path / "nginx", PROXY.format(url=echo.url)) as nginx:
        verdicts = run_cases(nginx.port)
    assert len(verdicts) == CASES
    assert bad(verdicts) == {}
