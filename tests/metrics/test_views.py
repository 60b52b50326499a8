"""Views and readers with what the SDK's have not: what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.metrics import Counter
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from bext_otel.errors import ConfigError
from bext_otel.metrics.views import StreamView, limited


@pytest.mark.parametrize("limit", [0, -1, True, 2.5, "3"])
def test_a_limit_that_is_none_is_refused(limit: Any) -> None:
    with pytest.raises(ConfigError, match="expected a whole number of attribute sets, 1 or more"):
        StreamView(instrument_name="orders", aggregation_cardinality_limit=limit)
    with pytest.raises(ConfigError, match="Counter="):
        limited(InMemoryMetricReader(), {Counter: limit})


def test_what_is_no_kind_of_instrument_is_refused() -> None:
    with pytest.raises(ConfigError, match="is no class of an instrument"):
        limited(InMemoryMetricReader(), {int: 5})
