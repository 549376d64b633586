"""Prometheus metrics, read from the shared table at each scrape. Nothing is counted here.

`METRICS` has the name, type, help and labels of every metric. docs/metrics.md lists the same, and a test compares them. A label value
comes from the configuration (a name, a path, a URL) or is one of a few fixed words. It never comes from a client.

Metrics with samples for each location or backend are written by `terraster.admin.scrape`, all others by prometheus_client. Metrics go to the
socket one after the other, so the million lines of 10,000 services are never in memory at once. After each batch of samples comes a pause, in
which the admin worker may answer other requests. docs/metrics.md has the cost.

The module is longer than 400 lines because the list of metrics is long, and each is best read beside what reads it.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import itemgetter
from typing import Any, TypeVar

from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from .. import __version__
from ..certs.naming import named
from ..config.snapshot import Snapshot
from ..filters.contract import Counted
from ..state.cells import WAITS, MasterCells
from ..state.table import Table
from . import authorities, handshakes, plugins, processes, readings, seat_readings, staples
from .scrape import Scrape
from .series import Series

Row = TypeVar("Row")

__all__ = ["METRICS", "Description", "TableCollector", "Written", "of_filter"]

SAMPLES_PER_TURN = 500

_LOCATION = ("service", "location")
_BACKEND = ("service", "location", "backend")


@dataclass(frozen=True, slots=True)
class Description:
    """A metric: its full name as in Prometheus, its type, its help text and its labels."""

    name: str
    type: str
    help: str
    labels: tuple[str, ...] = ()


METRICS: tuple[Description, ...] = (
    Description("terraster_requests_total", "counter", "Requests answered, by status code.", (*_LOCATION, "code")),
    Description("terraster_grpc_responses_total", "counter", "Calls of gRPC, by their outcome.", (*_LOCATION, "status")),
    Description(
        "terraster_request_duration_seconds", "histogram", "Time from a request's head to the end of its answer.", _LOCATION
    ),
    Description(
        "terraster_bytes_total", "counter", "Octets read from clients (in) and written to them (out).", (*_LOCATION, "direction")
    ),
    Description("terraster_backend_up", "gauge", "1 if the backend's state is up, 0 otherwise.", _BACKEND),
    Description(
        "terraster_backend_state", "gauge", "1 for the backend's current state, 0 for every other state.", (*_BACKEND, "state")
    ),
    Description(
        "terraster_backend_state_change_timestamp_seconds", "gauge", "Time when the backend's state last changed.", _BACKEND
    ),
    Description(
        "terraster_backend_info", "gauge", "Always 1; the backend's configured name is in the label name.", (*_BACKEND, "name")
    ),
    Description("terraster_backend_weight", "gauge", "Weight of the backend; with 0 it gets no new requests.", _BACKEND),
    Description("terraster_backend_active_requests", "gauge", "Requests in flight at the backend.", _BACKEND),
    Description("terraster_backend_idle_connections", "gauge", "Open connections to the backend that are idle.", _BACKEND),
    Description("terraster_backend_open_connections", "gauge", "Open connections to the backend, busy or idle.", _BACKEND),
    Description("terraster_backend_requests_total", "counter", "Attempts begun at the backend, retries included.", _BACKEND),
    Description("terraster_backend_failures_total", "counter", "Attempts that failed through the backend's fault.", _BACKEND),
    Description("terraster_backend_connect_errors_total", "counter", "Failed attempts that made no connection.", _BACKEND),
    Description("terraster_backend_bad_statuses_total", "counter", "Responses with a status that counts as bad.", _BACKEND),
    Description(
        "terraster_backend_responses_total", "counter", "Responses of the backend by class, none included.", (*_BACKEND, "code")
    ),
    Description("terraster_backend_retries_total", "counter", "Second and later attempts, hedges included.", _BACKEND),
    Description("terraster_backend_ejections_total", "counter", "Ejections of the backend.", _BACKEND),
    Description("terraster_backend_circuit_state", "gauge", "0: closed, 1: open, 2: half-open.", _BACKEND),
    Description("terraster_backend_circuit_openings_total", "counter", "Times that the backend's circuit opened.", _BACKEND),
    Description(
        "terraster_backend_connections_opened_total",
        "counter",
        "Connections opened to the backend, or tried to.",
        _BACKEND,
    ),
    Description("terraster_backend_response_seconds", "histogram", "Time from the request sent to the response head.", _BACKEND),
    Description("terraster_backend_connect_seconds", "histogram", "Time in which a connection was made.", _BACKEND),
    Description("terraster_backend_probes_total", "counter", "Health checks made.", _BACKEND),
    Description("terraster_backend_probe_failures_total", "counter", "Health checks that failed.", _BACKEND),
    Description("terraster_location_panic", "gauge", "1 if too few backends are healthy, so that all are used.", _LOCATION),
    Description("terraster_location_queue_depth", "gauge", "Requests that wait for a backend with room.", _LOCATION),
    Description(
        "terraster_location_queue_seconds", "histogram", "Time that requests waited for a backend or a connection.", _LOCATION
    ),
    Description("terraster_location_queue_refused_total", "counter", "Requests refused because the queue was full.", _LOCATION),
    Description(
        "terraster_location_queue_timeouts_total",
        "counter",
        "Requests that waited in the queue and got no backend in time.",
        _LOCATION,
    ),
    Description("terraster_location_retries_total", "counter", "Second and later attempts, hedges included.", _LOCATION),
    Description(
        "terraster_location_hedges_total", "counter", "Attempts begun while an earlier one was still unanswered.", _LOCATION
    ),
    Description(
        "terraster_location_retry_budget_refusals_total", "counter", "Retries and hedges that the budget did not allow.", _LOCATION
    ),
    Description(
        "terraster_location_slow_clients_total",
        "counter",
        "Requests ended because their client was slower than `min_rate`.",
        _LOCATION,
    ),
    Description("terraster_certificate_expiry_timestamp_seconds", "gauge", "Time when a certificate in use ends.", ("name",)),
    Description("terraster_ocsp_response_expiry_timestamp_seconds", "gauge", "Time when an OCSP response ends.", ("name",)),
    Description("terraster_crl_expiry_timestamp_seconds", "gauge", "Time when a CRL for clients ends.", ("name",)),
    Description("terraster_acme_orders_total", "counter", "Orders of certificates by ACME, by outcome.", ("result",)),
    Description("terraster_connections", "gauge", "Open client connections.", ("worker",)),
    Description("terraster_connections_accepted_total", "counter", "Client connections accepted by a worker.", ("worker",)),
    Description("terraster_worker_config_generation", "gauge", "Generation of the configuration a process runs.", ("process",)),
    Description("terraster_worker_full_seconds", "gauge", "Time since a full worker makes clients wait.", ("worker",)),
    Description(
        "terraster_event_loop_lag_seconds", "histogram", "Time by which a timer of a worker's event loop was late.", ("worker",)
    ),
    Description("terraster_event_loop_lag_max_seconds", "gauge", "The longest of these times within a minute.", ("worker",)),
    Description("terraster_accept_errors_total", "counter", "Client connections that could not be accepted."),
    Description("terraster_idle_clients_ended_total", "counter", "Idle client connections ended for want of descriptors."),
    Description(
        "terraster_tls_handshakes_total",
        "counter",
        "TLS handshakes with clients, by outcome.",
        ("listener", "version", "resumed", "alpn", "result"),
    ),
    Description("terraster_http2_connections_total", "counter", "Client connections that spoke HTTP/2."),
    Description("terraster_http2_faults_total", "counter", "HTTP/2 connections ended for a fault of the client.", ("kind",)),
    Description("terraster_plugin_calls_total", "counter", "Calls of hooks of a plugin.", ("plugin",)),
    Description("terraster_plugin_seconds_total", "counter", "Time in hooks of a plugin.", ("plugin",)),
    Description("terraster_plugin_answers_total", "counter", "Requests and responses that a plugin answered itself.", ("plugin",)),
    Description("terraster_plugin_faults_total", "counter", "Hooks that raised or took too long, by kind.", ("plugin", "kind")),
    Description("terraster_plugin_skipped_total", "counter", "Calls not made, as the plugin is in quarantine.", ("plugin",)),
    Description("terraster_plugin_quarantines_total", "counter", "How often a plugin was put into quarantine.", ("plugin",)),
    Description("terraster_plugin_quarantined", "gauge", "Workers in which a plugin is in quarantine.", ("plugin",)),
    Description("terraster_plugin_deaths_total", "counter", "Workers that died in a plugin.", ("plugin",)),
    Description("terraster_plugin_counter_total", "counter", "Counters that plugins keep themselves.", ("plugin", "counter")),
    Description("terraster_worker_silent_seconds", "gauge", "Time since a process last gave a sign of life.", ("process",)),
    Description("terraster_upgrade_in_progress", "gauge", "1 while two masters run, after USR2; else 0."),
    Description(
        "terraster_workers", "gauge", "Proxy workers that respond and accept connections, of both masters during an upgrade."
    ),
    Description("terraster_workers_configured", "gauge", "Configured number of proxy workers."),
    Description("terraster_worker_restarts_total", "counter", "Workers replaced because they died."),
    Description("terraster_config_generation", "gauge", "Newest applied generation of the configuration."),
    Description("terraster_config_last_reload_successful", "gauge", "1 if the last reload was applied, 0 if it was refused."),
    Description("terraster_config_last_reload_timestamp_seconds", "gauge", "Time when a configuration was last applied."),
    Description("terraster_reloads_total", "counter", "Reloads, by outcome.", ("result",)),
    Description("terraster_start_time_seconds", "gauge", "Time when Terraster was started."),
    Description("terraster_log_lines_lost_total", "counter", "Log lines lost to a full disk or a slow reader.", ("log",)),
    Description("terraster_trace_spans_exported_total", "counter", "Spans that the receiver of `tracing` took."),
    Description("terraster_trace_spans_dropped_total", "counter", "Spans that no receiver got, because it was away or too slow."),
    Description("terraster_trace_exporters_ended_total", "counter", "Processes that export spans, and ended by themselves."),
    Description("terraster_process_cpu_seconds_total", "counter", "User and system CPU time of a process.", ("process",)),
    Description("terraster_process_resident_memory_bytes", "gauge", "Resident memory of a process.", ("process",)),
    Description("terraster_process_open_fds", "gauge", "Open file descriptors of a process.", ("process",)),
    Description("terraster_process_max_fds", "gauge", "Limit of open file descriptors of a process.", ("process",)),
    Description("terraster_process_start_time_seconds", "gauge", "Time when a process was started.", ("process",)),
    Description("terraster_build_info", "gauge", "Always 1; the versions are in the labels.", ("version", "python")),
)

_OF_LOSSES: dict[str, Callable[[seat_readings.Losses], int]] = {
    "terraster_accept_errors_total": lambda one: one.accept_errors,
    "terraster_idle_clients_ended_total": lambda one: one.clients_closed,
}

_OF_SEAT: dict[str, Callable[[seat_readings.SeatReading], float]] = {
    "terraster_connections": lambda one: one.connections,
    "terraster_connections_accepted_total": lambda one: one.accepted,
    "terraster_worker_full_seconds": lambda one: one.full,
    "terraster_event_loop_lag_max_seconds": lambda one: one.lag,
}

_OF_PROCESS: dict[str, Callable[[processes.ProcessReading], float]] = {
    "terraster_process_cpu_seconds_total": lambda one: one.cpu,
    "terraster_process_resident_memory_bytes": lambda one: one.resident,
    "terraster_process_open_fds": lambda one: one.descriptors,
    "terraster_process_max_fds": lambda one: one.limit,
    "terraster_process_start_time_seconds": lambda one: one.started,
}

_OF_HEADER: dict[str, Callable[[list[int]], float]] = {
    "terraster_workers_configured": lambda cells: cells[MasterCells.WORKERS],
    "terraster_worker_restarts_total": lambda cells: cells[MasterCells.WORKER_RESTARTS],
    "terraster_config_generation": lambda cells: cells[MasterCells.GENERATION],
    "terraster_config_last_reload_successful": lambda cells: cells[MasterCells.LAST_RELOAD_OK],
    "terraster_config_last_reload_timestamp_seconds": lambda cells: cells[MasterCells.LAST_RELOAD_TIME] / 1e9,
    "terraster_start_time_seconds": lambda cells: cells[MasterCells.STARTED] / 1e9,
}


_OF_PLUGINS = {
    "terraster_plugin_calls_total": "calls",
    "terraster_plugin_seconds_total": "seconds",
    "terraster_plugin_answers_total": "answers",
    "terraster_plugin_skipped_total": "skipped",
    "terraster_plugin_quarantines_total": "quarantines",
    "terraster_plugin_quarantined": "quarantined_workers",
    "terraster_plugin_deaths_total": "deaths",
}
"""Metrics of plugins by their keys in `terraster.admin.plugins.rows`."""


def of_filter(one: Counted) -> Description:
    """The metric of what a filter counts."""
    return Description(one.metric, "counter", one.counter.help, _LOCATION)


class _Paused:
    """Samples with a pause after every few hundred. Can be iterated once."""

    __slots__ = ("_samples", "_pause")

    def __init__(self, samples: Iterator[Sample], pause: Callable[[], object]) -> None:
        self._samples = samples
        self._pause = pause

    def __iter__(self) -> Iterator[Sample]:
        for count, sample in enumerate(self._samples, 1):
            yield sample
            if count % SAMPLES_PER_TURN == 0:
                self._pause()


class Written(Metric):
    """A metric whose samples are text already. pieces: can be iterated once"""

    def __init__(self, metric: Metric, pieces: Iterator[bytes]) -> None:
        super().__init__(metric.name, metric.documentation, metric.type)
        self.pieces = pieces


class TableCollector(Collector):
    """The collector that prometheus_client calls at each scrape.

    table:    the shared table
    snapshot: returns the running configuration, with slots
    master:   pid of the master
    pause:    called after every few hundred samples
    counted:  what filters count
    orders:   returns the orders of certificates by outcome
    """

    def __init__(
        self,
        table: Table,
        snapshot: Callable[[], Snapshot],
        master: int,
        pause: Callable[[], object],
        counted: Sequence[Counted] = (),
        orders: Callable[[], Iterable[tuple[str, int]]] = tuple,
    ) -> None:
        self._table = table
        self._snapshot = snapshot
        self._master = master
        self._pause = pause
        self._counted = counted
        self._orders = orders
        self._series: Series | None = None
        self._metrics = (*METRICS, *(of_filter(one) for one in counted))

    def describe(self) -> Iterable[Metric]:
        """All metrics without samples. `CollectorRegistry.register` checks them for duplicates; the table is not read."""
        return [Metric(one.name.removesuffix("_total"), one.help, one.type) for one in self._metrics]

    def collect(self) -> Iterator[Metric]:
        """Every metric of `METRICS`, in the same order, then those of filters."""
        snapshot = self._snapshot()
        if self._series is None or self._series.snapshot is not snapshot:
            self._series = None  # so that two are never in memory
            self._series = Series(self._table, snapshot, self._pause)
        written = Scrape(self._series, self._counted, self._pause).families()
        samples = dict(self._processes(seat_readings.seats(self._table)))
        samples.update(self._certificates(snapshot))
        name = "terraster_acme_orders_total"
        samples[name] = (Sample(name, {"result": result}, count) for result, count in self._orders())
        samples.update(self._lost(seat_readings.lost_lines(self._table)))
        samples.update(self._spans(seat_readings.spans(self._table)))
        samples.update(self._whole(readings.header(self._table)))
        samples.update(self._handshakes(handshakes.read(self._table, snapshot)))
        samples.update(self._plugins(plugins.rows(self._table, snapshot)))
        for one in self._metrics:
            metric = Metric(one.name.removesuffix("_total") if one.type == "counter" else one.name, one.help, one.type)
            if one.name in written:
                yield Written(metric, written.pop(one.name))
            else:
                metric.samples = _Paused(samples.pop(one.name), self._pause)  # type: ignore[assignment]  # written once, never kept
                yield metric

    def _processes(self, rows: list[seat_readings.SeatReading]) -> Iterator[tuple[str, Iterator[Sample]]]:
        proxies = [row for row in rows if row.role == "proxy"]
        for name, value in _OF_SEAT.items():
            yield name, _one_each(name, [({"worker": str(row.seat)}, row) for row in proxies], value)
        name = "terraster_event_loop_lag_seconds"
        yield name, _lags(name, proxies)
        name = "terraster_worker_config_generation"
        yield name, _one_each(name, [({"process": row.process}, row) for row in rows], lambda row: row.generation)
        lost = seat_readings.losses(self._table)
        for name, number in _OF_LOSSES.items():
            yield name, iter([Sample(name, {}, number(lost))])
        connections, faults = seat_readings.http2(self._table)
        yield "terraster_http2_connections_total", iter([Sample("terraster_http2_connections_total", {}, connections)])
        name = "terraster_http2_faults_total"
        yield name, _one_each(name, [({"kind": kind}, count) for kind, count in faults.items()], float)
        name = "terraster_worker_silent_seconds"
        yield name, _one_each(name, [({"process": row.process}, row) for row in rows], lambda row: row.heartbeat)
        name = "terraster_upgrade_in_progress"
        yield name, iter([Sample(name, {}, seat_readings.other_masters(self._table) > 0)])
        yield "terraster_workers", iter([Sample("terraster_workers", {}, sum(row.serves for row in proxies))])
        pids = [("master", self._master), *((row.process, row.pid) for row in rows)]
        read = [({"process": label}, reading) for label, pid in pids if (reading := processes.process(pid)) is not None]
        for name, measure in _OF_PROCESS.items():
            yield name, _one_each(name, read, measure)

    @staticmethod
    def _certificates(snapshot: Snapshot) -> Iterator[tuple[str, Iterator[Sample]]]:
        name = "terraster_certificate_expiry_timestamp_seconds"
        yield name, (Sample(name, {"name": called}, certificate.not_after) for called, _, certificate in named(snapshot))
        responses = [({"name": called}, end) for called, end in staples.ends(snapshot)]
        yield (
            "terraster_ocsp_response_expiry_timestamp_seconds",
            _one_each("terraster_ocsp_response_expiry_timestamp_seconds", responses, float),
        )
        ends = [({"name": row["service"]}, row["expires"]) for row in authorities.rows(snapshot) if row["expires"]]
        yield "terraster_crl_expiry_timestamp_seconds", _one_each("terraster_crl_expiry_timestamp_seconds", ends, float)

    @staticmethod
    def _plugins(rows: list[dict[str, Any]]) -> Iterator[tuple[str, Iterator[Sample]]]:
        for name, key in _OF_PLUGINS.items():
            yield name, _one_each(name, [({"plugin": row["name"]}, row) for row in rows], itemgetter(key))
        name = "terraster_plugin_faults_total"
        kinds = (("exception", "exceptions"), ("timeout", "timeouts"))
        yield name, (Sample(name, {"plugin": row["name"], "kind": kind}, row[key]) for row in rows for kind, key in kinds)
        own = "terraster_plugin_counter_total"
        counters = [(row["name"], counter, count) for row in rows for counter, count in row["counters"].items()]
        yield own, (Sample(own, {"plugin": plugin, "counter": counter}, count) for plugin, counter, count in counters)

    @staticmethod
    def _handshakes(rows: Iterable[handshakes.HandshakeReading]) -> Iterator[tuple[str, Iterator[Sample]]]:
        name = "terraster_tls_handshakes_total"
        yield name, (Sample(name, one.labels, one.count) for one in rows)

    @staticmethod
    def _lost(lost: seat_readings.LostLines) -> Iterator[tuple[str, Iterator[Sample]]]:
        name = "terraster_log_lines_lost_total"
        yield name, (Sample(name, {"log": log}, lines) for log, lines in (("access", lost.access), ("program", lost.program)))

    @staticmethod
    def _spans(counts: tuple[int, int, int]) -> Iterator[tuple[str, Iterator[Sample]]]:
        for what, count in zip(("spans_exported", "spans_dropped", "exporters_ended"), counts, strict=True):
            name = f"terraster_trace_{what}_total"
            yield name, iter([Sample(name, {}, count)])

    @staticmethod
    def _whole(cells: list[int]) -> Iterator[tuple[str, Iterator[Sample]]]:
        for name, value in _OF_HEADER.items():
            yield name, iter([Sample(name, {}, value(cells))])
        name = "terraster_reloads_total"
        outcomes = (("success", cells[MasterCells.RELOADS]), ("failure", cells[MasterCells.RELOAD_FAILURES]))
        yield name, (Sample(name, {"result": result}, count) for result, count in outcomes)
        labels = {"version": __version__, "python": platform.python_version()}
        yield "terraster_build_info", iter([Sample("terraster_build_info", labels, 1)])


def _one_each(name: str, rows: Iterable[tuple[dict[str, str], Row]], value: Callable[[Row], float]) -> Iterator[Sample]:
    return (Sample(name, labels, value(row)) for labels, row in rows)


def _lags(name: str, rows: Iterable[seat_readings.SeatReading]) -> Iterator[Sample]:
    for row in rows:
        labels = {"worker": str(row.seat)}
        counts = list(accumulate(row.lag_buckets))
        for bound, count in zip((*map(repr, WAITS), "+Inf"), counts, strict=True):
            yield Sample(f"{name}_bucket", {**labels, "le": bound}, count)
        yield Sample(f"{name}_count", labels, counts[-1])
        yield Sample(f"{name}_sum", labels, row.lag_sum)
