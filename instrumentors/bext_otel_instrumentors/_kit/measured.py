"""Work of a library, measured and traced around a call of it; where measuring fails, the call goes on."""

from __future__ import annotations

from time import perf_counter
from types import TracebackType
from typing import Any

from opentelemetry import context, trace
from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from bext_otel.catalogue import Work
from bext_otel.operation import Operation, finish, start
from bext_otel_instrumentors._kit.guard import report

__all__ = ["Measured"]


class Measured:
    """`with Measured(work, **labels): call()`: the call is an operation, and its span the current one; what
    it raises passes on.

    Nothing happens where instrumentation is suppressed
    (`opentelemetry.instrumentation.utils.suppress_instrumentation`). A subclass says in `failure` what is a
    failure, and in `tell` what is worth a log entry.
    """

    __slots__ = ("_labels", "_paused", "_token", "_work", "operation")

    def __init__(self, work: Work, **labels: str) -> None:
        self._work = work
        self._labels: dict[str, Any] = labels
        self._token: object = None
        self._paused = 0.0
        self.operation: Operation | None = None

    def __enter__(self) -> None:
        self.begin()
        self._attach()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end(error)

    def begin(self) -> None:
        """Start, without making the span the current one."""
        try:
            if is_instrumentation_enabled():
                self.operation = start(self._work, **self._labels)
        except Exception as error:  # the guard's only purpose
            report(self._work.name, error)

    def pause(self) -> None:
        """What comes now is not part of the work."""
        self._detach()
        self._paused = perf_counter()

    def resume(self) -> None:
        """The work goes on."""
        if self.operation is not None:
            self.operation.started += perf_counter() - self._paused
        self._attach()

    def end(self, error: BaseException | None = None) -> None:
        """The call returned, or raised `error`."""
        operation, self.operation = self.operation, None
        self._detach()
        if operation is None:
            return
        try:
            failure = None if error is None else self.failure(error)
            self.settle(operation)
            if failure is None:
                finish(operation)
            else:
                operation.labels["error_type"] = failure
                finish(operation, error)
            self.tell(operation, failure)
        except Exception as failed:  # as above
            report(self._work.name, failed)

    def failure(self, error: BaseException) -> str | None:
        """The type of failure that `error` is; None: it is none."""
        return type(error).__qualname__

    def settle(self, operation: Operation) -> None:
        """State what is known only at the end, before the operation is finished."""

    def tell(self, operation: Operation, failure: str | None) -> None:
        """Write log entries about the finished operation."""

    def _attach(self) -> None:
        if self.operation is not None:
            self._token = context.attach(trace.set_span_in_context(self.operation.span))

    def _detach(self) -> None:
        token, self._token = self._token, None
        if token is not None:
            context.detach(token)  # type: ignore[arg-type]  # what attach gave
