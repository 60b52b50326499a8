from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bext_otel import catalogue
from bext_otel.catalogue import Metric
from bext_otel.config import AppHealthSettings
from bext_otel.health import Check, Health
from bext_otel.health.subsystems import Subsystems
from bext_otel.metrics.snapshot import Family, Point, Series, Snapshot
from tests.endpoints.snapshots import SPECIFICATION
from tests.fresh import fresh

EMPTY = Snapshot(0.0, 0.0, 0.0)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def family(metric: Metric, *points: tuple[float, dict[str, str]]) -> Family:
    made = [Point(Series(tuple(labels.items())), value) for value, labels in points]
    return Family(metric.exported, "gauge", "", "", made, metric)


def requests(good: int, bad: int) -> Family:
    labels = {"app": "shop", "method": "GET", "route": "/"}
    return family(catalogue.REQUESTS, (good, {**labels, "status": "200"}), (bad, {**labels, "status": "503"}))


def looking(*snapshots: Snapshot, every: float = 10.0, **limits: AppHealthSettings) -> Subsystems:
    """After a look at each of these."""
    clock, given = Clock(), list(snapshots)
    parts = Subsystems(lambda: given.pop(0), limits, stuck_seconds=30, clock=clock)
    for _ in snapshots:
        clock.now += every
        parts.look()
    return parts


def of(*families: Family) -> Snapshot:
    return replace(EMPTY, families=families)


def test_what_a_service_does_not_have_is_absent() -> None:
    parts = looking(EMPTY)
    assert ({}, {}, {}) == (parts.checks, parts.cache, parts.apps)


def test_the_parts_of_a_service_are_found_in_its_metrics() -> None:
    parts = looking(SPECIFICATION)
    assert {"isolates", "plugins", "flow_engine"} >= set(parts.checks)
    assert {"healthy"} == {check.status for check in parts.checks.values()}
    assert {"entries", "hit_rate"} == set(parts.cache)


def test_flows_of_which_no_step_ends_are_stuck() -> None:
    def flows(active: int, completed: int) -> Snapshot:
        return of(
            family(catalogue.FLOW_ACTIVE_RUNS, (active, {})),
            family(catalogue.FLOW_COMPLETED, (completed, {})),
        )

    assert Check.healthy(active=3, stuck=0) == looking(flows(3, 1), flows(3, 1)).checks["flow_engine"]
    stuck = looking(*[flows(3, 1)] * 5).checks["flow_engine"]
    assert ("degraded", 3) == (stuck.status, stuck.details["stuck"])
    moving = looking(*(flows(3, count) for count in range(5)))
    assert "healthy" == moving.checks["flow_engine"].status
    idle = looking(*[flows(0, 1)] * 5)
    assert "healthy" == idle.checks["flow_engine"].status


def test_an_app_past_its_thresholds_degrades_the_service_and_is_told_by_itself() -> None:
    limits = AppHealthSettings(max_error_rate=0.1, min_requests=10)
    parts = looking(of(requests(1000, 0)), of(requests(1080, 20)), shop=limits)
    assert {"error_rate": Check.unhealthy(rate=0.2)} == parts.apps["shop"]
    health = Health(apps={"shop": limits})
    health.register_app("shop")
    health.watch(lambda: None, 60, lambda app: parts.apps.get(app, {}))
    assert ("degraded", 200) == (health.full().status, health.full().http_status)
    assert (503, "unhealthy") == (health.app("shop").http_status, health.app("shop").status)


def test_few_requests_make_no_rate() -> None:
    limits = AppHealthSettings(max_error_rate=0.1, min_requests=10)
    assert {"shop": {}} == looking(of(requests(0, 0)), of(requests(4, 5)), shop=limits).apps


def test_errors_of_more_than_a_minute_ago_are_over() -> None:
    limits = AppHealthSettings(max_error_rate=0.1, min_requests=10)
    past = [of(requests(0, 0)), of(requests(0, 100)), *(of(requests(100 * n, 100)) for n in range(1, 9))]
    assert {"error_rate": Check.healthy(rate=0.0)} == looking(*past, shop=limits).apps["shop"]


def test_a_look_that_takes_long_is_seldom() -> None:
    clock, looks = Clock(), list[int]()

    def read() -> Snapshot:
        looks.append(1)
        clock.now += 1.0
        return EMPTY

    parts = Subsystems(read, {}, stuck_seconds=30, clock=clock)
    for _ in range(12):
        parts.look()
        clock.now += 10
    assert 2 == len(looks)


def test_a_part_that_nobody_looks_at_is_not_green() -> None:
    clock = Clock()
    parts = Subsystems(
        lambda: of(family(catalogue.ISOLATE_COUNT, (2, {"app": "shop"}))), {}, stuck_seconds=30, clock=clock
    )
    parts.look()
    assert Check.healthy(active=2) == parts.latest("isolates")
    clock.now += 31
    assert "unhealthy" == parts.latest("isolates").status


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ("", {"status": "running", "version": "2"}),
        ("d.rolled_back()", {"status": "running", "version": "1"}),
        ("d.failed()", {"status": "failed", "version": "2"}),
    ],
)
def test_a_deploy_changes_what_is_shown_and_what_is_reached_is_asked(
    ending: str, expected: dict[str, str], tmp_path: Path
) -> None:
    code = f"""
    import time
    import bext_otel, sqlalchemy
    runs = bext_otel.configure(apps={{"shop": {{"version": "1"}}}}, health={{"data_dir": "."}})
    engine = sqlalchemy.create_engine("sqlite:///shop.sqlite3")
    with bext_otel.deploy("shop", "2") as d:
        during = runs.health.full(wait_seconds=20).document()
        {ending or "pass"}
    after = runs.health.full().document()
    gauges = {{line.split(" ")[0]: line.split(" ")[1] for line in
        runs.endpoints.reply("GET", "/metrics", "", {{}}, trusted=True).body.decode().splitlines() if "health_status" in line}}
    app = runs.endpoints.reply("GET", "/health/apps/shop", "", {{}}, trusted=True).status
    show([during["apps"]["shop"], after["apps"]["shop"], during["checks"], gauges, app])
    """
    (during, after, checks, gauges, app), _ = fresh(code, tmp_path)
    assert {"status": "deploying", "version": "2"} == during
    assert expected == after
    assert ("healthy", ["sqlalchemy"]) == (checks["database"]["status"], list(checks["database"]["ping_ms"]))
    assert "data_dir_mb" in checks["disk"]
    assert "1" == gauges['bext_health_status{check="database"}']
    assert (503 if "failed" in ending else 200) == app
