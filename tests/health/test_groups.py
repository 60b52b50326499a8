from __future__ import annotations

import threading

from bext_otel.config import GroupSettings
from bext_otel.health import Health

LONG_S = 60.0


def grouped(**groups: GroupSettings) -> Health:
    health = Health(groups=groups)
    health.register("database", lambda: True)
    health.register("queue", lambda: False)
    return health


def test_a_group_asks_for_its_checks_only() -> None:
    health = grouped(storage=GroupSettings(checks=("database",)), all=GroupSettings(checks=("*",)))
    assert ["database"] == list(health.group("storage", wait_seconds=LONG_S).checks)
    assert ["database", "queue"] == list(health.group("all", wait_seconds=LONG_S).checks)


def test_ready_and_live_are_groups_that_may_have_other_checks() -> None:
    def names(health: Health, group: str) -> list[str]:
        return list(health.group(group, wait_seconds=LONG_S).checks)

    assert [["database"], []] == [names(grouped(), "ready"), names(grouped(), "live")]
    chosen = GroupSettings(checks=("queue",))
    assert [["queue"], ["queue"]] == [
        names(grouped(ready=chosen), "ready"),
        names(grouped(live=chosen), "live"),
    ]


def test_an_unknown_check_is_named_by_a_line_and_by_a_503() -> None:
    lines: list[str] = []
    health = Health(groups={"storage": GroupSettings(checks=("disc",))}, warn=lines.append)
    report = health.group("storage")
    assert (503, {"status": "unhealthy", "reason": "no check is named disc"}) == (
        report.http_status,
        report.plain(),
    )
    assert [
        "[health.groups.storage] checks names 'disc', and no check has that name: the group is unhealthy"
    ] == lines


def test_a_group_says_its_own_http_statuses() -> None:
    degraded = GroupSettings(checks=("queue",), status={"degraded": 429})
    assert 429 == grouped(work=degraded).group("work", wait_seconds=LONG_S).http_status


def test_startup_is_over_for_good_once_what_is_critical_was_healthy() -> None:
    health = Health(interval_seconds=0.01)
    answers = [True]
    released = threading.Event()

    def database() -> bool:
        released.wait(LONG_S)
        return answers[0]

    health.register("database", database)
    assert 503 == health.group("startup").http_status
    released.set()
    assert 200 == health.group("startup", wait_seconds=LONG_S).http_status
    answers[0] = False
    while health.ready().http_status == 200:
        pass
    assert 200 == health.group("startup").http_status


def test_only_ready_and_the_whole_know_that_a_process_drains() -> None:
    health = grouped(storage=GroupSettings(checks=("database",)))
    health.full(wait_seconds=LONG_S)
    health.drain()
    statuses = {name: health.group(name).http_status for name in ("live", "ready", "startup", "storage")}
    assert {"live": 200, "ready": 503, "startup": 200, "storage": 200} == statuses
    assert 503 == health.full().http_status
