"""Strategies of Jaeger's Remote Sampling API."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import Decision

from bext_otel.export.sampling_strategy import RateLimit, strategy_of_json, strategy_of_protobuf

LOW, HIGH = 0, (1 << 56) - 1


def decided(strategy: Any, name: str, trace_id: int) -> bool:
    sampler = strategy.sampler(name, trace_id)
    return sampler.should_sample(None, trace_id, name).decision is Decision.RECORD_AND_SAMPLE


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"probabilisticSampling": {"samplingRate": 0.5}}, [False, True]),
        ({"strategyType": 0, "probabilisticSampling": {"samplingRate": 1}}, [True, True]),
        ({"rateLimitingSampling": {"maxTracesPerSecond": 1}}, [True, False]),
        ({"rateLimitingSampling": {}}, [False, False]),
        ({"operationSampling": {"defaultSamplingProbability": 0.5}}, [False, True]),
    ],
)
def test_a_strategy_of_a_whole_service(said: dict[str, Any], expected: list[bool]) -> None:
    strategy = strategy_of_json(json.dumps(said).encode())
    assert expected == [decided(strategy, "any", trace_id) for trace_id in (LOW, HIGH)]


def test_an_operation_that_is_rarely_sampled_is_so_often_a_second_at_least() -> None:
    said = {
        "operationSampling": {
            "defaultSamplingProbability": 0,
            "defaultLowerBoundTracesPerSecond": 0.001,
            "perOperationStrategies": [{"operation": "rare", "probabilisticSampling": {"samplingRate": 0}}],
        }
    }
    strategy = strategy_of_json(json.dumps(said).encode())
    assert [True, False] == [decided(strategy, "rare", LOW) for _ in range(2)]
    assert not decided(strategy, "other", HIGH)


def test_so_many_a_second_and_no_more() -> None:
    now = [0.0]
    limit = RateLimit(2, clock=lambda: now[0])
    assert [True, True, False] == [limit.takes_one() for _ in range(3)]
    now[0] = 0.5
    assert [True, False] == [limit.takes_one() for _ in range(2)]
    now[0] = 3600.0
    assert [True, True, False] == [limit.takes_one() for _ in range(3)]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"probabilisticSampling": {"samplingRate": 2}}',
        b'{"probabilisticSampling": []}',
        b'{"operationSampling": {"perOperationStrategies": [{}]}}',
    ],
)
def test_what_is_no_strategy_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # with words of several kinds
        strategy_of_json(content)


def message(number: int, content: bytes) -> bytes:
    return bytes((number << 3 | 2, len(content))) + content


def double(number: int, value: float) -> bytes:
    return bytes((number << 3 | 1,)) + struct.pack("<d", value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\x08\x00" + message(2, double(1, 0.5)), [False, True]),
        (b"\x08\x01" + message(3, b"\x08\x01"), [True, False]),
        (
            message(4, double(1, 0.0) + message(3, message(1, b"any") + message(2, double(1, 1.0)))),
            [True, True],
        ),
        (message(9, b"unknown") + message(2, double(1, 1.0)), [True, True]),
    ],
)
def test_the_same_in_protocol_buffers(content: bytes, expected: list[bool]) -> None:
    strategy = strategy_of_protobuf(content)
    assert expected == [decided(strategy, "any", trace_id) for trace_id in (LOW, HIGH)]


@given(st.binary(max_size=60))
@settings(max_examples=300)
def test_bytes_of_any_kind_are_a_strategy_or_refused(content: bytes) -> None:
    try:
        strategy_of_protobuf(content)
    except ValueError:
        return
