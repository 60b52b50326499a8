"""The meters: the catalogue's rows are served from its own cells, every other instrument from cells of its
own."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import pairwise
from math import isfinite
from typing import Any

from opentelemetry import metrics
from opentelemetry.metrics import CallbackT

from bext_otel._compat import Gauge, InstrumentKind, SdkMeter
from bext_otel.catalogue import Metric
from bext_otel.declarations import row_by_name
from bext_otel.metrics.instruments.identity import identified
from bext_otel.metrics.instruments.store import Instruments
from bext_otel.metrics.store.instruments import row_instrument
from bext_otel.metrics.store.streams import Streams
from bext_otel.scope import SCOPE

__all__ = ["BextMeter"]

_log = logging.getLogger("bext_otel")

# Rows of the semantic conventions: another library's instruments of these names are its own.
_STANDARD = ("http.", "otel.sdk.")
# Upstream's own meter: what it tells of itself is told by us already.
_OF_UPSTREAM = "opentelemetry-sdk"

_KINDS_OF_ROWS: dict[InstrumentKind, tuple[str, ...]] = {
    "counter": ("counter",),
    "up_down_counter": ("up_down_counter",),
    "gauge": ("gauge",),
    "histogram": ("summary", "histogram"),
    "observable_counter": ("counter",),
    "observable_up_down_counter": ("up_down_counter",),
    "observable_gauge": ("gauge",),
}


class BextMeter(SdkMeter):
    """A meter of `BextMeterProvider`."""

    streams: Streams
    instruments: Instruments

    def on_configured(self) -> None:
        """See `SdkMeter`."""
        self.instruments.enable(self.scope, enabled=self.enabled)

    def _row(self, kind: InstrumentKind, name: Any) -> Metric | None:
        row = row_by_name(name) if isinstance(name, str) else None
        if row is None or row.kind not in _KINDS_OF_ROWS[kind]:
            return None
        # An application that upstream instruments too makes these instruments as well. Ours has counted the
        # request already.
        return None if row.name.startswith(_STANDARD) and self.name != SCOPE else row

    def _make(
        self,
        kind: InstrumentKind,
        name: str,
        unit: str,
        description: str,
        *,
        bounds: tuple[float, ...] | None = None,
        callbacks: Sequence[CallbackT] | None = None,
    ) -> Any:
        row = self._row(kind, name)
        if row is not None:
            identity = identified(self.scope, kind, name, unit, description, row=row)
            if not self.instruments.planner.matching(identity):
                return row_instrument(kind, self.streams.stream(row), callbacks)
        if self.name == _OF_UPSTREAM and str(name).startswith("otel.sdk."):
            return _no_op(kind, name, unit, description)
        return self.instruments.make(
            self.scope,
            kind,
            name,
            unit,
            description,
            bounds=bounds,
            callbacks=callbacks,
            enabled=self.enabled,
            row=row,
        )

    def create_counter(self, name: str, unit: str = "", description: str = "") -> metrics.Counter:
        """See `opentelemetry.metrics.Meter`, as for the others."""
        found: metrics.Counter = self._make("counter", name, unit, description)
        return found

    def create_up_down_counter(
        self, name: str, unit: str = "", description: str = ""
    ) -> metrics.UpDownCounter:
        found: metrics.UpDownCounter = self._make("up_down_counter", name, unit, description)
        return found

    def create_histogram(
        self,
        name: str,
        unit: str = "",
        description: str = "",
        *,
        explicit_bucket_boundaries_advisory: Sequence[float] | None = None,
    ) -> metrics.Histogram:
        bounds = _advised(name, explicit_bucket_boundaries_advisory)
        found: metrics.Histogram = self._make("histogram", name, unit, description, bounds=bounds)
        return found

    def create_gauge(self, name: str, unit: str = "", description: str = "") -> Gauge:
        found: Gauge = self._make("gauge", name, unit, description)
        return found

    def create_observable_gauge(
        self, name: str, callbacks: Sequence[CallbackT] | None = None, unit: str = "", description: str = ""
    ) -> metrics.ObservableGauge:
        made = self._make("observable_gauge", name, unit, description, callbacks=callbacks)
        found: metrics.ObservableGauge = made
        return found

    def create_observable_counter(
        self, name: str, callbacks: Sequence[CallbackT] | None = None, unit: str = "", description: str = ""
    ) -> metrics.ObservableCounter:
        made = self._make("observable_counter", name, unit, description, callbacks=callbacks)
        found: metrics.ObservableCounter = made
        return found

    def create_observable_up_down_counter(
        self, name: str, callbacks: Sequence[CallbackT] | None = None, unit: str = "", description: str = ""
    ) -> metrics.ObservableUpDownCounter:
        made = self._make("observable_up_down_counter", name, unit, description, callbacks=callbacks)
        found: metrics.ObservableUpDownCounter = made
        return found


def _advised(name: str, bounds: Any) -> tuple[float, ...] | None:
    """Bounds that a histogram was made with; None if they are none."""
    if bounds is None:
        return None
    try:
        found = tuple([float(bound) for bound in bounds])
    except (TypeError, ValueError, OverflowError):
        found = None
    rising = found is not None and all(low < high for low, high in pairwise(found))
    if found is None or not rising or not all(map(isfinite, found)):
        _log.warning(
            "metric %s: explicit_bucket_boundaries_advisory = %r: expected numbers that rise; it is not used",
            name,
            bounds,
        )
        return None
    return found


def _no_op(kind: InstrumentKind, name: str, unit: str, description: str) -> Any:
    nobody = metrics.NoOpMeter(_OF_UPSTREAM)
    make = getattr(nobody, f"create_{kind}")
    return make(name, unit=unit, description=description)
