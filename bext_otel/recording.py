"""Measuring while the application works: as `measuring` has it, and without an exception for its caller.

What is wrong with a call (a label that the row does not have or that is missing, a value that is no number)
is one line in the log, and counted. The rest of it counts as it is: totals stay right.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from opentelemetry.context import Context

from bext_otel.apps import current_app
from bext_otel.catalogue import APP, UNKNOWN, Kind, Metric
from bext_otel.errors import CatalogueError
from bext_otel.measuring import LabelValue, current, ordered
from bext_otel.once import Once
from bext_otel.process import on_fork

__all__ = ["count", "gauge", "measure", "record", "refuse", "wrong_calls"]

_log = logging.getLogger("bext_otel")

_COUNTED: frozenset[Kind] = frozenset({"counter", "up_down_counter"})

_once = Once(1000)
_wrong = 0


def _in_child() -> None:
    global _wrong
    _wrong = 0


on_fork(in_child=_in_child)


def refuse(line: str) -> None:
    """Something about a call is wrong: it is counted, and told once."""
    global _wrong
    _wrong += 1
    if _once.is_first(line):
        _log.warning("%s", line)


def wrong_calls() -> Mapping[str, int]:
    """How many calls that measure were wrong in this process; nothing while none was."""
    return {"metric_calls_wrong": _wrong} if _wrong else {}


def count(row: Metric, /, *, by: float = 1, **labels: LabelValue) -> None:
    """Add `by` to a counter (at least 0) or to an up-down counter: `count(ORDERS, country="de")`.

    Labels are named, in any order; `app` is the app at work where it is not named. Never raises.
    """
    if getattr(row, "kind", None) not in _COUNTED:
        refuse(f"count({_name(row)}): expected a counter or an up_down_counter; record() takes the others")
        return
    _measure(row, by, None, labels)


def record(row: Metric, value: float, /, **labels: LabelValue) -> None:
    """Record `value`, in the row's unit, in a summary or a histogram, or set a gauge to it:
    `record(BASKET_VALUE, 12.5, country="de")`. Labels as for `count`. Never raises."""
    if getattr(row, "kind", None) in _COUNTED or not isinstance(row, Metric):
        refuse(f"record({_name(row)}): expected a summary, a histogram or a gauge; count() takes the others")
        return
    _measure(row, value, None, labels)


def measure(metric: Metric, value: float, /, *, context: Context | None = None, **labels: LabelValue) -> None:
    """Record `value` for these labels, whatever the metric's kind; `context` names the span that an exemplar
    points to (None: the current one). Never raises."""
    _measure(metric, value, context, labels)


def gauge(metric: Metric, value: float, /, **labels: LabelValue) -> None:
    """Set a gauge to `value`; labels as for `count`. Never raises."""
    _measure(metric, value, None, labels)


def _measure(row: Metric, value: float, context: Context | None, labels: dict[str, LabelValue]) -> None:
    try:
        if "app" not in labels and APP in row.labels:
            labels["app"] = current_app(context) or UNKNOWN
        if type(value) is not int and type(value) is not float:
            value = float(value)  # a Decimal, or a number of numpy's
        try:
            values = ordered(row, labels)
        except CatalogueError as error:
            refuse(f"{error}; what is missing is {UNKNOWN!r} now, what is too much is left out")
            values = tuple([labels.get(name, UNKNOWN) for name in row.keywords])
        try:
            handle = current().handle(row, values)
        except TypeError:  # a value that cannot be hashed
            handle = current().handle(row, tuple([None if each is None else str(each) for each in values]))
        handle(value, context)
    except Exception as error:  # what is measured is worth no request of the application's
        refuse(f"{_name(row)}: a call that measures is wrong ({type(error).__name__}); nothing is recorded")


def _name(row: object) -> str:
    return str(getattr(row, "name", type(row).__name__))[:200]
