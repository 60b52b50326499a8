"""A thread that serves whoever puts something into a queue works for the one who put it."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import context, trace
from opentelemetry.context import Context

from bext_otel_instrumentors.threads import queues
from bext_otel_instrumentors.threads.threading import ThreadingInstrumentor
from tests.instrumentors.conftest import Telemetry

KINDS: list[Callable[[], Any]] = [queue.Queue, queue.LifoQueue, queue.PriorityQueue]


@pytest.fixture(autouse=True)
def instrumented(telemetry: Telemetry) -> Iterator[Telemetry]:
    ThreadingInstrumentor().instrument()
    yield telemetry
    ThreadingInstrumentor().uninstrument()


class Served:
    """A thread that runs for each item what was asked for, and tells the trace that it saw; started lazily,
    by whoever needs it first."""

    def __init__(self, items: Any) -> None:
        self.items = items
        self.seen: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self.serve)

    def serve(self) -> None:
        while self.items.get(timeout=20) != "end":
            self.seen.put(trace.get_current_span().get_span_context().trace_id)

    def ask(self, item: Any = "work") -> int:
        """The trace that the thread works for."""
        if not self.thread.ident:
            self.thread.start()
        self.items.put(item)
        return self.seen.get(timeout=20)

    def end(self) -> None:
        self.items.put("end")
        self.thread.join(20)


def request() -> Any:
    return trace.get_tracer_provider().get_tracer("test").start_as_current_span("request")


def trace_id() -> int:
    return trace.get_current_span().get_span_context().trace_id


@pytest.mark.parametrize("kind", KINDS)
def test_each_item_is_work_of_the_request_that_put_it(kind: Callable[[], Any]) -> None:
    served = Served(kind())
    expected, seen = [], []
    for _ in range(4):
        with request():
            expected.append(trace_id())
            seen.append(served.ask())
    seen.append(served.ask())  # by nobody in particular
    served.end()
    assert [*expected, 0] == seen
    assert 4 == len(set(expected))


def test_what_nobody_in_particular_put_is_the_requests_while_that_goes_on() -> None:
    """Such as the parts of a result, by threads that know nothing of it."""
    served = Served(queue.Queue())

    def apart() -> int:
        token = context.attach(Context())
        try:
            return served.ask()
        finally:
            context.detach(token)

    with request():
        assert [trace_id()] * 3 == [served.ask(), apart(), apart()]
    assert 0 == apart()
    served.end()


def test_within_a_span_of_its_own_a_thread_goes_on_with_what_it_does() -> None:
    items: queue.Queue[str] = queue.Queue()
    seen: list[bool] = []

    def serve() -> None:
        items.get(timeout=20)
        with request() as own:
            items.get(timeout=20)
            seen.append(trace.get_current_span() is own)

    with request():
        thread = threading.Thread(target=serve)
        thread.start()
        items.put("first")
    with request():
        items.put("second")
    thread.join(20)
    assert [True] == seen


def test_the_same_object_may_be_put_by_many() -> None:
    served = Served(queue.Queue())
    expected = []
    with request():
        served.ask()
    for _ in range(3):
        with request():
            expected.append(trace_id())
            served.items.put("work")
    assert expected == [served.seen.get(timeout=20) for _ in expected]
    served.end()


def test_a_queue_that_is_emptied_behind_its_back_keeps_nothing_of_requests() -> None:
    contexts = queues._Contexts()
    for _ in range(10):
        contexts.put(object(), Context({"request": "gone"}), 1)
    item = object()
    contexts.put(item, Context({"request": "mine"}), 1)
    assert {"request": "mine"} == contexts.taken(item)
    assert None is contexts.taken(item)


def test_a_thread_that_nobody_asked_for_takes_nothing_over() -> None:
    """It may send what many have put as one batch: that is work of none of them."""
    served = Served(queue.Queue())
    served.thread.start()
    with request():
        assert 0 == served.ask()
    served.end()


def test_a_queue_of_janus_between_a_loop_and_a_thread() -> None:
    janus = pytest.importorskip("janus")

    async def main() -> tuple[list[int], list[int]]:
        mixed: Any = janus.Queue()
        served = Served(mixed.sync_q)
        expected, seen = [], []
        for _ in range(3):
            with request():
                expected.append(trace_id())
                if not served.thread.ident:
                    served.thread.start()
                await mixed.async_q.put("work")
                seen.append(await asyncio.to_thread(served.seen.get, timeout=20))
        await mixed.async_q.put("end")
        await asyncio.to_thread(served.thread.join, 20)
        await mixed.aclose()
        return expected, seen

    expected, seen = asyncio.run(main())
    assert expected == seen


def test_undone_a_queue_is_pythons_own() -> None:
    ThreadingInstrumentor().uninstrument()
    assert ["queue"] * 6 == [
        getattr(kind, name).__code__.co_filename.rpartition("/")[2].removesuffix(".py")
        for kind in (queue.Queue, queue.LifoQueue, queue.PriorityQueue)
        for name in ("_put", "_get")
    ]
