"""Attributes as OTLP's bytes: what is kept of earlier ones changes nothing."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from bext_otel.export.protobuf import Attributes

values = st.one_of(
    st.sampled_from([0, 1, True, False, 0.0, 1.0, 200, 200.0, "1", "True", "", b"1", None, (1, True)]),
    st.integers(-(1 << 70), 1 << 70),
    st.text(max_size=8),
)
many = st.lists(st.dictionaries(st.sampled_from(["a", "b", "c"]), values, max_size=3), max_size=12)


def read(writer: Attributes, attributes: dict[str, Any]) -> list[str]:
    parts: list[bytes] = []
    writer.write(attributes, parts)
    return [f"{pair.key} {pair.value}" for pair in Span.FromString(b"".join(parts)).attributes]


@given(many)
def test_attributes_are_written_as_if_none_had_been_before(given: list[dict[str, Any]]) -> None:
    """1, True and 1.0 are one key of a dictionary, and three values."""
    writer = Attributes(b"\x4a")
    for attributes in given:
        alone = Attributes(b"\x4a")
        assert read(alone, attributes) == read(writer, attributes) == read(writer, attributes)
    too_large = [
        value
        for each in given
        for value in each.values()
        if type(value) is int and not -(1 << 63) <= value < 1 << 63
    ]
    assert 2 * len(too_large) == writer.left_out


def test_what_is_kept_is_bounded_by_names_and_by_values() -> None:
    names, several = Attributes(b"\x4a"), Attributes(b"\x4a")
    for number in range(5000):
        read(names, {f"name {number}": 1, f"{number} {'n' * 100}": "x"})
        read(several, {"one": f"value {number}", "other": number})
    assert 1000 == len(names._written)
    assert 2 * 128 == len(several._written)
