"""The rules for Prometheus: what promtool says of them, and that both say the same of the same series."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from bext_otel.alerts.evaluation import Evaluator
from bext_otel.alerts.prometheus import rule_file
from bext_otel.alerts.reading import Reading
from bext_otel.alerts.rules import SHIPPED
from bext_otel.config.model import AlertRule
from tests.e2e.backends import CONFIG, program

STEP, STEPS = 15, 80

RULES: Mapping[str, AlertRule] = {
    **SHIPPED,
    "long_queue": AlertRule(
        metric="queue", match={"kind": "m.*l"}, by=("app",), limit=10, for_seconds=30, labels={"team": "a b"}
    ),
    "slow": AlertRule(metric="took_ms", quantile=0.99, comparison="below", limit=5, by=("app",)),
    "gone": AlertRule(kind="absence", metric="heartbeat", severity="critical"),
    "budget": AlertRule(
        kind="burn_rate", metric="bext_requests_total", match={"status": "5.."}, by=("app",), objective=0.99
    ),
}

Series = dict[tuple[str, tuple[tuple[str, str], ...]], tuple[float, float]]
"""(name, labels) -> (first value, increase at each step)."""


def series(name: str, first: float, step: float, **labels: str) -> Series:
    return {(name, tuple(labels.items())): (first, step)}


def requests(good: float, bad: float) -> Series:
    return {
        **series("bext_requests_total", 0, good, app="shop", status="200", route="/a"),
        **series("bext_requests_total", 0, bad, app="shop", status="503", route="/b"),
    }


CASES: dict[str, tuple[str, Series, dict[str, str] | None]] = {
    "errors": ("error_ratio", requests(10, 2), {"app": "shop", "severity": "critical"}),
    "few errors": ("error_ratio", requests(100, 2), None),
    "few requests": ("error_ratio", requests(0.25, 0.5), None),
    "renders": (
        "isolate_errors",
        {
            **series("bext_isolate_errors_total", 0, 3, app="shop", error_type="oom"),
            **series("bext_isolate_render_duration_ms_count", 0, 20, app="shop"),
        },
        {"app": "shop", "severity": "warning"},
    ),
    "plugins": (
        "plugin_errors",
        {
            **series("bext_plugin_errors_total", 0, 3, plugin="auth", hook="before"),
            **series("bext_plugin_duration_us_count", 0, 20, plugin="auth", hook="before"),
        },
        {"plugin": "auth", "severity": "warning"},
    ),
    "deploys": (
        "deploy_failed",
        series("bext_deploys_total", 1, 0.1, app="shop", status="rolled_back"),
        {"app": "shop", "status": "rolled_back", "severity": "warning"},
    ),
    "good deploys": ("deploy_failed", series("bext_deploys_total", 1, 1, app="shop", status="success"), None),
    "flows": (
        "flow_failures",
        {**series("bext_flow_failed_total", 0, 2), **series("bext_flow_completed_total", 0, 2)},
        {"severity": "warning"},
    ),
    "flows that only fail": (
        "flow_failures",
        series("bext_flow_failed_total", 0, 2),
        {"severity": "warning"},
    ),
    "good flows": (
        "flow_failures",
        {**series("bext_flow_failed_total", 0, 1), **series("bext_flow_completed_total", 0, 50)},
        None,
    ),
    "lines": (
        "telemetry_losing",
        series("bext_otel_log_lines_dropped_total", 0, 1, sink="file", reason="disk_full"),
        {"sink": "file", "reason": "disk_full", "severity": "warning"},
    ),
    "queue": (
        "long_queue",
        {**series("queue", 50, 0, app="shop", kind="mail"), **series("queue", 90, 0, app="x", kind="sms")},
        {"app": "shop", "team": "a b", "severity": "warning"},
    ),
    "quantile": (
        "slow",
        {
            **series("took_ms", 3, 0, app="shop", quantile="0.99"),
            **series("took_ms", 1, 0, app="x", quantile="0.5"),
        },
        {"app": "shop", "severity": "warning"},
    ),
    "absent": ("gone", {}, {"severity": "critical"}),
    "present": ("gone", series("heartbeat", 1, 1), None),
    "burning": ("budget", requests(10, 5), {"app": "shop", "severity": "warning"}),
    "not burning": ("budget", requests(1000, 5), None),
}


def ours(name: str, given: Series) -> list[dict[str, str]]:
    """The labels of what fires at the end."""
    evaluator = Evaluator({name: RULES[name]})
    for step in range(STEPS + 1):
        held: dict[str, list[Any]] = {}
        for (metric, labels), (first, increase) in given.items():
            held.setdefault(metric, []).append((dict(labels), first + increase * step))
        evaluator.evaluate(Reading(float(STEP * step), lambda wanted, held=held: held.get(wanted, [])))
    assert {} == evaluator.failures
    return [dict(alert.labels) for alert in evaluator.active if alert.state == "firing"]


@pytest.mark.parametrize("case", CASES)
def test_what_we_say_of_it(case: str) -> None:
    name, given, expected = CASES[case]
    assert ([] if expected is None else [{**expected, "alertname": name}]) == ours(name, given)


def _labels(pairs: Iterable[tuple[str, str]]) -> str:
    return ",".join([f'{name}="{value}"' for name, value in pairs])


def _case(case: str) -> dict[str, Any]:
    name, given, expected = CASES[case]
    labels = {**(expected or {}), "alertname": name, "alertstate": "firing"}
    return {
        "name": case,
        "interval": f"{STEP}s",
        "input_series": [
            {
                "series": f"{metric}{{{_labels(names)}}}",
                "values": f"{first}+{increase}x{STEPS}",
            }
            for (metric, names), (first, increase) in given.items()
        ],
        "promql_expr_test": [
            {
                "expr": f'ALERTS{{alertname="{name}",alertstate="firing"}}',
                "eval_time": f"{STEP * STEPS}s",
                "exp_samples": []
                if expected is None
                else [{"labels": f"ALERTS{{{_labels(labels.items())}}}", "value": 1}],
            }
        ],
    }


@pytest.mark.backends
def test_promtool_says_the_same_of_it(tmp_path: Path) -> None:
    """Firing and not firing, with the same labels, of each kind of rule."""
    (tmp_path / "rules.yml").write_text(rule_file(RULES))
    tests = {"rule_files": ["rules.yml"], "evaluation_interval": f"{STEP}s", "tests": list(map(_case, CASES))}
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(tests))
    for arguments in (("check", "rules", "rules.yml"), ("test", "rules", "tests.yml")):
        said = subprocess.run(
            [program("promtool"), *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert 0 == said.returncode, said.stdout + said.stderr


def test_each_shipped_rule_has_a_case_where_it_fires() -> None:
    fires = {name for name, _, expected in CASES.values() if expected is not None}
    assert {name for name, rule in SHIPPED.items() if rule.kind != "anomaly"} <= fires


def test_the_committed_file_is_what_the_rules_say() -> None:
    assert (CONFIG / "bext-alerts.yml").read_text(encoding="utf-8") == rule_file(SHIPPED)
    (group,) = yaml.safe_load(rule_file(SHIPPED))["groups"]
    expected = [name for name, rule in SHIPPED.items() if rule.kind != "anomaly"]
    assert expected == [rule["alert"] for rule in group["rules"]]
