"""Metrics encoded by us are, once decoded, what upstream's encoder makes of them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from bext_otel.export.metric_encoder import MetricEncoder

NANOSECONDS = st.integers(0, (1 << 64) - 1)
COUNTS = st.integers(0, (1 << 64) - 1)
INTEGERS = st.integers(-(1 << 63), (1 << 63) - 1)
FLOATS = st.floats(allow_nan=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    TEXT | st.booleans() | INTEGERS | FLOATS | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
ATTRIBUTES = st.dictionaries(TEXT, VALUES, max_size=3)
TEMPORALITY = st.sampled_from([AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE])
EXEMPLARS = st.lists(
    st.builds(
        Exemplar,
        ATTRIBUTES,
        FLOATS | INTEGERS,
        NANOSECONDS,
        st.integers(1, (1 << 64) - 1) | st.none(),
        st.integers(1, (1 << 128) - 1) | st.none(),
    ),
    max_size=2,
)
NUMBERS = st.lists(
    st.builds(sdk.NumberDataPoint, ATTRIBUTES, NANOSECONDS, NANOSECONDS, FLOATS | INTEGERS, EXEMPLARS),
    max_size=3,
)
EXTREMES = FLOATS | st.none()
HISTOGRAMS = st.lists(
    st.builds(
        sdk.HistogramDataPoint,
        ATTRIBUTES,
        NANOSECONDS,
        NANOSECONDS,
        COUNTS,
        FLOATS,
        st.lists(COUNTS, max_size=4),
        st.lists(FLOATS, max_size=4),
        EXTREMES,
        EXTREMES,
        EXEMPLARS,
    ),
    max_size=2,
)
BUCKETS = st.builds(sdk.Buckets, st.integers(-(1 << 31), (1 << 31) - 1), st.lists(COUNTS, max_size=4))
EXPONENTIAL = st.lists(
    st.builds(
        sdk.ExponentialHistogramDataPoint,
        ATTRIBUTES,
        NANOSECONDS,
        NANOSECONDS,
        COUNTS,
        FLOATS,
        st.integers(-10, 20),
        COUNTS,
        BUCKETS,
        BUCKETS,
        st.integers(0, 1),
        EXTREMES,
        EXTREMES,
        EXEMPLARS,
    ),
    max_size=2,
)
DATA: st.SearchStrategy[Any] = (
    st.builds(sdk.Sum, NUMBERS, TEMPORALITY, st.booleans())
    | st.builds(sdk.Gauge, NUMBERS)
    | st.builds(sdk.Histogram, HISTOGRAMS, TEMPORALITY)
    | st.builds(sdk.ExponentialHistogram, EXPONENTIAL, TEMPORALITY)
)
METRICS = st.lists(st.builds(sdk.Metric, TEXT, TEXT, TEXT, DATA), max_size=2)


def decoded(content: bytes) -> ExportMetricsServiceRequest:
    return ExportMetricsServiceRequest.FromString(content)


def arranged(request: ExportMetricsServiceRequest) -> ExportMetricsServiceRequest:
    """Without what says nothing: a metric, or a kind of data, of no points."""
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                if kind is not None and not getattr(metric, kind).data_points:
                    metric.ClearField(kind)
    return request


@given(METRICS, TEXT, TEXT, TEXT)
def test_what_is_encoded_is_what_upstream_encodes(
    metrics: list[sdk.Metric], name: str, version: str, schema: str
) -> None:
    scope = InstrumentationScope(name, version, schema, {"team": "a"})
    resource = Resource({"service.name": "shop", "size": 3}, schema)
    data = MetricsData([sdk.ResourceMetrics(resource, [sdk.ScopeMetrics(scope, metrics, schema)], schema)])
    theirs = arranged(encode_metrics(data))
    encoder = MetricEncoder()
    for _ in range(2):  # the second time from what is kept
        assert theirs == arranged(decoded(encoder.encode(data)))


def test_what_cannot_be_written_is_left_out_and_the_rest_arrives() -> None:
    point = sdk.NumberDataPoint(
        {"lone": "\ud800", "long": 1 << 70, "object": object(), "kept": 1}, 1, 2, 3, []
    )
    metric = sdk.Metric("m\ud800", "", "", sdk.Gauge([point]))
    scope = sdk.ScopeMetrics(InstrumentationScope("s"), [metric], "")
    found = decoded(MetricEncoder().encode(MetricsData([sdk.ResourceMetrics(Resource({}), [scope], "")])))
    (told,) = found.resource_metrics[0].scope_metrics[0].metrics
    assert ("m\ufffd", ["lone", "kept"]) == (
        told.name,
        [each.key for each in told.gauge.data_points[0].attributes],
    )
