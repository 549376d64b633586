"""Filters: which hooks a location gets, in which order, and where they count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from terraster.config.diff import diff
from terraster.config.loader import Loader
from terraster.config.resolve import resolve
from terraster.config.settings.base import Text, Whole
from terraster.config.settings.kinds import FilterSettings
from terraster.config.snapshot import Backend, Filters, Location, Service, Snapshot
from terraster.errors import ConfigError
from terraster.exchange import Exchange
from terraster.filters.answer import Answer
from terraster.filters.contract import HOOKS, Counter, Filter, Hooks, Place, Stage, cells, compile_hooks, defined
from terraster.filters.headers import HeaderSettings
from terraster.filters.registry import KINDS
from terraster.plan import Plan, compile_plan
from terraster.state.cells import Seat, SeatLocation
from terraster.state.leases import Leases, capacities
from terraster.state.table import Table
from terraster.state.view import SeatView
from terraster.wire.edits import Edits


def exchange(path: bytes = b"/", scheme: str = "http") -> Exchange:
    made = Exchange(0.0, 0.0, "1.2.3.4", "9.9.9.9", scheme)
    made.method, made.host, made.path = b"GET", b"a.test", path
    return made


class Asks(Filter):
    name = "asks"
    counters = (Counter("asked", "Requests asked about."),)

    def __init__(self, settings: Any, place: Place, view: SeatView) -> None:
        self.asked = place.tally("asked")
        self.where = place.service and place.service.name, place.location and place.location.path

    def on_request(self, exchange: Exchange) -> Answer | None:
        self.asked.count()
        return None

    def on_log(self, exchange: Exchange) -> None:
        self.asked.count(10)


class Edits2(Filter):
    name = "edits"

    def needs(self, hook: str) -> bool:
        return hook == "on_response"

    def on_upstream(self, exchange: Exchange, edits: Edits) -> None:
        raise AssertionError

    def on_response(self, exchange: Exchange, edits: Edits) -> None:
        edits.add(b"X-Edits", b"1")


def plan(service: Service, *kinds: type[Filter]) -> tuple[Plan, Table]:
    table = Table(*capacities(1, 1, 1))
    view = SeatView(table)
    table.q[table.seat(1) + Seat.PID] = 4711
    view.sit(1)
    return compile_plan(Leases(table).assign(Snapshot(1, (), (service,))), view, kinds=kinds or KINDS), table


def service(filters: Filters = (), **more: Any) -> Service:
    backend = Backend("s/ http://b", "http://b", "http", "b", 80)
    location = Location("s/a", "/a", backends=(backend,), filters=filters)
    return Service("s", ("*",), (":80",), (location,), filters=filters, **more)


def test_a_hook_that_is_not_defined_or_not_needed_is_not_called() -> None:
    assert (defined(Asks), defined(Edits2), defined(Filter)) == (("on_request", "on_log"), ("on_upstream", "on_response"), ())
    made = plan(service(), Asks, Edits2)[0].services["s"].locations[0]
    assert [len(getattr(made, hook)) for hook in HOOKS] == [1, 0, 1, 0, 1]
    assert compile_hooks(()) == Hooks()


def test_hooks_run_in_the_order_of_the_kinds() -> None:
    class Other(Asks):
        name = "other"

    for kinds in ((Asks, Other), (Other, Asks)):
        made = plan(service(), *kinds)[0].services["s"].locations[0]
        assert [type(hook.__self__) for hook in made.on_request] == list(kinds)  # type: ignore[attr-defined]


def test_hooks_run_in_the_order_of_their_stages_before_that_of_the_kinds() -> None:
    class Late(Asks):
        name = "late"

    class Early(Asks):
        name = "early"
        stage = Stage.ADDRESSES

    class Limit(Asks):
        name = "limit"
        stage = Stage.LIMITS

    class Password(Asks):
        name = "password"
        stage = Stage.AUTHENTICATION

    class ByClaim(Limit):
        name = "by_claim"

        def when(self) -> Stage:
            return Stage.IDENTITY_LIMITS

    made = plan(service(), Late, ByClaim, Password, Limit, Early)[0].services["s"].locations[0]
    for hooks in (made.on_request, made.on_log):
        assert [type(hook.__self__) for hook in hooks] == [Early, Limit, Password, ByClaim, Late]  # type: ignore[attr-defined]


def test_the_order_of_the_stages() -> None:
    assert [stage.name for stage in sorted(Stage)] == [
        "ADDRESSES",
        "MAINTENANCE",
        "PREFLIGHTS",
        "LIMITS",
        "REDIRECTS",
        "AUTHENTICATION",
        "IDENTITY_LIMITS",
        "PLUGINS",
        "REST",
    ]
    assert [kind.name for kind in KINDS[-3:]] == ["headers", "compression", "mirror"]
    assert KINDS[-1].stage is max(Stage)


class NamedSettings(FilterSettings):
    enabled: bool = Field(True, description="Of this kind.")
    limit: Whole = Field(1, description="The limit.")
    word: str = Field("none", description="A word.")
    name: Text | None = Field(None, description="Of this entry.")


class Named(Filter):
    """Says what it was made of."""

    __slots__ = ("made_of",)
    name = "named"
    settings = NamedSettings

    def __init__(self, settings: NamedSettings, place: Place, view: SeatView) -> None:
        self.made_of = settings.entry, settings.limit, settings.word

    def on_request(self, exchange: Exchange) -> Answer | None:
        return None


ENTRIES = """\
middleware: [{named: {name: a, limit: 10}}, {named: {name: b, limit: 20}}]
services:
  - name: s
    middleware: [{named: {limit: 5}}, {named: {name: b, word: service}}]
    locations:
      - {path: /inherits, backends: [http://h]}
      - {path: /changes, backends: [http://h], middleware: [{named: {name: a, word: here}}, {named: {name: c}}]}
      - {path: /without-the-nameless, backends: [http://h], middleware: [{named: off}]}
      - {path: /without-a, backends: [http://h], middleware: [{named: {name: a, enabled: off}}]}
"""


def test_entries_of_one_kind_are_told_apart_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(ENTRIES)
    snapshot = resolve(Loader({}, kinds=(Named,)).load(str(tmp_path / "t.yaml")), 1, environ={})
    compiled, _ = plan(snapshot.services[0], Named)
    found = {
        location.path: [hook.__self__.made_of for hook in location.on_request]  # type: ignore[attr-defined]
        for location in compiled.services["s"].locations
    }
    a, b, nameless = ("a", 10, "none"), ("b", 20, "service"), ("", 5, "none")
    assert found == {
        "/inherits": [a, b, nameless],
        "/changes": [("a", 10, "here"), b, nameless, ("c", 1, "none")],
        "/without-the-nameless": [a, b],
        "/without-a": [b, nameless],
    }


def test_an_entry_is_written_once_on_a_level(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(ENTRIES.replace("{named: {limit: 5}}", "{named: {}}, {named: {name: b}}, {named: {}}"))
    with pytest.raises(ConfigError) as error:
        Loader({}, kinds=(Named,)).load(str(tmp_path / "t.yaml"))
    assert [str(problem).partition("t.yaml:")[2] for problem in error.value.problems] == [
        "4:52: `named` is defined twice: keep one entry of it, or give each a `name`",
        "4:65: `named` is defined twice: keep one entry of it, or give each another `name` than b",
    ]


def test_a_change_of_one_entry_is_told_by_its_name(tmp_path: Path) -> None:
    made = []
    for number, text in enumerate((ENTRIES, ENTRIES.replace("word: here", "limit: 11").replace(", {named: {name: c}}", "")), 1):
        (tmp_path / "t.yaml").write_text(text)
        made.append(resolve(Loader({}, kinds=(Named,)).load(str(tmp_path / "t.yaml")), number, environ={}))
    assert diff(*made).describe() == [
        "~ service s: /changes: ~ named a: limit 10 → 11",
        "~ service s: /changes: ~ named a: word here → none",
        "~ service s: /changes: ~ named c: on → off",
    ]


def test_a_filter_counts_in_the_row_of_its_location_in_the_own_seat() -> None:
    compiled, table = plan(service(), Edits2, Asks)
    location = compiled.services["s"].locations[0]
    location.on_request[0](exchange())
    location.on_log[0](exchange())
    cell = cells((Edits2, Asks))["asks"]["asked"]
    assert cell == SeatLocation.FILTERS
    assert table.location_sum(0, cell) == table.q[table.seat_location(1, 0) + cell] == 11
    compiled.rules.on_request[0](exchange())
    assert table.location_sum(table.unrouted, cell) == 1


def test_counters_of_all_kinds_have_cells_of_their_own() -> None:
    found = [cell for by_name in cells(KINDS).values() for cell in by_name.values()]
    assert len(found) == len(set(found)) == sum(len(kind.counters) for kind in KINDS)
    assert all(SeatLocation.FILTERS <= cell < SeatLocation.CELLS for cell in found)

    class Counts(Filter):
        name = "counts"
        counters = tuple(Counter(f"c{number}", "Things.") for number in range(SeatLocation.CELLS - SeatLocation.FILTERS + 1))

    with pytest.raises(ValueError, match=f"{SeatLocation.CELLS - SeatLocation.FILTERS + 1} counters"):
        cells((Counts,))


def test_rules_are_those_of_the_service_and_before_that_of_the_top() -> None:
    compiled, _ = plan(service(), Asks)
    of_service = compiled.services["s"]
    found = [made.on_request[0].__self__.where for made in (of_service.locations[0], of_service.rules, compiled.rules)]  # type: ignore[attr-defined]
    assert found == [("s", "/a"), ("s", None), (None, None)]
    assert of_service.rules.members == compiled.rules.members == ()


def test_header_rules_have_the_last_word_about_a_head() -> None:
    rules = HeaderSettings(response_headers={"X-Edits": "rule", "X-Host": "${host}"}, remove_response_headers=("Server",))
    compiled, _ = plan(service((("headers", rules),)), Edits2, *KINDS)
    for made in (compiled.services["s"].locations[0], compiled.services["s"].rules):
        edits = Edits(200)
        for hook in made.on_response:
            hook(exchange(), edits)
        assert edits.extra == b"X-Edits: rule\r\nX-Host: a.test\r\n"
        assert edits.drop == {b"x-edits", b"x-host", b"server"}
        assert made.on_upstream == ()


def test_redirects_are_counted() -> None:
    compiled, table = plan(service(http_redirect=True))
    of_service = compiled.services["s"]
    assert of_service.fallback is of_service.rules
    answer = of_service.rules.on_request[0](exchange(b"/x"))
    assert answer is not None and answer.status == 308
    assert of_service.rules.on_request[0](exchange(b"/x", "https")) is None
    assert table.location_sum(table.unrouted, cells(KINDS)["redirect"]["answers"]) == 1
