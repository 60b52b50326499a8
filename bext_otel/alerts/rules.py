"""The rules of a process: those that come with bext-otel, changed and completed by the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import structs

from bext_otel.catalogue import (
    CACHE_HITS,
    CACHE_MISSES,
    DEPLOYS,
    FLOW_COMPLETED,
    FLOW_FAILED,
    ISOLATE_ERRORS,
    ISOLATE_RENDER_DURATION,
    LOG_LINES_DROPPED,
    PLUGIN_DURATION,
    PLUGIN_ERRORS,
    REQUEST_DURATION,
    REQUESTS,
)
from bext_otel.config.model import AlertRule

__all__ = ["BURN_RATES", "SHIPPED", "rules_of"]

BURN_RATES = ((3600.0, 300.0, 14.4), (21_600.0, 1800.0, 6.0))
"""The SRE workbook's pairs for a page: long window, short window (seconds), and how many times faster than
sustainable the budget is spent in both."""

SHIPPED: Mapping[str, AlertRule] = {
    "error_ratio": AlertRule(
        kind="ratio",
        metric=REQUESTS.exported,
        match={"status": "5.."},
        by=("app",),
        limit=0.05,
        minimum=20,
        for_seconds=60,
        severity="critical",
        description="More than one in 20 requests was answered with a status of 500 or above.",
    ),
    "p99_jump": AlertRule(
        kind="anomaly",
        metric=REQUEST_DURATION.exported,
        quantile=0.99,
        by=("app",),
        description="The slowest requests take longer than this app has led to expect.",
    ),
    "hit_rate_drop": AlertRule(
        kind="anomaly",
        metric=CACHE_HITS.exported,
        of=(CACHE_HITS.exported, CACHE_MISSES.exported),
        by=("app", "layer"),
        comparison="below",
        minimum=50,
        description="A cache answers fewer of its lookups than it has led to expect.",
    ),
    "isolate_errors": AlertRule(
        kind="ratio",
        metric=ISOLATE_ERRORS.exported,
        of=(f"{ISOLATE_RENDER_DURATION.exported}_count",),
        by=("app",),
        limit=0.05,
        minimum=20,
        description="More than one in 20 renders failed.",
    ),
    "plugin_errors": AlertRule(
        kind="ratio",
        metric=PLUGIN_ERRORS.exported,
        of=(f"{PLUGIN_DURATION.exported}_count",),
        by=("plugin",),
        limit=0.05,
        minimum=20,
        description="More than one in 20 calls of the plugin's hooks failed.",
    ),
    "deploy_failed": AlertRule(
        kind="rate",
        metric=DEPLOYS.exported,
        match={"status": "failed|rolled_back"},
        by=("app", "status"),
        description="A deploy failed, or was rolled back.",
    ),
    "flow_failures": AlertRule(
        kind="ratio",
        metric=FLOW_FAILED.exported,
        of=(FLOW_FAILED.exported, FLOW_COMPLETED.exported),
        limit=0.1,
        minimum=10,
        description="More than one in ten flow runs failed.",
    ),
    "telemetry_losing": AlertRule(
        kind="rate",
        metric=LOG_LINES_DROPPED.exported,
        by=("sink", "reason"),
        description="Log lines are lost.",
    ),
}
"""On by default. They are logged, and sent nowhere."""


def rules_of(
    given: Mapping[str, Mapping[str, Any]],
    *,
    shipped: bool = True,
    tell: Callable[[str], object] = lambda _: None,
) -> dict[str, AlertRule]:
    """The enabled rules by name: the shipped ones, and those of the settings over them. One that does not
    make sense is left out, which is one line to `tell`."""
    found = dict(SHIPPED) if shipped else {}
    for name, values in given.items():
        rule = structs.replace(SHIPPED.get(name, AlertRule()), **values)
        if wrong := _wrong(rule):
            tell(f"[alerts.rules.{name}] {wrong}; the rule is left out")
            found.pop(name, None)
        else:
            found[name] = rule
    return {name: rule for name, rule in found.items() if rule.enabled}


def _wrong(rule: AlertRule) -> str:
    if not rule.metric:
        return f"has no metric: name what is on /metrics, e.g. {REQUESTS.exported}"
    if rule.kind in {"ratio", "burn_rate"} and not rule.of and not rule.match:
        return "is a ratio of a metric to itself: say match, or of"
    if rule.kind == "burn_rate" and not rule.objective < 1:
        return f"objective = {rule.objective:g}: expected less than 1, e.g. 0.999"
    return ""
