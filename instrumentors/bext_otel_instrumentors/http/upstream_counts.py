"""What upstream's middleware around an application counts (`engine = "upstream"`), until one that the
application has put inside of it does: a request is counted once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from opentelemetry import metrics

from bext_otel_instrumentors._kit.guard import report

__all__ = ["CountsUntilMet", "counting_around", "meet_inside"]


class _Request:
    """One that is served within the middleware around. `in_progress` is what was added, and is to be taken
    back."""

    __slots__ = ("in_progress", "is_met")

    def __init__(self) -> None:
        self.is_met = False
        self.in_progress: list[tuple[Any, float, Any]] = []


_request: ContextVar[_Request | None] = ContextVar("bext-otel-upstream-around", default=None)


@contextmanager
def counting_around() -> Iterator[None]:
    """Around the call of that middleware."""
    token = _request.set(_Request())
    try:
        yield
    finally:
        with suppress(ValueError):  # a coroutine that nobody waits for is closed in another context
            _request.reset(token)


def meet_inside() -> None:
    """Upstream's instrumentation is inside of this request, and counts it. Never raises."""
    request = _request.get()
    if request is None or request.is_met:
        return
    request.is_met = True
    try:
        for counter, amount, attributes in request.in_progress:
            counter.add(-amount, attributes)
    except Exception as error:
        report("upstream's requests in progress", error)


class CountsUntilMet(metrics.MeterProvider):
    """The process's meters, for that middleware."""

    def get_meter(self, *args: Any, **kwargs: Any) -> Any:
        """See `MeterProvider`."""
        return _Meter(metrics.get_meter_provider().get_meter(*args, **kwargs))


class _Meter:
    def __init__(self, meter: metrics.Meter) -> None:
        self._meter = meter

    def create_histogram(self, *args: Any, **kwargs: Any) -> _Histogram:
        return _Histogram(self._meter.create_histogram(*args, **kwargs))

    def create_up_down_counter(self, *args: Any, **kwargs: Any) -> _InProgress:
        return _InProgress(self._meter.create_up_down_counter(*args, **kwargs))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._meter, name)


class _Histogram:
    def __init__(self, histogram: metrics.Histogram) -> None:
        self._histogram = histogram

    def record(self, amount: float, *args: Any, **kwargs: Any) -> None:
        request = _request.get()
        if request is None or not request.is_met:
            self._histogram.record(amount, *args, **kwargs)


class _InProgress:
    def __init__(self, counter: metrics.UpDownCounter) -> None:
        self._counter = counter

    def add(self, amount: float, attributes: Any = None, *args: Any, **kwargs: Any) -> None:
        request = _request.get()
        if request is None:
            self._counter.add(amount, attributes, *args, **kwargs)
        elif not request.is_met:
            request.in_progress.append((self._counter, amount, attributes))
            self._counter.add(amount, attributes, *args, **kwargs)
