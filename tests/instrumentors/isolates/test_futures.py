"""concurrent.futures: pools that are opted in, their workers, their tasks, and what they are part of."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import pytest
from opentelemetry import context, trace
from opentelemetry._logs import SeverityNumber

from bext_otel.apps import with_app
from bext_otel.catalogue import ISOLATE_COUNT, ISOLATE_ERRORS, ISOLATE_MEMORY, ISOLATE_RENDER_DURATION
from bext_otel_instrumentors.isolates.futures import FuturesInstrumentor, as_isolates
from tests.fresh import printed
from tests.instrumentors import tasks
from tests.instrumentors.conftest import Telemetry, instrumenting
from tests.instrumentors.pools import PROCESSES, THREADS, Named, answer, without_traceback
from tests.waiting import until

Instrument = Callable[..., FuturesInstrumentor]


@pytest.fixture
def instrument() -> Iterator[Instrument]:
    instrumentor = FuturesInstrumentor()

    def do(**kwargs: Any) -> FuturesInstrumentor:
        instrumentor.instrument(**kwargs)
        return instrumentor

    yield do
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


@pytest.fixture
def shop() -> Iterator[None]:
    token = context.attach(with_app("shop"))
    yield
    context.detach(token)


def processes() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def test_nothing_is_patched_where_nobody_opts_in(
    instrument: Instrument, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bext_otel_instrumentors.isolates.futures._opted_in", weakref.WeakSet())
    before = dict(vars(ThreadPoolExecutor))
    instrument()
    assert before == dict(vars(ThreadPoolExecutor))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(tasks.double, 1).result()
    assert [] == telemetry.spans()


def test_the_workers_of_a_pool_are_isolates_while_they_live(
    instrument: Instrument, telemetry: Telemetry
) -> None:
    instrument()
    with as_isolates(ThreadPoolExecutor(3), app="shop") as pool:
        barrier = threading.Barrier(4)
        for _ in range(3):
            pool.submit(barrier.wait)
        barrier.wait()
        assert {("shop",): 3} == telemetry.counts(ISOLATE_COUNT)
    assert {("shop",): 0} == telemetry.counts(ISOLATE_COUNT)
    assert {} == telemetry.counts(ISOLATE_MEMORY)
    assert {("shop",): 3} == telemetry.counts(ISOLATE_RENDER_DURATION)


def test_a_task_is_a_render_of_the_request_that_submitted_it(
    instrument: Instrument, telemetry: Telemetry, shop: None
) -> None:
    instrument()
    with as_isolates(ThreadPoolExecutor(1)) as pool:
        with trace.get_tracer_provider().get_tracer("test").start_as_current_span("request") as request:
            trace_id, app = pool.submit(tasks.seen).result()
    assert (f"{request.get_span_context().trace_id:032x}", "shop") == (trace_id, app)
    render = next(span for span in telemetry.spans() if span.name == "bext.render")
    assert render.parent is not None
    assert request.get_span_context().span_id == render.parent.span_id
    assert {("shop",): 1} == telemetry.counts(ISOLATE_RENDER_DURATION)


def test_a_worker_keeps_nothing_of_the_task_before(instrument: Instrument, telemetry: Telemetry) -> None:
    instrument()
    with as_isolates(ThreadPoolExecutor(1), app="shop") as pool:
        token = context.attach(with_app("blog"))
        assert "blog" == pool.submit(tasks.seen).result()[1]
        context.detach(token)
        assert None is pool.submit(tasks.seen).result()[1]
    assert {("blog",): 1, ("shop",): 1} == telemetry.counts(ISOLATE_RENDER_DURATION)


@pytest.mark.parametrize(
    ("error", "error_type"),
    [
        (MemoryError(), "out_of_memory"),
        (TimeoutError(), "timeout"),
        (LookupError(), "LookupError"),
        (SystemExit(1), "SystemExit"),
    ],
)
def test_a_task_that_fails_is_counted_by_type(
    instrument: Instrument, telemetry: Telemetry, error: BaseException, error_type: str
) -> None:
    instrument()
    with as_isolates(ThreadPoolExecutor(1), app="shop") as pool:
        assert error is pool.submit(tasks.fail, error).exception()
    assert {("shop", error_type): 1} == telemetry.counts(ISOLATE_ERRORS)


def test_pools_are_chosen_by_the_names_of_their_threads(instrument: Instrument, telemetry: Telemetry) -> None:
    instrument(pools=["render-*"])
    with ThreadPoolExecutor(1, "render-a") as chosen, ThreadPoolExecutor(1, "other") as other:
        for pool in (chosen, other):
            pool.submit(tasks.double, 1).result()
    assert {("unknown",): 1} == telemetry.counts(ISOLATE_RENDER_DURATION)


def test_several_patterns_choose_the_loops_own_pool_too(instrument: Instrument, telemetry: Telemetry) -> None:
    instrument(pools=("none", "asyncio*"))

    async def main() -> int:
        return await asyncio.get_running_loop().run_in_executor(None, tasks.double, 4)

    assert 8 == asyncio.run(main())
    assert {("unknown",): 1} == telemetry.counts(ISOLATE_RENDER_DURATION)


def test_a_pool_that_was_opted_in_before_is_covered(instrument: Instrument, telemetry: Telemetry) -> None:
    with as_isolates(ThreadPoolExecutor(1), app="shop") as pool:
        instrument()
        pool.submit(tasks.double, 1).result()
        assert {("shop",): 1} == telemetry.counts(ISOLATE_COUNT)


def test_a_pool_that_is_collected_is_gone(instrument: Instrument, telemetry: Telemetry) -> None:
    instrument()
    pool = as_isolates(ThreadPoolExecutor(1), app="shop")
    pool.submit(tasks.double, 1).result()
    assert {("shop",): 1} == telemetry.counts(ISOLATE_COUNT)
    threads, gone = list(pool._threads), weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None
    until(lambda: not any(thread.is_alive() for thread in threads))
    assert {("shop",): 0} == telemetry.counts(ISOLATE_COUNT)


def test_a_task_in_a_process_is_in_the_same_trace_and_app(
    instrument: Instrument, telemetry: Telemetry, shop: None
) -> None:
    instrument(pools=["processes"])
    with processes() as pool:
        with trace.get_tracer_provider().get_tracer("test").start_as_current_span("request") as request:
            found = pool.submit(tasks.seen).result()
        assert (f"{request.get_span_context().trace_id:032x}", "shop") == found
        assert [2, 4] == list(pool.map(tasks.double, [1, 2]))
        assert {("shop",): 1} == telemetry.counts(ISOLATE_COUNT)
    assert {("shop",): 0} == telemetry.counts(ISOLATE_COUNT)


def test_a_worker_killed_in_the_middle_is_a_crash(
    instrument: Instrument, telemetry: Telemetry, shop: None
) -> None:
    instrument(pools=["processes"])
    with processes() as pool:
        pool.submit(tasks.double, 1).result()
        assert {("shop",): 1} == telemetry.counts(ISOLATE_COUNT)
        with trace.get_tracer_provider().get_tracer("test").start_as_current_span("request") as request:
            futures = [pool.submit(tasks.die), pool.submit(tasks.double, 1)]
        for future in futures:
            assert isinstance(future.exception(), BrokenProcessPool)
        until(lambda: telemetry.counts(ISOLATE_ERRORS).get(("shop", "crashed")) == 2)
        assert {("shop",): 0} == telemetry.counts(ISOLATE_COUNT)
    renders = [span for span in telemetry.spans() if span.name == "bext.render"]
    assert {request.get_span_context().span_id} == {span.parent.span_id for span in renders if span.parent}
    until(lambda: len(telemetry._records.get_finished_logs()) == 2)
    told = [data.log_record for data in telemetry._records.get_finished_logs()]
    assert {("isolate crashed", SeverityNumber.ERROR)} == {(log.body, log.severity_number) for log in told}


FORKED = """
import multiprocessing, os
from concurrent.futures import ProcessPoolExecutor
from opentelemetry import metrics, trace
from bext_otel.catalogue import ISOLATE_COUNT, ISOLATE_RENDER_DURATION
from bext_otel_instrumentors.isolates.futures import FuturesInstrumentor
from tests.instrumentors.conftest import Telemetry

telemetry = Telemetry()
metrics.set_meter_provider(telemetry.meter_provider)
trace.set_tracer_provider(telemetry.tracer_provider)
FuturesInstrumentor().instrument(pools=["processes"])

def told():
    return sum(telemetry.counts(ISOLATE_COUNT).values()), sum(telemetry.counts(ISOLATE_RENDER_DURATION).values())

with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
    pool.submit(int).result()
    child = pool.submit(told).result()
    print(child, told())
"""


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork")
def test_a_forked_worker_measures_its_tasks_and_has_no_isolates_of_its_own() -> None:
    assert "(0, 1) (1, 0)" == printed(FORKED, "-W", "ignore")


def compared(make: Callable[[], Executor], use: Callable[[Executor], Any]) -> tuple[Any, Any]:
    bare = answer(make, use)
    with instrumenting(FuturesInstrumentor, pools=["*", "processes"]):
        return bare, answer(make, use)


@pytest.mark.parametrize("make", [lambda: ThreadPoolExecutor(1), lambda: Named(1)])
@pytest.mark.parametrize("call", THREADS)
def test_results_and_errors_of_threads_are_the_library_s(
    call: str, make: Callable[[], Executor], telemetry: Telemetry
) -> None:
    bare, instrumented = compared(make, THREADS[call])
    assert bare == instrumented


@pytest.mark.parametrize("call", PROCESSES)
def test_results_and_errors_of_processes_are_the_library_s(call: str, telemetry: Telemetry) -> None:
    bare, instrumented = compared(processes, PROCESSES[call])
    assert without_traceback(bare) == without_traceback(instrumented)


def test_everything_is_put_back(instrument: Instrument, telemetry: Telemetry) -> None:
    before = dict(vars(ThreadPoolExecutor)), dict(vars(ProcessPoolExecutor))
    instrumentor = instrument(pools=["*", "processes"])
    with ThreadPoolExecutor(1) as pool:
        pool.submit(tasks.double, 1).result()
        instrumentor.uninstrument()
        pool.submit(tasks.double, 1).result()
    assert before == (dict(vars(ThreadPoolExecutor)), dict(vars(ProcessPoolExecutor)))
    assert {("unknown",): 1} == telemetry.counts(ISOLATE_RENDER_DURATION)
