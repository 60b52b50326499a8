"""concurrent.futures: the pools that an application opts in are isolates, one for each worker, and their
tasks are renders."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, TypeVar

from opentelemetry import context, trace
from opentelemetry.context import Context

from bext_otel.catalogue import ISOLATE_ERRORS, RENDER, UNKNOWN
from bext_otel.operation import count, trace_past
from bext_otel_instrumentors._kit.base import Instrumentor
from bext_otel_instrumentors._kit.carrying import packed, unpacked
from bext_otel_instrumentors._kit.executors import Submit, is_process_pool, submits
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.isolates.isolates import Isolate, Render, isolates, log_crash

__all__ = ["FuturesInstrumentor", "as_isolates"]

_KIND = "pool"
_ISOLATE = "_bext_isolate"
_RANK = 1

_FAILURES = {"MemoryError": "out_of_memory", "TimeoutError": "timeout", "BrokenExecutor": "crashed"}

Pool = TypeVar("Pool", bound=Executor)


def as_isolates(pool: Pool, *, app: str = "") -> Pool:
    """Opt a pool in, and return it: its workers are isolates, of `app` or of the app that first submits a
    task, and its tasks renders.

    Works before and after `FuturesInstrumentor` is active, and does nothing else while it is not. Each chunk
    of `map` of a process pool is one task.
    """
    _opt_in(pool, app)
    active = FuturesInstrumentor.active
    if active is not None:
        active.cover()
    return pool


class FuturesInstrumentor(Instrumentor):
    """Instruments the thread and process pools that are opted in: by `as_isolates`, or by
    `instrument(pools=...)`.

    `pools` are patterns as of a shell for a thread pool's `thread_name_prefix`; `processes` stands for every
    process pool (`[isolates] pools`). Where nothing is opted in, nothing is patched.

    Tasks carry the trace context and the app to their worker. What a task in a process does is measured in
    that process, by its own telemetry; that its process died is told by the one that had submitted it.
    """

    active: FuturesInstrumentor | None = None
    _patterns: frozenset[str] = frozenset()
    _covered = False

    def _instrument(self, **kwargs: Any) -> None:
        self._patterns = frozenset(kwargs.get("pools") or ())
        super()._instrument(**kwargs)

    def _patch(self, patches: Patches) -> None:
        FuturesInstrumentor.active = self
        if self._patterns or _opted_in:
            self.cover()

    def _uninstrument(self, **kwargs: Any) -> None:
        FuturesInstrumentor.active = None
        self._covered = False
        submits.remove(_RANK)
        super()._uninstrument(**kwargs)
        isolates.forget(_KIND)

    def cover(self) -> None:
        """Somebody opted in."""
        if not self._covered:
            self._covered = True
            submits.add(_RANK, partial(_submitted, self._isolate_of))
        for pool in list(_opted_in):
            isolates.add(getattr(pool, _ISOLATE))

    def _isolate_of(self, pool: Executor) -> Isolate | None:
        """The isolates that a pool is; None if nobody opted it in."""
        isolate: Isolate | None = getattr(pool, _ISOLATE, None)
        if isolate is None:
            if not self._chooses(pool):
                return None
            isolate = _opt_in(pool, "")
        isolates.add(isolate)
        return isolate

    def _chooses(self, pool: Executor) -> bool:
        if is_process_pool(pool):
            return "processes" in self._patterns
        prefix = str(getattr(pool, "_thread_name_prefix", ""))
        return any(fnmatchcase(prefix, pattern) for pattern in self._patterns)


_opted_in: weakref.WeakSet[Executor] = weakref.WeakSet()


def _opt_in(pool: Executor, app: str) -> Isolate:
    isolate = Isolate(_KIND, app=app, workers=partial(_workers, weakref.ref(pool)))
    setattr(pool, _ISOLATE, isolate)
    _opted_in.add(pool)
    return isolate


def _workers(ref: weakref.ref[Executor]) -> int:
    """How many workers a pool has at the moment; it starts them as tasks come."""
    pool = ref()
    if pool is not None and is_process_pool(pool):
        return 0 if getattr(pool, "_broken", False) else len(getattr(pool, "_processes", None) or ())
    return sum(thread.is_alive() for thread in tuple(getattr(pool, "_threads", ())))


# --- Submitting ---------------------------------------------------------------------------------------------


def _submitted(
    isolate_of: Callable[[Executor], Isolate | None],
    submit: Submit,
    pool: Executor,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Future[Any] | None:
    isolate = None
    try:
        isolate = isolate_of(pool)
    except Exception as error:  # the guard's only purpose
        report("a pool", error)
    if isolate is None:
        return None
    to_worker = _to_process if is_process_pool(pool) else _to_thread
    return to_worker(partial(submit, pool), isolate, args, kwargs)


def _to_thread(
    submit: Submit, isolate: Isolate, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Future[Any]:
    return submit(_in_thread, isolate, context.get_current(), *args, **kwargs)


def _in_thread(
    isolate: Isolate, here: Context, function: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Any:
    token = context.attach(here)
    try:
        with Render(isolate, _FAILURES):
            return function(*args, **kwargs)
    finally:
        context.detach(token)


def _to_process(
    submit: Submit, isolate: Isolate, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Future[Any]:
    app, carrier = packed()
    isolate.app = isolate.app or app
    future = submit(_in_process, app or isolate.app, carrier, *args, **kwargs)
    future.add_done_callback(
        partial(_process_died, app or isolate.app or UNKNOWN, context.get_current(), time.perf_counter_ns())
    )
    return future


def _in_process(
    app: str, carrier: Mapping[str, str], function: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Any:
    """In the worker: the context is what was sent along, nothing of what the process was forked from."""
    token = context.attach(unpacked(app, carrier))
    try:
        with Render(None, _FAILURES):
            return function(*args, **kwargs)
    finally:
        context.detach(token)


def _process_died(app: str, here: Context, started_ns: int, future: Future[Any]) -> None:
    """The pool broke before the task's worker could tell how it ended: a worker was killed, and takes all
    tasks with it."""
    try:
        if future.cancelled() or not isinstance(future.exception(), BrokenExecutor):
            return
        shown = {"bext.app": app, "error.type": "crashed"}
        span = trace_past(RENDER.name, started_ns, context=here, attributes=shown, failed=True)
        count(ISOLATE_ERRORS, app=app, error_type="crashed")
        log_crash(app, "crashed", trace.set_span_in_context(span))
    except Exception as error:  # the guard's only purpose
        report("a pool", error)
