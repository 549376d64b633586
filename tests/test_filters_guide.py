"""The filter that docs/development.md shows: it is one file, and it works."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from terraster.config.loader import Loader
from terraster.config.resolve import resolve
from terraster.errors import ConfigError
from terraster.exchange import Exchange
from terraster.filters.answer import Answer
from terraster.filters.contract import cells
from terraster.filters.registry import KINDS
from terraster.plan import Plan, compile_plan
from terraster.state.cells import Seat
from terraster.state.leases import Leases, capacities
from terraster.state.table import Table
from terraster.state.view import SeatView
from terraster.wire.edits import Edits

PAGE = (Path(__file__).parent.parent / "docs" / "development.md").read_text()


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The module in the section "Adding a filter"."""
    section = PAGE[PAGE.index("## Adding a filter") :]
    code = re.search(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert code is not None
    file = tmp_path_factory.mktemp("guide") / "methods_of_the_guide.py"
    file.write_text(code[1])
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[file.stem]


TEXT = """\
middleware: [{methods: {allowed: [GET, POST]}}]
services:
  - name: s
    locations:
      - {path: /a, backends: [http://h]}
      - {path: /b, backends: [http://h], methods: {}}
      - {path: /c, backends: [http://h], methods: {allowed: DELETE}}
"""


def compiled(guide: ModuleType, directory: Path, text: str) -> tuple[Plan, Table]:
    kinds = (*KINDS, guide.Methods)
    (directory / "t.yaml").write_text(text)
    snapshot = resolve(Loader({}, kinds=kinds).load(str(directory / "t.yaml")), 1, environ={})
    table = Table(*capacities(3, 3, 1))
    table.q[table.seat(1) + Seat.PID] = 4711
    view = SeatView(table)
    view.sit(1)
    return compile_plan(Leases(table).assign(snapshot), view, kinds=kinds), table


def asked(method: bytes) -> Exchange:
    made = Exchange(0.0, 0.0, "1.2.3.4", "9.9.9.9", "http")
    made.method = method
    return made


def test_the_filter_of_the_guide_works(guide: ModuleType, tmp_path: Path) -> None:
    plan, table = compiled(guide, tmp_path, TEXT)
    a, b, c = plan.services["s"].locations
    for location, method, allow in [(a, b"POST", b""), (b, b"DELETE", b"GET, POST"), (c, b"GET", b"DELETE"), (c, b"DELETE", b"")]:
        (hook,) = location.on_request
        assert hook(asked(method)) == (Answer(405, ((b"Allow", allow),)) if allow else None)
    (respond,) = c.on_response
    edits = Edits(204)
    respond(asked(b"OPTIONS"), edits)
    assert edits.extra == b"Allow: DELETE\r\n"
    cell = cells((*KINDS, guide.Methods))["methods"]["refused"]
    slots = [location.slot for location in plan.snapshot.services[0].locations]
    assert [table.location_sum(slot, cell) for slot in slots] == [0, 1, 1]


def test_a_mistake_in_its_keys_is_told_with_its_place(guide: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        compiled(guide, tmp_path, TEXT.replace("methods: {}", "methods: {allow: GET}"))
    assert str(error.value.problems[0]) == f"{tmp_path}/t.yaml:6:52: unknown key `allow`; did you mean `allowed`?"
