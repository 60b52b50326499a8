"""Measuring: the catalogue's instruments at whatever meter provider is set, by label values in the
catalogue's order.

Knows the OpenTelemetry API only. Where the provider's instruments can `bind` an attribute set, a measurement
goes straight to its cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, TypeAlias

from opentelemetry import metrics
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.util.types import AttributeValue

from bext_otel.catalogue import Kind, Metric
from bext_otel.process import Undo
from bext_otel.scope import SCOPE, meter_of

__all__ = [
    "SCOPE",
    "SHARED",
    "Callback",
    "LabelValue",
    "count",
    "gauge",
    "handle",
    "measure",
    "name_units",
    "observable",
    "observe",
]

SHARED = "bext.shared"
"""Attribute of an observation that names its source where that is not this process; no label, and never
exported by our engine."""

LabelValue: TypeAlias = "str | int | None"
"""A label's value; None leaves the attribute out."""

Measure: TypeAlias = Callable[..., None]
Callback: TypeAlias = Callable[[], Iterable[tuple[float, tuple[str, ...]]]]

# Handles are kept for the attribute sets in use. Labels come from bounded sources, so this is a safety net
# for callers that break the rule.
_MAX_HANDLES = 20_000
_MAX_CHARACTERS = 4_000_000
# A label's value is cut to 256 characters when it is shown; whoever hands over more is found anew each time.
_MAX_KEY = 1024


class _Instruments:
    """The catalogue's instruments at one meter provider, and measuring handles for the label values seen."""

    def __init__(
        self, provider: metrics.MeterProvider, *, units: bool, observed: dict[Metric, _Observed] | None = None
    ) -> None:
        self.provider = provider
        self.observed: dict[Metric, _Observed] = {} if observed is None else observed
        self._units = units
        self._meter = meter_of(provider)
        self._made: dict[Metric, Any] = {}
        self._handles: dict[tuple[Metric, tuple[LabelValue, ...]], Measure] = {}
        self._characters = 0

    def handle(self, metric: Metric, values: tuple[LabelValue, ...]) -> Measure:
        """What records one measurement of `metric` for these label values, in the order of its labels."""
        key = (metric, values)
        found = self._handles.get(key)
        if found is None:
            found = self._make(metric, values)
            characters = sum(len(value) for value in values if isinstance(value, str))
            if characters <= _MAX_KEY:
                if len(self._handles) >= _MAX_HANDLES or self._characters + characters > _MAX_CHARACTERS:
                    self._handles.clear()
                    self._characters = 0
                self._handles[key] = found
                self._characters += characters
        return found

    def observe(self, metric: Metric) -> None:
        """Have the provider ask everybody who observes `metric`."""
        if (
            metric not in self.observed
        ):  # of a second instrument of one name, the SDK never asks the callbacks
            observed = _Observed(metric)
            if self.observed.setdefault(metric, observed) is observed:
                observed.succeed()
                create = observable(self._meter, metric.kind)
                create(
                    metric.name, callbacks=[observed], unit=self._unit(metric), description=metric.description
                )

    def _make(self, metric: Metric, values: tuple[LabelValue, ...]) -> Measure:
        instrument = self._made.get(metric)
        if instrument is None:
            instrument = self._made[metric] = self._create(metric)
        attributes = _attributes(metric, values)
        if (bind := getattr(instrument, "bind", None)) is not None:
            bound: Measure = bind(attributes)
            return bound
        method = {"counter": "add", "up_down_counter": "add", "gauge": "set"}.get(metric.kind, "record")
        call = getattr(instrument, method)
        return lambda value, context=None: call(value, attributes, context)

    def _create(self, metric: Metric) -> Any:
        unit = self._unit(metric)
        if metric.kind == "counter":
            return self._meter.create_counter(metric.name, unit, metric.description)
        if metric.kind == "up_down_counter":
            return self._meter.create_up_down_counter(metric.name, unit, metric.description)
        if metric.kind == "gauge":
            return self._meter.create_gauge(metric.name, unit, metric.description)
        bounds = list(metric.bounds) or None
        return self._meter.create_histogram(
            metric.name, unit, metric.description, explicit_bucket_boundaries_advisory=bounds
        )

    def _unit(self, metric: Metric) -> str:
        return metric.unit if self._units else ""


# Who observes a metric, whatever the provider: callbacks, and the source that each looks at.
_observers: dict[Metric, list[tuple[Callback, str]]] = {}
# By metric, the newest provider's.
_newest: dict[Metric, _Observed] = {}


class _Observed:
    """A metric as one provider observes it: everybody is asked, as long as no newer provider asks.

    The API's stand-in hands its instruments on to the first real provider, so that one metric may be observed
    there twice: the SDK then asks the first only, and ours both.
    """

    __slots__ = ("_asked", "_metric", "_newer", "_older", "_spoke")

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._older: _Observed | None = None
        self._newer: _Observed | None = None
        self._asked = self._spoke = False

    def succeed(self) -> None:
        """Take the place of the provider's that was the newest so far."""
        self._older = _newest.get(self._metric)
        _newest[self._metric] = self
        if self._older is not None:
            self._older._newer = self

    def __call__(self, _: CallbackOptions) -> Iterator[Observation]:
        newer = self._newer
        while newer is not None:
            if newer._asked:
                return
            newer = newer._newer
        older, self._older, self._asked = self._older, None, True
        if older is not None and older._spoke:
            return  # at this very reading
        self._spoke = self._newer is not None
        yield from _everybody(self._metric)


def _everybody(metric: Metric) -> Iterator[Observation]:
    """What all callbacks say. One that fails keeps none of the others from being heard; the provider hears of
    it at the end."""
    failure: Exception | None = None
    for callback, shared in tuple(_observers[metric]):
        source = {SHARED: shared} if shared else {}
        try:
            for value, values in callback():
                yield Observation(value, {**_attributes(metric, values), **source})
        except Exception as error:
            failure = error
    if failure is not None:
        raise failure


def observable(meter: metrics.Meter, kind: Kind) -> Callable[..., Any]:
    """What makes the instrument that is observed, for rows of this kind: a gauge, a counter or an up-down
    counter."""
    if kind == "gauge":
        return meter.create_observable_gauge
    return meter.create_observable_counter if kind == "counter" else meter.create_observable_up_down_counter


def _attributes(metric: Metric, values: tuple[LabelValue, ...]) -> dict[str, AttributeValue]:
    if len(values) != len(metric.labels):
        raise TypeError(
            f"{metric.name} takes {len(metric.labels)} label values ({', '.join(metric.label_names)}), not "
            f"{values!r}"
        )
    return {name: value for name, value in zip(metric.label_names, values, strict=True) if value is not None}


_units = True
# Nobody's until something is measured: to be asked for its provider at an import, the API would make the one
# that a variable names.
_instruments = _Instruments(metrics.NoOpMeterProvider(), units=_units)


def _current() -> _Instruments:
    provider = metrics.get_meter_provider()
    found = _instruments
    return found if found.provider is provider else _follow(_Instruments(provider, units=_units))


def _follow(made: _Instruments) -> _Instruments:
    """Measure by these from now on, and have their provider ask everybody who observes."""
    global _instruments
    _instruments = made
    for metric in tuple(_observers):
        with suppress(Exception):  # whoever measures is not to blame for what a provider makes of a gauge
            made.observe(metric)
    return made


def name_units(*, on_instruments: bool) -> None:
    """Say whether instruments carry their unit, or leave it to the name of their stream; they are made anew
    for it."""
    global _units
    _units = on_instruments
    provider = metrics.get_meter_provider()
    observed = _instruments.observed if _instruments.provider is provider else None
    _follow(_Instruments(provider, units=on_instruments, observed=observed))


def handle(metric: Metric, values: tuple[LabelValue, ...]) -> Measure:
    """What records one measurement of `metric` for these label values: `handle(value, context=None)`."""
    return _current().handle(metric, values)


def measure(metric: Metric, value: float, *labels: LabelValue, context: Context | None = None) -> None:
    """Record `value`, in the metric's unit, for these label values in the order that the catalogue declares
    them.

    Adds to a counter or an up-down counter, records in a summary or histogram, sets a gauge. `context` names
    the span that an exemplar points to; None: the current one. Raises TypeError for a wrong number of labels.
    """
    _current().handle(metric, labels)(value, context)


def count(metric: Metric, *labels: LabelValue, by: float = 1) -> None:
    """Add `by` (at least 0) to a counter."""
    _current().handle(metric, labels)(by)


def gauge(metric: Metric, value: float, *labels: LabelValue) -> None:
    """Set a gauge to `value`."""
    _current().handle(metric, labels)(value)


def observe(metric: Metric, callback: Callback, *, shared: str = "") -> Undo:
    """Ask `callback` at each reading for pairs of a value and its label values, until the answer is called.
    Twice is once.

    For gauges, and for counters kept elsewhere; whichever provider is set asks. What each worker of the
    service holds is added up. `shared` names what they all look at, such as a database: that counts once.
    """
    observers, observer = _observers.setdefault(metric, []), (callback, shared)
    if observer not in observers:
        observers.append(observer)
    _current().observe(metric)

    def undo() -> None:
        with suppress(ValueError):  # it is undone already
            observers.remove(observer)

    return undo
