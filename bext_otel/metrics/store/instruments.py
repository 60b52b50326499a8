"""The OpenTelemetry API's instruments, for the rows of the catalogue: each measurement goes to a cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from opentelemetry import metrics
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, CallbackT
from opentelemetry.util.types import Attributes

from bext_otel._compat import Gauge, InstrumentKind
from bext_otel.metrics.store.streams import Stream

__all__ = ["row_instrument"]

Bound: TypeAlias = Callable[..., None]


class _Instrument:
    """What the instruments share: the stream they write to."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def bind(self, attributes: Attributes = None) -> Bound:
        """A handle for one attribute set, `handle(value, context=None)`: it skips finding the series."""
        return self._stream.cell(attributes).add


class _Adding(_Instrument):
    def add(self, amount: float, attributes: Attributes = None, context: Context | None = None) -> None:
        self._stream.cell(attributes).add(amount, context)


class _Counter(_Adding, metrics.Counter):
    pass


class _UpDownCounter(_Adding, metrics.UpDownCounter):
    pass


class _Histogram(_Instrument, metrics.Histogram):
    def record(self, amount: float, attributes: Attributes = None, context: Context | None = None) -> None:
        self._stream.cell(attributes).add(amount, context)


class _LastValue(_Instrument, Gauge):  # type: ignore[misc]  # the API has no public name for it
    def set(self, amount: float, attributes: Attributes = None, context: Context | None = None) -> None:
        self._stream.cell(attributes).add(amount, context)


class _Observable:
    def __init__(self, callbacks: Sequence[CallbackT] | None, stream: Stream) -> None:
        stream.observers.extend(_observer(callback) for callback in callbacks or ())


class _ObservableGauge(_Observable, metrics.ObservableGauge):
    pass


class _ObservableCounter(_Observable, metrics.ObservableCounter):
    pass


class _ObservableUpDownCounter(_Observable, metrics.ObservableUpDownCounter):
    pass


def _observer(callback: CallbackT) -> Callable[[], Iterator[tuple[float, Mapping[str, Any]]]]:
    # A generator is asked once and then sent options; a function is called each time (the API allows both).
    def observe() -> Iterator[tuple[float, Mapping[str, Any]]]:
        options = CallbackOptions()
        observations = callback(options) if callable(callback) else callback.send(options)
        for observation in observations:
            yield observation.value, observation.attributes or {}

    if not callable(callback):
        next(callback)
    return observe


_INSTRUMENTS: Mapping[InstrumentKind, Callable[..., Any]] = {
    "counter": _Counter,
    "up_down_counter": _UpDownCounter,
    "gauge": _LastValue,
    "histogram": _Histogram,
    "observable_counter": _ObservableCounter,
    "observable_up_down_counter": _ObservableUpDownCounter,
    "observable_gauge": _ObservableGauge,
}


def row_instrument(kind: InstrumentKind, stream: Stream, callbacks: Sequence[CallbackT] | None = None) -> Any:
    """The instrument of a row."""
    made = _INSTRUMENTS[kind]
    return made(callbacks, stream) if kind.startswith("observable_") else made(stream)
