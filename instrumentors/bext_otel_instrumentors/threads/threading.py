"""Threads, and the pools of concurrent.futures and multiprocessing: work done there is a child of what caused
it, and of its app."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Executor, Future
from functools import partial, wraps
from types import MethodType
from typing import Any

from opentelemetry import context
from opentelemetry.context import Context

from bext_otel.crashes import note_leaving
from bext_otel_instrumentors._kit.base import Instrumentor
from bext_otel_instrumentors._kit.carrying import in_context, packed, unpacked_in
from bext_otel_instrumentors._kit.executors import Submit, is_process_pool, submits
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.threads import queues
from bext_otel_instrumentors.threads.leases import leased
from bext_otel_instrumentors.threads.multiprocessing_pools import cover

__all__ = ["ThreadingInstrumentor"]

# Whose threads serve the whole process, whatever was going on when the first of them was needed: pools,
# queues, servers, monitors, ours.
_MACHINERY = (
    "aiosqlite",
    "apscheduler",
    "asyncio.base_events",
    "bext_otel",
    "bext_otel_instrumentors",
    "celery",
    "concurrent.futures",
    "dbos",
    "grpc",
    "gunicorn",
    "kombu",
    "logging",
    "multiprocessing",
    "opentelemetry",
    "psycopg_pool",
    "pymongo",
    "redis",
    "sentry_sdk",
    "socketserver",
    "uvicorn",
    "uvloop",
    "waitress",
    "werkzeug",
)

_EMPTY = Context()


def _whose_run(kind: type) -> type:
    """The class that says what threads of a kind run."""
    return next(owner for owner in kind.__mro__ if "run" in vars(owner))


# The standard library's own, also where gevent has put subclasses in their places.
_THREAD: Any = _whose_run(threading.Thread)
_TIMER: Any = _whose_run(threading.Timer)

_RANK = 2  # after isolates, which carry it themselves


class ThreadingInstrumentor(Instrumentor):
    """Instruments `Thread`, `Timer`, `ThreadPoolExecutor` (so `loop.run_in_executor` too),
    `ProcessPoolExecutor` and the pools of multiprocessing.

    A thread carries the context of whoever starts it, if what it runs is its `target`; a task that of whoever
    submits it. A thread of another kind, such as a pool's worker, serves many: it starts in an empty context,
    and so does a pool's process. Where no context is current, nothing is done but to look. The tasks of pools
    that are isolates are `FuturesInstrumentor`'s.
    """

    def _patch(self, patches: Patches) -> None:
        patches.wrap(_THREAD, "start", _starting)
        cover(patches)
        queues.cover(patches)
        submits.add(_RANK, _submitted)

    def _uninstrument(self, **kwargs: Any) -> None:
        submits.remove(_RANK)
        super()._uninstrument(**kwargs)


# --- Threads ------------------------------------------------------------------------------------------------


def _starting(original: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    @wraps(original)
    def start(self: threading.Thread) -> None:
        here = context.get_current()
        if not here:
            return original(self)
        if not _is_work(self):
            # Not only left alone: under gevent, a new thread has a copy of the context that is current at its
            # start.
            return in_context(_EMPTY, original, self)
        before = vars(self).get("run")
        # A method, since others look for its function; on the thread, since it is gone with the run.
        carrying = MethodType(partial(_running, here, before), self)
        vars(self)["run"] = carrying
        try:
            return original(self)
        except BaseException:  # it was started already, or the system has no thread left
            if vars(self).get("run") is carrying:
                _put_back(self, before)
            raise

    return start


def _running(here: Context, before: Callable[[], None] | None, thread: threading.Thread) -> None:
    _put_back(thread, before)  # who keeps the thread does not keep the request
    here = leased(here)
    with queues.working(here):
        try:
            thread.run()
        except BaseException as error:
            note_leaving(error, here)
            raise


def _put_back(thread: threading.Thread, run: Callable[[], None] | None) -> None:
    if run is None:
        vars(thread).pop("run", None)
    else:
        vars(thread)["run"] = run


def _is_work(thread: threading.Thread) -> bool:
    """Whether a thread runs one piece of work and ends. A class with a `run` of its own may be anything, most
    often a worker."""
    try:
        defined_by = _whose_run(type(thread))
        if defined_by is _TIMER:
            return not _is_machinery(getattr(thread, "function", None))
        return defined_by is _THREAD and not _is_machinery(getattr(thread, "_target", None))
    except Exception as error:  # the guard's only purpose
        report("a thread", error)
        return False


def _is_machinery(function: Any) -> bool:
    while isinstance(function, partial):
        function = function.func
    # A method that is compiled has no module, its object's type has.
    module = getattr(function, "__module__", None) or type(getattr(function, "__self__", None)).__module__
    return isinstance(module, str) and f"{module}.".startswith(_PREFIXES)


_PREFIXES = tuple(f"{name}." for name in _MACHINERY)


# --- Pools --------------------------------------------------------------------------------------------------

# Python 3.14: a thread pool whose tasks are pickled, and run where telemetry was not set up.
_INTERPRETERS: tuple[type, ...] = tuple(
    found for found in (getattr(futures, "InterpreterPoolExecutor", None),) if found is not None
)


def _submitted(
    submit: Submit, pool: Executor, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Future[Any] | None:
    here = context.get_current()
    if not here or isinstance(pool, _INTERPRETERS):
        return None
    carried: tuple[Any, ...] = (unpacked_in, *packed()) if is_process_pool(pool) else (in_context, here)
    # Within it workers are started, and forked, who are nobody's in particular.
    return in_context(_EMPTY, submit, pool, *carried, *args, **kwargs)
