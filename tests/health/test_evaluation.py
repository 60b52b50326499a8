from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator

import pytest

from bext_otel import threads
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
            "database": {"status": "healthy", "latency_ms": 0.0, "age_secs": 0.0},
            "cache": {
                "status": "healthy",
                "latency_ms": 0.0,
                "entries": 4573,
                "hit_rate": 0.93,
                "age_secs": 0.0,
            },
            "isolates": {"status": "healthy", "latency_ms": 0.0, "active": 8, "max": 100, "age_secs": 0.0},
        },
        "apps": {"marketing": {"status": "running", "version": "abc1234"}},
    }
    assert expected == health.full(wait_seconds=LONG_S).document()
    assert list(expected) == list(health.full(wait_seconds=LONG_S).document())


def test_live_is_200_whatever_else_is_broken(hung: Hung) -> None:
    health = Health(timeout_seconds=0.02)
    health.register("database", hung, critical=True)
    assert 503 == health.full(wait_seconds=LONG_S).http_status
    assert 200 == health.live().http_status


def test_ready_asks_nobody_before_something_critical_is_registered() -> None:
    health = Health()
    health.register("cache", lambda: False)
    assert (200, {}) == (
        health.ready(wait_seconds=LONG_S).http_status,
        health.ready(wait_seconds=LONG_S).checks,
    )


@pytest.mark.parametrize("name", ["database", "isolates"])
def test_ready_asks_for_a_database_and_isolates_once_they_are_registered(name: str) -> None:
    health = Health(interval_seconds=0.01)
    answers = [False]
    health.register(name, lambda: not answers or answers[0])
    assert 503 == health.ready(wait_seconds=LONG_S).http_status
    answers.clear()
    until(lambda: health.ready().http_status == 200)
    health.unregister(name)
    assert {} == health.ready().checks


def test_what_is_not_critical_degrades_and_still_serves() -> None:
    health = Health()
    health.register("cache", lambda: False)
    assert ("degraded", 200) == (
        health.full(wait_seconds=LONG_S).status,
        health.full(wait_seconds=LONG_S).http_status,
    )


def test_what_is_critical_and_unhealthy_makes_the_whole_unhealthy() -> None:
    health = Health()
    health.register("queue", lambda: False, critical=True)
    assert ("unhealthy", 503) == (
        health.full(wait_seconds=LONG_S).status,
        health.full(wait_seconds=LONG_S).http_status,
    )


def test_a_failed_app_degrades_the_service() -> None:
    health = Health()
    health.register_app("api", "failed", "ghi9012")
    assert "degraded" == health.full(wait_seconds=LONG_S).status
    health.register_app("api", "running", "ghi9013")
    assert "healthy" == health.full(wait_seconds=LONG_S).status


def test_an_exception_is_told_by_its_type_never_by_its_message() -> None:
    def probe() -> None:
        raise ConnectionError("postgres://user:hunter2@db/")

    health = Health()
    health.register("database", probe)
    document = health.full(wait_seconds=LONG_S).document()
    assert "ConnectionError" == document["checks"]["database"]["reason"]
    assert "hunter2" not in str(document)


def test_even_an_exit_inside_a_probe_is_a_finding() -> None:
    def probe() -> None:
        raise SystemExit(1)

    health = Health()
    health.register("plugin", probe)
    assert "SystemExit" == health.full(wait_seconds=LONG_S).checks["plugin"].details["reason"]


def test_a_hung_dependency_is_told_within_the_limit(hung: Hung) -> None:
    health = Health(timeout_seconds=0.05)
    health.register("database", hung)
    check = health.ready(wait_seconds=LONG_S).checks["database"]
    assert ("unhealthy", "no answer within 0.05 s") == (check.status, check.details["reason"])


def test_a_hung_dependency_is_not_asked_again_and_holds_one_thread(hung: Hung) -> None:
    beats: list[int] = []
    health = Health(timeout_seconds=0.02, interval_seconds=0.01)
    health.register("database", hung)
    health.register("cache", lambda: beats.append(1))
    until(lambda: health.ready().http_status == 503 and len(beats) > 20)
    assert 1 == hung.asked
    assert health_threads() <= 3


def test_a_hung_dependency_that_returns_is_asked_again(hung: Hung) -> None:
    health = Health(timeout_seconds=0.02, interval_seconds=0.01)
    health.register("database", hung)
    assert 503 == health.ready(wait_seconds=LONG_S).http_status
    hung.released.set()
    until(lambda: health.ready().http_status == 200)


def test_a_hung_probe_does_not_keep_the_others_from_answering(hung: Hung) -> None:
    health = Health(timeout_seconds=0.05)
    health.register("slow", hung)
    health.register("cache", lambda: {"entries": 1})
    until(lambda: [check.status for check in health.full().checks.values()] == ["unhealthy", "healthy"])


def test_probes_run_side_by_side() -> None:
    """Two probes that wait for each other both get through."""
    meeting = threading.Barrier(2, timeout=LONG_S)

    def probe() -> None:
        meeting.wait()

    health = Health(timeout_seconds=LONG_S)
    health.register("a", probe)
    health.register("b", probe)
    assert "healthy" == health.full(wait_seconds=LONG_S).status


def test_a_probe_has_a_limit_of_its_own_if_it_names_one(hung: Hung) -> None:
    health = Health(timeout_seconds=LONG_S)
    health.register("database", hung, timeout_seconds=0.02)
    assert "no answer within 0.02 s" == health.ready(wait_seconds=LONG_S).checks["database"].details["reason"]


def test_nobody_waits_for_an_answer_and_before_the_first_nothing_critical_is_ready(hung: Hung) -> None:
    health = Health(timeout_seconds=LONG_S)
    health.register("database", hung, critical=True)
    report = health.ready()
    assert ("starting", 503) == (report.status, report.http_status)
    hung.released.set()
    until(lambda: health.ready().http_status == 200)


def test_what_is_not_critical_may_start_while_the_service_is_healthy(hung: Hung) -> None:
    health = Health(timeout_seconds=LONG_S)
    health.register("cache", hung)
    report = health.full()
    assert ("healthy", "starting") == (report.status, report.checks["cache"].status)


def test_a_result_that_nobody_refreshes_is_not_green() -> None:
    clock = Clock()
    health = Health(interval_seconds=LONG_S, clock=clock)
    health.register("database", lambda: True)
    assert 200 == health.ready(wait_seconds=LONG_S).http_status
    clock.now += 3 * LONG_S
    assert 200 == health.ready().http_status
    clock.now += 1
    report = health.ready()
    assert 503 == report.http_status
    assert (
        "the last answer is 181 s old; it is asked each 60 s" == report.checks["database"].details["reason"]
    )


def test_probes_are_asked_at_their_intervals_whether_anybody_wants_to_know_or_not() -> None:
    asked: list[int] = []
    health = Health(interval_seconds=0.01)
    health.register("cache", lambda: asked.append(1))
    health.begin()
    until(lambda: len(asked) > 5)
    health.end()


def test_a_thousand_questions_ask_nobody_anew() -> None:
    asked: list[int] = []
    health = Health(interval_seconds=LONG_S)
    health.register("database", lambda: asked.append(1))
    health.ready(wait_seconds=LONG_S)
    assert {200} == {health.ready().http_status for _ in range(1000)}
    assert [1] == asked


def test_a_check_turns_after_as_many_results_as_it_was_given() -> None:
    answers = iter([True, False, False, True, False, False, False, True, True])
    shown: list[str] = []
    health = Health(interval_seconds=0.01)

    def probe() -> bool:
        shown.append(health.full().checks["queue"].status)
        return next(answers, True)

    health.register("queue", probe, failures=3, successes=2)
    health.begin()
    until(lambda: len(shown) >= 10)
    health.end()
    assert ["starting", *["healthy"] * 6, "unhealthy", "unhealthy", "healthy"] == shown[:10]


def test_something_critical_that_does_not_answer_in_time_turns_at_once(hung: Hung) -> None:
    health = Health(timeout_seconds=0.05, interval_seconds=0.01)
    hung.released.set()
    health.register("database", hung, critical=True, failures=100)
    assert 200 == health.ready(wait_seconds=LONG_S).http_status
    hung.released.clear()
    until(lambda: health.ready().http_status == 503)


def test_a_process_that_drains_is_alive_and_not_ready() -> None:
    health = Health()
    assert 200 == health.ready().http_status
    health.drain()
    assert (503, 200) == (health.ready().http_status, health.live().http_status)
    assert "this process ends soon, and still serves" == health.ready().checks["drain"].details["reason"]


def test_a_coroutine_function_is_awaited() -> None:
    async def probe() -> dict[str, int]:
        await asyncio.sleep(0)
        return {"size": 3}

    health = Health()
    health.register("pool", probe)
    assert 3 == health.full(wait_seconds=LONG_S).checks["pool"].details["size"]


def test_a_coroutine_function_is_awaited_in_the_loop_that_registered_it() -> None:
    async def main() -> None:
        asked = asyncio.Event()

        async def probe() -> None:
            asked.set()  # in another loop it would wake nobody here

        health.register("pool", probe)
        health.begin()
        await asyncio.wait_for(asked.wait(), LONG_S)

    health = Health()
    asyncio.run(main())


def test_a_coroutine_that_hangs_is_told_within_the_limit() -> None:
    async def probe() -> None:
        await asyncio.sleep(LONG_S)

    health = Health(timeout_seconds=0.05)
    health.register("pool", probe)
    check = health.full(wait_seconds=LONG_S).checks["pool"]
    assert ("unhealthy", "no answer within 0.05 s") == (check.status, check.details["reason"])


def test_where_no_thread_can_be_had_who_wants_to_know_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "start", lambda *_, **__: None)
    health = Health()
    health.register("database", lambda: False)
    assert 503 == health.ready().http_status


def test_latency_is_measured_in_milliseconds() -> None:
    clock = Clock()

    def probe() -> None:
        clock.now += 0.25

    health = Health(clock=clock)
    health.register("database", probe)
    assert 250.0 == health.full(wait_seconds=LONG_S).document()["checks"]["database"]["latency_ms"]


def test_probes_that_replace_hung_ones_cannot_pile_up_threads(hung: Hung) -> None:
    health = Health(timeout_seconds=LONG_S)
    health.begin()
    for number in range(MAX_THREADS + 10):
        health.register("database", hung)
        until(lambda number=number: hung.asked == min(number + 1, MAX_THREADS))
    until(lambda: health.full().checks["database"].details.get("reason") == f"{MAX_THREADS} probes hang")
    assert health_threads() - MAX_THREADS in {0, 1}  # one may wait for the next probe


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_starts_over(hung: Hung) -> None:
    """The parent's hung thread does not exist in the child, so the child asks for itself."""
    health = Health(timeout_seconds=0.05)
    health.register("hung", hung)
    health.register("pid", lambda: {"pid": os.getpid()})
    health.full(wait_seconds=LONG_S)
    pid = os.fork()
    if pid == 0:
        hung.released.set()
        report = health.full(wait_seconds=LONG_S)
        ok = report.checks["pid"].details["pid"] == os.getpid() and report.checks["hung"].status == "healthy"
        os._exit(0 if ok else 1)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'database'.*expected a function"):
        Health().register("database", 5)  # type: ignore[arg-type]


@pytest.mark.parametrize("setting", ["failures", "successes"])
def test_a_number_of_results_that_is_none_is_refused(setting: str) -> None:
    with pytest.raises(ConfigError, match=f"{setting} = 0: expected a whole number from 1"):
        Health().register("database", lambda: True, **{setting: 0})


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_a_limit_that_is_none_is_refused(limit: float) -> None:
    with pytest.raises(ConfigError, match="seconds above 0"):
        Health().register("database", lambda: True, timeout_seconds=limit)


def test_probes_leave_no_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instrumented database drivers ask whether they may; inside a probe they may not."""
    from opentelemetry.instrumentation.utils import is_instrumentation_enabled

    health = Health()
    health.register("database", lambda: {"spans": is_instrumentation_enabled()})
    assert health.full(wait_seconds=LONG_S).checks["database"].details["spans"] is False


def test_a_probe_that_looks_at_memory_only_says_what_is_now() -> None:
    held = [1]
    health = Health(interval_seconds=LONG_S)
    health.register("cache", lambda: {"entries": held[0]}, at_once=True)
    assert 1 == health.full().checks["cache"].details["entries"]
    held[0] = 2
    assert 2 == health.full().checks["cache"].details["entries"]


def test_what_is_found_while_a_service_serves_does_not_make_it_unready_before_it_was_asked(
    hung: Hung,
) -> None:
    health = Health(timeout_seconds=LONG_S)
    health.register_found("database", hung)
    assert 503 == health.ready().http_status
    health.unregister("database")
    health.register_found("database", hung)
    assert ("starting", 200) == (health.ready().checks["database"].status, health.ready().http_status)
    health.register_found("database", lambda: False)
    assert "starting" == health.ready().checks["database"].status


def test_a_check_of_the_application_s_own_takes_the_place_of_one_that_was_found() -> None:
    health = Health()
    health.register("database", lambda: {"own": True})
    health.register_found("database", lambda: False)
    assert True is health.full(wait_seconds=LONG_S).checks["database"].details["own"]
