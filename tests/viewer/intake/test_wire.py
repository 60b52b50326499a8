from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogramDataPoint, Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from bext_otel.viewer.intake.wire import WireError, fields, has_more_elements
from tests.viewer.otlp import SECOND, exponential, span


def read(data: bytes) -> list[tuple[int, int, bytes]]:
    return [(number, kind, data[begin:end]) for number, kind, begin, end in fields(data, 0, len(data))]


def test_the_fields_of_a_message_are_found_without_parsing_it() -> None:
    message = Span(name="work", start_time_unix_nano=SECOND, kind=2)
    assert [(5, 2, b"work"), (6, 0, b"\x02"), (7, 1, SECOND.to_bytes(8, "little"))] == read(
        message.SerializeToString()
    )


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a",
        b"\x0a\x05abc",
        b"\x0a" + b"\xff" * 12,
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x09abc",
        b"\x0b",
        b"\x02\x00",
        b"\x80",
    ],
)
def test_what_is_no_message_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(WireError):
        read(data)


def elements(message: Span | Metric, most: int) -> bool:
    data = message.SerializeToString()
    return has_more_elements(data, 0, len(data), message.DESCRIPTOR, most)


@given(st.integers(0, 40), st.integers(0, 40))
def test_elements_are_counted_at_every_depth(events: int, attributes: int) -> None:
    """An event is one; an attribute three, with its key and the value in it, and one more for the text."""
    message = Span()
    for _ in range(events):
        message.events.add()
    for index in range(attributes):
        pair = message.attributes.add(key=str(index))
        pair.value.string_value = "x"
    count = events + 4 * attributes
    assert not elements(message, count)
    assert count == 0 or elements(message, count - 1)


def test_numbers_of_a_packed_list_count_each() -> None:
    buckets = ExponentialHistogramDataPoint.Buckets(bucket_counts=[1] * 5_000)
    metric = exponential("m", 1, {1: 1})
    metric.exponential_histogram.data_points[0].positive.CopyFrom(buckets)
    assert elements(metric, 5_000)
    assert not elements(metric, 5_100)


def test_what_a_future_field_holds_is_not_looked_into() -> None:
    data = span(1).SerializeToString() + b"\xfa\x06\x04" + b"\x5a\x00" * 2
    assert not has_more_elements(data, 0, len(data), Span.DESCRIPTOR, 20)
