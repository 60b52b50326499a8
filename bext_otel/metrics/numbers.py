"""Numbers as they enter: whatever type an application measures with, from here on they are Python's own, of
at most 64 bits.

A number of another library (numpy's, a Decimal) adds up and compares like one, and cannot be encoded; True
cannot be decoded as a number.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from bext_otel.metrics.snapshot import Distribution, Exemplar, Family, Histogram, Point, Summary

__all__ = ["GREATEST", "PLAIN", "exact", "exact_family", "exact_point", "finite", "sound"]

PLAIN = frozenset({int, float})
"""The types that numbers have from here on."""

GREATEST = sys.float_info.max
"""The greatest number that is finite."""

_SMALL = 1 << 53
_LEAST_WHOLE, _GREATEST_WHOLE = -(1 << 63), (1 << 63) - 1


def exact(value: Any) -> float:
    """`value` as an int, if it is whole by its type and fits in 64 bits, or else as a float.

    Raises TypeError, ValueError or OverflowError for what is no number, or one that no float can hold.
    """
    number = value if type(value) in PLAIN else _own(value)
    if type(number) is float or _LEAST_WHOLE <= number <= _GREATEST_WHOLE:
        return number
    return float(number)


def _own(value: Any) -> float:
    try:
        return int(operator.index(value))
    except Exception:  # not whole: `__index__` is another's code
        if not hasattr(type(value), "__float__"):  # asked first, since `float` reads text too
            raise TypeError(f"{type(value).__name__} is no number") from None
    try:
        return float(value)
    except Exception as error:  # likewise another's code
        raise ValueError(f"{type(value).__name__} that is no number") from error


def sound(values: Iterable[Any], least: float = -GREATEST) -> list[float]:
    """Those of `values` that are finite numbers of at least `least`."""
    found: list[float] = []
    for value in values:
        try:
            number = exact(value)
        except (TypeError, ValueError, OverflowError):
            continue
        if least <= number <= GREATEST:
            found.append(number)
    return found


def finite(value: Any) -> float | None:
    """`value` as a finite number; None if it is none."""
    return next(iter(sound((value,))), None)


def _fields(point: Any, names: Iterable[str]) -> dict[str, float]:
    return {name: number for name in names if (number := exact(value := getattr(point, name))) is not value}


def _is_plain(point: Any) -> bool:
    """Whether a point's numbers are floats, or small, as nearly all are: told in a tenth of the time."""
    if hasattr(point, "value"):
        value = point.value
        return type(value) is float or (type(value) is int and -_SMALL < value < _SMALL)
    return type(point.sum) is type(point.min) is type(point.max) is float and PLAIN.issuperset(
        map(type, getattr(point, "explicit_bounds", ()))
    )


def exact_point(point: Any) -> Any | None:
    """A data point of the SDK's, with numbers of Python's own; None if they are none."""
    if not point.exemplars and _is_plain(point):
        return point
    changed: dict[str, Any] = {}
    try:
        if hasattr(point, "value"):
            changed |= _fields(point, ("value",))
        else:
            changed |= _fields(point, ("sum", "min", "max"))
        bounds = getattr(point, "explicit_bounds", ())
        if not PLAIN.issuperset(map(type, bounds)):
            changed["explicit_bounds"] = tuple(map(exact, bounds))
    except (TypeError, ValueError, OverflowError):
        return None
    if not PLAIN.issuperset(type(exemplar.value) for exemplar in point.exemplars):
        told = ((exemplar, finite(exemplar.value)) for exemplar in point.exemplars)
        changed["exemplars"] = [
            replace(exemplar, value=value) for exemplar, value in told if value is not None
        ]
    return replace(point, **changed) if changed else point


def exact_family(family: Family) -> Family:
    """A family of another library, with numbers of Python's own; points whose numbers are none are left
    out."""
    return replace(
        family, points=tuple(found for point in family.points if (found := _exact(point)) is not None)
    )


def _exact(point: Point) -> Point | None:
    value, exemplar = point.value, point.exemplar
    try:
        if isinstance(value, Histogram):
            value = Histogram(tuple(map(exact, value.bounds)), value.counts, exact(value.sum), value.count)
        elif isinstance(value, Summary):
            value = Summary(
                value.count,
                exact(value.sum),
                tuple((exact(quantile), exact(found)) for quantile, found in value.told),
            )
        elif not isinstance(value, Distribution):
            value = exact(value)
        time_unix = None if point.time_unix is None else float(point.time_unix)
    except (TypeError, ValueError, OverflowError):
        return None
    plain = _plain_exemplar(exemplar) if exemplar is not None else None
    plains = tuple(
        (position, found)
        for position, each in point.exemplars
        if (found := _plain_exemplar(each)) is not None
    )
    return replace(point, value=value, exemplar=plain, exemplars=plains, time_unix=time_unix)


def _plain_exemplar(exemplar: Exemplar) -> Exemplar | None:
    try:
        return replace(exemplar, value=exact(exemplar.value), time_unix=float(exemplar.time_unix))
    except (TypeError, ValueError, OverflowError):
        return None
