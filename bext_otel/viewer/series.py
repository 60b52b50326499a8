"""One series: what its points say since the last one, kept in a ring."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

from bext_otel.viewer.points import DataPoint
from bext_otel.viewer.quantiles import Exponential, cells, quantile, since

__all__ = ["COLUMNS", "StoredSeries"]

COLUMNS: dict[str, tuple[str, ...]] = {
    "counter": ("rate",),
    "gauge": ("value",),
    "distribution": ("rate", "mean", "p50", "p90", "p99"),
}
"""What is kept of each point, after its time, by kind. `rate` is in units per second."""

_QUANTILES = (0.5, 0.9, 0.99)
_NS = 1_000_000_000
_SERIES_BYTES = 600


class StoredSeries:
    """The recent past of one series: of its last `points` points, and in `spent` how many bytes of memory
    that takes.

    `total` is a counter's sum or a distribution's count since its start, a gauge's last value; `total_sum` a
    distribution's sum.
    """

    __slots__ = ("_last", "_numbers", "_points", "_width", "last_ns", "spent", "total", "total_sum")

    def __init__(self, points: int) -> None:
        # Row after row, NaN for None: as objects they would take five times the memory.
        self._numbers = array("d")
        self._points = points
        self._width = 1
        self.last_ns = 0
        self.spent = _SERIES_BYTES
        self.total = 0.0
        self.total_sum = 0.0
        self._last: DataPoint | None = None

    @property
    def rows(self) -> list[tuple[float | None, ...]]:
        """Unix time in milliseconds and the values of `COLUMNS`, the oldest first; None where there is no
        value, e.g. a quantile of nothing."""
        values = [None if math.isnan(value) else value for value in self._numbers]
        return list(zip(*(values[column :: self._width] for column in range(self._width)), strict=True))

    def add(self, point: DataPoint, *, source_last_ns: int) -> bool:
        """Take a point; False for one that is not newer than the last (an exporter that retries sends points
        twice).

        `source_last_ns` is when the sender last told of any series, 0 if never: a series that appears later
        began after that.
        """
        if point.time_ns <= self.last_ns:
            return False
        earlier = self._last
        restarted = earlier is None or point.delta or _restarted(point, earlier)
        base = None if restarted else earlier
        since_ns = self.last_ns if base or (point.delta and earlier) else max(point.start_ns, source_last_ns)
        seconds = (point.time_ns - since_ns) / _NS if since_ns else 0.0
        self._keep(point.time_ns / 1e6, self._values(point, base, seconds))
        self._count(point)
        self._last = point
        self.last_ns = point.time_ns
        self.spent = _SERIES_BYTES + self._numbers.itemsize * len(self._numbers) + point.size
        return True

    def _keep(self, time_ms: float, values: Sequence[float | None]) -> None:
        self._width = 1 + len(values)
        self._numbers.append(time_ms)
        self._numbers.extend(math.nan if value is None else value for value in values)
        del self._numbers[: max(0, len(self._numbers) - self._points * self._width)]

    def _values(self, point: DataPoint, base: DataPoint | None, seconds: float) -> Sequence[float | None]:
        if point.kind == "gauge":
            return (_finite(self.total + point.value if point.delta else point.value),)
        if point.kind == "counter":
            return (_rate(point.value - (base.value if base else 0.0), seconds),)
        count = point.count - (base.count if base else 0)
        total = point.sum - (base.sum if base else 0.0)
        mean = _finite(total / count) if count > 0 else None
        return (_rate(count, seconds), mean, *_quantiles(point, base))

    def _count(self, point: DataPoint) -> None:
        if point.kind == "distribution":
            self.total = point.count + (self.total if point.delta else 0)
            self.total_sum = point.sum + (self.total_sum if point.delta else 0.0)
        else:
            self.total = point.value + (self.total if point.delta else 0.0)


def _restarted(point: DataPoint, earlier: DataPoint) -> bool:
    """Whether a cumulative series began anew: its start moved past the last point, or it went back."""
    if point.start_ns > earlier.time_ns:
        return True
    return point.value < earlier.value if point.kind == "counter" else point.count < earlier.count


def _quantiles(point: DataPoint, base: DataPoint | None) -> list[float | None]:
    if point.quantiles:
        return [_finite(point.quantiles.get(q, math.nan)) for q in _QUANTILES]
    histogram = point.histogram
    if histogram is None:
        return [None] * len(_QUANTILES)
    if base is not None and base.histogram is not None:
        histogram = since(histogram, base.histogram) or histogram
    held = cells(histogram)
    log = isinstance(histogram, Exponential)
    found = (quantile(held, q, low=point.low, high=point.high, log=log) for q in _QUANTILES)
    return [None if value is None else _finite(value) for value in found]


def _rate(increase: float, seconds: float) -> float | None:
    return _finite(increase / seconds) if seconds > 0 else None


def _finite(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None
