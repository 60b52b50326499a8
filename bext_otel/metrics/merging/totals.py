"""Several rows of one series as one, whatever their order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter

from bext_otel.metrics.merging.wire import Exemplified, ForeignExemplar, Labels, Row, ThirdPartyRow
from bext_otel.metrics.values import Distribution, Histogram, merged

__all__ = ["newest_exemplar", "one_row", "sum_third_party"]

_measured_at = itemgetter(1)


def newest_exemplar(rows: Iterable[Row]) -> Exemplified:
    """The exemplar that was measured last."""
    told = [row.exemplar for row in rows if row.exemplar is not None]
    return max(told, key=_measured_at) if told else None


def one_row(labels: Labels, rows: Sequence[Row], now: float) -> Row:
    """The row of what they say together, without what is not recent any more."""
    value = merged([row.value for row in rows])
    return Row(
        labels, value.compacted(now) if isinstance(value, Distribution) else value, newest_exemplar(rows)
    )


def sum_third_party(rows: Sequence[ThirdPartyRow]) -> ThirdPartyRow:
    """The row of what they count together."""
    first = rows[0]
    if len(rows) == 1:
        return first
    value = merged([row.value for row in rows])
    with_exemplars = [row for row in rows if row.exemplars]
    if isinstance(value, Histogram):  # exemplars stand at the positions of buckets
        with_exemplars = [row for row in with_exemplars if getattr(row.value, "bounds", None) == value.bounds]
    times = [time for row in rows if (time := row.time_unix) is not None]
    began = [row.began for row in rows if row.began]
    return ThirdPartyRow(
        first.labels,
        value,
        _newest_exemplars(with_exemplars),
        max(times) if times else None,
        began=min(began, default=0.0),
    )


def _newest_exemplars(rows: Iterable[ThirdPartyRow]) -> tuple[ForeignExemplar, ...]:
    """Of each bucket the exemplar that was measured last; one without a time is older than all that have
    one."""
    found: dict[int, ForeignExemplar] = {}
    for row in rows:
        for exemplar in row.exemplars:
            before = found.get(exemplar[0])
            if before is None or not before[2] >= exemplar[2]:
                found[exemplar[0]] = exemplar
    return tuple(found.values())
