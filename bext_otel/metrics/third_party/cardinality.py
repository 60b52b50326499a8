"""How many attribute sets an instrument may have: those past the limit are one point,
`otel.metric.overflow=true`; totals stay exact.

As in the OpenTelemetry specification (metrics SDK, "Cardinality limits"). The SDK has none before 1.45.2, and
from then on one for each interval between two collections, while totals here are for life.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

__all__ = ["CARDINALITY_LIMIT", "OVERFLOW_ATTRIBUTES", "Cardinality"]

_log = logging.getLogger("bext_otel")

CARDINALITY_LIMIT = 2000
"""The specification's default; the point for what is past it comes in addition, as in the SDK."""

OVERFLOW_ATTRIBUTES: Mapping[str, Any] = {"otel.metric.overflow": True}
"""What the point has for what is past the limit."""


class Cardinality:
    """The attribute sets that each instrument may show: the first ones."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._of_instruments: dict[Any, set[Any]] = {}
        # Two instruments of one name are one metric.
        self._of_names: dict[tuple[Any, str], set[Any]] = {}

    def reset(self) -> None:
        """Start over, as a forked child does."""
        self._of_instruments.clear()
        self._of_names.clear()

    def admit(self, measurement: Any) -> Any:
        """The measurement, if there is room for its attributes; or else the same among those that have found
        none."""
        attributes = measurement.attributes
        if not attributes:
            return measurement
        admitted = self._of_instruments.get(measurement.instrument)
        if admitted is None:
            admitted = self._admitted(measurement.instrument)
        try:
            key: Any = frozenset(attributes.items())
            known = key in admitted
        except TypeError:  # a list or a mapping among the values
            key = repr(sorted(attributes.items(), key=str))
            known = key in admitted
        if known:
            return measurement
        if len(admitted) < self.limit:
            admitted.add(key)
            return measurement
        if None not in admitted:
            admitted.add(None)
            self._tell(measurement.instrument)
        return replace(measurement, attributes=dict(OVERFLOW_ATTRIBUTES))

    def _admitted(self, instrument: Any) -> set[Any]:
        scope = instrument.instrumentation_scope
        admitted = self._of_names.setdefault((scope, instrument.name.lower()), set())
        return self._of_instruments.setdefault(instrument, admitted)

    def _tell(self, instrument: Any) -> None:
        _log.warning(
            "metric %s of %s has more than %d attribute sets ([metrics] cardinality_limit): further ones "
            "are counted together, with "
            "otel.metric.overflow=true; use attributes with fewer values",
            instrument.name,
            instrument.instrumentation_scope.name,
            self.limit,
        )
