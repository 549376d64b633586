"""What changed between two snapshots, and that it leads from the one to the other."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from terraster.config.diff import diff, patch
from terraster.config.language import language
from terraster.config.loader import load
from terraster.config.match import Match
from terraster.config.resolve import resolve
from terraster.config.settings.base import Duration, Size, keys_of
from terraster.config.settings.kinds import FilterSettings
from terraster.config.slo import Slo
from terraster.config.snapshot import (
    BACKUP,
    Backend,
    Breaker,
    ConnectionPool,
    HealthCheck,
    Listener,
    Location,
    Outlier,
    Plugin,
    Retry,
    Service,
    Snapshot,
    Sticky,
    Timeouts,
    backend_id,
    location_id,
)
from terraster.filters.headers import HeaderSettings
from terraster.filters.registry import KINDS
from terraster.filters.respond import RespondSettings


def backend(host: str, **more: object) -> Backend:
    url = f"http://{host}"
    return Backend(id=backend_id("s", "/", url), url=url, scheme="http", host=host, port=80, **more)  # type: ignore[arg-type]


def service(name: str, *backends: Backend, path: str = "/", **more: object) -> Service:
    location = Location(id=location_id(name, path), path=path, backends=backends)
    return Service(name=name, hosts=(name,), listeners=(":80",), locations=(location,), **more)  # type: ignore[arg-type]


def snapshot(generation: int, *services: Service, **more: object) -> Snapshot:
    return Snapshot(generation, more.pop("listeners", (Listener(":80"),)), services, **more)  # type: ignore[arg-type]


OLD = snapshot(1, service("a", backend("h1"), backend("h2")), service("b", backend("h1")), workers=2)

CASES = [
    (OLD, []),
    (snapshot(2, *OLD.services, service("c"), workers=2), ["+ service c"]),
    (snapshot(2, OLD.services[0], workers=2), ["- service b"]),
    (
        snapshot(2, service("a", backend("h1", weight=3), backend("h3")), OLD.services[1], workers=2),
        [
            "~ service a: - backend http://h2",
            "~ service a: + backend http://h3",
            "~ service a: ~ backend http://h1: weight 1 → 3",
        ],
    ),
    (
        snapshot(
            2,
            OLD.services[0],
            service("b", backend("h1", health=HealthCheck(interval=5.0)), timeouts=Timeouts(read=1)),
            workers=2,
        ),
        ["~ service b: ~ timeouts", "~ service b: ~ backend http://h1: health_check interval 10s → 5s"],
    ),
    (
        snapshot(
            2,
            OLD.services[0],
            service("b", backend("h1", health=HealthCheck(headers=(("X-Token", "s3cret"),))), timeouts=Timeouts(read=1)),
            workers=2,
        ),
        ["~ service b: ~ timeouts", "~ service b: ~ backend http://h1: health_check headers changed"],
    ),
    (
        snapshot(2, OLD.services[0], service("b", backend("h1"), path="/x"), workers=2),
        ["~ service b: - location /", "~ service b: + location /x"],
    ),
    (
        snapshot(2, *OLD.services, workers=4, listeners=(Listener(":80", proxy_protocol=True), Listener(":81")), log_level="debug"),
        ["~ workers: 2 → 4", "~ log_level: info → debug", "- listener :80", "+ listener :80", "+ listener :81"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("new", "lines"), CASES)
def test_changes_in_words(new: Snapshot, lines: list[str]) -> None:
    assert diff(OLD, new).describe() == lines


def location(**more: object) -> Snapshot:
    made = service("a", backend("h1"))
    return snapshot(1, replace(made, locations=(replace(made.locations[0], **more),)))  # type: ignore[arg-type]


VALUES = [
    ({"policy": "first"}, "lb_policy: round-robin → first"),
    ({"outlier": None}, "outlier: on → off"),
    ({"slo": Slo(99.9, ((95.0, 0.3),))}, "slo: off → availability 99.9 %, latency 95 % in 300ms, over 30d"),
    ({"breaker": Breaker()}, "circuit_breaker: off → on"),
    ({"outlier": Outlier(failures=3, ratio=0.25)}, "outlier: failures 5 → 3", "outlier: ratio 0% → 25%"),
    ({"outlier": Outlier(statuses=((500, 500), (502, 504)))}, "outlier: statuses 502-504 → 500, 502-504"),
    ({"retry": Retry(hedge=95.0, backoff=0.5)}, "retry: backoff 25ms → 500ms", "retry: hedge off → 95"),
    ({"retry": Retry(on=((503, 503),))}, "retry: on off → 503"),
    ({"retry": Retry(on=((502, 504), (1014, 1014)))}, "retry: on off → 502-504, grpc-unavailable"),
    ({"pool": ConnectionPool(max_idle=0)}, "connection_pool: max_idle the default → 0"),
    ({"sticky": Sticky(domain="x", key=b"secret")}, "sticky: domain off → x", "sticky: key changed"),
    ({"panic_threshold": 0.07}, "panic_threshold: 0% → 7%"),
    ({"slow_start": 30.0}, "slow_start: 0s → 30s"),
    ({"timeouts": Timeouts(read=90.0)}, "timeouts"),
    ({"body_size": 1 << 20}, "body_size: the service's → 1048576"),
    ({"retry": Retry(body_size=1 << 20)}, "retry: body_size 64k → 1M"),
    ({"filters": (("respond", RespondSettings(status=503)),)}, "respond: off → on"),
    ({"hash_balance_factor": 1.25}, "hash_balance_factor: off → 1.25"),
    ({"backends": (backend("h1", priority=BACKUP),)}, "backend http://h1: priority 0 → backup"),
    ({"backends": (backend("h1", weight=0),)}, "backend http://h1: weight 1 → 0"),
    ({"match": Match(methods=("GET",))}, "match: off → on"),
]


def test_locations_of_one_path_in_words() -> None:
    made = service("a", backend("h1"))
    (plain,) = made.locations
    one, two = (replace(plain, id=f"a/#{mark}", mark=mark, match=Match(headers=(("x", mark),))) for mark in ("one", "two"))

    def told(old: tuple[Location, ...], new: tuple[Location, ...]) -> list[str]:
        changed = diff(*[snapshot(1, replace(made, locations=locations)) for locations in (old, new)]).describe()
        return [line.removeprefix("~ service a: ") for line in changed]

    assert told((one, plain), (one, two)) == ["- location /", "+ location /#two"]
    assert told((one, two), (two, one)) == ["~ order of the locations"]
    other = replace(one, match=Match(headers=(("x", "secret"),), methods=("GET", "PUT")))
    assert told((one, plain), (other, plain)) == ["/#one: ~ match: methods off → GET, PUT", "/#one: ~ match: headers changed"]


@pytest.mark.parametrize("case", VALUES)
def test_values_in_words(case: tuple[dict[str, object], str]) -> None:
    more, *lines = case
    assert diff(location(), location(**more)).describe() == [f"~ service a: ~ {line}" for line in lines]


def test_secrets_in_header_rules_and_queries_are_not_told() -> None:
    def with_rules(secret: str) -> Snapshot:
        rules = HeaderSettings(request_headers={"Authorization": f"Bearer {secret}", "X-Api-Key": secret, "X-Zone": secret[:1]})
        return location(filters=(("headers", rules),), redirect=f"https://b.test/?token={secret}")

    lines = diff(with_rules("a-secret"), with_rules("b-secret")).describe()
    assert "-secret" not in "".join(lines)
    rules = "request_headers Authorization: (hidden), X-Api-Key: (hidden), X-Zone: {}"
    assert f"~ service a: ~ headers: {rules.format('a')} → {rules.format('b').removeprefix('request_headers ')}" in lines
    assert "~ service a: ~ redirect: https://b.test/?… → https://b.test/?…" in lines


def test_nameservers_are_taken_over_in_place() -> None:
    change = diff(snapshot(1), snapshot(2, nameservers=("10.0.0.2",)))
    assert (change.describe(), change.restart) == (["~ nameservers"], ())


def test_a_change_has_all_that_is_needed() -> None:
    new = snapshot(2, service("a", backend("h9")), service("c"), listeners=(Listener(":81"),), admin_listen="", workers=2)
    change = pickle.loads(pickle.dumps(diff(OLD, new)))
    assert (change.added, change.changed, change.removed) == (("c",), ("a",), ("b",))
    assert change.services == new.services
    assert change.base == replace(new, services=())
    assert (change.listeners_added, change.listeners_removed) == ((Listener(":81"),), (Listener(":80"),))
    assert change.restart == ("admin_listen",)
    assert patch(OLD, change) == new


def test_many_lines_end_somewhere() -> None:
    new = snapshot(2, *(service(f"n{number:05}") for number in range(2000)))
    lines = diff(snapshot(1), new).describe()
    assert len(lines) == 1001 and lines[-1] == "… and more"


SERVICES = st.dictionaries(st.sampled_from("abcde"), st.lists(st.sampled_from(["h1", "h2", "h3"]), unique=True, max_size=3)).map(
    lambda made: tuple(service(name, *map(backend, hosts)) for name, hosts in sorted(made.items()))
)


@given(SERVICES, SERVICES, st.integers(1, 3), st.integers(1, 3))
def test_patching_with_the_difference_gives_the_new_one(
    one: tuple[Service, ...], other: tuple[Service, ...], few: int, more: int
) -> None:
    old, new = snapshot(1, *one, workers=few), snapshot(2, *other, workers=more)
    change = diff(old, new)
    assert patch(old, change) == new
    untouched = {service.name for service in one} - {*change.changed, *change.removed}
    by_name = {service.name: service for service in one}
    assert all(service is by_name[service.name] for service in patch(old, change).services if service.name in untouched)
    assert (change.describe() == []) == (one == other and few == more)


def test_keys_of_filters_in_words() -> None:
    class Paces(FilterSettings):
        every: Duration = 1.0
        room: Size = 0

    old, new = (location(filters=(("paces", Paces(every=one, room=room)),)) for one, room in ((90, 2048), ("2h", 2048)))
    assert diff(old, new).describe() == ["~ service a: ~ paces: every 90s → 2h"]


def test_settings_of_filters_travel_whole() -> None:
    made = location(filters=(("respond", RespondSettings(status=503, headers={"Retry-After": "60"})),))
    ((_, settings),) = pickle.loads(pickle.dumps(made)).services[0].locations[0].filters
    assert (settings, settings.model_fields_set) == (made.services[0].locations[0].filters[0][1], {"status", "headers"})
    assert settings.over(None) == settings and settings.model_copy(update={"status": 500}).status == 500


SECURE: dict[str, Any] = {"tls": {"auto_cert": True}, "host": "a.test"}
CHANGED: dict[str, Any] = {
    "access_log": "off",
    "acme": {"email": "ops@example.com"},
    "admin_api": {"port": 8099},
    "admin_port": 8099,
    "algorithm": "first",
    "api": {"port": 8099},
    "auth": {"jwt_secret": "k3:9d/QpX;rT0v_Zb7Lm-Ws5Yc!Hn2Ef"},
    "backends": ["https://h2"],
    "ca_file": __file__,
    "cert_manager": {"check_interval": "10s"},
    "circuit_breaker": {"threshold": 2},
    "client_cert": __file__,
    "client_key": pytest.__file__,
    "compression": True,
    "connection_pool": {"max_idle": 3},
    "cors": {"allowed_origins": ["https://a.test"]},
    "database": {"path": "/x.db"},
    "drain_delay": "3s",
    "drain_jitter": "3s",
    "drain_timeout": "3s",
    "encoded_slashes": "refuse",
    "hash_balance_factor": 1.5,
    "hash_on": "path",
    "headers": {"request_headers": {"X-A": "1"}},
    "health_check": {"path": "/x"},
    "host": "b.test",
    "http_port": 8001,
    "http2": {"window": "1M"},
    "https_port": 8002,
    "ignore_client_abort": True,
    "limits": {"connections": 7},
    "listen": "127.0.0.1:8003",
    "log_level": "debug",
    "loggers": {"terraster": {"level": "debug"}},
    "max_generations": 3,
    "metrics": "off",
    "middleware": [{"headers": {"request_headers": {"X-A": "1"}}}],
    "nameservers": ["10.0.0.2"],
    "orphan_timeout": "3s",
    "outlier": "off",
    "panic_threshold": "7%",
    "plugin_directory": "/plugins",
    "port": 8004,
    "proxy_protocol": True,
    "queue": {"size": 7},
    "rate_limit": {"requests_per_second": 5, "burst": 5},
    "retry": "off",
    "runtime_dir": "/run/x",
    "security": {"hsts": True},
    "services": [{"name": "b", "host": "b.test", "locations": [{"path": "/", "backends": ["http://h1"]}]}],
    "skip_tls_verify": True,
    "slo": {"availability": 99.9},
    "slow_start": "3s",
    "sni": "x.test",
    "state_dir": "/var/x",
    "sticky": {"name": "x"},
    "strict_responses": True,
    "tcp_keepalive": "3s",
    "timeouts": {"read": "3s"},
    "tls": {"auto_cert": True},
    "tracing": {"endpoint": "http://h1:4318"},
    "trusted_proxies": ["10.0.0.0/8"],
    "merge_slashes": False,
    "underscores": "pass",
    "workers": 3,
}
"""Another value of each key at the top."""

BESIDE: dict[str, dict[str, Any]] = {"acme": SECURE, "https_port": SECURE, "client_key": {"client_cert": __file__}}
"""Without these keys a key does nothing, or is refused."""


BY_CONTENT = ("plugin_directory",)
"""What is there counts, not the name: plugins have lines of their own."""


def test_there_is_another_value_of_every_key() -> None:
    assert CHANGED.keys() == keys_of(language(KINDS).settings).keys()


@pytest.mark.parametrize("key", CHANGED)
def test_a_change_of_each_key_is_told(tmp_path: Path, key: str) -> None:
    before = {"workers": 2, "host": "a.test", "backends": ["https://h1"], **BESIDE.get(key, {})}
    written = []
    for number, keys in enumerate((before, {**before, key: CHANGED[key]}), 1):
        (tmp_path / "terraster.yaml").write_text(yaml.safe_dump(keys))
        written.append(resolve(load(str(tmp_path / "terraster.yaml"), kinds=KINDS), number))
    lines = diff(*written).describe()
    assert (lines != [] or key in BY_CONTENT) and lines != ["~ warnings"], key
    assert diff(written[0], replace(written[0], generation=2)).describe() == []


INNER = [
    ("cert_manager", {"check_interval": "10s"}, "~ cert_manager.check_interval: 30s → 10s"),
    ("cert_manager", {"expiration_threshold": "14d"}, "~ cert_manager.expiration_threshold: 30d → 14d"),
    ("cert_manager", {"ticket_key_lifetime": "6h"}, "~ cert_manager.ticket_key_lifetime: 12h → 6h"),
    ("cert_manager", {"alerting": {"smtp_host": "m", "to_emails": ["a@b.test"]}}, "~ cert_manager.alerting"),
]


@pytest.mark.parametrize("key, value, line", INNER)
def test_keys_of_certificates_in_words(tmp_path: Path, key: str, value: object, line: str) -> None:
    (tmp_path / "terraster.yaml").write_text(yaml.safe_dump({"backends": ["http://h1"], key: value}))
    new = resolve(load(str(tmp_path / "terraster.yaml"), kinds=KINDS), 2)
    (tmp_path / "terraster.yaml").write_text(yaml.safe_dump({"backends": ["http://h1"]}))
    assert diff(resolve(load(str(tmp_path / "terraster.yaml"), kinds=KINDS), 1), new).describe() == [line]


OTHER_VALUES: dict[str, Any] = {
    "alerting": "x",
    "acme": "x",
    "limits": "x",
    "timeouts": "x",
    "access_log": "x",
    "plugins": (Plugin("a", "file", "a.py", "A"),),
}


def test_every_field_of_a_snapshot_is_told() -> None:
    """The listeners and services have lines of their own."""
    silent = []
    for field in fields(Snapshot):
        value = getattr(OLD, field.name)
        if field.name in ("generation", "listeners", "services"):
            continue
        other = (
            not value if isinstance(value, bool) else value + 1 if isinstance(value, int | float) else OTHER_VALUES.get(field.name)
        )
        if not diff(OLD, replace(OLD, **{field.name: other or ("x" if isinstance(value, str) else ("x",))})).describe():
            silent.append(field.name)
    assert silent == []
