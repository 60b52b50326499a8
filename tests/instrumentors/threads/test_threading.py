"""threading and concurrent.futures: what runs elsewhere is part of what started it, and of nothing else."""

from __future__ import annotations

import asyncio
import logging.handlers
import multiprocessing
import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent import futures
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial, wraps
from multiprocessing.pool import Pool, ThreadPool
from multiprocessing.process import BaseProcess
from typing import Any

import pytest
from opentelemetry import context, trace
from opentelemetry.context import Context

from bext_otel.apps import with_app
from bext_otel_instrumentors.isolates.futures import FuturesInstrumentor, as_isolates
from bext_otel_instrumentors.threads import threading as instrumentor_module
from bext_otel_instrumentors.threads.threading import ThreadingInstrumentor
from tests.fresh import printed
from tests.instrumentors import tasks
from tests.instrumentors.conftest import Telemetry, instrumenting
from tests.instrumentors.outcomes import outcome
from tests.instrumentors.pools import PROCESSES, THREADS, Named, answer, without_traceback

METHODS = multiprocessing.get_all_start_methods()
NOTHING = ("0" * 32, None)


@pytest.fixture
def instrumentor() -> Iterator[ThreadingInstrumentor]:
    found = ThreadingInstrumentor()
    found.instrument()
    yield found
    if found.is_instrumented_by_opentelemetry:
        found.uninstrument()


@contextmanager
def request(app: str) -> Iterator[tuple[str, str]]:
    """A request to an app; what work of it is to see."""
    token = context.attach(with_app(app))
    try:
        with trace.get_tracer_provider().get_tracer("test").start_as_current_span("request") as span:
            yield f"{span.get_span_context().trace_id:032x}", app
    finally:
        context.detach(token)


def processes(method: str) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method))


def told(start: Callable[[Callable[[], None]], Any]) -> Any:
    """What a function sees that `start` runs elsewhere."""
    seen: queue.Queue[Any] = queue.Queue()
    start(lambda: seen.put(tasks.seen()))
    return seen.get(timeout=20)


class Doing(threading.Thread):
    """A thread with a class of its own that runs its target all the same."""


class Worker(threading.Thread):
    """A thread with a `run` of its own: it may serve anybody."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__()
        self._work = work

    def run(self) -> None:
        self._work()


def in_executor(work: Callable[[], None]) -> None:
    async def main() -> None:
        await asyncio.get_running_loop().run_in_executor(None, work)

    asyncio.run(main())


def in_pool(work: Callable[[], None]) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work)


def mapped(work: Callable[[], None]) -> None:
    with Named(1) as pool:
        list(pool.map(lambda _: work(), [1]))


ELSEWHERE: dict[str, Callable[[Callable[[], None]], Any]] = {
    "thread": lambda work: threading.Thread(target=work).start(),
    "daemon": lambda work: threading.Thread(target=work, daemon=True).start(),
    "subclass": lambda work: Doing(target=work).start(),
    "partial": lambda work: threading.Thread(target=partial(work)).start(),
    "arguments": lambda work: threading.Thread(
        None, lambda given, *, key: given(), args=(work,), kwargs={"key": 1}
    ).start(),
    "timer": lambda work: threading.Timer(0, work).start(),
    "pool": in_pool,
    "map": mapped,
    "run_in_executor": in_executor,
    "to_thread": lambda work: asyncio.run(asyncio.to_thread(work)),
}


@pytest.mark.parametrize("way", ELSEWHERE)
def test_work_in_another_thread_is_the_request_s(
    way: str, instrumentor: ThreadingInstrumentor, telemetry: Telemetry
) -> None:
    with request("shop") as expected:
        assert expected == told(ELSEWHERE[way])


@pytest.mark.parametrize("method", METHODS)
def test_tasks_of_a_process_pool_are_whose_they_are(
    method: str, instrumentor: ThreadingInstrumentor, telemetry: Telemetry
) -> None:
    with processes(method) as pool:
        for app in ("shop", "blog"):
            with request(app) as expected:
                assert expected == pool.submit(tasks.seen).result()
        assert NOTHING == pool.submit(tasks.seen).result()


def test_a_pool_s_worker_keeps_nothing_of_the_request_that_it_was_started_for(
    instrumentor: ThreadingInstrumentor, telemetry: Telemetry
) -> None:
    started: list[Any] = []
    with ThreadPoolExecutor(1, initializer=lambda: started.append(tasks.seen())) as pool:
        for app in ("shop", "blog"):
            with request(app) as expected:
                assert expected == pool.submit(tasks.seen).result()
        assert NOTHING == pool.submit(tasks.seen).result()
    assert [NOTHING] == started


def listened(work: Callable[[], None]) -> None:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            work()

    records: queue.Queue[Any] = queue.Queue()
    listener = logging.handlers.QueueListener(records, Handler())
    listener.start()
    records.put(logging.makeLogRecord({}))
    listener.stop()


def worker_s_start(work: Callable[[], None]) -> None:
    with ThreadPool(1, initializer=work) as pool:
        pool.apply(int)


def of(module: str) -> Callable[[Callable[[], None]], None]:
    def start(work: Callable[[], None]) -> None:
        def target() -> None:
            work()

        target.__module__ = module
        threading.Thread(target=target).start()

    return start


MACHINERY: dict[str, Callable[[Callable[[], None]], Any]] = {
    "run of its own": lambda work: Worker(work).start(),
    "listener of a queue": listened,
    "multiprocessing's workers": worker_s_start,
    "ours": of("bext_otel.metrics.ticker"),
    "upstream's": of("opentelemetry.sdk._shared_internal"),
    "a driver's monitor": of("pymongo.periodic_executor"),
}


@pytest.mark.parametrize("way", MACHINERY)
def test_a_thread_that_serves_everybody_is_nobody_s(
    way: str, instrumentor: ThreadingInstrumentor, telemetry: Telemetry
) -> None:
    with request("shop"):
        assert NOTHING == told(MACHINERY[way])


def test_a_module_with_such_a_name_in_front_is_the_application_s(
    instrumentor: ThreadingInstrumentor, telemetry: Telemetry
) -> None:
    with request("shop") as expected:
        assert expected == told(of("redistribution"))


def test_the_caller_s_context_is_what_it_was(
    instrumentor: ThreadingInstrumentor, telemetry: Telemetry
) -> None:
    with request("shop") as expected:
        told(ELSEWHERE["pool"])
        told(MACHINERY["run of its own"])
        assert expected == tasks.seen()


def test_a_thread_that_is_over_keeps_no_request_alive(
    instrumentor: ThreadingInstrumentor, telemetry: Telemetry
) -> None:
    class Held:
        """Stands for what a request has in its context."""

    held = Held()
    gone = weakref.ref(held)
    token = context.attach(context.set_value("held", held))
    thread = threading.Thread(target=int)
    worker = ThreadPoolExecutor(1)
    thread.start()
    thread.join()
    worker.submit(int).result()
    context.detach(token)
    del held, token
    worker.submit(int).result()  # the worker has let the task before go
    assert gone() is None, "without a garbage collection"
    assert "run" not in vars(thread)
    worker.shutdown()


def test_without_a_context_nothing_is_done(monkeypatch: pytest.MonkeyPatch, telemetry: Telemetry) -> None:
    submitted: list[Any] = []
    monkeypatch.setattr(
        ThreadPoolExecutor, "submit", lambda self, *args, **kwargs: submitted.append((args, kwargs))
    )
    monkeypatch.setattr(
        ProcessPoolExecutor, "submit", lambda self, *args, **kwargs: submitted.append((args, kwargs))
    )
    with instrumenting(ThreadingInstrumentor):
        for pool in (ThreadPoolExecutor(1), ProcessPoolExecutor(1)):
            pool.submit(tasks.double, 1, add=2)
        assert [((tasks.double, 1), {"add": 2})] * 2 == submitted
        running: list[bool] = []
        thread = threading.Thread(target=lambda: running.append("run" in vars(thread)))
        thread.start()
        thread.join()
        assert [False] == running


def test_a_thread_that_cannot_start_says_what_it_says(
    instrumentor: ThreadingInstrumentor, telemetry: Telemetry
) -> None:
    thread = threading.Thread(target=int)
    with request("shop"):
        thread.start()
        thread.join()
        with pytest.raises(RuntimeError, match="threads can only be started once"):
            thread.start()
        with pytest.raises(RuntimeError, match=r"thread\.__init__\(\) not called"):
            threading.Thread.start(threading.Thread.__new__(threading.Thread))
    assert "run" not in vars(thread)


def test_a_target_s_exception_reaches_the_hook_of_threads(
    instrumentor: ThreadingInstrumentor, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = LookupError("x")
    caught: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: caught.append((args.exc_value, args.thread)))
    thread = threading.Thread(target=tasks.fail, args=(error,))
    with request("shop"):
        thread.start()
        thread.join()
    assert [(error, thread)] == caught


def another_s(original: Any) -> Any:
    """As other tools wrap `start`: with a run that calls the function of the method that was there."""

    @wraps(original)
    def start(self: threading.Thread) -> None:
        run = getattr(self.run, "__func__", self.run)
        self.run = lambda: run(self)  # type: ignore[method-assign]
        original(self)

    return start


@pytest.mark.parametrize("first", [True, False])
def test_another_tool_s_run_is_run_too(
    first: bool, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    instrumentor = ThreadingInstrumentor()
    if first:
        monkeypatch.setattr(threading.Thread, "start", another_s(threading.Thread.start))
    instrumentor.instrument()
    try:
        with monkeypatch.context() as patching:
            if not first:
                patching.setattr(threading.Thread, "start", another_s(threading.Thread.start))
            with request("shop") as expected:
                assert expected == told(ELSEWHERE["thread"])
    finally:
        instrumentor.uninstrument()


@pytest.mark.parametrize("futures_first", [True, False])
@pytest.mark.parametrize("by_name", [True, False])
def test_pools_that_are_isolates_are_left_to_them(
    futures_first: bool, by_name: bool, telemetry: Telemetry
) -> None:
    both: list[Any] = [FuturesInstrumentor(), ThreadingInstrumentor()]
    with Named(1, "render") as threads, processes("spawn") as others:
        if not by_name:
            as_isolates(threads)
            as_isolates(others)
        for instrumentor in both if futures_first else reversed(both):
            instrumentor.instrument(pools=["render", "processes"] if by_name else [])
        try:
            with request("shop") as expected:
                assert expected == threads.submit(tasks.seen).result()
                assert expected == others.submit(tasks.seen).result()
                parent = threads.submit(lambda: trace.get_current_span().get_span_context().span_id).result()
            renders = [span for span in telemetry.spans() if span.name == "bext.render"]
            assert 2 == len(renders), "those in this process"
            assert parent == renders[-1].get_span_context().span_id, (
                "what the task does is part of its render"
            )
        finally:
            for instrumentor in both:
                instrumentor.uninstrument()


def test_a_pool_whose_tasks_are_pickled_into_threads_is_left_alone(
    instrumentor: ThreadingInstrumentor, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`InterpreterPoolExecutor` of Python 3.14."""
    monkeypatch.setattr(instrumentor_module, "_INTERPRETERS", (Named,))
    with request("shop"), Named(1) as pool:
        assert NOTHING == pool.submit(tasks.seen).result()
    found = getattr(futures, "InterpreterPoolExecutor", None)
    assert found is None or issubclass(found, ThreadPoolExecutor)


GEVENT = """
from gevent import monkey
monkey.patch_all()
import threading
from concurrent.futures import ThreadPoolExecutor
import gevent
from opentelemetry import context
from bext_otel.apps import current_app, with_app
from bext_otel_instrumentors.threads.threading import ThreadingInstrumentor
ThreadingInstrumentor().instrument()
pool = ThreadPoolExecutor(1)
seen = []

class Worker(threading.Thread):
    def run(self):
        seen.append(current_app())

def handle():
    context.attach(with_app("shop"))
    seen.append(pool.submit(current_app).result())
    def work():
        seen.append(current_app())
    for thread in (threading.Thread(target=work), threading.Timer(0, work), Worker()):
        thread.start()
        thread.join()

gevent.spawn(handle).join()
seen.append(pool.submit(current_app).result())
print(seen)
"""


def test_under_gevent_a_worker_keeps_nothing_either() -> None:
    assert "['shop', 'shop', 'shop', None, None]" == printed(GEVENT, "-W", "ignore")


def seen(_: Any = None) -> Any:
    return tasks.seen()


def collected(pool: Any, way: str) -> list[Any]:
    """What a pool's task sees, asked for in each of its ways."""
    asked: dict[str, Callable[[], Any]] = {
        "apply": lambda: [pool.apply(seen)],
        "apply_async": lambda: [pool.apply_async(func=seen, args=(1,)).get(20)],
        "map": lambda: pool.map(seen, [1, 2], chunksize=2),
        "starmap": lambda: pool.starmap(seen, [(1,), (2,)]),
        "imap": lambda: list(pool.imap(seen, [1, 2])),
        "imap_unordered": lambda: list(pool.imap_unordered(seen, [1, 2], chunksize=2)),
    }
    return list(asked[way]())


WAYS = ("apply", "apply_async", "map", "starmap", "imap", "imap_unordered")


@pytest.mark.parametrize("method", [*METHODS, "threads"])
def test_tasks_of_multiprocessing_s_pools_are_whose_they_are(
    method: str, instrumentor: ThreadingInstrumentor, telemetry: Telemetry
) -> None:
    with request("shop"):  # which forks the workers
        pool = ThreadPool(1) if method == "threads" else multiprocessing.get_context(method).Pool(1)
    with pool:
        for way in WAYS:
            with request("blog") as expected:
                assert {expected} == set(collected(pool, way)), way
            assert {NOTHING} == set(collected(pool, way)), way


POOL: dict[str, Callable[[Any], Any]] = {
    "error": lambda pool: pool.apply(tasks.fail, (LookupError("x"),)),
    "keyword": lambda pool: pool.apply_async(func=tasks.double, args=(1,), kwds={"add": 1}).get(20),
    "map": lambda pool: pool.map(tasks.double, [1, 2, 3]),
    "no function": lambda pool: pool.apply(5),
    "no function to map": lambda pool: pool.map(None, [1]),
    "nothing": lambda pool: pool.apply_async(),
    "unsendable function": lambda pool: pool.apply(lambda: 1),
    "unsendable result": lambda pool: pool.apply(tasks.unsendable),
    "wrong arguments": lambda pool: pool.apply(tasks.double),
}


@pytest.mark.parametrize("call", POOL)
def test_results_and_errors_of_multiprocessing_s_pools_are_the_library_s(
    call: str, telemetry: Telemetry
) -> None:
    def once() -> tuple[str, str]:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return without_traceback(outcome(lambda: POOL[call](pool)))

    with request("shop"):
        bare = once()
        with instrumenting(ThreadingInstrumentor):
            assert bare == once()


def compared(make: Callable[[], Executor], use: Callable[[Executor], Any]) -> tuple[Any, Any]:
    with request("shop"):
        bare = answer(make, use)
        with instrumenting(ThreadingInstrumentor):
            return bare, answer(make, use)


@pytest.mark.parametrize("make", [lambda: ThreadPoolExecutor(1), lambda: Named(1)])
@pytest.mark.parametrize("call", THREADS)
def test_results_and_errors_of_threads_are_the_library_s(
    call: str, make: Callable[[], Executor], telemetry: Telemetry
) -> None:
    bare, instrumented = compared(make, THREADS[call])
    assert bare == instrumented


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("call", PROCESSES)
def test_results_and_errors_of_processes_are_the_library_s(
    call: str, method: str, telemetry: Telemetry
) -> None:
    bare, instrumented = compared(lambda: processes(method), PROCESSES[call])
    assert without_traceback(bare) == without_traceback(instrumented)


def test_a_propagator_that_fails_costs_the_trace_and_not_the_task(
    instrumentor: ThreadingInstrumentor, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise LookupError

    monkeypatch.setattr("opentelemetry.propagate.inject", fail)
    with request("shop"), processes("spawn") as pool:
        assert (NOTHING[0], "shop") == pool.submit(tasks.seen).result()


def test_everything_is_put_back(telemetry: Telemetry) -> None:
    owners = (threading.Thread, threading.Timer, ThreadPoolExecutor, ProcessPoolExecutor, Pool, BaseProcess)
    before = [dict(vars(owner)) for owner in owners]
    instrumentor = ThreadingInstrumentor()
    instrumentor.instrument()
    assert before != [dict(vars(owner)) for owner in owners]
    with ThreadPoolExecutor(1) as pool:
        with request("shop") as expected:
            assert expected == pool.submit(tasks.seen).result()
            instrumentor.uninstrument()
            assert NOTHING == pool.submit(tasks.seen).result()
    assert before == [dict(vars(owner)) for owner in owners]
    with suppress(RuntimeError), request("shop"):
        assert NOTHING == told(ELSEWHERE["thread"])


def test_the_empty_context_is_empty() -> None:
    assert Context() == instrumentor_module._EMPTY
