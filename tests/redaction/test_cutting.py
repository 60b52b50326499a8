"""What is both cut and redacted: no half of a secret stays, and a line is JSON within its limit."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context

from bext_otel.entries import MAX_STACKTRACE, exception_facts
from bext_otel.export.record import Record, severity_of
from bext_otel.logs.formats import json_line, pretty_line
from bext_otel.logs.limits import MAX_FIELD_BYTES
from bext_otel.logs.values import MAX_REPR, plain_fields, plain_text, shown
from tests.redaction.secrets import shaped


def line_of(body: str, fields: dict[str, object], max_bytes: int, *, pretty: bool = False) -> bytes:
    severity = severity_of(SeverityNumber.INFO, "INFO")
    record = Record(None, None, Context(), 1, 1, severity, plain_text(body), plain_fields(fields))
    return (pretty_line if pretty else json_line)(record, max_bytes=max_bytes)


def pieces(secret: str) -> list[str]:
    """Parts of a secret that are long enough to be told from anything else."""
    inner = secret.partition(" ")[2] if secret.startswith(("Bearer ", "Basic ")) else secret
    inner = inner.replace("-----BEGIN", "").replace("PRIVATE KEY-----", "").strip()
    return [
        inner[at : at + 12]
        for at in range(0, max(1, len(inner) - 12), 6)
        if "----" not in inner[at : at + 12]
    ]


@settings(deadline=None, max_examples=60)
@given(shaped, st.integers(-60, 60), st.sampled_from([4096, 16 * 1024, 64 * 1024]), st.booleans())
def test_no_piece_of_a_secret_stands_where_a_line_is_cut(
    secret: str, offset: int, max_bytes: int, pretty: bool
) -> None:
    limit = min(MAX_FIELD_BYTES, max_bytes // 8)
    text = f"{'x ' * ((limit + offset) // 2)}{secret} {'y ' * 12_000}"
    line = line_of(text, {"field": text, "list": [text]}, max_bytes, pretty=pretty)
    assert len(line) <= max_bytes
    assert 1 == line.count(b"\n")
    if not pretty:
        assert "message.length" in msgspec.json.decode(line)
    assert [] == [piece for piece in pieces(secret) if piece in line.decode()]


@settings(deadline=None, max_examples=60)
@given(shaped, st.integers(-60, 60))
def test_no_piece_of_a_secret_stands_where_an_exception_or_a_repr_is_cut(secret: str, offset: int) -> None:
    class Said(Exception):
        def __repr__(self) -> str:
            return f"{'x ' * ((MAX_REPR + offset) // 2)}{secret} and more {'y ' * 2000}"

    text = f"{'x ' * ((MAX_STACKTRACE + offset) // 2)}{secret} and more {'y ' * 20_000}"
    facts = exception_facts(Said(text))
    short = exception_facts(Said(f"{'x ' * ((1024 + offset) // 2)}{secret} and more {'y ' * 2000}"))
    told = f"{facts} {short} {shown(Said())}"
    assert [] == [piece for piece in pieces(secret) if piece in told]


@pytest.mark.parametrize("count", [1, 1000, 100_000])
def test_long_text_takes_time_in_proportion(count: int) -> None:
    """Each of these would be looked at over and over by a careless pattern."""
    for unit in (
        "eyJ-",
        "eyJaaaaaaaaa",
        "AKIA",
        "gh",
        "4 ",
        "4-",
        "a=",
        "a:",
        "://",
        "<a>",
        "Bearer ",
        "-----BEGIN ",
        '"',
    ):
        plain_text(unit * count)
