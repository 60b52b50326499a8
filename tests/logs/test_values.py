from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from bext_otel.logs.values import MAX_ITEMS, MAX_REPR, plain, plain_fields, text

anything: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.complex_numbers()
    | st.dates(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner)
        | st.dictionaries(st.text(st.characters()) | st.integers() | st.none(), inner)
    ),
    max_leaves=10,
)


@given(anything)
def test_anything_becomes_json_that_utf_8_can_hold(value: object) -> None:
    json.dumps(plain(value), ensure_ascii=False).encode()


@given(anything)
def test_what_is_plain_stays_as_it_is(value: object) -> None:
    once = plain(value)
    assert repr(once) == repr(plain(once))


@given(st.text(st.characters()))
def test_text_changes_only_what_cannot_be_written(value: str) -> None:
    expected = "".join("�" if "\ud800" <= character <= "\udfff" else character for character in value)
    assert expected == text(value)


class Layer(Enum):
    ISR = "isr"


class Number(IntEnum):
    ONE = 1


class Loud(str):
    def __str__(self) -> str:
        raise RuntimeError


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class Endless(Mapping[str, int]):
    """A mapping that raises half-way through."""

    def __getitem__(self, key: str) -> int:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        yield "a"

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        (2**63 - 1, 2**63 - 1),
        (2**63, str(2**63)),
        (10**5000, "<unprintable int>"),
        (True, True),
        (Number.ONE, 1),
        (Layer.ISR, "isr"),
        (Loud("x"), "x"),
        (b"caf\xc3\xa9 \xff", "café �"),
        (datetime(2026, 3, 28, 15, 30, tzinfo=timezone.utc), "2026-03-28T15:30:00+00:00"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal("1.10"), "1.10"),
        (PurePosixPath("/about"), "/about"),
        ((1, {2}), [1, [2]]),
        ({1: "a", None: "b", "": "c"}, {"1": "a", "None": "b", '""': "c"}),
        (Broken(), "<unprintable Broken>"),
        (Endless(), "<unprintable Endless>"),
        (ValueError("x"), "ValueError('x')"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_shown_as_its_reader_expects(given_value: object, expected: object) -> None:
    assert expected == plain(given_value)


def test_a_value_that_holds_itself_ends_somewhere() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert "[[[[[['[[...]]']]]]]]" == str(plain(loop))


def test_large_values_are_cut() -> None:
    assert MAX_REPR + 1 == len(str(plain(type("Big", (), {"__repr__": lambda _: "x" * 10**6})())))
    assert MAX_ITEMS == len(plain(range(10**6)))  # type: ignore[arg-type]


@given(
    st.dictionaries(st.sampled_from(["a", "b", "password", "Ké"]), st.one_of(st.integers(), anything)),
    st.dictionaries(st.sampled_from(["a", "b", "password", "Ké"]), st.one_of(st.integers(), anything)),
)
def test_fields_are_made_plain_alike_whatever_was_before(one: dict[str, Any], other: dict[str, Any]) -> None:
    for fields in (one, other, one, {name: one.get(name, value) for name, value in other.items()}):
        expected = {
            name: plain({name: value})[name]  # type: ignore[call-overload,index]  # a mapping stays one
            for name, value in fields.items()
        }
        assert repr(expected) == repr(plain_fields(fields)) == repr(plain_fields(fields))


def test_a_secret_stays_hidden_when_it_comes_again() -> None:
    names = {"AKIAIOSFODNN7EXAMPLE": 1}
    assert [{"REDACTED[aws-key]": 1}] * 2 == [plain_fields(names), plain_fields(names)]
    values = [{"note": "hello", "count": 1}, {"note": "password=hunter2", "count": 4111111111111111}]
    (_, shown) = [plain_fields(each) for each in values]
    assert "REDACTED" in shown["note"]
    assert "REDACTED[card]" == shown["count"]


def test_names_that_are_text_of_a_kind_of_its_own_are_shown_as_ever() -> None:
    class Name(str):
        def __str__(self) -> str:
            return "other"

    assert [{"note": "a"}, {"other": "a"}] == [plain_fields({"note": "a"}), plain_fields({Name("note"): "a"})]


@given(st.dictionaries(st.text(st.characters()), anything, max_size=5))
def test_the_exporter_can_encode_every_field(fields: dict[str, Any]) -> None:
    from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
    from opentelemetry.sdk.resources import Resource

    from bext_otel.config import LoggingSettings
    from bext_otel.logs.chain import Chain
    from bext_otel.logs.install import build_provider
    from bext_otel.logs.levels import Gate

    exporter = InMemoryLogRecordExporter()
    provider = build_provider(LoggingSettings(output="none"), Resource({}), exporter)
    try:
        Chain(provider, Gate(20, {})).emit("shop", 20, "event", fields)
        provider.force_flush()
        (record,) = exporter.get_finished_logs()
        encoded = encode_logs([record])
        (back,) = (
            ExportLogsServiceRequest.FromString(encoded.SerializeToString())
            .resource_logs[0]
            .scope_logs[0]
            .log_records
        )
        assert len({text(name) or '""' for name in fields}) == len(back.attributes)
    finally:
        provider.shutdown()
