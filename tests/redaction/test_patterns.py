"""Patterns of the user's own."""

from __future__ import annotations

import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bext_otel.redaction import redact_body, use_policy
from bext_otel.redaction.choices import leaves_no_choice

ENGINES = ["re2", "python"]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With google-re2 and without."""
    if request.param == "python":
        monkeypatch.setitem(sys.modules, "re2", None)  # importing it fails
    else:
        pytest.importorskip("re2")
    return str(request.param)


def used(*patterns: str) -> list[str]:
    lines: list[str] = []
    use_policy(patterns=patterns, tell=lines.append)
    return lines


def test_what_a_pattern_matches_is_hidden_wherever_it_stands(engine: str) -> None:
    assert [] == used(r"cust-\d{4,8}", r"\b[A-Z]{2}\d{6}\b")
    assert "a REDACTED[pattern], REDACTED[pattern] b" == redact_body("a cust-12345678, AB123456 b")
    assert "é REDACTED[pattern] é" == redact_body("é cust-1234 é")
    long = "x" * 5000
    assert f"{long} REDACTED[pattern] {long}" == redact_body(f"{long} cust-1234 {long}")


@pytest.mark.parametrize("pattern", ["(", "a*", "", "[z-a]", "x" * 600, "(?P<n>a)(?P=n"])
def test_a_pattern_that_is_none_is_one_line_and_the_others_hold(engine: str, pattern: str) -> None:
    (line,) = used(pattern, "hunter2")
    assert line.startswith(f"[redaction] patterns: {pattern!r}: expected")
    assert "REDACTED[pattern]" == redact_body("hunter2")


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|a)*b", "(.*)*x", r"\d+\d+\d+\d+x", "(x+x+)+y", "(a|ab)(c|bcd)(d*)z"]
)
def test_no_pattern_hangs_who_logs(engine: str, pattern: str) -> None:
    """It is matched in linear time, or refused."""
    lines = used(pattern)
    assert (engine == "python") == bool(lines)
    began = time.process_time()
    redact_body("a" * 50_000 + "1" * 50_000 + "x" * 50_000)
    assert time.process_time() - began < 5


def test_from_where_the_time_is_over_everything_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    used(r"[a-z]+\d")
    text = redact_body("a" * 3_000_000 + " hunter2")
    assert text.endswith("REDACTED[time]")
    assert len(text) < 3_000_000


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            r"cust-\d+",
            r"\b\d{3}-\d{2}-\d{4}\b",
            r"[A-Z]{2}\d{6}[A-Z]?",
            r"acme_[A-Za-z0-9]{32}",
            r"(?:\d{4}-){3}\d{4}",
        ),
        *(r"[\w.]+@[a-z]+", "foo|food", r"(?:ab|cd)+x", r"x[^,]*,", "(?i)secret-[0-9]+"),
    ],
)
def test_patterns_that_leave_no_choice(pattern: str) -> None:
    assert leaves_no_choice(pattern)


@pytest.mark.parametrize(
    "pattern", [".*x", r"\w+\d", "(a*)*", "(a|a)+", r"(a)\1", "a(?=b)", "a{1,999}a{1,999}", "(?i:a*)A"]
)
def test_patterns_that_leave_one(pattern: str) -> None:
    assert not leaves_no_choice(pattern)


@given(st.text("ab(|)*+?[]\\d.{2}", max_size=14), st.text("ab1", min_size=200, max_size=400))
def test_whatever_is_taken_ends(pattern: str, text: str) -> None:
    """Nothing here is fast enough to be tried in every way: one that can be would never end."""
    sys.modules["re2"] = None  # type: ignore[assignment]
    try:
        used(pattern)
        redact_body(text * 8)
    finally:
        del sys.modules["re2"]
