from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from bext_otel.errors import ConfigError
from bext_otel.health import Check, Health
from bext_otel.health.probes import MAX_THREADS
from tests.waiting import until

LONG_S = 60.0


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Hung:
    """A dependency that answers when it is let go, and counts how often it was asked."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.asked = 0

    def __call__(self) -> bool:
        self.asked += 1
        self.released.wait(LONG_S)
        return True


def health_threads() -> int:
    return sum(thread.name == "bext-health" for thread in threading.enumerate())


@pytest.fixture
def hung() -> Iterator[Hung]:
    dependency = Hung()
    yield dependency
    dependency.released.set()
    until(lambda: health_threads() == 0)


def test_the_full_document_is_the_specification_s() -> None:
    clock = Clock()
    health = Health(version="0.5.0", clock=clock)
    health.register("database", lambda: True)
    health.register("cache", lambda: {"entries": 4573, "hit_rate": 0.93})
    health.register("isolates", lambda: Check.healthy(active=8, max=100))
    health.register_app("marketing", "running", "abc1234")
    clock.now += 86400.9
    expected = {
        "status": "healthy",
        "version": "0.5.0",
        "uptime_secs": 86400,
        "checks": {
            "database": {"status": "healthy", "latency_ms": 0.0},
            "cache": {"status": "healthy", "latency_ms": 0.0, "entries": 4573, "hit_rate": 0.93},
            "isolates": {"status": "healthy", "latency_ms": 0.0, "active": 8, "max": 100},
        },
        "apps": {"marketing": {"status": "running", "version": "abc1234"}},
    }
    assert expected == health.full().document()
    assert list(expected) == list(health.full().document())


def test_live_is_200_whatever_else_is_broken(hung: Hung) -> None:
    health = Health(timeout_seconds=0.02)
    health.register("database", hung, critical=True)
    assert 503 == health.full().http_status
    assert 200 == health.live().http_status
    assert 1 == hung.asked


def test_ready_asks_nobody_before_something_critical_is_registered() -> None:
    health = Health()
    health.register("cache", lambda: False)
    assert (200, {}) == (health.ready().http_status, health.ready().checks)


@pytest.mark.parametrize("name", ["database", "isolates"])
def test_ready_asks_for_a_database_and_isolates_once_they_are_registered(name: str) -> None:
    health = Health(cache_seconds=0)
    answers = [False, True]
    health.register(name, lambda: answers.pop(0))
    assert 503 == health.ready().http_status
    assert until(lambda: health.ready().http_status) == 200
    health.unregister(name)
    assert {} == health.ready().checks


def test_what_is_not_critical_degrades_and_still_serves() -> None:
    health = Health()
    health.register("cache", lambda: False)
    assert ("degraded", 200) == (health.full().status, health.full().http_status)


def test_what_is_critical_and_unhealthy_makes_the_whole_unhealthy() -> None:
    health = Health()
    health.register("queue", lambda: False, critical=True)
    assert ("unhealthy", 503) == (health.full().status, health.full().http_status)


def test_a_failed_app_degrades_the_service() -> None:
    health = Health()
    health.register_app("api", "failed", "ghi9012")
    assert "degraded" == health.full().status
    health.register_app("api", "running", "ghi9013")
    assert "healthy" == health.full().status


def test_an_exception_is_told_by_its_type_never_by_its_message() -> None:
    def probe() -> None:
        raise ConnectionError("postgres://user:hunter2@db/")

    health = Health()
    health.register("database", probe)
    document = health.full().document()
    assert "ConnectionError" == document["checks"]["database"]["reason"]
    assert "hunter2" not in str(document)


def test_even_an_exit_inside_a_probe_is_a_finding() -> None:
    def probe() -> None:
        raise SystemExit(1)

    health = Health()
    health.register("plugin", probe)
    assert "SystemExit" == health.full().checks["plugin"].details["reason"]


def test_a_hung_dependency_is_told_within_the_limit(hung: Hung) -> None:
    health = Health(timeout_seconds=0.05)
    health.register("database", hung)
    check = health.ready().checks["database"]
    assert ("unhealthy", "no answer within 0.05 s") == (check.status, check.details["reason"])


def test_a_hung_dependency_is_not_asked_again_and_holds_one_thread(hung: Hung) -> None:
    health = Health(timeout_seconds=0.02, cache_seconds=0)
    health.register("database", hung)
    assert [503] * 20 == [health.ready().http_status for _ in range(20)]
    assert (1, 1) == (hung.asked, health_threads())


def test_a_hung_dependency_that_returns_is_asked_again(hung: Hung) -> None:
    health = Health(timeout_seconds=0.02, cache_seconds=0)
    health.register("database", hung)
    assert 503 == health.ready().http_status
    hung.released.set()
    assert until(lambda: health.ready().http_status == 200)


def test_a_hung_probe_does_not_keep_the_others_from_answering(hung: Hung) -> None:
    health = Health(timeout_seconds=0.05)
    health.register("slow", hung)
    health.register("cache", lambda: {"entries": 1})
    checks = health.full().checks
    assert ["unhealthy", "healthy"] == [checks["slow"].status, checks["cache"].status]


def test_probes_run_side_by_side() -> None:
    """Two probes that wait for each other both get through."""
    meeting = threading.Barrier(2, timeout=LONG_S)

    def probe() -> None:
        meeting.wait()

    health = Health(timeout_seconds=LONG_S)
    health.register("a", probe)
    health.register("b", probe)
    assert "healthy" == health.full().status


def test_a_probe_has_a_limit_of_its_own_if_it_names_one(hung: Hung) -> None:
    health = Health(timeout_seconds=LONG_S)
    health.register("database", hung, timeout_seconds=0.02)
    assert "no answer within 0.02 s" == health.ready().checks["database"].details["reason"]


def test_an_answer_is_good_for_the_cache_time_then_asked_anew() -> None:
    clock = Clock()
    health = Health(cache_seconds=1.0, clock=clock)
    asked: list[float] = []
    health.register("cache", lambda: asked.append(clock.now))
    health.full()
    clock.now += 1.0
    health.full()
    assert [1000.0] == asked
    clock.now += 0.1
    health.full()
    assert [1000.0, 1001.1] == asked


def test_visitors_that_come_together_share_one_run(hung: Hung) -> None:
    health = Health(timeout_seconds=LONG_S, cache_seconds=LONG_S)
    health.register("database", hung)
    statuses: list[int] = []
    visitors = [
        threading.Thread(target=lambda: statuses.append(health.ready().http_status)) for _ in range(8)
    ]
    for visitor in visitors:
        visitor.start()
    until(lambda: hung.asked)
    hung.released.set()
    for visitor in visitors:
        visitor.join()
    assert ([200] * 8, 1) == (statuses, hung.asked)


def test_latency_is_measured_in_milliseconds() -> None:
    clock = Clock()

    def probe() -> None:
        clock.now += 0.25

    health = Health(clock=clock)
    health.register("database", probe)
    assert 250.0 == health.full().document()["checks"]["database"]["latency_ms"]


def test_probes_that_replace_hung_ones_cannot_pile_up_threads(hung: Hung) -> None:
    health = Health(timeout_seconds=0.001, cache_seconds=0)
    for _ in range(MAX_THREADS + 10):
        health.register("database", hung)
        health.full()
    assert MAX_THREADS == health_threads()
    assert f"{MAX_THREADS} probes hang" == health.full().checks["database"].details["reason"]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_starts_over(hung: Hung) -> None:
    """The parent's hung thread does not exist in the child, so the child asks for itself."""
    health = Health(timeout_seconds=0.05)
    health.register("hung", hung)
    health.register("pid", lambda: {"pid": os.getpid()})
    health.full()
    pid = os.fork()
    if pid == 0:
        hung.released.set()
        health._prober._cache_seconds = LONG_S
        report = health.full()
        ok = (
            report.checks["pid"].details == {"pid": os.getpid()} and report.checks["hung"].status == "healthy"
        )
        os._exit(0 if ok else 1)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_probe_that_nobody_would_await_is_refused() -> None:
    async def probe() -> bool:
        return True

    with pytest.raises(ConfigError, match=r"'database'.*plain function"):
        Health().register("database", probe)  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_a_limit_that_is_none_is_refused(limit: float) -> None:
    with pytest.raises(ConfigError, match="seconds above 0"):
        Health().register("database", lambda: True, timeout_seconds=limit)


def test_probes_leave_no_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instrumented database drivers ask whether they may; inside a probe they may not."""
    from opentelemetry.instrumentation.utils import is_instrumentation_enabled

    health = Health()
    health.register("database", lambda: {"spans": is_instrumentation_enabled()})
    assert {"spans": False} == health.full().checks["database"].details
