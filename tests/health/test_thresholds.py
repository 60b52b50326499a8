from __future__ import annotations

import asyncio
import time

import pytest

from bext_otel.config import CheckSettings, ThresholdLevels, ThresholdSettings
from bext_otel.health import Check, Health
from bext_otel.health.loop_lag import LoopLag
from bext_otel.health.thresholds import judged
from tests.waiting import until

LONG_S = 60.0
THRESHOLDS = ThresholdSettings(
    latency_ms=ThresholdLevels(degraded=100, unhealthy=1000),
    hit_rate=ThresholdLevels(degraded=0.8, unhealthy=0.5),
    backlog=ThresholdLevels(degraded=10),
)


@pytest.mark.parametrize(
    ("check", "status", "reason"),
    [
        (Check.healthy(backlog=10), "healthy", None),
        (Check.healthy(backlog=11), "degraded", "backlog is 11"),
        (Check.healthy(backlog=True), "healthy", None),
        (Check.healthy(backlog="many"), "healthy", None),
        (Check.healthy(hit_rate=0.8), "healthy", None),
        (Check.healthy(hit_rate=0.79), "degraded", "hit_rate is 0.79"),
        (Check.healthy(hit_rate=0), "unhealthy", "hit_rate is 0"),
        (Check("healthy", {}, 101.0), "degraded", "latency_ms is 101"),
        (Check("healthy", {"backlog": 11}, 1001.0), "unhealthy", "latency_ms is 1001"),
        (Check.unhealthy(reason="down", backlog=11), "unhealthy", "down"),
    ],
)
def test_a_figure_past_its_threshold_makes_a_check_worse_and_never_better(
    check: Check, status: str, reason: str | None
) -> None:
    found = judged(check, THRESHOLDS)
    assert (status, reason) == (found.status, found.details.get("reason"))


def test_a_threshold_turns_a_check_as_its_own_answer_would() -> None:
    health = Health(thresholds=THRESHOLDS, checks={"queue": CheckSettings(failures=2)}, interval_seconds=0.01)
    backlog = [3]
    health.register("queue", lambda: {"backlog": backlog[0]}, critical=True)
    assert 200 == health.ready(wait_seconds=LONG_S).http_status
    backlog[0] = 30
    until(lambda: health.ready().status == "degraded")
    assert 200 == health.ready().http_status


def test_the_lag_of_an_event_loop_is_what_others_wait() -> None:
    lag = LoopLag(0.2)

    async def served() -> list[Check]:
        lag.watch(lambda _: None)
        found = [await asyncio.to_thread(lag)]
        asked = asyncio.get_running_loop().run_in_executor(None, lag)
        time.sleep(0.5)  # noqa: ASYNC251  # the application's fault
        found.append(await asked)
        return found

    quick, late = asyncio.run(served())
    assert "healthy" == judged(quick, ThresholdSettings()).status
    assert late.details["lag_ms"] >= 150
    assert Check.healthy(running=False) == lag()


def test_without_a_loop_there_is_no_such_check() -> None:
    registered: list[object] = []
    LoopLag(0.2).watch(registered.append)
    assert [] == registered
