"""Attributes of an application's own instruments tell no secret: on our page, in OTLP, in exemplars."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from bext_otel.metrics.provider import BextMeterProvider
from bext_otel.metrics.store.streams import Streams
from bext_otel.redaction import use_policy

KEY = "AKIAIOSFODNN7EXAMPLE"
ATTRIBUTES: dict[str, Any] = {"token": "hunter2", "what": f"by {KEY}", "day": "Monday"}


def shown(provider: BextMeterProvider) -> dict[str, Any]:
    provider.instruments.collect()
    provider.streams.drain()
    return {point.series.text: point for family in provider.instruments.families() for point in family.points}


def test_a_series_is_that_of_its_attributes_without_their_secrets(streams: Streams) -> None:
    provider = BextMeterProvider(streams, Resource({}), scope_labels=False)
    counter = provider.get_meter("shop").create_counter("orders")
    counter.add(1, ATTRIBUTES)
    counter.add(2, {**ATTRIBUTES, "token": "another"})
    counter.add(4, dict(reversed(ATTRIBUTES.items())))
    counter.add(8, {**ATTRIBUTES, "card": 4111111111111111, "n": [KEY]})
    found = {series: point.value for series, point in shown(provider).items()}
    assert [7, 8] == sorted(found.values())
    assert all('day="Monday"' in series and "REDACTED[aws-key]" in series for series in found)
    for secret in ("hunter2", "another", KEY, "4111111111111111"):
        assert secret not in str(found)
    provider.shutdown()


def test_what_observers_say_and_what_a_view_leaves_for_exemplars_too(streams: Streams) -> None:
    def observe(_: CallbackOptions) -> list[Observation]:
        return [Observation(3, ATTRIBUTES)]

    view = View(instrument_name="sizes", attribute_keys={"day"})
    provider = BextMeterProvider(streams, Resource({}), scope_labels=False, views=[view])
    meter = provider.get_meter("shop")
    meter.create_observable_gauge("depth", [observe])
    tracer = TracerProvider().get_tracer("shop")
    with tracer.start_as_current_span("work"):
        meter.create_histogram("sizes").record(1, ATTRIBUTES)
    found = shown(provider)
    (depth,) = (series for series in found if "what=" in series)
    assert 'token="REDACTED[name]"' in depth
    exemplars = [exemplar for point in found.values() for exemplar in dict(point.exemplars).values()]
    (exemplar,) = exemplars
    assert {"token": "REDACTED[name]", "what": "by REDACTED[aws-key]"} == dict(exemplar.dropped)
    provider.shutdown()


def test_names_of_the_users_own_and_those_that_are_allowed(
    streams: Streams, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(use_policy(names=["customer"], allow=["token"]))
    provider = BextMeterProvider(streams, Resource({}), scope_labels=False)
    provider.get_meter("shop").create_counter("orders").add(1, {"customer": "Ada", "token": "t"})
    assert ['customer="REDACTED[name]",token="t"'] == list(shown(provider))
    provider.shutdown()


def test_labels_that_tell_a_scope(streams: Streams) -> None:
    provider = BextMeterProvider(streams, Resource({}))
    provider.get_meter("shop", attributes={"token": "hunter2", "part": KEY}).create_counter("orders").add(1)
    (series,) = shown(provider)
    assert 'otel_scope_token="REDACTED[name]"' in series
    assert 'otel_scope_part="REDACTED[aws-key]"' in series
    provider.shutdown()
