"""Measuring: the catalogue's instruments at whatever meter provider is set, by the names of their labels.

Whoever measures names each label of the row once: with the measurement (`measure`), or before the first one
(`recorder`, `observe`). Anything else is a CatalogueError, so that a row gets no label that somebody forgot.
A dot in a label's name may be an underscore.

Knows the OpenTelemetry API only. Where the provider's instruments can `bind` an attribute set, a measurement
goes straight to its cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Protocol, TypeAlias, TypeVar, cast

from opentelemetry import metrics
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.util.types import AttributeValue

from bext_otel.catalogue import Kind, Metric
from bext_otel.declarations import is_own
from bext_otel.errors import CatalogueError
from bext_otel.process import Undo
from bext_otel.scope import SCOPE, meter_of

__all__ = [
    "SCOPE",
    "SHARED",
    "Callback",
    "LabelValue",
    "Measure",
    "Recorder",
    "count",
    "current",
    "gauge",
    "joint",
    "measure",
    "name_units",
    "observable",
    "observe",
    "ordered",
    "recorder",
]

SHARED = "bext.shared"
"""Attribute of an observation that names its source where that is not this process; no label, and never
exported by our engine."""

LabelValue: TypeAlias = "str | int | None"
"""A label's value; None leaves the attribute out."""

T = TypeVar("T")
Measure: TypeAlias = Callable[..., None]
Callback: TypeAlias = Callable[[], Iterable[tuple[float, tuple[LabelValue, ...]]]]
"""Answers pairs of a value and its label values, in the order that `observe` names the labels in."""


class Recorder(Protocol):
    """Records a measurement, as `measure` does: `values` are the label values, in the order that `recorder`
    names the labels in.

    `bind` answers with what records for these values, `handle(value, context=None)`, at the meter provider
    that is set now: for whoever keeps it no longer than that is set (`joint`).
    """

    def __call__(self, value: float, /, *values: LabelValue, context: Context | None = None) -> None: ...
    def bind(self, /, *values: LabelValue) -> Measure: ...


# Handles are kept for the attribute sets in use. Labels come from bounded sources, so this is a safety net
# for callers that break the rule.
_MAX_HANDLES = 20_000
_MAX_CHARACTERS = 4_000_000
# A label's value is cut to 256 characters when it is shown; whoever hands over more is found anew each time.
_MAX_KEY = 1024
_MAX_JOINT = 2_000


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
        self._handles: dict[Metric, dict[tuple[LabelValue, ...], Measure]] = {}
        self._kept = 0
        self._characters = 0

    def handles(self, metric: Metric) -> dict[tuple[LabelValue, ...], Measure]:
        """What records a measurement of `metric`, by the label values in the order of its labels: the ones
        that `handle` made and kept."""
        return self._handles.setdefault(metric, {})

    def handle(self, metric: Metric, values: tuple[LabelValue, ...]) -> Measure:
        """What records a measurement of `metric` for these label values, in the order of its labels."""
        handles = self.handles(metric)
        found = handles.get(values)
        if found is None:
            found = self._make(metric, values)
            characters = sum(len(value) for value in values if isinstance(value, str))
            if characters <= _MAX_KEY:
                if self._kept >= _MAX_HANDLES or self._characters + characters > _MAX_CHARACTERS:
                    self._forget()
                handles[values] = found
                self._kept += 1
                self._characters += characters
        return found

    def _forget(self) -> None:
        for handles in tuple(self._handles.values()):
            handles.clear()
        self._kept = self._characters = 0

    def observe(self, metric: Metric) -> None:
        """Have the provider ask everybody who observes `metric`."""
        if metric not in self.observed:
            # Of a second instrument of one name, the SDK never asks the callbacks.
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
        attributes = _attributes(metric, metric.label_names, values)
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
        # Of the application's rows, nobody but the standard translation makes the name on /metrics.
        return metric.unit if self._units or is_own(metric) else ""


# Who observes a metric, whatever the provider: callbacks, the names of what they answer, and the source that
# each looks at.
_observers: dict[Metric, list[tuple[Callback, tuple[str, ...], str]]] = {}
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
    for callback, names, shared in tuple(_observers[metric]):
        source = {SHARED: shared} if shared else {}
        try:
            for value, values in callback():
                yield Observation(value, {**_attributes(metric, names, values), **source})
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


def _attributes(
    metric: Metric, names: tuple[str, ...], values: tuple[LabelValue, ...]
) -> dict[str, AttributeValue]:
    if len(values) != len(names):
        raise CatalogueError(
            f"{metric.name} takes {len(names)} label values ({', '.join(names)}), not {values!r}"
        )
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}


def _order(metric: Metric, names: Iterable[str]) -> tuple[int, ...]:
    """Where among `names` each label of the metric is. Raises CatalogueError unless each is there, once, and
    nothing else is."""
    given = [name.replace(".", "_") for name in names]
    expected = metric.keywords
    if sorted(given) != sorted(expected):
        wrong = [f"{name!r} is missing" for name in expected if name not in given]
        wrong += [f"{name!r} is not one of them" for name in dict.fromkeys(given) if name not in expected]
        wrong = wrong or [
            f"{name!r} is named twice" for name in dict.fromkeys(given) if given.count(name) > 1
        ]
        labels = f"has the labels ({', '.join(expected)})" if expected else "has no labels"
        raise CatalogueError(
            f"{metric.name} {labels}: {', '.join(wrong)}; name each label of its row in the catalogue, once"
        )
    return tuple([given.index(name) for name in expected])


def ordered(metric: Metric, labels: dict[str, LabelValue]) -> tuple[LabelValue, ...]:
    """Label values in the order of the metric's labels. Raises CatalogueError unless each of them is named,
    and nothing else is."""
    if len(labels) == len(metric.keywords):
        try:
            return tuple([labels[name] for name in metric.keywords])
        except KeyError:  # one that is not there, or has dots
            pass
    values = tuple(labels.values())
    return tuple([values[at] for at in _order(metric, labels)])


_units = True
# Nobody's until something is measured: to be asked for its provider at an import, the API would make the one
# that a variable names.
_instruments = _Instruments(metrics.NoOpMeterProvider(), units=_units)


def current() -> _Instruments:
    """The catalogue's instruments at the meter provider that is set now."""
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


def measure(metric: Metric, value: float, /, *, context: Context | None = None, **labels: LabelValue) -> None:
    """Record `value`, in the metric's unit, for these labels: `measure(REQUEST_DURATION, 12.5, app="shop",
    route="/")`.

    Adds to a counter or an up-down counter, records in a summary or histogram, sets a gauge. `context` names
    the span that an exemplar points to; None: the current one. Raises CatalogueError unless each label of the
    metric's row is named, and nothing else is.
    """
    current().handle(metric, ordered(metric, labels))(value, context)


def count(metric: Metric, /, *, by: float = 1, **labels: LabelValue) -> None:
    """Add `by` (at least 0) to a counter; labels as for `measure`."""
    current().handle(metric, ordered(metric, labels))(by)


def gauge(metric: Metric, value: float, /, **labels: LabelValue) -> None:
    """Set a gauge to `value`; labels as for `measure`."""
    current().handle(metric, ordered(metric, labels))(value)


def recorder(metric: Metric, /, *names: str) -> Recorder:
    """As `measure`, for a hot path: the labels are named once, and checked now, so that each measurement
    needs their values only.

    `record = recorder(REQUEST_DURATION, "app", "route")` at the top of a module, then `record(12.5, "shop",
    "/")`. Raises CatalogueError unless each label of the metric's row is named, and nothing else is; so does
    a measurement with another number of values.
    """
    order = _order(metric, names)
    arranged = order == tuple(range(len(order)))
    held: tuple[_Instruments | None, dict[tuple[LabelValue, ...], Measure]] = (None, {})

    def record(value: float, /, *values: LabelValue, context: Context | None = None) -> None:
        nonlocal held
        instruments = _instruments
        if instruments.provider is not metrics.get_meter_provider():
            instruments = current()
        if not arranged and len(values) == len(order):
            values = tuple([values[at] for at in order])
        known, handles = held
        if known is not instruments:
            handles = instruments.handles(metric)
            held = (instruments, handles)  # at once, since threads share it
        found = handles.get(values)
        if found is None:
            found = instruments.handle(metric, values)
        found(value, context)

    def bind(*values: LabelValue) -> Measure:
        if len(values) == len(order):
            values = tuple([values[at] for at in order])
        return current().handle(metric, values)

    record.bind = bind  # type: ignore[attr-defined]  # a function is called faster than an object
    return cast("Recorder", record)


def joint(bind: Callable[..., T]) -> Callable[[tuple[LabelValue, ...]], T]:
    """What `bind` answers for a tuple of label values, such as the handles of several recorders: made once,
    and found by one look-up as long as the same meter provider is set."""
    held: tuple[_Instruments | None, dict[tuple[LabelValue, ...], T]] = (None, {})

    def find(values: tuple[LabelValue, ...]) -> T:
        nonlocal held
        instruments = _instruments
        if instruments.provider is not metrics.get_meter_provider():
            instruments = current()
        known, bound = held
        if known is not instruments:
            bound = {}
            held = (instruments, bound)  # at once, since threads share it
        found = bound.get(values)
        if found is None:
            found = bind(*values)
            if sum(len(value) for value in values if isinstance(value, str)) <= _MAX_KEY:
                if len(bound) >= _MAX_JOINT:
                    bound.clear()
                bound[values] = found
        return found

    return find


def observe(metric: Metric, callback: Callback, /, *names: str, shared: str = "") -> Undo:
    """Ask `callback` at each reading for pairs of a value and its label values, until the answer is called.
    Twice is once.

    `names` are the labels, in the order of those values: `observe(CACHE_ENTRIES, entries, "app", "layer")`.
    Raises CatalogueError as `recorder` does.

    For gauges, and for counters kept elsewhere; whichever provider is set asks. What each worker of the
    service holds is added up. `shared` names what they all look at, such as a database: that counts once.
    """
    order = _order(metric, names)
    labels = tuple([label for _, label in sorted(zip(order, metric.label_names, strict=True))])
    observers, observer = _observers.setdefault(metric, []), (callback, labels, shared)
    if observer not in observers:
        observers.append(observer)
    current().observe(metric)

    def undo() -> None:
        with suppress(ValueError):  # it is undone already
            observers.remove(observer)

    return undo
