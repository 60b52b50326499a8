"""mini-racer: V8 isolates, their heap as the engine counts it, and what is evaluated and called in them."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from time import monotonic
from typing import Any

from bext_otel_instrumentors._kit.base import Instrumentor
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Original, Patches, around
from bext_otel_instrumentors.isolates.isolates import Isolate, Render, isolates

__all__ = ["MiniRacerInstrumentor"]

_KIND = "v8"
# Counting the heap stops the isolate for about 0.4 ms.
_HEAP_EVERY_SECONDS = 1.0

# By name, since the classes have moved between modules over the versions.
_FAILURES = {
    "JSTimeoutException": "timeout",
    "JSOOMException": "out_of_memory",
    "JSTerminatedException": "terminated",
    "JSEvalException": "script_error",
    "JSPromiseError": "script_error",
    "CancelledError": "cancelled",
    "GeneratorExit": "cancelled",
}


class MiniRacerInstrumentor(Instrumentor):
    """Instruments `MiniRacer`: each `eval`, `execute`, `call`, `eval_cancelable` and call of a JavaScript
    function is a render.

    A render of asynchronous JavaScript ends when its promise is returned. What is no render, such as loading
    a bundle, can be done within `opentelemetry.instrumentation.utils.suppress_instrumentation()`.
    """

    requires = ("mini-racer >= 0.12.4",)

    def _patch(self, patches: Patches) -> None:
        patches.when_imported("py_mini_racer._mini_racer", partial(_cover, patches))

    def _uninstrument(self, **kwargs: Any) -> None:
        super()._uninstrument(**kwargs)
        isolates.forget(_KIND)


def _cover(patches: Patches, module: Any) -> None:
    racer = module.MiniRacer
    patches.wrap(racer, "__init__", around(_making))
    for name in ("eval", "execute", "call"):
        patches.wrap(racer, name, _rendering)
    if hasattr(racer, "eval_cancelable"):
        patches.wrap(racer, "eval_cancelable", _rendering_async)
    if hasattr(
        module, "_make_context"
    ):  # every end of an isolate comes through here, also that of `mini_racer()`
        patches.wrap(module, "_make_context", _owning)
    else:
        patches.wrap(racer, "close", around(_closing))
    objects = sys.modules.get("py_mini_racer._objects")
    function = getattr(objects, "JSFunctionImpl", None) or getattr(objects, "JSFunction", None)
    if function is not None:
        patches.wrap(function, "__call__", _rendering)
    if (cancelable := getattr(objects, "CancelableJSFunctionImpl", None)) is not None:
        patches.wrap(cancelable, "__call__", _rendering_async)


def _isolate_of(thing: Any) -> Isolate | None:
    """The isolate of a MiniRacer or of a JavaScript object; None if it is closed, or of a kind that we do not
    know."""
    engine = getattr(thing, "_ctx", None)
    if engine is None:
        return None
    isolate: Isolate | None = getattr(engine, "_bext_isolate", None)
    if isolate is None:
        isolate = Isolate(_KIND)
        object.__setattr__(
            engine, "_bext_isolate", isolate
        )  # a frozen dataclass; its fields stay what they are
    isolates.add(isolate)
    return isolate


def _end_of(engine: object) -> None:
    isolate = getattr(engine, "_bext_isolate", None)
    if isolate is not None:
        isolates.remove(isolate)


def _making(original: Original, self: Any, /, *args: Any, **kwargs: Any) -> None:
    original(self, *args, **kwargs)
    isolate = _guarded(self)
    if isolate is not None:
        _read_heap(self, isolate)


def _closing(original: Original, self: Any, /, *args: Any, **kwargs: Any) -> None:
    _end_of(getattr(self, "_ctx", None))
    original(self, *args, **kwargs)


def _owning(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    @contextmanager
    def _make_context(*args: Any, **kwargs: Any) -> Iterator[Any]:
        with original(*args, **kwargs) as engine:
            try:
                yield engine
            finally:
                _end_of(engine)

    return _make_context


def _rendering(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def render(self: Any, *args: Any, **kwargs: Any) -> Any:
        # What the library calls of its own is part of the call that is being measured, or upkeep of promises
        # and timers.
        if sys._getframe(1).f_globals.get("__name__", "").startswith("py_mini_racer"):
            return original(self, *args, **kwargs)
        isolate = _guarded(self)
        with Render(isolate, _FAILURES):
            result = original(self, *args, **kwargs)
        if isolate is not None:
            _read_heap(self, isolate)
        return result

    return render


def _rendering_async(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @wraps(original)
    async def render(self: Any, *args: Any, **kwargs: Any) -> Any:
        isolate = _guarded(self)
        # The span is not made current: a coroutine that is dropped ends in whatever context the garbage
        # collector runs in.
        work = Render(isolate, _FAILURES)
        work.begin()
        try:
            result = await original(self, *args, **kwargs)
        except BaseException as error:
            work.end(error)
            raise
        work.end()
        if isolate is not None:
            _read_heap(self, isolate)
        return result

    return render


def _guarded(thing: Any) -> Isolate | None:
    try:
        return _isolate_of(thing)
    except Exception as error:  # the guard's only purpose
        report("an isolate", error)
        return None


def _read_heap(thing: Any, isolate: Isolate) -> None:
    """Ask the engine for its heap, now and then, where nobody waits: the answer comes after whatever the
    isolate is doing."""
    now = monotonic()
    if (
        isolate.gone
        or isolate.calls
        or (isolate.heap_bytes is not None and now - isolate.read_at < _HEAP_EVERY_SECONDS)
    ):
        return
    isolate.read_at = now
    try:
        isolate.heap_bytes = int(json.loads(thing._ctx.heap_stats())["total_heap_size"])
    except Exception as error:  # closed meanwhile, out of memory, or another version's answer
        report("the heap of an isolate", error)
