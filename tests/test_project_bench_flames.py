"""The flame graphs show what the profilers said."""

from __future__ import annotations

import importlib
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

BENCH = Path(__file__).resolve().parent.parent / "bench"

PERF = """python
\tffffffff81 tcp_sendmsg ([kernel.kallsyms])
\t10ab59 __send (/usr/lib/libc.so.6)
\t1000 __pyx_f_9terraster_3net_6stream_6Stream_send (/site-packages/terraster/net/stream.cpython-311-x86_64-linux-gnu.so)
\tfd9c2 _PyEval_EvalFrameDefault+0x10 (/lib/libpython3.11.so.1.0)
\t15da8 greenlet::UserGreenlet::inner_bootstrap (/greenlet/_greenlet.so)
\t15856 greenlet::UserGreenlet::g_switch (/greenlet/_greenlet.so)

python
\t1a54f gevent_callback.part.0 (/gevent/libev/corecext.so)
\t4bd61 ev_run (/gevent/libev/corecext.so)
"""
SPY = """run (gevent/hub.py:647);Runners._serve (/x/terraster/net/runners.py:3);Stream.send (/x/terraster/net/stream.py:40) 3
<module> (main.py:1);run (gevent/hub.py:647) 1
"""


@pytest.fixture
def flames(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module bench/flames.py, imported as it is when it runs."""
    monkeypatch.syspath_prepend(str(BENCH))
    yield importlib.import_module("flames")
    for name in ("flames", "others", "peers", "place", "profile_worker", "tree", "wrk"):
        sys.modules.pop(name, None)


def test_a_stack_of_perf_begins_where_the_greenlet_does(flames: ModuleType) -> None:
    assert flames.of_perf(PERF) == Counter(
        {
            (
                "interpreter:_PyEval_EvalFrameDefault",
                "Terraster:net.stream.Stream.send",
                "libraries:__send",
                "kernel:tcp_sendmsg",
            ): 1,
            ("gevent and greenlet:gevent_callback.part.0",): 1,
        }
    )


def test_a_stack_of_py_spy_begins_where_the_event_loop_calls(flames: ModuleType) -> None:
    assert flames.of_spy(SPY) == Counter(
        {("Terraster:Runners._serve (net/runners.py)", "Terraster:Stream.send (net/stream.py)"): 3}
    )


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("__pyx_f_9terraster_5proxy_5Proxy__live", "terraster.proxy.Proxy._live"),
        ("__pyx_pw_9terraster_5proxy_5Proxy_11converse", "terraster.proxy.Proxy.converse"),
        ("__pyx_pw_9terraster_3net_7runners_7Runners_5_serve", "terraster.net.runners.Runners._serve"),
        ("__pyx_pf_9terraster_4wire_5http1_parse_request", "terraster.wire.http1.parse_request"),
        ("PyObject_Vectorcall", None),
    ],
)
def test_symbols_of_cython_get_their_names(flames: ModuleType, symbol: str, name: str | None) -> None:
    assert flames.of_cython(symbol) == name


def test_widths_in_the_picture_are_shares(flames: ModuleType) -> None:
    stacks = Counter({("Terraster:a", "kernel:<b>"): 3, ("Terraster:a",): 1, ("interpreter:c",): 4})
    text = flames.picture(stacks, "title", "note")
    ElementTree.fromstring(text)
    shapes = dict(re.findall(r"<title>([^:]+): [^<]+</title><rect [^>]*?width=\"([\d.]+)\"", text))
    room = flames.WIDTH - 2 * flames.SIDE
    assert [float(shapes[name]) for name in ("a", "&lt;b&gt;", "c")] == pytest.approx(
        [room / 2 - 0.5, room * 3 / 8 - 0.5, room / 2 - 0.5], abs=0.1
    )
    assert "Terraster 12%" in text and "kernel 38%" in text and "interpreter 50%" in text
