"""Metrics: right in number, complete in the manual, and fit for a real Prometheus."""

from __future__ import annotations

import json
import math
import re
import subprocess
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from gevent import pywsgi  # noqa: F401  (imported before any server thread starts)
from prometheus_client.parser import text_string_to_metric_families

from terraster.admin.exposition import exposition, make_registry
from terraster.admin.metrics import METRICS, TableCollector, of_filter
from terraster.admin.slo_metrics import SLO_METRICS
from terraster.filters.contract import counted
from terraster.filters.registry import KINDS
from terraster.state.cells import BUCKETS, WAITS, MasterCells, Seat, SeatBackend, SeatLocation, bucket_of
from terraster.state.times import connected, waited
from terraster.state.view import SeatView

from .harness.ports import free_port
from .harness.program import Program, find
from .harness.tls_facts import certificate, tls_service
from .test_admin_readings import NOW, House

MANUAL = Path(__file__).parent.parent / "docs" / "metrics.md"


def scrape(house: House) -> str:
    registry = make_registry(TableCollector(house.table, lambda: house.snapshot, 1, lambda: None))
    return b"".join(exposition(registry)).decode()


def samples(text: str) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            key = f"{sample.name}{{{labels}}}"
            assert key not in found, f"{key} twice"
            found[key] = sample.value
    return found


def busy_house() -> House:
    house = House()
    house.answer(1, 0, 200, 0.004, 3, 100)
    house.answer(2, 0, 200, 0.3, 1, 100)
    house.answer(2, 0, 299, 100.0)
    house.answer(2, 2, 404)
    house.used(1, 0, ACTIVE=2, REQUESTS=10, FAILURES=1, LATENCY=40_000_000, BUCKET=4, CONNECTS=5, IDLE=1)
    house.used(2, 0, CONNECT_ERRORS=4, BAD_STATUSES=5, RETRIES=6, OPEN=3, STATUS_2XX=3, STATUS_5XX=2, NO_RESPONSE=1)
    house.used(0, 0, STATUS_5XX=40)
    house.known(0, STATE=1, SINCE=int(NOW * 1e9), WEIGHT=3, PROBES=9, PROBE_FAILURES=2)
    house.known(1, STATE=4, CIRCUIT=2, EJECTIONS=7, OPENINGS=8)
    house.waited(1, 0, QUEUED=2, QUEUE_REFUSED=3, QUEUE_TIMEOUTS=4, RETRIES=5, HEDGES=6, BUDGET_REFUSALS=7)
    house.waited(2, 0, QUEUED=1, GRPC=8)
    house.waited(1, 0, GRPC=1)
    house.q[house.table.seat_location(1, 0) + SeatLocation.GRPC + 14] = 2
    house.panics(2)
    house.sit(1, Seat.PROXY, CONNECTIONS=7, ACCEPTED=70, ACCESS_LINES_LOST=60, LINE_LOST_AT=int((NOW - 5) * 1e9), LINE_LOST_WHY=28)
    house.q[house.table.seat(1) + Seat.HTTP2_CONNECTIONS] = 9
    house.q[house.table.seat(2) + Seat.HTTP2_CONNECTIONS] = 4
    house.q[house.table.seat(0) + Seat.HTTP2_FAULTS] = 5
    house.sit(2, Seat.PROXY, DRAINING=1, ACCESS_LINES_LOST=3, PROGRAM_LINES_LOST=2, LINE_LOST_AT=int((NOW - 9) * 1e9))
    return house


def test_orders_of_certificates_have_a_series_each_and_none_before_they_are_known():
    house = House()
    for orders, expected in (
        ((), {}),
        (
            (("obtained", 3), ("failed", 0)),
            {
                "terraster_acme_orders_total{result=obtained}": 3,
                "terraster_acme_orders_total{result=failed}": 0,
            },
        ),
    ):
        known: tuple[tuple[str, int], ...] = orders
        collector = TableCollector(house.table, lambda: house.snapshot, 1, lambda: None, (), lambda known=known: known)
        found = samples(b"".join(exposition(make_registry(collector))).decode())
        assert {name: value for name, value in found.items() if "acme_orders" in name} == expected


def test_the_numbers():
    found = samples(scrape(busy_house()))
    shop = "location=/,service=shop"
    backend, other = f"backend=http://10.0.0.1:80,{shop}", f"backend=http://10.0.0.2:80,{shop}"
    expected = {
        f"terraster_requests_total{{code=200,{shop}}}": 4,
        f"terraster_requests_total{{code=2xx,{shop}}}": 1,
        "terraster_requests_total{code=404,location=/,service=blog}": 1,
        f"terraster_grpc_responses_total{{{shop},status=OK}}": 9,
        f"terraster_grpc_responses_total{{{shop},status=UNAVAILABLE}}": 2,
        f"terraster_grpc_responses_total{{{shop},status=UNKNOWN}}": None,
        f"terraster_bytes_total{{direction=out,{shop}}}": 400,
        f"terraster_bytes_total{{direction=in,{shop}}}": 0,
        f"terraster_request_duration_seconds_count{{{shop}}}": 5,
        f"terraster_backend_up{{{backend}}}": 1,
        "terraster_backend_up{backend=http://10.0.0.2:80,location=/,service=shop}": 0,
        f"terraster_backend_state_change_timestamp_seconds{{{backend}}}": NOW,
        f"terraster_backend_weight{{{backend}}}": 3,
        f"terraster_backend_active_requests{{{backend}}}": 2,
        f"terraster_backend_idle_connections{{{backend}}}": 1,
        f"terraster_backend_requests_total{{{backend}}}": 10,
        f"terraster_backend_failures_total{{{backend}}}": 1,
        f"terraster_backend_connections_opened_total{{{backend}}}": 5,
        f"terraster_backend_response_seconds_sum{{{backend}}}": 0.04,
        f"terraster_backend_response_seconds_count{{{backend}}}": 4,
        f"terraster_backend_open_connections{{{backend}}}": 3,
        f"terraster_backend_connect_errors_total{{{backend}}}": 4,
        f"terraster_backend_bad_statuses_total{{{backend}}}": 5,
        f"terraster_backend_retries_total{{{backend}}}": 6,
        f"terraster_backend_responses_total{{{backend.replace(',', ',code=5xx,', 1)}}}": 42,
        f"terraster_backend_responses_total{{{backend.replace(',', ',code=2xx,', 1)}}}": 3,
        f"terraster_backend_responses_total{{{backend.replace(',', ',code=4xx,', 1)}}}": 0,
        f"terraster_backend_responses_total{{{backend.replace(',', ',code=none,', 1)}}}": 1,
        f"terraster_backend_responses_total{{{backend.replace(',', ',code=1xx,', 1)}}}": None,
        f"terraster_backend_responses_total{{{other.replace(',', ',code=2xx,', 1)}}}": None,
        f"terraster_backend_state{{{backend},state=up}}": 1,
        f"terraster_backend_state{{{backend},state=ejected}}": 0,
        f"terraster_backend_state{{{other},state=ejected}}": 1,
        f"terraster_backend_state{{{other},state=down}}": 0,
        f"terraster_backend_circuit_state{{{other}}}": 2,
        f"terraster_backend_ejections_total{{{other}}}": 7,
        f"terraster_backend_circuit_openings_total{{{other}}}": 8,
        f"terraster_location_queue_depth{{{shop}}}": 3,
        f"terraster_location_queue_refused_total{{{shop}}}": 3,
        f"terraster_location_queue_timeouts_total{{{shop}}}": 4,
        f"terraster_location_retries_total{{{shop}}}": 5,
        f"terraster_location_hedges_total{{{shop}}}": 6,
        f"terraster_location_retry_budget_refusals_total{{{shop}}}": 7,
        f"terraster_location_panic{{{shop}}}": 0,
        "terraster_location_panic{location=/,service=blog}": 1,
        "terraster_log_lines_lost_total{log=access}": 63,
        "terraster_log_lines_lost_total{log=program}": 2,
        f"terraster_backend_probes_total{{{backend}}}": 9,
        f"terraster_backend_probe_failures_total{{{backend}}}": 2,
        "terraster_connections{worker=1}": 7,
        "terraster_connections_accepted_total{worker=1}": 70,
        "terraster_http2_connections_total{}": 13,
        "terraster_http2_faults_total{kind=resets}": 5,
        "terraster_http2_faults_total{kind=protocol}": 0,
        "terraster_worker_config_generation{process=admin}": 4,
        "terraster_workers{}": 1,
        "terraster_workers_configured{}": 2,
        "terraster_config_generation{}": 4,
        "terraster_config_last_reload_successful{}": 1,
        "terraster_config_last_reload_timestamp_seconds{}": NOW,
        "terraster_reloads_total{result=success}": 3,
        "terraster_reloads_total{result=failure}": 0,
        "terraster_start_time_seconds{}": NOW - 60,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert found["terraster_process_resident_memory_bytes{process=proxy-1}"] > 1 << 20
    assert "terraster_process_start_time_seconds{process=master}" in found and "process_open_fds{}" in found


def test_the_end_of_a_certificate_has_the_configured_name_and_goes_with_it():
    house = busy_house()
    series = "terraster_certificate_expiry_timestamp_seconds{{name={}}}"
    for ends in (NOW + 5, NOW + 9):
        house.snapshot = replace(house.snapshot, services=(tls_service("shop", certificate(f"/{ends}.pem", ends=ends)),))
        assert samples(scrape(house))[series.format("shop")] == ends
    both = certificate("/a.pem", ends=NOW + 1), certificate("/b.pem", ends=NOW + 2, kind="RSA")
    house.snapshot = replace(house.snapshot, services=(tls_service("shop", *both),))
    found = {name: value for name, value in samples(scrape(house)).items() if "certificate" in name}
    assert found == {series.format("shop ECDSA"): NOW + 1, series.format("shop RSA"): NOW + 2}
    house.snapshot = replace(house.snapshot, services=())
    assert not [name for name in samples(scrape(house)) if "certificate" in name]


def test_the_histogram_is_cumulative():
    found = samples(scrape(busy_house()))
    buckets = [
        found[f"terraster_request_duration_seconds_bucket{{le={bound},location=/,service=shop}}"]
        for bound in (*map(str, BUCKETS), "+Inf")
    ]
    assert buckets == sorted(buckets)
    expected = [
        sum(count for seconds, count in ((0.004, 3), (0.3, 1), (100.0, 1)) if seconds <= bound)
        for bound in (*BUCKETS, float("inf"))
    ]
    assert buckets == expected
    assert found["terraster_request_duration_seconds_sum{location=/,service=shop}"] == pytest.approx(3 * 0.004 + 0.3 + 100)


def test_times_of_a_backend_and_of_a_queue_are_histograms_over_all_workers():
    house = busy_house()
    q, table = house.q, house.table
    view = SeatView(table)
    for seat, seconds in ((1, 0.0001), (2, 0.0007), (2, 9.0), (0, 0.0007)):  # seat 0 has what dead workers counted
        view.sit(seat)
        connected(view, 0, seconds)
        waited(view, 0, seconds)
    at = table.seat_backend(2, 0) + SeatBackend.BUCKET
    q[at + bucket_of(0.002)], q[at + bucket_of(31.0)] = 5, 1
    found = samples(scrape(house))
    shop = "location=/,service=shop"
    backend = f"backend=http://10.0.0.1:80,{shop}"
    waits = [sum(seconds <= bound for seconds in (0.0001, 0.0007, 9.0, 0.0007)) for bound in (*WAITS, math.inf)]
    for name, labels in (("terraster_backend_connect_seconds", backend), ("terraster_location_queue_seconds", shop)):
        where, end = (labels.replace(f",{shop}", ",le={},", 1) + shop if labels == backend else "le={}," + shop), (*WAITS, "+Inf")
        assert [found[f"{name}_bucket{{{where.format(bound)}}}"] for bound in end] == waits, name
        assert found[f"{name}_count{{{labels}}}"] == 4 and found[f"{name}_sum{{{labels}}}"] == pytest.approx(9.0015)
    name = "terraster_backend_response_seconds"
    le = f"backend=http://10.0.0.1:80,le={{}},{shop}"
    bounds = (0.0005, 0.001, 0.0025, 30.0, "+Inf")
    assert [found[f"{name}_bucket{{{le.format(bound)}}}"] for bound in bounds] == [4, 4, 9, 9, 10]
    assert found[f"{name}_count{{{backend}}}"] == 10
    unused = [key for key in found if "10.0.0.2" in key or "service=blog" in key]
    assert unused and not [key for key in unused if any(word in key for word in ("response_sec", "connect_sec", "queue_sec"))]


def test_what_nobody_asked_for_has_no_series():
    found = samples(scrape(busy_house()))
    assert not [name for name in found if "location=/old" in name and "requests_total" in name]
    assert not any(value == 0 for name, value in found.items() if name.startswith("terraster_requests_total"))


def test_a_name_with_several_addresses_is_one_series():
    house = House({"shop": {"/": ["http://names.test:80", "http://names.test:80"]}})
    house.used(1, 0, REQUESTS=3, LATENCY=2_000_000_000, BUCKET=2)
    house.used(1, 1, REQUESTS=4, BUCKET=5, CONNECT_BUCKET=1)
    house.known(0, STATE=0, SINCE=int(NOW * 1e9), WEIGHT=1)
    house.known(1, STATE=1, SINCE=int((NOW - 9) * 1e9), WEIGHT=1, CIRCUIT=1)
    found = samples(scrape(house))  # which sees to it that nothing is there twice
    place = "backend=http://names.test:80,location=/,service=shop"
    names = ("requests_total", "up", "weight", "circuit_state", "state_change_timestamp_seconds", "response_seconds_sum")
    assert [found[f"terraster_backend_{name}{{{place}}}"] for name in names] == [7, 1, 2, 1, NOW, 2]
    assert [found[f"terraster_backend_{name}_seconds_count{{{place}}}"] for name in ("response", "connect")] == [7, 1]
    assert (
        found[f"terraster_backend_state{{{place},state=up}}"] == 1 and found[f"terraster_backend_state{{{place},state=down}}"] == 0
    )


def test_labels_are_escaped():
    house = House({'a "quoted"\\name\n': {"/": ["http://10.0.0.1:80"]}})
    assert [name for name in samples(scrape(house)) if 'service=a "quoted"\\name\n' in name]


def test_every_metric_is_there_with_help_and_type():
    families = {family.name: family for family in text_string_to_metric_families(scrape(busy_house()))}
    for one in METRICS:
        family = families[one.name.removesuffix("_total") if one.type == "counter" else one.name]
        assert (family.type, family.documentation) == (one.type, one.help)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(one.labels), sample


def test_the_manual_lists_every_metric_and_no_other():
    text = MANUAL.read_text()
    listed = {
        match[1]: (match[2], match[3]) for match in re.finditer(r"^\| `(terraster_\w+)` \| (\w+) \| ([^|]*) \|", text, re.MULTILINE)
    }
    of_filters = map(of_filter, counted(KINDS))
    assert listed == {
        one.name: (one.type, ", ".join(f"`{label}`" for label in one.labels)) for one in (*METRICS, *SLO_METRICS, *of_filters)
    }


def test_what_filters_count_is_read_out():
    house = House()
    (redirects,) = (one for one in counted(KINDS) if one.kind == "redirect")
    for seat in (1, 2):
        house.sit(seat, Seat.PROXY)
        house.table.q[house.table.seat_location(seat, 0) + redirects.cell] += seat
    registry = make_registry(TableCollector(house.table, lambda: house.snapshot, 1, lambda: None, counted(KINDS)))
    text = b"".join(exposition(registry)).decode()
    found = {key: value for key, value in samples(text).items() if key.startswith(redirects.metric)}
    first = house.snapshot.services[0]
    assert found == {f"terraster_redirect_answers_total{{location={first.locations[0].path},service={first.name}}}": 3}
    assert f"# HELP {redirects.metric} {redirects.counter.help}" in text


@pytest.mark.needs("promtool")
def test_promtool_has_nothing_to_say():
    """Neither of what is there at once, nor of all that can be counted."""
    promtool = find("promtool")
    assert promtool
    house = busy_house()
    q, table = house.q, house.table
    for seat in (1, 2):
        at = table.seat(seat)
        for cell in (*Seat.COUNTERS, *range(Seat.LAG_TIME, Seat.LAG_LONGEST + 1)):
            q[at + cell] += 7
        at = table.seat_location(seat, 0)
        for cell in range(SeatLocation.CELLS):
            q[at + cell] += 7
        at = table.seat_backend(seat, 0)
        for cell in range(SeatBackend.CELLS):
            q[at + cell] += 7
    collector = TableCollector(table, lambda: house.snapshot, 1, lambda: None, counted(KINDS), lambda: (("obtained", 3),))
    for text in (scrape(busy_house()), b"".join(exposition(make_registry(collector))).decode()):
        result = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=30)
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    found = samples(text)
    silent = [one.metric for one in counted(KINDS) if not any(name.startswith(one.metric + "{") for name in found)]
    assert not silent and found["terraster_event_loop_lag_seconds_count{worker=2}"] == 7 * (len(WAITS) + 1)


SERVER = """
import sys
sys.path[:0] = {path!r}
import gevent
from gevent import socket
from terraster.admin.exposition import CONTENT_TYPE, exposition, make_registry
from terraster.admin.metrics import TableCollector
from terraster.admin.server import Server
from terraster.admin.site import Response, Site
from tests.test_admin_metrics import busy_house
house = busy_house()
registry = make_registry(TableCollector(house.table, lambda: house.snapshot, 1, lambda: gevent.sleep(0)))
listener = socket.socket()
listener.bind(("127.0.0.1", {port}))
listener.listen()
Server(listener, Site({{"/metrics": {{"GET": lambda query: Response(exposition(registry), CONTENT_TYPE)}}}}, None),
None).serve_forever()
"""


@pytest.mark.needs("prometheus")
def test_a_real_prometheus_scrapes_it(tmp_path):
    import sys

    prometheus = find("prometheus")
    assert prometheus
    port, own = free_port(), free_port()
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        f"scrape_configs: [{{job_name: terraster, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"
    )

    def ask(query: str) -> list[dict]:
        with urllib.request.urlopen(f"http://127.0.0.1:{own}/api/v1/query?query={query}", timeout=5) as answer:
            return json.load(answer)["data"]["result"]

    def scraped() -> bool:
        try:
            return [one["value"][1] for one in ask("up")] == ["1"]
        except OSError:
            return False

    root = str(Path(__file__).parent.parent)
    command = [sys.executable, "-c", SERVER.format(path=[root, *sys.path], port=port)]
    storage = [f"--storage.tsdb.path={tmp_path / 'data'}", f"--web.listen-address=127.0.0.1:{own}", f"--config.file={config}"]
    with Program(command, tmp_path / "server"), Program([prometheus, *storage], tmp_path / "prometheus") as program:
        program.wait_ready(scraped, 90)
        assert [one["value"][1] for one in ask("sum(terraster_requests_total)")] == ["6"]
        quantile = ask("histogram_quantile(0.5,terraster_request_duration_seconds_bucket{service=%22shop%22})")
        assert 0.0025 < float(quantile[0]["value"][1]) <= 0.005
        assert {one["metric"]["backend"] for one in ask("terraster_backend_up==0")} == {"http://10.0.0.2:80", "http://10.0.0.3:80"}


def test_header_cells_that_are_shown_exist():
    house = House()
    house.q[house.table.master + MasterCells.WORKER_RESTARTS] = 5
    assert samples(scrape(house))["terraster_worker_restarts_total{}"] == 5
