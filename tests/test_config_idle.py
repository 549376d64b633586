"""Keys that do nothing where they stand: each is named in a warning, and none where it acts."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import indent

import pytest

from terraster.config import idle
from terraster.config.algorithms import ALGORITHMS, WITHOUT_WEIGHTS
from terraster.config.loader import Loader
from terraster.config.settings import BackendSettings, LocationSettings, ServiceSettings, Settings
from terraster.config.settings.base import keys_of, submodel

from .test_config_level_checks import said

TWO = "[{url: 'http://10.0.0.1'}, {url: 'http://10.0.0.2'}]"
SECURE = "[{url: 'https://10.0.0.1'}, {url: 'http://10.0.0.2'}]"


def text(top: str = "", service: str = "", location: str = "", backends: str = TWO) -> str:
    """Line 1: the top; 5: the service; 8: the location; 9: its backends."""
    body = f"services:\n- name: a\n  host: a\n  {service or '# no key'}\n  locations:\n  - path: /\n"
    below = indent(f"{location or '# no key'}\n" + (f"backends: {backends}\n" if backends else ""), "    ")
    return f"{top or '# no key'}\n{body}{below}"


def one(backend: str) -> str:
    return "[{url: 'http://10.0.0.1'}, {url: 'http://10.0.0.2', " + backend + "}]"


def redirect(key: str, level: str = "service") -> str:
    """A service whose only location forwards nothing, with a key of the service or the location."""
    parts = {level: key}
    return text(
        service=parts.get("service", ""), location=f"redirect: 'https://x/'\n{parts.get('location', '# no key')}", backends=""
    )


OWN = "services: [{name: a, port: 81, http_redirect: true}]\n"
CASES = [
    # the service's request head
    (text(service="timeouts: {client_header: 5s, read: 1s}"), [
        "5:14: `client_header` belongs at the top: a request's head is read before its service and location are known"
    ]),
    (text(location="timeouts: {client_header: 5s}"), [
        "8:16: `client_header` belongs at the top: a request's head is read before its service and location are known"
    ]),
    (text("timeouts: {client_header: 5s}"), []),
    # weights
    (text(location="lb_policy: least-connections", backends=one("weight: 3")), [
        "9:67: `weight` has no effect under `least-connections`; `weighted-least-connections` uses it"
    ]),
    (text("algorithm: first", backends="[{url: 'http://a', weight: 2}, {url: 'http://b', weight: 3}]"), [
        "9:34: `weight` has no effect under `first`"
    ]),
    (text("algorithm: first", backends="[{url: 'http://a', weight: 0}, {url: 'http://b', weight: 1}]"), []),
    (text(location="lb_policy: sticky-session", backends=one("weight: 3")), []),
    (text("sticky: {algorithm: first}", location="lb_policy: sticky-session", backends=one("weight: 3")), [
        "9:67: `weight` has no effect under `first`"
    ]),
    *((text(f"algorithm: {name}", backends=one("weight: 3")), []) for name in sorted({*ALGORITHMS.values()} - WITHOUT_WEIGHTS)),
    ("algorithm: first\nbackends: [{url: 'http://h1', weight: 2}, {url: 'http://h2'}]\n", ["2:31: `weight` has no effect under `first`"]),
    # TLS towards backends
    (text(backends=one("sni: x, skip_tls_verify: true")), [
        "9:67: `sni` is for https and has no effect with http://",
        "9:75: `skip_tls_verify` is for https and has no effect with http://",
    ]),
    (text(backends=one("sni: '', skip_tls_verify: false")), []),
    (text(backends="[{url: 'https://h', sni: x, skip_tls_verify: true, health_check: {sni: y, skip_tls_verify: true}}]"), []),
    (text(backends=one("health_check: {sni: x}")), ["9:82: `sni` is for https and has no effect with http://"]),
    (text("health_check: {skip_tls_verify: true}"), ["1:16: `skip_tls_verify` is for https backends, and there are none here"]),
    (text("health_check: {skip_tls_verify: true}", "health_check: {sni: x}", "health_check: {sni: y}", SECURE), []),
    (text("health_check: {type: tcp, skip_tls_verify: true}", backends=SECURE), [
        "1:27: `skip_tls_verify` has no effect under `type: tcp`"
    ]),
    # what a probe has no use for
    (text("health_check: {type: tcp, path: /x, status: 200, body: ok, host: h, interval: 5s}"), [
        "1:27: `path` has no effect under `type: tcp`",
        "1:37: `status` has no effect under `type: tcp`",
        "1:50: `body` has no effect under `type: tcp`",
        "1:60: `host` has no effect under `type: tcp`",
    ]),
    (text("health_check: {path: /x, interval: 5s}", "health_check: off"), [
        "1:16: `path` has no effect under `type: none`",
        "1:26: `interval` has no effect under `type: none`",
    ]),
    (text("health_check: off", "", "health_check: {timeout: 5s, thresholds: {healthy: 1}}"), [
        "8:20: `timeout` has no effect under `type: none`",
        "8:33: `thresholds` has no effect under `type: none`",
    ]),
    (text("health_check: {type: tcp, port: 81, fast_interval: 1s}"), []),
    (text("health_check: {type: tcp, method: GET, headers: {X: y}}"), [
        "1:27: `method` has no effect under `type: tcp`",
        "1:40: `headers` has no effect under `type: tcp`",
    ]),
    (text("health_check: {port: 81}", backends="['unix:/run/a', 'unix:/run/b']"), [
        "1:16: `port` has no effect: the backends are unix sockets"
    ]),
    (text("health_check: {port: 81}", backends="['unix:/run/a', 'http://h']"), []),
    (text("health_check: {type: none}", backends=one("health_check: {path: /x}")), ["9:82: `path` has no effect under `type: none`"]),
    (text("health_check: {type: none}", backends=one("health_check: {path: /x, type: http}")), []),
    (text("health_check: {path: /x}", "health_check: {type: tcp}", "", one("health_check: {type: none}")), [
        "1:16: `path` has no effect under `type: none` and `type: tcp`"
    ]),
    (text("health_check: {path: /x}", "health_check: {type: tcp}", "", one("health_check: {type: http}")), []),
    # redirects
    (text(service="redirect_port: 8443"), ["5:3: `redirect_port` has no effect without `http_redirect`"]),
    (text(service="redirect_port: 8443", location="http_redirect: true"), []),
    ("services: [{name: a, http_redirect: true, redirect_port: 8443}]\n", []),
    # where nothing is forwarded
    (redirect("health_check: {path: /x}"), ["5:3: `health_check` has no effect in a service without `backends`"]),
    (redirect("retry: off"), ["5:3: `retry` has no effect in a service without `backends`"]),
    (redirect("lb_policy: first", "location"), ["9:5: `lb_policy` has no effect in a location without `backends`"]),
    (redirect("rewrite: /x", "location"), ["9:5: `rewrite` has no effect in a location without `backends`"]),
    (redirect("queue: {size: 3}", "location"), ["9:5: `queue` has no effect in a location without `backends`"]),
    (redirect("retry: {attempts: 2}") + f"  - path: /x\n    backends: {TWO}\n", []),
    # what goes with another key
    (text("retry: {attempts: 1, on: 503, body_size: 1k, per_try_timeout: 5s}"), [
        "1:22: `on` has no effect with one attempt (`attempts: 1`, or `retry: off`)",
        "1:31: `body_size` has no effect with one attempt (`attempts: 1`, or `retry: off`)",
    ]),
    (text("retry: off", "", "retry: {on: 503}"), ["8:13: `on` has no effect with one attempt (`attempts: 1`, or `retry: off`)"]),
    (text("retry: off", "", "retry: {on: 503, attempts: 2}"), []),
    (text("retry: {attempts: 1, on: 503}", "", "retry: {attempts: 2}"), []),
    (text("retry: {hedge: 95}", backends="[http://10.0.0.1]"), [
        "1:9: `hedge` has no effect without a second backend, or under `sticky-session`"
    ]),
    (text("retry: {hedge: 95}", location="lb_policy: sticky-session"), [
        "1:9: `hedge` has no effect without a second backend, or under `sticky-session`"
    ]),
    (text("retry: {hedge: 95}", backends="['unix:/run/app.sock']"), [
        "1:9: `hedge` has no effect without a second backend, or under `sticky-session`"
    ]),
    (text("", backends="[{url: 'unix:/run/app.sock', sni: a.test}]"), [
        "9:44: `sni` is for https and has no effect with unix:"
    ]),
    (text("retry: {hedge: 95}", backends="[http://many.example]"), []),
    (text("retry: {hedge: 95}"), []),
    (text("connection_pool: {max_idle: 0, idle_timeout: 5s}"), ["1:32: `idle_timeout` has no effect with `max_idle: 0`"]),
    (text("connection_pool: {idle_timeout: 5s}"), []),
    (text("access_log: {format: combined, fields: [status]}"), [
        "1:32: `fields` is for `format: json`, and has no effect with another format"
    ]),
    (text("access_log: {format: combined}", "access_log: {fields: [status]}"), [
        "5:16: `fields` is for `format: json`, and has no effect with another format"
    ]),
    (text("access_log: {format: combined, fields: [status]}", "access_log: {format: json}"), []),
    (text("access_log: {fields: [status]}"), []),
    (text("access_log: {fields: [status]}", "", "access_log: {format: common, fields: [status]}"), [
        "1:14: `fields` is for `format: json`, and has no effect with another format",
        "8:34: `fields` is for `format: json`, and has no effect with another format",
    ]),
    (text("access_log: {fields: [status], format: common}", "", "access_log: {format: json}"), []),
    # tiers
    (text(backends="[{url: 'http://a', priority: 5}, {url: 'http://b', priority: 5}]"), [
        "9:34: `priority` is 5 for every backend here: this has the same effect as no `priority`"
    ]),
    (text(backends=one("priority: 5")), []),
    (text(backends="[{url: 'http://a', priority: 5}, {url: 'http://b', backup: true}]"), []),
    (text(backends="[{url: 'srv+http://a', priority: 5}]"), []),
    (text(backends=one("priority: 0")), []),
    # the top
    ("host: x\n" + text(), ["1:1: `host` is for the top's `backends`, and there are none"]),
    ("host: x\nbackends: [http://10.0.0.1]\n", []),
    ("port: 80\n" + OWN, ["1:1: `port` has no effect: each service has an address of its own"]),
    ("listen: '127.0.0.1:80'\n" + OWN, ["1:1: `listen` has no effect: each service has an address of its own"]),
    ("http_port: 80\n" + OWN, ["1:1: `http_port` has no effect: each service has an address of its own"]),
    ("port: 80\n" + text(), []),
    ("listen: '127.0.0.1:80'\n" + text(), []),
    ("port: 80\nhttp_port: 82\n" + text(), ["1:1: `port` has no effect beside `http_port`"]),
    ("https_port: 82\n" + text(), ["1:1: `https_port` has no effect: no service that listens on the top's addresses speaks TLS"]),
    ("port: 80\nhttps_port: 82\nhttp_port: 81\n" + text(), [
        "1:1: `port` has no effect beside `http_port` and `https_port`",
        "2:1: `https_port` has no effect: no service that listens on the top's addresses speaks TLS",
    ]),
    ("admin_port: 8082\napi: {port: 8083}\n" + text(), ["1:1: `admin_port` has no effect beside `api.port`"]),
    ("admin_port: 8082\n" + text(), []),
]  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), CASES)
def test_what_does_nothing_is_said(tmp_path: Path, given: str, expected: list[str]) -> None:
    assert said(tmp_path, given) == expected


def test_with_tls_the_ports_of_the_top_are_for_those_who_want_them(tmp_path: Path) -> None:
    secure = "http_port: 80\nhttps_port: 443\n" + text(service="tls: {}").replace(
        "  locations:", "  http_redirect: true\n  locations:"
    )
    assert [line for line in said(tmp_path, secure) if "_port" in line] == []
    plain = secure.replace("http_redirect: true", "http_redirect: false")
    assert [line for line in said(tmp_path, plain) if "_port" in line] == [
        "1:1: `http_port` has no effect: no service that listens on the top's addresses speaks plain HTTP"
    ]


NAMED = "- name: s{}\n  host: h{}\n  http_redirect: true\n  log_name: {}\n"


def names(loggers: str, *names: str) -> str:
    """Line 1: the loggers; 6, 10, …: log names."""
    return f"loggers: {loggers}\nservices:\n" + "".join(NAMED.format(at, at, name) for at, name in enumerate(names, 1))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (names("{shop: {}, service_default: {}}", "shop", "service_default"), []),
        (names("{shop: {}}", "shopp", "x"), [
            "6:13: `log_name` shopp is not one of the `loggers`; did you mean `shop`?",
            "10:13: `log_name` x is not one of the `loggers`; there are `shop`",
        ]),
        (names("{service_default: {}}", "service-default"), [
            "6:13: `log_name` service-default is not one of the `loggers`; did you mean `service_default`?"
        ]),
        (names("{service_default: {}, terraster: {}}", "api"), [
            "6:13: `log_name` api is not one of the `loggers`: `service_default` is used"
        ]),
        (names("{}", "api"), ["6:13: `log_name` api has no effect: there are no `loggers` for services"]),
        (names("{service_default: {level: error, development: true}, shop: {errorOutputPaths: /tmp/x.log}}", "shop"), [
            "1:43: `development` has no effect for logger `service_default`: it is for `terraster`",
            "1:70: `errorOutputPaths` of logger `shop` has no effect without `outputPaths`",
        ]),
        ("access_log: /tmp/a.log\nloggers: {service_default: {outputPaths: [/tmp/b.log]}}\n" + text(), [
            "1:13: `path` is for requests that no service took: those of services go where logger `service_default` says",
        ]),
        ("log_level: info\nloggers: {terraster: {level: error, sanitization: {mask: x}}}\n" + text(), [
            "2:23: `level` of logger `terraster` has no effect beside `log_level`",
        ]),
        ("loggers: {terraster: {level: error}}\n" + text(), []),
    ],
)  # fmt: skip
def test_loggers(tmp_path: Path, given: str, expected: list[str]) -> None:
    assert said(tmp_path, given) == expected


def noted(directory: Path, given: str) -> list[str]:
    file = directory / "t.yaml"
    file.write_text(given)
    return [line.removeprefix(f"{file}:").partition(": ")[0] for line in Loader({}).load(str(file), notes=True).notes]


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("backends: [http://h]\n", ["1:1"]),
        ("health_check: {interval: 5s, type: http}\nbackends: [http://h]\n", ["2:1"]),
        ("health_check: {path: /health}\nbackends: [http://h]\n", []),
        ("health_check: {type: tcp}\nbackends: [http://h]\n", []),
        ("health_check: off\nbackends: [http://h]\n", []),
        (text(), ["9:5"]),
        (text(service="health_check: {path: /x}"), []),
        (text(location="health_check: off"), []),
        (text(backends="[{url: 'http://h', health_check: {path: /x}}, {url: 'http://g', health_check: off}]"), []),
        (text(backends=one("health_check: {path: /x}")), ["9:5"]),
        (redirect(""), []),
    ],
)
def test_a_note_says_where_nothing_tells_how_to_probe(tmp_path: Path, given: str, place: list[str]) -> None:
    assert noted(tmp_path, given) == place


def test_each_row_is_about_a_key() -> None:
    tables = {
        Settings: idle.AT_TOP,
        ServiceSettings: idle.IN_SERVICE,
        LocationSettings: idle.IN_LOCATION,
        BackendSettings: idle.IN_BACKEND,
    }
    for level, rows in tables.items():
        for row in rows:
            model: object = level
            for step in row.key.split("."):
                assert isinstance(model, type), row.key
                assert step in keys_of(model), f"{level.__name__}: {row.key}"
                model, _ = submodel(keys_of(model)[step].annotation)


def test_the_algorithms_without_weights_are_those_of_the_manual() -> None:
    page = (Path(__file__).parent.parent / "docs" / "configuration.md").read_text()
    rows = re.findall(r"^\| \*\*([a-z-]+)\*\*.*?\| .*? \| (.*?) \|", page, re.MULTILINE)
    assert {name for name, weight in rows if weight == "only 0"} == WITHOUT_WEIGHTS
