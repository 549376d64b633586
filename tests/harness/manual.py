"""The parts of the manual that are written from the code: `make docs` writes them, and a test asks whether they are written.

Such a part stands between two comments. The first names it:

    <!-- counters of filters: `make docs` writes this table -->
    …
    <!-- end -->
"""

from __future__ import annotations

import re
import sys
from collections import deque
from pathlib import Path
from typing import NamedTuple

from pydantic.fields import FieldInfo

from terraster import __version__
from terraster.admin.metrics import of_filter
from terraster.cli import bench, ctl
from terraster.cli import main as main_command
from terraster.cli.manpage import page
from terraster.config.settings import Model, TrafficSettings
from terraster.config.settings.base import default_of, keys_of, submodel
from terraster.config.settings.plugins import PluginEntry
from terraster.filters.contract import Stage, counted, defined
from terraster.filters.registry import KINDS

from . import api_manual
from .configuration import LANGUAGE

__all__ = ["DOCS", "PAGES", "Key", "keys", "written"]

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("api.md", "configuration.md", "filters.md", "metrics.md", "plugins.md")
_PART = re.compile(r"(<!-- (.*?): `make docs` writes this table -->\n).*?(<!-- end -->)", re.DOTALL)


def _counters() -> str:
    rows = ["| name | type | labels | meaning |", "|---|---|---|---|"]
    for one in map(of_filter, counted(KINDS)):
        rows.append(f"| `{one.name}` | {one.type} | {', '.join(f'`{label}`' for label in one.labels)} | {one.help} |")
    return "\n".join(rows) + "\n"


def _stages() -> str:
    rows = ["| stage | filters | what happens |", "|---|---|---|"]
    for stage in Stage:
        here = [f"`{kind.name}`" for kind in KINDS if kind.stage is stage and defined(kind)]
        rows.append(f"| {stage + 1} | {', '.join(here)} | {stage.about} |")
    return "\n".join(rows) + "\n"


def _keys_of_plugins() -> str:
    rows = ["| Key | Default | Meaning |", "|---|---|---|"]
    for name, field in keys_of(PluginEntry).items():
        one = _key(field)
        rows.append(f"| `{name}` | {one.default} | {one.meaning} |")
    return "\n".join(rows) + "\n"


class Key(NamedTuple):
    """One key of the configuration as the manual tells it."""

    default: str
    meaning: str


def keys() -> dict[str, Key]:
    """Every key by its dotted path, once: a mapping that stands in many places is described at its shallowest, and so is a key that
    levels inherit."""
    found: dict[str, Key] = {}
    queue: deque[tuple[str, type[Model]]] = deque([("", LANGUAGE.settings)])
    seen: set[type[Model]] = set()
    while queue:
        prefix, model = queue.popleft()
        if model in seen:
            continue
        seen.add(model)
        for name, field in keys_of(model).items():
            at_top = name in keys_of(TrafficSettings) or name == "middleware"
            wider = name in LANGUAGE.kinds and not {name, _S + name}.isdisjoint(found)
            if prefix and (at_top or wider) and issubclass(model, TrafficSettings):
                continue
            child, how = submodel(field.annotation)
            found[prefix + name + ("[]" if how == "[]" else "")] = _key(field)
            if child is not None:
                queue.append((f"{prefix}{name}{_STEP[how]}.", child))
    return found


def _key(field: FieldInfo) -> Key:
    meaning = re.sub(r" Default: .*\.$", "", field.description or "")
    return Key("required" if field.is_required() else _marked(default_of(field)), meaning)


_STEP = {"": "", "[]": "[]", "{}": ".NAME"}
_S, _L = "services[].", "services[].locations[]."
_TABLES = {
    "listeners": ["port", "listen", "host", "http_port", "https_port", "trusted_proxies", "proxy_protocol"],
    "services": [
        "algorithm",
        "backends[]",
        "services[]",
        "encoded_slashes",
        "merge_slashes",
        "underscores",
        "strict_responses",
        "ignore_client_abort",
        f"{_S}*",
    ],
    "locations": [f"{_L}*", f"{_L}rewrite[].*"],
    "conditions of locations": [f"{_L}match.*"],
    "backends": ["backends[].*"],
    "names of backends": ["nameservers"],
    "TLS towards backends": ["skip_tls_verify", "sni", "ca_file", "client_cert", "client_key"],
    "balancing": ["hash_on", "hash_balance_factor", "sticky", "slow_start", "panic_threshold"],
    "the sticky cookie": ["sticky.*"],
    "splits": [f"{_L}split.*", f"{_L}split.to[].*"],
    "health checks": ["health_check", "health_check.*", "health_check.thresholds.*"],
    "outliers": ["outlier", "outlier.*"],
    "circuit breakers": ["circuit_breaker", "circuit_breaker.*"],
    "objectives": ["slo", "slo.*"],
    "retries": ["retry", "retry.*"],
    "waiting": ["queue", "queue.*", "connection_pool", "connection_pool.*"],
    "timeouts and limits": ["timeouts", "timeouts.*", "tcp_keepalive", "limits", "limits.*", "limits.min_rate.*", f"{_S}limits.*"],
    "headers": ["headers", "headers.*"],
    "access logs": ["access_log", "access_log.*", f"{_S}log_options.*"],
    "loggers": [
        "loggers",
        "loggers.NAME.*",
        *(f"loggers.NAME.{name}.*" for name in ("sampling", "encodingConfig", "logRotation", "sanitization")),
    ],
    "tracing": ["tracing", "tracing.*", f"{_S}tracing.*"],
    "management": [
        "admin_port",
        "admin_api",
        "admin_api.*",
        "admin_api.rate_limit.*",
        "api",
        "auth",
        "auth.*",
        "database",
        "database.*",
        "metrics",
        "metrics.*",
    ],
    "processes": [
        "workers",
        "runtime_dir",
        "state_dir",
        "drain_timeout",
        "drain_delay",
        "drain_jitter",
        "max_generations",
        "orphan_timeout",
        "log_level",
        "plugin_directory",
    ],
    "TLS": [
        "tls",
        "tls.*",
        "tls.certificates[].*",
        "tls.client_auth.*",
        "acme",
        "acme.*",
        "acme.eab.*",
        "cert_manager",
        "cert_manager.*",
        "cert_manager.alerting.*",
    ],
    "HTTP/2": ["http2", "http2.*"],
    "middleware": ["middleware[]"],
}
"""What stands in which table of docs/configuration.md: paths, and "path.*" for the keys of a mapping that are not named by themselves. The
kinds that are in no table are in the last one."""


def _of_kinds(known: dict[str, Key]) -> list[str]:
    """The rows of the kinds that are in no other table: each at its shallowest place."""
    told = {path for paths in _TABLES.values() for path in paths}
    places = [next(place for at in ("", _S, _L, "middleware[].") if (place := at + name) in known) for name in LANGUAGE.kinds]
    return [path for place in places if place not in told for path in (place, f"{place}.*")]


def _keys(table: str) -> str:
    known = keys()
    told = {path for paths in _TABLES.values() for path in paths}
    told |= {at + name for at in ("", _S, _L, "middleware[].") for name in LANGUAGE.kinds}
    rows = ["| Key | Default | Meaning |", "|---|---|---|"]
    for path in [*_TABLES[table], *(_of_kinds(known) if table == "middleware" else ())]:
        one = re.compile(re.escape(path.removesuffix("*")) + r"[^.]+") if path.endswith("*") else None
        here = [path] if one is None else [name for name in known if one.fullmatch(name) and name not in told]
        rows += [f"| `{name}` | {known[name].default} | {known[name].meaning} |" for name in here if name in known]
    return "\n".join(rows) + "\n"


_OTHERS = {
    "operations of the API": api_manual.operations,
    "keys of plugins": _keys_of_plugins,
    "counters of filters": _counters,
    "stages of filters": _stages,
}
"""The parts that are no tables of keys."""


def _marked(default: str) -> str:
    return default if re.search(r"\w|^$|`", default) else f"`{default}`"


def written(page: str) -> str:
    """A page of the manual with its parts written anew. KeyError for a part that nothing here writes."""

    def part(match: re.Match[str]) -> str:
        other = _OTHERS.get(match[2])
        return f"{match[1]}{_keys(match[2]) if other is None else other()}{match[3]}"

    return _PART.sub(part, (DOCS / page).read_text())


def main() -> int:
    for name in PAGES:
        text = written(name)
        if text != (DOCS / name).read_text():
            (DOCS / name).write_text(text)
            print(f"docs/{name}: written")
    for name, text in man_pages().items():
        file = DOCS / "man" / name
        if not file.exists() or text != file.read_text():
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
            print(f"docs/man/{name}: written")
    return 0


def man_pages() -> dict[str, str]:
    """The manual pages of the commands, by file."""
    configuration = ("config.yaml", "the configuration, where no other one is named")
    socket = ("control.sock, terraster.pid", "in the runtime directory of the running Terraster (`runtime_dir`)")
    logins = ("$XDG_CONFIG_HOME/terraster/logins.json", "logins at other hosts; only their user may read it")
    return {
        "terraster.1": page(
            main_command.terraster_parser(),
            "a load balancer for HTTP",
            __version__,
            (configuration, socket),
            "terrasterctl(1), terraster-bench(1)",
        ),
        "terraster-bench.1": page(bench.parser(), "a load generator for HTTP", __version__, (), "terraster(1)"),
        "terrasterctl.1": page(
            ctl._parser(), "control a running Terraster", __version__, (configuration, socket, logins), "terraster(1)"
        ),
    }


if __name__ == "__main__":
    sys.exit(main())
