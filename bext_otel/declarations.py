"""Rows of the application's own: metrics and kinds of work that it declares once, at import, and that are
from then on what the catalogue's are.

    ORDERS = bext_otel.metric("shop.orders", kind="counter", unit="{order}", text="Orders placed.",
                              labels={"plan": ("free", "pro"), "country": 50})
    CHECKOUT = bext_otel.work("shop.checkout", text="A basket becomes an order.", labels=("plan",))

What is wrong with a declaration is a CatalogueError there, which names the labels. Needs the standard library
only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import isfinite
from typing import Any, TypeAlias, get_args

from bext_otel.catalogue import (
    APP,
    LABEL_KEYS,
    METRICS,
    TAKEN,
    Kind,
    Label,
    Merge,
    Metric,
    Work,
    by_name,
)
from bext_otel.errors import CatalogueError
from bext_otel.text import legal_name

__all__ = [
    "Labels",
    "is_own",
    "label_of",
    "metric",
    "own_rows",
    "own_works",
    "row_by_exported",
    "row_by_name",
    "rows",
    "work",
]

Labels: TypeAlias = "Sequence[str | Label] | Mapping[str, int | Iterable[str]]"
"""Names, or each name with its budget or its closed set of values."""

DURATION_UNITS = ("s", "ms", "us")
"""What the duration of work can be told in."""

UNITS: Mapping[str, str] = {
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "m": "meters",
    "V": "volts",
    "A": "amperes",
    "J": "joules",
    "W": "watts",
    "g": "grams",
    "Cel": "celsius",
    "Hz": "hertz",
    "%": "percent",
}
"""UCUM units with a word in OpenTelemetry's translation to Prometheus, and that word."""

# The specification's syntax of an instrument's name.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_./-]{0,254}")
_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,99}")
_THINGS = re.compile(r"\{[ -z|~]{1,60}\}")
_RESERVED = ("bext.", "otel.", "http.", "target_info", "process.")
# Labels that Prometheus, or our own page, gives another meaning.
_NOT_LABELS = frozenset({"le", "quantile", "name", "value", "kind", "attributes"}) | TAKEN
_MOST_VALUES = 1000
_WORDS: Mapping[str, str] = {
    "duration": "summary",
    "timer": "summary",
    "distribution": "summary",
    "updowncounter": "up_down_counter",
    "up_down": "up_down_counter",
    "count": "counter",
}

_BY_NAME = by_name()
_BY_EXPORTED = {row.exported: row for row in METRICS}
_LABELS = {key: label for label, key in LABEL_KEYS.items()}
_own: dict[str, Metric] = {}
_own_works: dict[str, Work] = {}


def metric(
    name: str,
    *,
    kind: Kind,
    text: str,
    unit: str = "",
    labels: Labels = (),
    bounds: Sequence[float] = (),
    merge: Merge = "sum",
) -> Metric:
    """Declare a metric of the application's: a row that `count`, `record` and `work` take.

    `name` is the instrument's dotted name (`shop.orders`); on `/metrics` it has underscores, the unit's word
    and, of a counter, `_total`, as OpenTelemetry's translation has it (`shop_orders_total`). `kind` is one of
    `counter`, `up_down_counter`, `gauge`, `summary` (quantiles 0.5, 0.9, 0.95 and 0.99 of the recent window)
    and `histogram`, which takes `bounds`, numbers that rise. `unit` is UCUM: `s`, `ms`, `By`, `1` (a
    ratio), or the things that are counted, in braces (`{order}`). `text` is its help.

    `labels` are names, of which each may have 100 values, or each name with its budget (`{"country": 50}`) or
    with its closed set (`{"plan": ("free", "pro")}`). What is past a budget is shown as
    `otel.metric.overflow`, and counted; `[metrics.budgets]` changes a budget. `app` is the label of the
    catalogue, and is filled in where it is not named. `merge` is what the workers of a service are together,
    of a gauge: `sum`, `max` or `min`; anything else is added up.

    The same declaration may be made again. Raises CatalogueError where it says anything else than before, or
    is wrong by itself.
    """
    problem = _problem_of(name, kind, text, unit, bounds, merge)
    if problem:
        raise CatalogueError(f"metric {name!r}: {problem}")
    return _registered(
        Metric(
            name,
            kind,
            unit,
            text,
            _labels(name, labels),
            exported=_exported(name, kind, unit),
            bounds=tuple(map(float, bounds)),
            merge=merge,
        )
    )


def work(
    name: str,
    *,
    text: str,
    labels: Labels = (),
    unit: str = "s",
    slow_ms: float | None = None,
) -> Work:
    """Declare a kind of work of the application's: what `operation` measures and traces.

    Its duration is the summary `<name>.duration` in `unit` (`s`, `ms` or `us`), and its failures are the
    counter `<name>.errors`, which has the label `error_type` besides. Past `slow_ms` its end is a warning in
    the log; None: never. `labels`, `text` and what is raised are as in `metric`.
    """
    if unit not in DURATION_UNITS:
        raise CatalogueError(f"work {name!r}: unit = {unit!r}: expected one of {', '.join(DURATION_UNITS)}")
    if slow_ms is not None and not (isinstance(slow_ms, (int, float)) and slow_ms > 0):
        raise CatalogueError(f"work {name!r}: slow_ms = {slow_ms!r}: expected milliseconds above 0, or None")
    if not isinstance(text, str) or not text.strip():
        raise CatalogueError(f"work {name!r}: text = {text!r}: expected a sentence that says what it is")
    named = _labels(name, labels)
    if any(label.name in {"error_type", "status"} for label in named):
        raise CatalogueError(
            f"work {name!r} has the labels ({', '.join(label.name for label in named)}): error_type and "
            "status are what its end says; leave them out"
        )
    duration = metric(f"{name}.duration", kind="summary", unit=unit, text=f"Time: {text}", labels=named)
    failed = metric(
        f"{name}.errors",
        kind="counter",
        unit="{error}",
        text=f"Failures: {text}",
        labels=(*duration.labels, Label("error_type", "Class of the failure.", budget=50)),
    )
    known = _own_works.get(name)
    if known is not None:
        if (known.description, known.slow_ms) != (text, slow_ms):
            raise CatalogueError(f"work {name!r} is declared already, with another text or slow_ms")
        return known
    made = Work(name, text, duration.labels, duration, failed=failed, slow_ms=slow_ms)
    return _own_works.setdefault(name, made)


def is_own(row: Metric) -> bool:
    """Is it a row of the application's?"""
    return _own.get(row.name) is row


def own_rows() -> tuple[Metric, ...]:
    """The application's rows, in the order of their declaration."""
    return tuple(_own.values())


def own_works() -> tuple[Work, ...]:
    """The application's kinds of work."""
    return tuple(_own_works.values())


def rows() -> Iterator[Metric]:
    """Every row: the catalogue's, then the application's."""
    yield from METRICS
    yield from own_rows()


def row_by_name(name: str) -> Metric | None:
    """The row of an instrument of this name."""
    return _BY_NAME.get(name)


def row_by_exported(exported: str) -> Metric | None:
    """The row of this name on `/metrics`."""
    return _BY_EXPORTED.get(exported)


def label_of(key: str) -> Label | None:
    """The label of this key (see `LABEL_KEYS`)."""
    return _LABELS.get(key)


def _registered(made: Metric) -> Metric:
    known = _BY_NAME.get(made.name)
    if known is None and (known := _BY_EXPORTED.get(made.exported)) is not None:
        raise CatalogueError(
            f"metric {made.name!r} would be {made.exported} on /metrics, which {known.name!r} is already; "
            "give it another name"
        )
    if known is not None:
        if _content(known) != _content(made):
            raise CatalogueError(
                f"metric {made.name!r} is declared already, as {_shown(known)}, and now as {_shown(made)}; "
                "declare it once, and import it from there"
            )
        return known
    for label in made.labels:
        key = f"{made.exported}.{label.name}"
        if label not in LABEL_KEYS:
            LABEL_KEYS[label] = key
            _LABELS[key] = label
    _BY_EXPORTED[made.exported] = made
    _own[made.name] = _BY_NAME[made.name] = made
    return made


def _content(row: Metric) -> tuple[object, ...]:
    labels = tuple([(label.name, label.values, label.budget) for label in row.labels])
    return row.kind, row.unit, row.description, row.bounds, row.merge, labels


def _shown(row: Metric) -> str:
    return f"a {row.kind} of unit {row.unit!r} with the labels ({', '.join(row.label_names)})"


def _problem_of(name: Any, kind: Any, text: Any, unit: Any, bounds: Any, merge: Any) -> str:
    """What is wrong with a declaration; empty if nothing is."""
    return (
        _problem_of_name(name)
        or _problem_of_kind(kind, text, unit, merge)
        or _problem_of_bounds(kind, bounds)
    )


def _problem_of_name(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return "expected ASCII letters, digits, _ . - and /, a letter first, such as 'shop.orders'"
    if name.startswith(_RESERVED) or legal_name(name) in {"target_info", "up"}:
        return "names of this kind are the catalogue's or the semantic conventions'; begin with your own"
    return ""


def _problem_of_kind(kind: Any, text: Any, unit: Any, merge: Any) -> str:
    kinds = get_args(Kind)
    if kind not in kinds:
        from difflib import get_close_matches  # for who has mistyped something

        guess = _WORDS.get(str(kind).lower()) or next(iter(get_close_matches(str(kind), kinds, n=1)), "")
        hint = f"; did you mean {guess!r}?" if guess else ""
        return f"kind = {kind!r}: expected one of {', '.join(kinds)}{hint}"
    if not isinstance(text, str) or not text.strip():
        return f"text = {text!r}: expected a sentence that says what it tells"
    if not isinstance(unit, str) or not (unit in {"", "1"} or unit in UNITS or _THINGS.fullmatch(unit)):
        return (
            f"unit = {unit!r}: expected 1, one of {', '.join(UNITS)}, or the things that are counted in "
            "braces, such as '{order}'"
        )
    if merge not in get_args(Merge) or (merge != "sum" and kind != "gauge"):
        return f"merge = {merge!r}: expected sum, and for a gauge sum, max or min"
    return ""


def _problem_of_bounds(kind: str, bounds: Any) -> str:
    if kind != "histogram":
        return "bounds belong to a histogram, and to nothing else" if bounds else ""
    try:
        found = [float(bound) for bound in bounds]
    except (TypeError, ValueError):
        found = []
    rising = all(low < high for low, high in pairwise(found)) and all(map(isfinite, found))
    return (
        "" if found and rising else f"bounds = {bounds!r}: expected numbers that rise, such as (0.1, 1, 10)"
    )


def _labels(name: str, given: Labels) -> tuple[Label, ...]:
    if isinstance(given, str) or not isinstance(given, (Mapping, Sequence)):
        raise CatalogueError(
            f"{name!r}: labels = {given!r}: expected names, such as ('plan', 'country'), or each name with "
            "its budget or its values, such as {'country': 50, 'plan': ('free', 'pro')}"
        )
    if isinstance(given, Mapping):
        found = tuple([_label(name, label, limit) for label, limit in given.items()])
    else:
        found = tuple([label if isinstance(label, Label) else _label(name, label, 100) for label in given])
    legal = [legal_name(label.name) for label in found]
    twice = [label.name for label in found if legal.count(legal_name(label.name)) > 1]
    if twice:
        raise CatalogueError(f"{name!r}: the labels ({', '.join(twice)}) are one and the same on /metrics")
    return found


def _label(name: str, label: Any, limit: Any) -> Label:
    if not isinstance(label, str) or not _LABEL.fullmatch(label):
        raise CatalogueError(
            f"{name!r}: the label {label!r}: expected letters, digits, _ and ., a letter first"
        )
    if label in _NOT_LABELS or label.startswith(("otel_scope_", "otel.scope.")):
        raise CatalogueError(f"{name!r}: the label {label!r} means something else already; rename it")
    if label == "app":
        return APP
    if isinstance(limit, int) and not isinstance(limit, bool):
        if not 1 <= limit <= 1_000_000:
            raise CatalogueError(f"{name!r}: the label {label!r}: a budget is 1 to 1000000, not {limit!r}")
        return Label(label, f"See {name}.", budget=limit)
    values = tuple(limit) if isinstance(limit, Iterable) and not isinstance(limit, (str, bytes)) else ()
    if not values or len(values) > _MOST_VALUES or not all(isinstance(value, str) for value in values):
        raise CatalogueError(
            f"{name!r}: the label {label!r}: expected its budget, a number, or its values, 1 to "
            f"{_MOST_VALUES} texts; not {limit!r}"
        )
    return Label(label, f"See {name}.", tuple(dict.fromkeys(values)))


def _exported(name: str, kind: Kind, unit: str) -> str:
    """The name on `/metrics`, by OpenTelemetry's translation, so that it is the same behind a collector."""
    legal = legal_name(name, colons=True)
    suffix = "ratio" if unit == "1" and kind != "counter" else UNITS.get(unit, "")
    if suffix and not legal.endswith(f"_{suffix}"):
        legal = f"{legal}_{suffix}"
    return f"{legal}_total" if kind == "counter" and not legal.endswith("_total") else legal
