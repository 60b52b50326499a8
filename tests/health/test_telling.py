from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from bext_otel.catalogue import HEALTH_CHECK_DURATION, HEALTH_STATUS
from bext_otel.health import Check, Health
from bext_otel.health.telling import observe_checks
from tests.instrumentors.conftest import Telemetry, telemetry, use_telemetry  # noqa: F401  # fixtures
from tests.waiting import until

LONG_S = 60.0


def told(telemetry: Telemetry) -> list[tuple[str | None, dict[str, Any]]]:
    records = [data.log_record for data in telemetry._records.get_finished_logs()]
    return [(record.severity_text, dict(record.attributes or {})) for record in records]


@pytest.mark.parametrize(("critical", "level"), [(True, "ERROR"), (False, "WARN")])
def test_a_change_is_one_entry_with_its_reason_and_how_long_the_former_state_lasted(
    telemetry: Telemetry, critical: bool, level: str
) -> None:
    answers: list[Callable[[], Check]] = [Check.healthy]
    health = Health(interval_seconds=0.01)
    health.register("queue", lambda: answers[0](), critical=critical)
    until(lambda: health.full().checks["queue"].status == "healthy")
    answers[0] = lambda: Check.unhealthy(reason="backlog")
    until(lambda: told(telemetry))
    answers[0] = Check.healthy
    until(lambda: len(told(telemetry)) > 1)
    (worse, turned), (better, back) = told(telemetry)
    assert [level, "INFO"] == [worse, better]
    assert [True, True] == [turned.pop("lasted_seconds") >= 0, back.pop("lasted_seconds") >= 0]
    assert {
        "check": "queue",
        "status": "unhealthy",
        "previous_status": "healthy",
        "reason": "backlog",
    } == turned
    assert {
        "check": "queue",
        "status": "healthy",
        "previous_status": "unhealthy",
        "reason": "backlog",
    } == back


def test_a_check_that_hangs_is_told_while_it_does_and_once(telemetry: Telemetry) -> None:
    released = threading.Event()
    health = Health(interval_seconds=0.01, timeout_seconds=0.05)
    health.register("queue", lambda: released.wait(LONG_S), critical=True)
    health.begin()
    until(lambda: told(telemetry))
    released.set()
    until(lambda: health.ready().http_status == 200)
    until(lambda: len(told(telemetry)) > 1)
    assert [("ERROR", "unhealthy"), ("INFO", "healthy")] == [
        (level, fields["status"]) for level, fields in told(telemetry)
    ]
    assert "no answer within 0.05 s" == told(telemetry)[0][1]["reason"]


def test_each_run_is_timed_by_its_check(telemetry: Telemetry) -> None:
    health = Health(interval_seconds=0.01)
    health.register("queue", lambda: True)
    health.begin()
    until(lambda: telemetry.counts(HEALTH_CHECK_DURATION).get(("queue",), 0) > 2)
    assert [] == told(telemetry)


def test_the_gauge_says_what_health_says(telemetry: Telemetry) -> None:
    health = Health()
    health.register("good", lambda: True)
    health.register("so_so", Check.degraded)
    health.register("bad", lambda: False)
    health.register("hangs", threading.Event().wait, timeout_seconds=LONG_S)
    undo = observe_checks(health.current)
    try:
        assert {} == telemetry.counts(HEALTH_STATUS)
        until(lambda: health.full() and len(telemetry.counts(HEALTH_STATUS)) == 3)
        assert {("good",): 1, ("so_so",): 0.5, ("bad",): 0} == telemetry.counts(HEALTH_STATUS)
    finally:
        undo()
