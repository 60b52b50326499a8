"""Isolates of this process: who they work for, how many there are, what heap they hold, and the renders in
them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping

from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context

from bext_otel.apps import current_app
from bext_otel.catalogue import ISOLATE_COUNT, ISOLATE_MEMORY, RENDER, UNKNOWN
from bext_otel.entries import emit
from bext_otel.operation import Operation, observe
from bext_otel.process import catch_up, on_fork
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.measured import Measured

__all__ = ["Isolate", "Render", "isolates", "log_crash"]

CRASHES = frozenset({"out_of_memory", "terminated", "crashed"})
"""Failures that an isolate does not survive."""

_NO_WORK: Mapping[str, str] = {}


class Isolate:
    """One isolate, or a pool of them. The library's object holds it; when that is gone, it is.

    `app` is whom it works for: the app in whose context it was made, else the first one that it does work
    for; "" before. `heap_bytes` is what the engine last said, None where nobody asks. `workers` says how many
    isolates a pool has; None: it is a single one.
    """

    __slots__ = ("__weakref__", "app", "calls", "gone", "heap_bytes", "kind", "read_at", "workers")

    def __init__(self, kind: str, *, app: str = "", workers: Callable[[], int] | None = None) -> None:
        self.kind = kind
        self.app = app or current_app() or ""
        self.workers = workers
        self.heap_bytes: int | None = None
        self.read_at = 0.0
        self.calls: set[int] = set()
        self.gone = False


class _Isolates:
    """Those that are up, held weakly. Without a lock, so that neither a fork nor a garbage collection can be
    in its way."""

    def __init__(self) -> None:
        self._held: dict[int, weakref.ref[Isolate]] = {}
        self._shown: dict[tuple[object, str], None] = {}

    def add(self, isolate: Isolate) -> None:
        """Count it from now on; adding it again does nothing."""
        catch_up()
        key = id(isolate)
        if key not in self._held and not isolate.gone:
            held = self._held
            held[key] = weakref.ref(isolate, lambda _: held.pop(key, None))
            observe(ISOLATE_COUNT, self._counts, "app")
            observe(ISOLATE_MEMORY, self._heaps, "app")

    def remove(self, isolate: Isolate) -> None:
        """It ended."""
        isolate.gone = True
        self._held.pop(id(isolate), None)

    def forget(self, kind: str) -> None:
        """Count none of this kind until they are added again."""
        for key, ref in list(self._held.items()):
            isolate = ref()
            if isolate is not None and isolate.kind == kind:
                self._held.pop(key, None)
        if not self._held:
            self._shown.clear()

    def forked(self) -> None:
        """In a child: engines do not survive a fork, and their parent counts them. A pool may have workers
        here once it gets work."""
        for ref in list(self._held.values()):
            isolate = ref()
            if isolate is not None and isolate.workers is None:
                isolate.gone = True
        self._held = {}
        self._shown = {}

    def _counts(self) -> Iterator[tuple[float, tuple[str, ...]]]:
        return self._sums(ISOLATE_COUNT, _count)

    def _heaps(self) -> Iterator[tuple[float, tuple[str, ...]]]:
        return self._sums(ISOLATE_MEMORY, _heap)

    def _sums(
        self, metric: object, ask: Callable[[Isolate], int | None]
    ) -> Iterator[tuple[float, tuple[str, ...]]]:
        # An app whose last isolate ended has none, which is not the same as nothing to tell.
        sums = {app: 0 for shown, app in list(self._shown) if shown is metric}
        for ref in list(self._held.values()):
            isolate = ref()
            if isolate is None:
                continue
            try:
                value = ask(isolate)
            except Exception as error:  # a pool of the application's own may answer anything
                report("the workers of a pool", error)
                continue
            if value:
                app = isolate.app or UNKNOWN
                sums[app] = sums.get(app, 0) + value
                self._shown[metric, app] = None
        for app, total in sums.items():
            yield total, (app,)


def _count(isolate: Isolate) -> int:
    return 1 if isolate.workers is None else isolate.workers()


def _heap(isolate: Isolate) -> int | None:
    return isolate.heap_bytes


isolates = _Isolates()
"""Those of this process."""

on_fork(in_child=isolates.forked)


class Render(Measured):
    """A render in `isolate`, for the app whose work is being done, else the isolate's. `failures` are types
    by names of exceptions."""

    __slots__ = ("_failures", "_isolate")

    def __init__(self, isolate: Isolate | None, failures: Mapping[str, str] = _NO_WORK) -> None:
        app = current_app() or ""
        if isolate is not None:
            if not isolate.app:
                isolate.app = app
            app = app or isolate.app
        super().__init__(RENDER, app=app or UNKNOWN)
        self._isolate = isolate
        self._failures = failures

    def begin(self) -> None:
        """Start; the isolate is busy until the end."""
        if self._isolate is not None:
            self._isolate.calls.add(id(self))
        super().begin()

    def end(self, error: BaseException | None = None) -> None:
        """The render returned, or raised `error`."""
        if self._isolate is not None:
            self._isolate.calls.discard(id(self))
        super().end(error)

    def failure(self, error: BaseException) -> str:
        """The failure's type: by the exception's class or the nearest base that has one, else the class."""
        for base in type(error).__mro__:
            if (found := self._failures.get(base.__name__)) is not None:
                return found
        return type(error).__qualname__

    def tell(self, operation: Operation, failure: str | None) -> None:
        """An isolate that crashed is an error; a slow render is told by the operation itself."""
        if failure in CRASHES:
            log_crash(operation.labels["app"], failure or "", trace.set_span_in_context(operation.span))


def log_crash(app: str, error_type: str, here: Context) -> None:
    """A log entry: an isolate crashed."""
    emit(
        "bext.isolate",
        SeverityNumber.ERROR,
        "isolate crashed",
        {"app": app, "error_type": error_type},
        here=here,
        event="bext.isolate.crashed",
    )
