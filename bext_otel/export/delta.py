"""What an exporter is sent of a series: its total since start, or what came since the exporter last took
delivery (delta temporality).

A delta is the difference to what was delivered last, so an export that failed loses nothing: the next one
starts where the last delivered one ended. An exporter that failed after all had arrived counts that interval
twice, as every retry over a network may.

A series that rests is left out, and starts again where its own last delivered point ended, not at the last
export: the collector's Prometheus exporter takes a point that does not begin where its series ended for
another life, and forgets what it had added up.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias

from opentelemetry.sdk.metrics import Counter, Exemplar, Histogram, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, NumberDataPoint

from bext_otel._compat import preferred_temporality
from bext_otel.metrics.sdk_points import difference

__all__ = ["DeltaState", "Series"]

Series: TypeAlias = Literal["counter", "observed", "histogram"]
"""A counter, a counter that is observed, a histogram: what temporality is a question for. Up-down counters
and gauges always are values."""

_INSTRUMENTS: Mapping[Series, type] = {
    "counter": Counter,
    "observed": ObservableCounter,
    "histogram": Histogram,
}


class DeltaState:
    """What one exporter was delivered. `exporter` prefers what
    `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE` says, or its maker did.

    Holds a value for each series that the exporter wants as deltas, and nothing for others. Not thread-safe:
    one export at a time.
    """

    def __init__(self, exporter: MetricExporter) -> None:
        prefers = preferred_temporality(exporter)
        self._temporality = {
            kind: prefers.get(instrument, AggregationTemporality.CUMULATIVE)
            for kind, instrument in _INSTRUMENTS.items()
        }
        self.reset()

    def reset(self) -> None:
        """Nothing was delivered, as in a forked child."""
        # By series: what was delivered of it in all, with which exemplars, and up to when.
        self._delivered: dict[Hashable, tuple[Any, Sequence[Exemplar], int]] = {}
        self._sent: dict[Hashable, tuple[Any, Sequence[Exemplar]]] = {}
        self._until = self._now = 0

    def temporality(self, series: Series) -> AggregationTemporality:
        """What this exporter wants of such series."""
        return self._temporality[series]

    def open(self, now_unix_nano: int) -> None:
        """An export begins, of what is so now: a moment of a timeline, later than that of any export
        before."""
        self._now = now_unix_nano
        self._sent = {}

    def since(self, key: Hashable, point: Any) -> Any | None:
        """`point`, a total, less what was delivered of this series; None if nothing came since."""
        before, known, until = self._delivered.get(key, (None, (), self._until))
        if before is None:
            found = point
        elif (found := _difference(before, point)) is None:
            return None
        self._sent[key] = (point.value if isinstance(point, NumberDataPoint) else point, point.exemplars)
        if not until:
            return replace(found, time_unix_nano=self._now)
        # Exemplars have the time of their spans, which is the wall clock's: it does not tell whether one was
        # sent.
        fresh = [exemplar for exemplar in point.exemplars if exemplar not in known]
        return replace(found, start_time_unix_nano=until, time_unix_nano=self._now, exemplars=fresh)

    def settle(self, *, delivered: bool) -> None:
        """The export that began last has ended."""
        if delivered:
            self._delivered.update(
                (key, (total, exemplars, self._now)) for key, (total, exemplars) in self._sent.items()
            )
            self._until = self._now
        self._sent = {}


def _difference(before: Any, point: Any) -> Any | None:
    """The newer point less the older; None if they are the same. One that has begun anew meanwhile stands for
    itself."""
    if isinstance(point, NumberDataPoint):
        if point.value == before:
            return None
        return point if point.value < before else replace(point, value=point.value - before)
    if before.count == point.count:
        return None
    return difference(before, point) or point
