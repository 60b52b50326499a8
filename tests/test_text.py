"""What text may hold where it goes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanContext, TraceFlags

from bext_otel.text import UNSEEN, encodable, legal_name, parse_traceparent, traceparent, visible

ANY_TEXT = st.text(st.characters(), max_size=20)  # includes surrogates


@given(ANY_TEXT)
def test_anything_can_be_written_and_what_could_be_stays(text: str) -> None:
    expected = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
    assert expected == encodable(text)
    assert expected == encodable(text).encode().decode()


def test_each_half_of_a_pair_is_replaced() -> None:
    assert "a\ufffd\ufffd\U0001f600" == encodable("a\ud83d\ude00\U0001f600")


@given(ANY_TEXT)
def test_every_name_becomes_a_legal_one(name: str) -> None:
    assert re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", legal_name(name))
    assert re.fullmatch("[a-zA-Z_:][a-zA-Z0-9_:]*", legal_name(name, colons=True))


def test_runs_of_what_is_not_legal_become_one_underscore() -> None:
    assert ("http_route", "_2_a", "_", "a_b") == (
        legal_name("http..route"),
        legal_name("2__a"),
        legal_name(""),
        legal_name("a:b"),
    )
    assert "job:a_b" == legal_name("job:a.b", colons=True)


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 255))
def test_a_span_comes_back_from_its_traceparent_as_a_remote_one(
    trace_id: int, span_id: int, flags: int
) -> None:
    span = SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(flags))
    assert SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags)) == parse_traceparent(
        traceparent(span)
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"00-{'1' * 32}-{'2' * 16}",
        f"01-{'1' * 32}-{'2' * 16}-01",
        f"00-{'0' * 32}-{'2' * 16}-01",
        f"00-{'1' * 32}-{'0' * 16}-01",
        f"00-{'A' * 32}-{'2' * 16}-01",
        f"00-{'1' * 32}-{'2' * 16}-01\n",
        f"00-{'²' * 32}-{'2' * 16}-01",
    ],
)
def test_other_text_names_no_span(text: str) -> None:
    assert parse_traceparent(text) is None


def test_text_that_somebody_else_wrote_is_one_line_that_reads_forwards() -> None:
    assert r"a\x1b[2Jb\nc\x85\u2028\u202e\u2066\u200f\x7f" == visible(
        "a\x1b[2Jb\nc\x85\u2028\u202e\u2066\u200f\x7f"
    )


@given(st.text())
def test_what_can_be_seen_stays(text: str) -> None:
    shown = visible(text)
    assert 1 >= len(shown.splitlines())
    assert [] == UNSEEN.findall(shown)
    if text.isprintable():
        assert text == shown
