"""The OpenTelemetry API's instruments, for the rows of the catalogue: each measurement goes to a cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias, TypeVar

from opentelemetry import metrics
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, CallbackT
from opentelemetry.util.types import Attributes

from bext_otel._compat import Gauge
from bext_otel.catalogue import (
    HTTP_SERVER_ACTIVE_REQUESTS,
    HTTP_SERVER_REQUEST_DURATION,
    METRICS,
    Kind,
    by_name,
)
from bext_otel.metrics.store.streams import Stream, Streams
from bext_otel.scope import SCOPE

__all__ = ["CatalogueMeter"]

Bound: TypeAlias = Callable[..., None]
Made = TypeVar("Made")

_ROWS = by_name(METRICS)
_OF_REQUESTS = frozenset({HTTP_SERVER_REQUEST_DURATION, HTTP_SERVER_ACTIVE_REQUESTS})


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


class _LastValue(_Instrument, Gauge):
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


class CatalogueMeter(metrics.Meter):
    """A meter that serves the catalogue's rows from cells, and leaves every other instrument to `other`, the
    SDK's own meter."""

    def __init__(
        self, streams: Streams, other: metrics.Meter, name: str, version: str | None, schema_url: str | None
    ) -> None:
        super().__init__(name, version, schema_url)
        self._streams = streams
        self._other = other

    def _stream(self, name: str, kinds: tuple[Kind, ...]) -> Stream | None:
        row = _ROWS.get(name)
        if row is None or row.kind not in kinds:
            return None
        # An application that upstream instruments too makes these instruments as well. Ours has counted the
        # request already.
        if row in _OF_REQUESTS and self.name != SCOPE:
            return None
        return self._streams.stream(row)

    def _made(
        self,
        name: str,
        kinds: tuple[Kind, ...],
        ours: Callable[[Stream], Made],
        theirs: Callable[..., Made],
        *rest: Any,
    ) -> Made:
        stream = self._stream(name, kinds)
        return theirs(name, *rest) if stream is None else ours(stream)

    def create_counter(self, name: str, unit: str = "", description: str = "") -> metrics.Counter:
        return self._made(name, ("counter",), _Counter, self._other.create_counter, unit, description)

    def create_up_down_counter(
        self, name: str, unit: str = "", description: str = ""
    ) -> metrics.UpDownCounter:
        theirs = self._other.create_up_down_counter
        return self._made(name, ("up_down_counter",), _UpDownCounter, theirs, unit, description)

    def create_histogram(
        self,
        name: str,
        unit: str = "",
        description: str = "",
        *,
        explicit_bucket_boundaries_advisory: Sequence[float] | None = None,
    ) -> metrics.Histogram:
        theirs = partial(
            self._other.create_histogram,
            explicit_bucket_boundaries_advisory=explicit_bucket_boundaries_advisory,
        )
        return self._made(name, ("summary", "histogram"), _Histogram, theirs, unit, description)

    def create_gauge(self, name: str, unit: str = "", description: str = "") -> Gauge:
        return self._made(name, ("gauge",), _LastValue, self._other.create_gauge, unit, description)

    def create_observable_gauge(
        self, name: str, callbacks: Sequence[CallbackT] | None = None, unit: str = "", description: str = ""
    ) -> metrics.ObservableGauge:
        ours, theirs = partial(_ObservableGauge, callbacks), self._other.create_observable_gauge
        return self._made(name, ("gauge",), ours, theirs, callbacks, unit, description)

    def create_observable_counter(
        self, name: str, callbacks: Sequence[CallbackT] | None = None, unit: str = "", description: str = ""
    ) -> metrics.ObservableCounter:
        ours, theirs = partial(_ObservableCounter, callbacks), self._other.create_observable_counter
        return self._made(name, ("counter",), ours, theirs, callbacks, unit, description)

    def create_observable_up_down_counter(
        self, name: str, callbacks: Sequence[CallbackT] | None = None, unit: str = "", description: str = ""
    ) -> metrics.ObservableUpDownCounter:
        ours, theirs = (
            partial(_ObservableUpDownCounter, callbacks),
            self._other.create_observable_up_down_counter,
        )
        return self._made(name, ("up_down_counter",), ours, theirs, callbacks, unit, description)
