"""What an exporter is sent of a series: its total since start, or what came since the exporter last took
delivery (delta temporality).

A delta is the difference to what was delivered last, so an export that failed loses nothing: the next one
starts where the last delivered one ended. An exporter that failed after all had arrived counts that interval
twice, as every retry over a network may.

A series that rests is left out, and starts again where its own last delivered point ended, not at the last
export: the collector's Prometheus exporter takes a point that does not begin where its series ended for
another life, and forgets what it had added up. Readers of the application's get points of one interval, as
the specification has it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from weakref import ref

from opentelemetry.sdk.metrics import Counter, Exemplar, Histogram, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, NumberDataPoint

from bext_otel._compat import InstrumentKind, preferred_temporality
from bext_otel.metrics.sdk_points import difference
from bext_otel.metrics.store.extremes import NONE_YET, Extremes, begin_interval, both

__all__ = ["DeltaState", "exporter_temporality"]

# What temporality is a question for. Up-down counters are values, whatever an exporter prefers: a sum of
# deltas that fall means nothing to most backends.
_INSTRUMENTS: Mapping[InstrumentKind, type] = {
    "counter": Counter,
    "observable_counter": ObservableCounter,
    "histogram": Histogram,
}


def exporter_temporality(exporter: MetricExporter) -> dict[InstrumentKind, AggregationTemporality]:
    """What an exporter prefers: what `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE` says, or its
    maker."""
    prefers = preferred_temporality(exporter)
    return {kind: prefers[instrument] for kind, instrument in _INSTRUMENTS.items() if instrument in prefers}


class DeltaState:
    """What one exporter, or reader, was delivered; `temporality` is what it prefers, by kind of instrument.
    `aligned`: all points of an export are of the time since the last one.

    Holds a value for each series that it wants as deltas, and nothing for others. Not thread-safe: one export
    at a time.
    """

    def __init__(
        self, temporality: Mapping[InstrumentKind, AggregationTemporality], *, aligned: bool = False
    ) -> None:
        self._temporality = temporality
        self._ref = ref(self)
        self._aligned = aligned
        self.reset()

    def reset(self) -> None:
        """Nothing was delivered, as in a forked child."""
        # By series: the extremes of what was told since the last delivery, and has not arrived.
        self._extremes: dict[Hashable, Extremes] = {}
        # By series: what was delivered of it in all, with which exemplars, and up to when.
        self._delivered: dict[Hashable, tuple[Any, Sequence[Exemplar], int]] = {}
        # By series, and with the number of the point (`id`) that tells it.
        self._sent: dict[Hashable, tuple[Any, Sequence[Exemplar], int]] = {}
        self._until = self._now = 0

    def temporality(self, kind: InstrumentKind) -> AggregationTemporality:
        """What is wanted of the series of such instruments."""
        return self._temporality.get(kind, AggregationTemporality.CUMULATIVE)

    def forget(self, is_gone: Callable[[Hashable], bool]) -> None:
        """Series that are gone need no memory."""
        for key in [key for key in self._delivered if is_gone(key)]:
            del self._delivered[key]
            self._extremes.pop(key, None)

    def open(self, now_unix_nano: int) -> None:
        """An export begins, of what is so now: a moment of a timeline, later than that of any export
        before."""
        self._now = now_unix_nano
        self._sent = {}

    def since(self, key: Hashable, point: Any, *, monotonic: bool = True) -> Any | None:
        """`point`, a total, less what was delivered of this series; None if nothing came since. `monotonic`:
        it never falls, unless it has begun anew."""
        before, known, until = self._delivered.get(key, (None, (), self._until))
        if self._aligned:
            until = self._until
        if before is None:
            found = point
        elif (found := _difference(before, point, monotonic=monotonic)) is None:
            return None
        if not isinstance(point, NumberDataPoint):
            found = self._within(key, point, found, is_first=before is None)
        if not until:
            made = replace(found, time_unix_nano=self._now)
        else:
            # Exemplars have the time of their spans, which is the wall clock's: it does not tell whether one
            # was sent.
            fresh = [exemplar for exemplar in point.exemplars if exemplar not in known]
            made = replace(found, start_time_unix_nano=until, time_unix_nano=self._now, exemplars=fresh)
        total = point.value if isinstance(point, NumberDataPoint) else point
        self._sent[key] = total, point.exemplars, id(made)
        return made

    def _within(self, cell: Any, point: Any, found: Any, *, is_first: bool) -> Any:
        """`found`, what came of a histogram, with the extremes of that: of the whole life at the first time,
        and where one has begun anew meanwhile."""
        if cell.count != point.count:  # a signal handler has drained it since the point was made
            return found
        extremes = begin_interval(cell, self._ref)
        if is_first or extremes is None or found is point:
            return found
        least, most = self._extremes[cell] = both(extremes, self._extremes.get(cell, NONE_YET))
        is_wanted = point.min is not None and math.isfinite(least)  # a view may leave them out
        return replace(found, min=least, max=most) if is_wanted else found

    def is_new(self, key: Hashable, mark: float, point: Any) -> bool:
        """Whether a value that is no total, told by `point`, has been set since it was delivered; `mark`
        tells when it was."""
        before = self._delivered.get(key)
        self._sent[key] = mark, (), id(point)
        return before is None or before[0] != mark

    def settle(self, *, delivered: bool, lost: Container[int] = ()) -> None:
        """The export that began last has ended. `lost` are those of its points, by `id`, that did not arrive
        though others did; all points are still there."""
        if delivered:
            self._delivered.update(
                (key, (total, exemplars, self._now))
                for key, (total, exemplars, point) in self._sent.items()
                if point not in lost
            )
            self._extremes = {
                key: extremes
                for key, extremes in self._extremes.items()
                if key in self._sent and self._sent[key][2] in lost
            }
            if not lost:  # a series that begins meanwhile has come since what arrived as a whole
                self._until = self._now
        self._sent = {}


def _difference(before: Any, point: Any, *, monotonic: bool) -> Any | None:
    """The newer point less the older; None if they are the same. One that has begun anew meanwhile stands for
    itself."""
    if isinstance(point, NumberDataPoint):
        if point.value == before:
            return None
        return point if monotonic and point.value < before else replace(point, value=point.value - before)
    if before.count == point.count:
        return None
    return difference(before, point) or point
