"""Which process evaluates, and whom it tells."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from bext_otel.alerts.evaluation import Alert
from bext_otel.alerts.service import AlertService
from bext_otel.config.model import AlertRule
from bext_otel.metrics.snapshot import Family, Numbers, Series, Snapshot
from tests.waiting import until

RULES = {"long_queue": AlertRule(metric="queue", limit=10, by=("app",))}


def snapshot(length: float, at: float = 1.0) -> Snapshot:
    points = Numbers([Series((("app", "shop"),))], [length])
    return Snapshot(at, 0.0, at, (Family("queue", "gauge", "", "", points),))


class Words:
    """One right to speak for all."""

    def __init__(self) -> None:
        self.taken = False

    def take(self) -> Words | None:
        if self.taken:
            return None
        self.taken = True
        return self

    def close(self) -> None:
        self.taken = False


def service(words: Words, told: list[Alert], read: Any = lambda: snapshot(50), **given: Any) -> AlertService:
    settings = {"interval_seconds": 0.01, "take_word": words.take, "notify": [told.append], **given}
    return AlertService(RULES, read, **settings)


def test_one_of_two_evaluates_and_the_other_takes_over() -> None:
    words, told = Words(), list[Alert]()
    first, second = service(words, told), service(words, told)
    assert (True, False) == (first.look(), second.look())
    assert [("long_queue", "firing", "shop")] == [
        (each.rule, each.state, each.labels["app"]) for each in told
    ]
    first.close()
    assert second.look()
    second.close()


def test_a_receiver_that_raises_keeps_nobody_from_being_told(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Alert] = []

    def broken(alert: Alert) -> None:
        raise ConnectionError("nobody there")

    lengths = iter([50, 5, 50])
    watching = service(Words(), told, lambda: snapshot(next(lengths)), notify=[broken, told.append])
    with caplog.at_level(logging.WARNING):
        assert [True] * 3 == [watching.look() for _ in range(3)]
    watching.close()
    assert ["firing", "resolved", "firing"] == [alert.state for alert in told]
    assert 1 == len([line for line in caplog.messages if "nobody there" in line])


def test_its_thread_goes_on_after_a_reading_that_failed() -> None:
    told: list[Alert] = []
    failures = [OSError("no shared file")]

    def read() -> Snapshot:
        if failures:
            raise failures.pop()
        return snapshot(50)

    watching = service(Words(), told, read)
    watching.start()
    watching.start()
    until(lambda: told, why="an alert after the first reading has failed")
    watching.close()


def test_nothing_runs_without_rules() -> None:
    watching = AlertService({}, lambda: snapshot(1), interval_seconds=0.01, take_word=Words().take, notify=[])
    watching.start()
    assert watching._stop is None
    watching.close()
