"""Rules over readings: when an alert is pending, fires and is resolved."""

from __future__ import annotations

import math
from collections.abc import Iterable
from random import Random
from typing import Any

import pytest

from bext_otel.alerts.evaluation import Alert, Evaluator
from bext_otel.alerts.reading import Reading, readings_of
from bext_otel.alerts.rules import SHIPPED, rules_of
from bext_otel.config.model import AlertRule

_START = 1_700_438_400.0


def reading(at: float, *samples: tuple[str, dict[str, str], float]) -> Reading:
    held: dict[str, list[Any]] = {}
    for name, labels, value in samples:
        held.setdefault(name, []).append((labels, value))
    return Reading(_START + at, lambda name: held.get(name, []))


def told(rule: AlertRule, readings: Iterable[Reading]) -> list[tuple[float, str]]:
    """(seconds, state) of each change."""
    evaluator = Evaluator({"rule": rule})
    changes = [change for each in readings for change in evaluator.evaluate(each)]
    assert {} == evaluator.failures
    return [(change.time_unix - _START, change.state) for change in changes]


def requests(
    at: float, good: float, bad: float, app: str = "shop"
) -> list[tuple[str, dict[str, str], float]]:
    return [
        ("bext_requests_total", {"app": app, "status": "200"}, good),
        ("bext_requests_total", {"app": app, "status": "503"}, bad),
    ]


def test_a_threshold_fires_after_it_held_and_is_resolved_once() -> None:
    """Three minutes above the limit, of which the first is pending; what lasts 30 s is nothing."""
    rule = AlertRule(metric="queue", limit=10, for_seconds=60)
    values = [5, 50, 50, 5] + [50] * 12 + [5, 5]
    readings = [reading(15 * number, ("queue", {}, value)) for number, value in enumerate(values)]
    assert [(120, "firing"), (240, "resolved")] == told(rule, readings)


def test_alerts_are_told_apart_by_the_labels_of_by() -> None:
    rule = AlertRule(metric="queue", limit=10, by=("app",), labels={"team": "payments"}, severity="critical")
    evaluator = Evaluator({"long_queue": rule})
    changes = evaluator.evaluate(
        reading(
            0,
            ("queue", {"app": "a", "pod": "1"}, 50),
            ("queue", {"app": "a", "pod": "2"}, 70),
            ("queue", {"app": "b"}, 5),
        )
    )
    expected = {"alertname": "long_queue", "severity": "critical", "app": "a", "team": "payments"}
    assert [(expected, 70)] == [(dict(alert.labels), alert.value) for alert in changes]
    assert "queue is 70, above 10" == changes[0].text


def test_a_quantile_of_an_empty_window_says_nothing() -> None:
    rule = AlertRule(metric="duration", quantile=0.99, limit=100)
    values = [math.nan, 500.0, math.nan]
    readings = [
        reading(
            15 * number, ("duration", {"quantile": "0.99"}, value), ("duration", {"quantile": "0.5"}, 900)
        )
        for number, value in enumerate(values)
    ]
    assert [(15, "firing"), (30, "resolved")] == told(rule, readings)


def test_a_ratio_needs_a_minimum_of_events() -> None:
    """One error of one request is none; 30 of 100 in the window are; and it ends as they leave the window."""
    rule = SHIPPED["error_ratio"]
    assert [] == told(
        rule,
        [reading(0, *requests(0, 0, 0)), reading(60, *requests(60, 0, 1)), reading(300, *requests(0, 0, 1))],
    )
    readings, good, bad = [], 0.0, 0.0
    for at in range(0, 1500, 15):
        good += 10
        bad += 5 if 300 <= at < 600 else 0
        readings.append(reading(at, *requests(at, good, bad)))
    states = told(rule, readings)
    assert ["firing", "resolved"] == [state for _, state in states]
    assert 360 <= states[0][0] <= 450
    assert 600 < states[1][0] <= 915


def test_a_counter_that_begins_anew_is_no_fall() -> None:
    rule = AlertRule(kind="rate", metric="jobs_total", comparison="below", limit=0.5, window_seconds=60)
    totals = [10_000 + 15 * number for number in range(10)] + [15 * number for number in range(1, 10)]
    readings = [reading(15 * number, ("jobs_total", {}, total)) for number, total in enumerate(totals)]
    assert [] == told(rule, readings)


def test_the_first_failed_deploy_fires() -> None:
    """Its series was not there before."""
    evaluator = Evaluator(rules_of({}))
    evaluator.evaluate(reading(0))
    failed = ("bext_deploys_total", {"app": "shop", "status": "failed"}, 1.0)
    (alert,) = evaluator.evaluate(reading(15, failed))
    assert ("deploy_failed", "shop", "firing") == (alert.rule, alert.labels["app"], alert.state)
    changes = [change for at in range(30, 400, 15) for change in evaluator.evaluate(reading(at, failed))]
    assert ["resolved"] == [change.state for change in changes]


def test_absence_fires_where_no_series_matches() -> None:
    rule = AlertRule(kind="absence", metric="up", match={"job": "shop|cart"}, for_seconds=30)
    there = ("up", {"job": "cart"}, 1.0)
    readings = [
        reading(0, there),
        *(reading(at, ("up", {"job": "x"}, 1.0)) for at in (15, 30, 45)),
        reading(60, there),
    ]
    assert [(45, "firing"), (60, "resolved")] == told(rule, readings)


@pytest.mark.parametrize(("share", "expected"), [(0.02, ["firing"]), (0.004, []), (0.008, ["firing"])])
def test_a_burn_rate_takes_both_windows(share: float, expected: list[str]) -> None:
    """99.9 %: 2 % of errors burn at 20 times (the fast pair), 0.8 % at 8 times (the slow one), 0.4 % are
    neither."""
    rule = AlertRule(
        kind="burn_rate", metric="bext_requests_total", match={"status": "5.."}, by=("app",), objective=0.999
    )
    readings = [
        reading(60 * minute, *requests(0, 1000 * (1 - share) * minute, 1000 * share * minute))
        for minute in range(8 * 60)
    ]
    assert expected == [state for _, state in told(rule, readings)]


def test_errors_that_are_over_burn_nothing() -> None:
    """The long window still has them, the short one has not."""
    rule = AlertRule(kind="burn_rate", metric="bext_requests_total", match={"status": "5.."}, objective=0.99)
    bad = [max(0, min(minute - 60, 30)) * 500 for minute in range(240)]
    states = told(
        rule, [reading(60 * minute, *requests(0, 1000 * minute, bad[minute])) for minute in range(240)]
    )
    assert ["firing", "resolved"] == [state for _, state in states]
    assert states[1][0] <= 60 * (90 + 31)


def test_an_anomaly_fires_on_its_side_only_and_explains_itself() -> None:
    """A p99 that jumps is an alert for its window; one that falls is none."""
    random = Random(3)
    evaluator = Evaluator({"p99_jump": SHIPPED["p99_jump"]})
    changes: list[Alert] = []
    for number in range(3000):
        value = 100 + random.gauss(0, 4) + (400 if number == 2000 else -90 if number == 2900 else 0)
        sample = ("bext_request_duration_ms", {"app": "shop", "quantile": "0.99"}, value)
        changes += evaluator.evaluate(reading(15 * number, sample))
    assert [(30_000, "firing"), (30_300, "resolved")] == [
        (each.time_unix - _START, each.state) for each in changes
    ]
    assert "expected" in changes[0].text


def test_a_rule_that_fails_keeps_no_other_one() -> None:
    class Broken:
        def feed(self, timestamp: float, value: float) -> None:
            raise ZeroDivisionError("its own trouble")

    rules = {"odd": AlertRule(kind="anomaly", metric="queue"), "long": AlertRule(metric="queue", limit=10)}
    evaluator = Evaluator(rules, detector=Broken)
    assert ["long"] == [alert.rule for alert in evaluator.evaluate(reading(0, ("queue", {}, 50)))]
    assert {"odd": "ZeroDivisionError: its own trouble"} == evaluator.failures


def test_a_million_series_are_held_within_bounds() -> None:
    rule = AlertRule(kind="rate", metric="jobs_total", by=("user",), limit=0)
    evaluator = Evaluator({"rule": rule})
    evaluator.evaluate(reading(0))
    samples = [("jobs_total", {"user": str(number)}, 1.0) for number in range(5000)]
    assert 1000 == len(evaluator.evaluate(reading(15, *samples)))


def test_settings_change_a_shipped_rule_and_leave_the_rest_of_it() -> None:
    lines: list[str] = []
    rules = rules_of(
        {"error_ratio": {"limit": 0.2}, "p99_jump": {"enabled": False}, "mine": {}}, tell=lines.append
    )
    assert (0.2, "ratio", ("app",)) == (
        rules["error_ratio"].limit,
        rules["error_ratio"].kind,
        rules["error_ratio"].by,
    )
    assert "p99_jump" not in rules
    assert [line for line in lines if "[alerts.rules.mine] has no metric" in line] == lines != []


def test_pages_are_read_one_after_the_other() -> None:
    text = '# at 10\n# TYPE a_total counter\na_total{x="1"} 3\n# at 20.5\na_total{x="1"} 4\n'
    assert [(10, [({"x": "1"}, 3.0)]), (20.5, [({"x": "1"}, 4.0)])] == [
        (each.time_unix, list(each.sample("a_total"))) for each in readings_of(text)
    ]
