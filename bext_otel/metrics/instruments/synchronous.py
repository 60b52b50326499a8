"""The OpenTelemetry API's instruments that are told of measurements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from opentelemetry.context import Context
from opentelemetry.sdk import metrics as sdk
from opentelemetry.util.types import Attributes

from bext_otel._compat import SDK_INSTRUMENTS
from bext_otel.metrics.instruments.identity import Identity
from bext_otel.metrics.instruments.stream import MeterStream

__all__ = ["SYNCHRONOUS", "Measuring"]

Bound: TypeAlias = Callable[..., None]

# What a mapping raises that has no such attributes, or a value that cannot be hashed; and what has no names.
_UNKNOWN = (KeyError, TypeError, AttributeError)


def _nothing(amount: float, context: Context | None = None) -> None:
    """What a measurement becomes that nobody wants."""


class Measuring:
    """What these instruments share: the streams they write to. They are found to be the SDK's instruments by
    whoever looks, and have none of its state.

    An instrument with one stream that keeps all attributes, as nearly all have, finds the series itself.
    """

    identity: Identity
    _shapes: Any
    _stream: MeterStream
    _streams: tuple[MeterStream, ...]

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.name, self.unit, self.description = identity.name, identity.unit, identity.description
        self.instrumentation_scope = identity.scope
        self._streams = ()

    def write_to(self, streams: Sequence[MeterStream], *, enabled: bool) -> None:
        """From now on measurements go there."""
        self._streams = tuple(streams) if enabled else ()
        plain, several = _KINDS[self.identity.kind]
        if len(self._streams) == 1 and self._streams[0].plan.is_plain:
            self._stream = self._streams[0]
            self.__class__ = plain  # of one layout
        else:
            self.__class__ = several

    def bind(self, attributes: Attributes = None) -> Bound:
        """A handle for one attribute set, `handle(value, context=None)`: it skips finding the series."""
        streams = self._streams
        if not streams:
            return _nothing
        if len(streams) == 1 and streams[0].plan.is_plain:
            return streams[0].bind(attributes).add
        held = dict(attributes or {})
        for stream in streams:
            stream.bind(held)

        def measure(amount: float, context: Context | None = None) -> None:
            for stream in streams:
                stream.take(amount, held, context)

        return measure

    def _take(self, amount: float, attributes: Any, context: Context | None) -> None:
        for stream in self._streams:
            stream.take(amount, attributes, context)


def _add(self: Any, amount: float, attributes: Attributes = None, context: Context | None = None) -> None:
    stream = self._stream
    try:
        cell = stream.shapes[tuple(attributes)][tuple(attributes.values())]  # type: ignore[arg-type,union-attr]  # else it is not known
    except _UNKNOWN:
        cell = stream.cell(attributes)
    cell.add(amount, context)


def _add_to_all(
    self: Any, amount: float, attributes: Attributes = None, context: Context | None = None
) -> None:
    self._take(amount, attributes, context)


class Counter(Measuring, sdk.Counter):
    """See `opentelemetry.metrics.Counter`."""

    add = _add


class CounterOfSeveral(Measuring, sdk.Counter):
    """The same with several streams, none, or one that keeps some attributes only."""

    add = _add_to_all


class UpDownCounter(Measuring, sdk.UpDownCounter):
    """See `opentelemetry.metrics.UpDownCounter`."""

    add = _add


class UpDownCounterOfSeveral(Measuring, sdk.UpDownCounter):
    """As above."""

    add = _add_to_all


class Histogram(Measuring, sdk.Histogram):
    """See `opentelemetry.metrics.Histogram`."""

    record = _add


class HistogramOfSeveral(Measuring, sdk.Histogram):
    """As above."""

    record = _add_to_all


class Gauge(Measuring, SDK_INSTRUMENTS["gauge"].__base__):  # type: ignore[misc]  # the API has no public name for it
    """See `opentelemetry.metrics._Gauge`."""

    set = _add


class GaugeOfSeveral(Measuring, SDK_INSTRUMENTS["gauge"].__base__):  # type: ignore[misc]  # as above
    """As above."""

    set = _add_to_all


_KINDS: dict[str, tuple[type, type]] = {
    "counter": (Counter, CounterOfSeveral),
    "up_down_counter": (UpDownCounter, UpDownCounterOfSeveral),
    "histogram": (Histogram, HistogramOfSeveral),
    "gauge": (Gauge, GaugeOfSeveral),
}

SYNCHRONOUS: dict[str, Any] = {kind: several for kind, (_, several) in _KINDS.items()}
