from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

from bext_otel.viewer.limits import Limits
from bext_otel.viewer.values import Allowance
from tests.viewer.otlp import pairs, value


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        (AnyValue(string_value="a"), "a"),
        (AnyValue(bool_value=False), False),
        (AnyValue(int_value=-3), -3),
        (AnyValue(int_value=2**53 - 1), 2**53 - 1),
        (AnyValue(int_value=2**53), "9007199254740992"),
        (AnyValue(double_value=0.5), 0.5),
        (AnyValue(double_value=float("nan")), "nan"),
        (AnyValue(double_value=float("-inf")), "-inf"),
        (AnyValue(bytes_value=b"\x00\xff"), "00ff"),
        (AnyValue(array_value=ArrayValue(values=[value(1), value("b")])), [1, "b"]),
        (AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="k", value=value(2))])), {"k": 2}),
        (AnyValue(), None),
    ],
)
def test_every_kind_of_value_becomes_what_json_has(held: AnyValue, expected: object) -> None:
    assert expected == Allowance(Limits(text=100)).plain(held)


def test_a_long_text_is_cut_and_says_so() -> None:
    assert "aaaaa… (95 more characters)" == Allowance(Limits(text=5)).plain(value("a" * 100))


@given(st.binary(max_size=200), st.integers(1, 50))
def test_bytes_never_exceed_the_limit_by_more_than_the_note(held: bytes, limit: int) -> None:
    assert len(str(Allowance(Limits(text=limit)).plain(AnyValue(bytes_value=held)))) <= limit + 40


@given(st.dictionaries(st.text(), st.text() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.booleans()))
def test_attributes_can_always_be_written_as_json(held: dict[str, object]) -> None:
    kept = {key: item for key, item in held.items() if str(key).isprintable() and str(item).isprintable()}
    document = Allowance(Limits(text=100)).attributes(pairs(kept))
    assert document == msgspec.json.decode(msgspec.json.encode(document))
