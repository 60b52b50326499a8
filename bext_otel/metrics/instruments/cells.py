"""The cells of streams of any meter: those of the catalogue, with attributes that nobody declares.

They hold what the specification has and the catalogue does without: one exemplar for each bucket, reservoirs
of the application's, exponential buckets of any scale and both signs.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol

from opentelemetry import trace
from opentelemetry.context import Context, get_current

from bext_otel._compat import make_reservoir
from bext_otel.metrics.exponential import Buckets, bucket_index
from bext_otel.metrics.instruments.plan import Plan, Shape
from bext_otel.metrics.merging.wire import ThirdPartyRow
from bext_otel.metrics.numbers import sound
from bext_otel.metrics.snapshot import Exemplar, Series
from bext_otel.metrics.store.cell import ALWAYS, EXEMPLAR_TRIES, Cell, Home, exemplar_of
from bext_otel.metrics.store.cells import (
    CounterCell,
    GaugeCell,
    HistogramCell,
    UpDownCounterCell,
    add_at_once,
)
from bext_otel.metrics.store.extremes import Intervals, widened
from bext_otel.metrics.timeline import NANO
from bext_otel.metrics.values import Histogram
from bext_otel.redaction.policy import redact_attribute, redact_attributes

__all__ = ["CELLS", "ExponentialCell", "MeterCell", "MeterGaugeCell", "with_reservoir"]


class MeterHome(Home, Protocol):
    """The stream that such a cell belongs to, as far as the cell, and who reads it, know it.

    `least` is the least amount that its instrument takes; `observed` is what its observers said last, if it
    `is_observed`.
    """

    plan: Plan
    least: float
    is_observed: bool
    observed: dict[MeterCell, Any]


class MeterCell(Cell):
    """A series of a stream of any meter. `names` are those of its attributes."""

    __slots__ = ()

    stream: MeterHome
    names: tuple[str, ...]

    def __init__(
        self,
        stream: MeterHome,
        names: tuple[str, ...],
        key: tuple[str, ...],
        series: Series,
        typed: tuple[Any, ...] | None,
    ) -> None:
        self.names = names  # type: ignore[misc]  # a slot of each class: two bases can't have some
        super().__init__(stream, key, series, typed)

    @property
    def _least(self) -> float:
        return self.stream.least

    @property
    def attributes(self) -> dict[str, Any]:
        """Its attributes for OTLP."""
        return dict(zip(self.names, self.typed or self.key))  # noqa: B905  # of one length; this runs for each

    @property
    def exemplars(self) -> tuple[tuple[int, Exemplar], ...]:
        """Exemplars by the position of their bucket, 0 of a number."""
        return () if self.exemplar is None else ((0, self.exemplar),)

    def offer(self, amount: float, context: Context | None, dropped: tuple[tuple[str, Any], ...]) -> None:
        """Take one measurement, of whose attributes the stream keeps some only."""
        tries, self.exemplar_tries = self.exemplar_tries, 0
        self.add(amount, context)  # which may begin a tick of its own
        self.exemplar_tries = tries or self.exemplar_tries
        if not self.exemplar_tries:
            return
        left, self.exemplar_tries = self.exemplar_tries, self.exemplar_tries - 1
        span = trace.get_current_span(context).get_span_context()
        if ALWAYS or (span.is_valid and span.trace_flags & trace.TraceFlags.SAMPLED):
            self.exemplar_tries = 0
            for value in sound((amount,), self._least):
                safe = tuple([(name, redact_attribute(str(name), given)) for name, given in dropped])
                self._keep_exemplar(exemplar_of(value, self.stream.clock(), span, safe), left)

    def foreign_row(self, now: float) -> ThirdPartyRow:
        """What there is to say of this series for the other workers."""
        held: Any = self.published
        if held is None:
            held = self.row_of(self.read(now), self.set_at)
            self.published = held
        found: ThirdPartyRow = held
        return found

    def row_of(self, value: Any, set_at: float) -> ThirdPartyRow:
        """A row that says this value of this series."""
        exemplars = tuple([(at, each.value, each.time_unix, _ids(each)) for at, each in self.exemplars])
        return ThirdPartyRow(self.labels, value, exemplars, set_at=set_at, began=self.began / NANO)

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """Its attributes as text, in an order that is the same in all workers."""
        key: Any = self.key  # none of which is None here
        return tuple(sorted(zip(self.names, key, strict=True)))

    @property
    def set_at(self) -> float:
        """When a gauge was set last (Unix seconds); 0 for anything else."""
        return 0.0


def _ids(exemplar: Exemplar) -> tuple[tuple[str, str], ...]:
    if not exemplar.trace_id:
        return ()
    return ("trace_id", exemplar.trace_id), ("span_id", exemplar.span_id)


class MeterCounterCell(MeterCell, CounterCell):
    """See `CounterCell`."""

    __slots__ = ("names",)


class MeterUpDownCounterCell(MeterCell, UpDownCounterCell):
    """See `UpDownCounterCell`."""

    __slots__ = ("names",)


class MeterGaugeCell(MeterCell, GaugeCell):
    """See `GaugeCell`."""

    __slots__ = ("last_set", "names")

    last_set: float

    def reset(self) -> None:
        super().reset()
        self.last_set = 0.0

    def add(self, amount: float, context: Context | None = None) -> None:
        self.last_set = self.stream.clock()
        super().add(amount, context)

    @property
    def set_at(self) -> float:
        return self.last_set


class _Buckets(MeterCell):
    """What both kinds of histograms share: an exemplar for each bucket."""

    __slots__ = ()

    by_bucket: dict[int, Exemplar] | None

    def reset(self) -> None:
        super().reset()
        self.by_bucket = None  # type: ignore[misc]  # as above

    @property
    def exemplars(self) -> tuple[tuple[int, Exemplar], ...]:
        held = self.by_bucket
        return () if held is None else tuple(sorted(held.copy().items()))

    def _keep_exemplar(self, exemplar: Exemplar, left: int) -> None:
        if self.by_bucket is None:
            self.by_bucket = {}  # type: ignore[misc]  # as above
        self.by_bucket[self._position(exemplar.value)] = exemplar
        self.exemplar_tries = left - 1  # the next ones may fall into other buckets

    def _position(self, value: float) -> int:
        return bisect_left(self.stream.bounds, value)


class MeterHistogramCell(_Buckets, HistogramCell):
    """See `HistogramCell`."""

    __slots__ = ("by_bucket", "names")


class ExponentialCell(_Buckets):
    """Counts in exponential buckets at the finest scale at which either sign has no more than so many."""

    __slots__ = (
        "by_bucket",
        "count",
        "intervals",
        "maximum",
        "minimum",
        "names",
        "negative",
        "positive",
        "scale",
        "sum",
        "zeros",
    )

    def reset(self) -> None:
        super().reset()
        self.scale = self.stream.plan.max_scale
        self.positive = self.negative = Buckets()
        self.count = self.zeros = 0
        self.sum = 0.0
        self.minimum, self.maximum = math.inf, -math.inf
        self.intervals: Intervals = None

    def read(self, now: float | None = None) -> Histogram:
        """As an explicit histogram whose bounds are those of its buckets."""
        below = [(-bound, count) for bound, count in reversed(self.negative.lower_bounds())]
        above = self.positive.bounds()
        bounds = (*[bound for bound, _ in below], 0.0, *[bound for bound, _ in above])
        counts = (*[count for _, count in below], self.zeros, *[count for _, count in above], 0)
        return Histogram(bounds, counts, self.sum, self.count, self.minimum, self.maximum)

    def _position(self, value: float) -> int:
        # Twenty at most, as the SDK keeps of these.
        return bucket_index(abs(value), 0) % 20 if value else 0

    def _plus(self, batch: list[Any], total: float, low: float, now: float) -> tuple[Any, ...]:
        most = self.stream.plan.max_size
        signs = []
        for held, values in (
            (self.positive, [value for value in batch if value > 0]),
            (self.negative, [-value for value in batch if value < 0] if low < 0 else []),
        ):
            signs.append((held, Counter([bucket_index(value, self.scale) for value in values])))
        scale = self.scale - max(_steps(held, more, most) for held, more in signs)
        positive, negative = (_added(held, more, self.scale, scale) for held, more in signs)
        zeros = self.zeros + len([value for value in batch if value == 0])
        lowest, highest = float(low), float(max(batch))
        extremes = min(self.minimum, lowest), max(self.maximum, highest)
        intervals = widened(self.intervals, lowest, highest)
        count, whole = self.count + len(batch), self.sum + float(total)
        return scale, positive, negative, count, zeros, whole, *extremes, intervals

    def _hold(self, found: tuple[Any, ...]) -> None:
        (
            self.scale,
            self.positive,
            self.negative,
            self.count,
            self.zeros,
            self.sum,
            self.minimum,
            self.maximum,
            self.intervals,
        ) = found


def _steps(held: Buckets, more: Mapping[int, int], most: int) -> int:
    """How many steps down in scale there are no more than `most` buckets."""
    if not more:
        return 0
    low, high = min(more), max(more)
    if held.packed:
        low, high = min(low, held.offset), max(high, held.last)
    steps = 0
    while (high >> steps) - (low >> steps) >= most:
        steps += 1
    return steps


def _added(held: Buckets, more: Mapping[int, int], scale: int, to: int) -> Buckets:
    """Buckets at `scale`, with counts at `scale` added, at the coarser scale `to`."""
    found: Counter[int] = Counter()
    for index, count in (*held.items(), *more.items()):
        found[index >> (scale - to)] += count
    if not found:
        return Buckets()
    low, high = min(found), max(found)
    return Buckets.dense(to, low, [found[index] for index in range(low, high + 1)])


def with_reservoir(kind: type[MeterCell]) -> type[MeterCell]:
    """The same cells, whose exemplars a reservoir of the application's keeps."""

    class Reserved(kind):  # type: ignore[misc,valid-type]  # one of few
        __slots__ = ("collected", "reservoir")

        def reset(self) -> None:
            super().reset()
            plan = self.stream.plan
            self.collected: tuple[tuple[int, Exemplar], ...] = ()
            self.reservoir: Any = None
            with suppress(Exception):  # another's code; without an exemplar nothing is wrong
                self.reservoir = make_reservoir(plan.reservoirs, plan.form, plan.bounds, plan.max_size)

        def add(self, amount: float, context: Context | None = None) -> None:
            self.offer(amount, context, ())

        def offer(self, amount: float, context: Context | None, dropped: tuple[tuple[str, Any], ...]) -> None:
            self.exemplar_tries = 0  # type: ignore[misc]  # of a base
            super().add(amount, context)
            self.exemplar_tries = 0  # type: ignore[misc]  # of a base
            if not EXEMPLAR_TRIES:
                return
            span = trace.get_current_span(context).get_span_context()
            if ALWAYS or (span.is_valid and span.trace_flags & trace.TraceFlags.SAMPLED):
                attributes = {**self.attributes, **dict(dropped)}
                with suppress(Exception):  # as above
                    self.reservoir.offer(
                        amount, self.stream.now(), attributes, get_current() if context is None else context
                    )

        @property
        def exemplars(self) -> tuple[tuple[int, Exemplar], ...]:
            with suppress(Exception):  # as above
                if told := self.reservoir.collect(self.attributes):
                    self.collected = tuple(enumerate(map(_of_sdk, told)))
            return self.collected

    return Reserved


def _of_sdk(told: Any) -> Exemplar:
    return Exemplar(
        told.value,
        told.time_unix_nano / NANO,
        f"{told.trace_id:032x}" if told.trace_id else "",
        f"{told.span_id:016x}" if told.span_id else "",
        dropped=tuple(redact_attributes(told.filtered_attributes or {}).items()),
    )


CELLS: Mapping[Shape, type[MeterCell]] = {
    "counter": MeterCounterCell,
    "up_down_counter": MeterUpDownCounterCell,
    "gauge": MeterGaugeCell,
    "histogram": MeterHistogramCell,
    "exponential": ExponentialCell,
}
add_at_once(MeterCounterCell)
