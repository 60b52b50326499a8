"""Whether what another process has published can be what a worker says.

Its bytes decode into the right types or not at all; what types don't say (as many counts as bounds, buckets
that doubles can reach, one value of a kind for each series) is looked at here, once for each block that has
changed, so that whoever merges and shows it can rely on it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import inf, isfinite, isnan
from typing import Any, Final

from bext_otel.metrics.exponential import SCALE, Buckets
from bext_otel.metrics.merging.row_keys import known_row
from bext_otel.metrics.values import Distribution, Histogram, Summary, Total

__all__ = ["ImplausibleError", "check_foreign_rows", "check_moments", "check_rows", "check_types", "is_of"]

_NUMBERS: Final = frozenset({int, float})
_OF_KIND: Mapping[str, frozenset[type]] = {
    "summary": frozenset({Distribution}),
    "histogram": frozenset({Histogram}),
}
_PLAIN: Final = frozenset({int, float, Total})
_OF_TYPE: Mapping[str, frozenset[type]] = {
    "summary": frozenset({Summary, Distribution}),
    "histogram": frozenset({Histogram, Distribution}),
    "gaugehistogram": frozenset({Histogram, Distribution}),
}

_SIZES = {code: array(code).itemsize for code in "BHIQ"}
# Doubles end at 2 ** 1024 and, downwards, at 2 ** -1074: how far from zero a bucket's index can be, by scale.
_REACH = {scale: int(1100 * 2.0**scale) + 1 for scale in range(-10, SCALE + 1)}
# Seconds; later than any clock shows, and what a timestamp of 64 bits in nanoseconds can say.
_LATEST = 1e10


class ImplausibleError(ValueError):
    """No worker says such a thing."""


def is_of(key: str, rows: Sequence[Any]) -> bool:
    """Whether checked rows can be those of the metric of this key; yes, if there is none, as they are
    nobody's then."""
    known = known_row(key) if rows else None
    if known is None:
        return True
    first, kinds = rows[0], _OF_KIND.get(known.kind, _PLAIN)
    return len(first.labels) == known.own_labels and type(first.value) in kinds


def check_rows(rows: Sequence[Any]) -> None:
    """Rows of one metric of the catalogue: as many labels each, values of one kind. Raises
    `ImplausibleError`."""
    kinds = {type(row.value) for row in rows}
    _require(len({len(row.labels) for row in rows}) <= 1)
    for exemplar in [row.exemplar for row in rows if row.exemplar is not None]:
        _require(_is_moment(exemplar[1]))
    if not kinds <= _NUMBERS:
        _require(len(kinds) == 1 or kinds <= _PLAIN)
        for row in rows:
            _check_value(row.value)


def check_types(family_type: str, rows: Sequence[Any]) -> None:
    """Rows of another library's family, that are right by themselves: values as its type has them. Raises
    `ImplausibleError`."""
    _require({type(row.value) for row in rows} <= _OF_TYPE.get(family_type, _PLAIN))


def check_foreign_rows(rows: Iterable[Any]) -> None:
    """Rows of another library's family. Raises `ImplausibleError`."""
    for row in rows:
        _require(len({name for name, _ in row.labels}) == len(row.labels))
        _check_value(row.value)
        told = row.time_unix
        _require((told is None or abs(told) < _LATEST) and abs(row.set_at) < _LATEST)
        _require(all(position >= 0 and _is_moment(at) for position, _, at, _ in row.exemplars))


def check_moments(moments: Iterable[float], figures: Iterable[object]) -> None:
    """When it was, and figures of any sort: numbers that end. Raises `ImplausibleError`."""
    _require(all(abs(moment) < _LATEST for moment in moments))
    _require(all(isfinite(figure) for figure in figures if isinstance(figure, float)))


def _require(right: bool) -> None:
    if not right:
        raise ImplausibleError


def _is_moment(exemplar_time: float) -> bool:
    """A time, or NaN for one that is not known."""
    return abs(exemplar_time) < _LATEST or isnan(exemplar_time)


def _check_value(value: Any) -> None:
    kind = type(value)
    if kind in _NUMBERS:
        return
    _require(all(map(isfinite, value.lost)))
    if kind is Total:
        return
    _require(value.count >= 0)
    if kind is Histogram:
        _require(len(value.counts) == len(value.bounds) + 1 and min(value.counts) >= 0)
        _require(all(below < above for below, above in pairwise((-inf, *value.bounds))))
    elif kind is Distribution:
        _require(value.zeros >= 0)
        for life in value.lives:
            _check_buckets(life)
        for window in value.windows:
            _require(window.zeros >= 0)
            _check_buckets(window.buckets)


def _check_buckets(buckets: Buckets) -> None:
    # Written out, as it runs for each window of each distribution that has changed.
    size, reach = _SIZES.get(buckets.width), _REACH.get(buckets.scale)
    if size is None or reach is None:
        raise ImplausibleError
    count, rest = divmod(len(buckets.packed), size)
    if rest or buckets.offset < -reach or buckets.offset + count > reach:
        raise ImplausibleError
