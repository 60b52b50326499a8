from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.context import Context

from bext_otel.request_facts import facts_of, well_formed, with_facts


@pytest.mark.parametrize(
    "sent",
    ["4711", "7b6f0a52-4b0e-4d53-9f0b-5a1f7b6c1e2d", "Root=1-67891233-abcdef", "a/b+c=@x:1.2_3", "x" * 128],
)
def test_what_proxies_send_is_taken_as_text_and_as_bytes(sent: str) -> None:
    assert sent == well_formed(sent) == well_formed(sent.encode())


@pytest.mark.parametrize("sent", [None, "", "x" * 129, "a b", "-a", 'a"', "a\n", "a,b", "ä", "a\0", "1\n"])
def test_what_could_be_read_as_something_else_is_not(sent: str | None) -> None:
    assert well_formed(sent) is None


@given(st.binary(max_size=200))
def test_whatever_is_sent_what_is_taken_stands_in_a_line_as_it_is(sent: bytes) -> None:
    taken = well_formed(sent)
    assert taken is None or (taken.encode() == sent and taken.isprintable() and not set(taken) & set('"\\ '))


def test_facts_travel_in_a_context_and_wrong_ones_are_left_out() -> None:
    assert ("/x/{y}", "42") == facts_of(with_facts("/x/{y}", "42", Context()))
    assert (None, "42") == facts_of(with_facts(7, "42", Context()))
    assert (None, None) == facts_of(with_facts("", "a b", Context()))
    assert Context() == with_facts(None, None, Context())


def test_what_looks_like_a_token_is_no_id() -> None:
    token = (
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
    )
    assert well_formed(token) is None
