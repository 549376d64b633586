"""Alert rules and the dashboard for Grafana: Prometheus can read them, and they name only metrics and labels that there are."""

from __future__ import annotations

import json
import re
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from .harness.program import find
from .test_project_docs import anchors

DOCS = Path(__file__).parent.parent / "docs"
RULES = DOCS / "prometheus" / "alerts.yaml"
CASES = DOCS / "prometheus" / "alerts_test.yaml"
BOARD: dict[str, Any] = json.loads((DOCS / "grafana" / "terraster.json").read_text())

ALERTS: list[dict[str, Any]] = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
PANELS: list[dict[str, Any]] = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
TARGETS: list[str] = [target["expr"] for panel in PANELS for target in panel["targets"]]
TARGETS += [note["expr"] for note in BOARD["annotations"]["list"]]

FILLED_IN = {"$__rate_interval": "5m", "$instance": ".*", "$service": ".*"}
"""Variables of Grafana, and a value of each."""

ANYWHERE = {"instance", "job", "le"}
"""Labels that Prometheus adds, and that of buckets."""

SELECTOR = re.compile(r"\b(terraster_\w+)(?:\{([^}]*)\})?")


def documented() -> dict[str, set[str]]:
    """The labels of each series by its name, as docs/metrics.md has them."""
    found: dict[str, set[str]] = {}
    text = (DOCS / "metrics.md").read_text()
    for name, kind, labels in re.findall(r"^\| `(terraster_\w+)` \| (\w+) \| ([^|]*) \|", text, re.MULTILINE):
        for series in [f"{name}_{part}" for part in ("bucket", "sum", "count")] if kind == "histogram" else [name]:
            found[series] = set(re.findall(r"`(\w+)`", labels))
    return found


def run(*words: str, cwd: Path) -> None:
    promtool = find("promtool")
    assert promtool
    done = subprocess.run([promtool, *words], cwd=cwd, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.needs("promtool")
def test_prometheus_takes_the_rules_and_each_case_comes_out() -> None:
    run("check", "rules", RULES.name, cwd=RULES.parent)
    run("test", "rules", CASES.name, cwd=CASES.parent)


@pytest.mark.needs("promtool")
def test_prometheus_takes_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    rules = []
    for number, expression in enumerate(TARGETS):
        for name, value in FILLED_IN.items():
            expression = expression.replace(name, value)
        assert "$" not in expression, expression
        rules.append({"record": f"panel:{number}", "expr": expression})
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    run("check", "rules", "rules.yaml", cwd=tmp_path)


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    cases = [case for test in yaml.safe_load(CASES.read_text())["tests"] for case in test["alert_rule_test"]]
    names = [alert["alert"] for alert in ALERTS]
    assert len(names) == len(set(names)) > 20
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == set(names)
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == set(names)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_what_is_wrong_and_where_to_read_on(alert: dict[str, Any]) -> None:
    notes = alert["annotations"]
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert notes["summary"] and notes["description"].endswith(".")
    page, _, anchor = notes["runbook_url"].partition("#")
    assert page.startswith("docs/") and anchor in anchors(DOCS.parent / page)


@pytest.mark.parametrize("expression", [alert["expr"] for alert in ALERTS] + TARGETS)
def test_only_metrics_and_labels_that_there_are_are_asked_for(expression: str) -> None:
    known = documented()
    used = SELECTOR.findall(expression)
    assert used or expression.startswith("up{")
    for name, selector in used:
        assert name in known, f"docs/metrics.md has no {name}"
        asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
        assert asked <= known[name] | ANYWHERE, f"{name} has no {asked - known[name] - ANYWHERE}"
    grouped = {label.strip() for labels in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression) for label in labels.split(",")}
    assert grouped <= set().union(*(known[name] for name, _ in used)) | ANYWHERE


def test_the_dashboard_can_be_imported() -> None:
    assert BOARD["uid"] == "terraster" and BOARD["title"] and BOARD["schemaVersion"] >= 38 and "id" not in BOARD
    variables = [one["name"] for one in BOARD["templating"]["list"]]
    assert variables == ["datasource", "instance", "service"] and BOARD["templating"]["list"][0]["type"] == "datasource"
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids)) and {"timeseries", "stat", "table"} == {panel["type"] for panel in PANELS}
    for panel in PANELS:
        assert panel["title"] and panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert [target["refId"] for target in panel["targets"]] == list("ABCD"[: len(panel["targets"])])
        assert all(target["expr"] and target["datasource"] == panel["datasource"] for target in panel["targets"])


def test_no_panel_lies_on_another() -> None:
    places = [panel["gridPos"] for panel in BOARD["panels"]]
    assert all(one["x"] + one["w"] <= 24 for one in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
