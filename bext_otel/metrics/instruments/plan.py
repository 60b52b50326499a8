"""What becomes of an instrument's measurements: one plan for each stream, as its kind, the views and a reader
say (OpenTelemetry specification, metrics SDK, "View")."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import isfinite
from typing import Any, Literal, TypeAlias

import msgspec

from bext_otel._compat import Aggregated, Form, InstrumentKind, ViewParts, matches, parts_of_view
from bext_otel.metrics.instruments.advice import advised_bounds
from bext_otel.metrics.instruments.identity import Identity

__all__ = ["DEFAULT_BOUNDS", "Plan", "Planner"]

_log = logging.getLogger("bext_otel")

DEFAULT_BOUNDS = (0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1e3, 2.5e3, 5e3, 7.5e3, 1e4)
"""The specification's, for a histogram that nobody gave others."""

_HISTOGRAMS = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"

_FORMS: Mapping[InstrumentKind, Form] = {
    "counter": "sum",
    "up_down_counter": "sum",
    "gauge": "last_value",
    "histogram": "explicit",
    "observable_counter": "sum",
    "observable_up_down_counter": "sum",
    "observable_gauge": "last_value",
}

# Whose sums never fall (metrics SDK, "Sum Aggregation"): a histogram takes no negative amounts.
_MONOTONIC = frozenset({"counter", "observable_counter", "histogram"})

Shape: TypeAlias = Literal["counter", "up_down_counter", "gauge", "histogram", "exponential"]
"""What the points of a stream are: as what they are stored, shown and exported."""


class Plan(msgspec.Struct, frozen=True):
    """A stream: who it is, and how measurements become its points.

    `keys` are the attributes that it keeps; None: all but the `excluded` ones. `limit` is how many attribute
    sets it shows.
    """

    name: str
    description: str
    unit: str
    shape: Shape
    bounds: tuple[float, ...] = ()
    max_size: int = 160
    max_scale: int = 20
    min_max: bool = True
    keys: frozenset[str] | None = None
    reservoirs: Callable[[Any], Any] | None = None
    limit: int = 2000
    form: Form = "sum"
    excluded: frozenset[str] = frozenset()

    @property
    def is_plain(self) -> bool:
        """Whether a measurement can go to its series as it is."""
        return self.keys is None and self.reservoirs is None and not self.excluded


class Planner:
    """Makes plans, by the `views` of the application; `limit` is how many attribute sets a stream shows where
    nobody says otherwise."""

    def __init__(self, views: Iterable[Any] = (), limit: int = 2000) -> None:
        self._views = [(view, parts_of_view(view)) for view in views]
        self.limit = limit
        asked = os.environ.get(_HISTOGRAMS, "").strip().lower()
        self._histograms: Form = (
            "exponential" if asked == "base2_exponential_bucket_histogram" else "explicit"
        )

    def matching(self, identity: Identity) -> list[ViewParts]:
        """The views that are about an instrument."""
        if not self._views:
            return []
        probe = identity.probe()
        return [parts for view, parts in self._views if matches(view, probe)]

    def plans(
        self, identity: Identity, prefers: Aggregated | None = None, limit: int | None = None
    ) -> list[Plan]:
        """The streams of an instrument: one for each view that matches it, or else one. `prefers` and `limit`
        are what a reader would rather have."""
        views = self.matching(identity) or [ViewParts(None, None, None, Aggregated(), None, None)]
        return list(self._planned(identity, views, prefers or Aggregated(), limit or self.limit))

    def _planned(
        self, identity: Identity, views: Sequence[ViewParts], prefers: Aggregated, limit: int
    ) -> Iterator[Plan]:
        for view in views:
            wanted = view.aggregation if view.aggregation.form != "default" else prefers
            form = wanted.form
            if form == "default":
                form = self._default(identity)
            if form == "drop":
                continue
            row = identity.row
            keys = view.keys
            if row is not None:
                labels = frozenset(row.label_names) - view.excluded
                keys = labels if keys is None else keys & labels
            yield Plan(
                view.name or (identity.name if row is None else row.streamed),
                view.description or identity.description,
                identity.unit if row is None else row.streamed_unit,
                _shape(form, identity.kind),
                _bounds(wanted, identity) if form == "explicit" else (),
                max(wanted.max_size, 2),
                min(max(wanted.max_scale, -10), 20),
                wanted.min_max,
                keys,
                view.reservoirs,
                view.limit or limit,
                form,
                view.excluded if keys is None else frozenset(),
            )

    def _default(self, identity: Identity) -> Form:
        if identity.kind != "histogram":
            return _FORMS[identity.kind]
        is_summary = identity.row is not None and identity.row.kind == "summary"
        return "exponential" if is_summary else self._histograms


def _shape(form: Form, kind: InstrumentKind) -> Shape:
    if form == "explicit":
        return "histogram"
    if form == "exponential":
        return "exponential"
    if form == "last_value":
        return "gauge"
    return "counter" if kind in _MONOTONIC else "up_down_counter"


def _bounds(wanted: Aggregated, identity: Identity) -> tuple[float, ...]:
    advised = identity.bounds
    if advised is None:
        advised = advised_bounds(identity.name, identity.unit)
    for bounds in (wanted.bounds, advised):
        if bounds is not None:
            if sound_bounds(bounds):
                return tuple(map(float, bounds))
            _log.warning(
                "metric %s: bounds must be finite numbers, each greater than the one before; %r are not used",
                identity.name,
                bounds,
            )
    return DEFAULT_BOUNDS


def sound_bounds(bounds: Sequence[Any]) -> bool:
    """Whether they are finite numbers that rise."""
    numbers = [isinstance(bound, (int, float)) and isfinite(bound) for bound in bounds]
    return all(numbers) and all(low < high for low, high in pairwise(bounds))
