"""APScheduler: jobs are nobody's work, whoever started the scheduler or added them."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterator

import pytest
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.blocking import BlockingScheduler
from opentelemetry import trace

from bext_otel_instrumentors.threads.apscheduler import APSchedulerInstrumentor
from bext_otel_instrumentors.threads.threading import ThreadingInstrumentor
from tests.instrumentors.conftest import Telemetry


@pytest.fixture(autouse=True)
def instrumented(telemetry: Telemetry) -> Iterator[None]:
    ThreadingInstrumentor().instrument()
    APSchedulerInstrumentor().instrument()
    yield
    APSchedulerInstrumentor().uninstrument()
    ThreadingInstrumentor().uninstrument()


class Jobs:
    """Tells for each run of a job the trace that it saw."""

    def __init__(self) -> None:
        self.seen: queue.SimpleQueue[int] = queue.SimpleQueue()

    def __call__(self) -> None:
        self.seen.put(trace.get_current_span().get_span_context().trace_id)

    async def asynchronously(self) -> None:
        self()


def test_a_job_that_a_request_has_scheduled_in_its_loop() -> None:
    async def main() -> list[int]:
        jobs, scheduler = Jobs(), AsyncIOScheduler()
        with trace.get_tracer_provider().get_tracer("test").start_as_current_span("request"):
            scheduler.add_job(jobs, "interval", seconds=0.05)
            scheduler.add_job(jobs.asynchronously, "interval", seconds=0.05)
            scheduler.start()
        found = [await asyncio.to_thread(jobs.seen.get, timeout=20) for _ in range(4)]
        scheduler.shutdown(wait=False)
        return found

    assert [0] * 4 == asyncio.run(main())


def test_a_job_of_a_scheduler_that_a_request_has_started() -> None:
    jobs, scheduler = Jobs(), BackgroundScheduler()
    with trace.get_tracer_provider().get_tracer("test").start_as_current_span("request"):
        scheduler.add_job(jobs, "interval", seconds=0.05)
        scheduler.start()
    assert [0] * 3 == [jobs.seen.get(timeout=20) for _ in range(3)]
    scheduler.shutdown()


def test_a_job_of_a_command_that_schedules() -> None:
    """The scheduler works in the context of whoever called it."""
    jobs, scheduler = Jobs(), BlockingScheduler()
    scheduler.add_job(jobs, "interval", seconds=0.05)
    scheduler.add_job(lambda: scheduler.shutdown(wait=False), "interval", seconds=0.3)
    with trace.get_tracer_provider().get_tracer("test").start_as_current_span("command") as command:
        scheduler.start()
        assert trace.get_current_span() is command
    assert 0 == jobs.seen.get(timeout=20)
