"""What others have given us is called for no longer than there is time."""

from __future__ import annotations

import threading
import time
from contextvars import ContextVar

import pytest

from bext_otel import threads
from bext_otel.bounded import within

colour: ContextVar[str] = ContextVar("colour", default="none")


def raises() -> None:
    raise OSError("gone")


def test_each_answer_is_told_in_its_place_and_what_hangs_is_left_behind() -> None:
    never = threading.Event()
    began = time.monotonic()
    first, failed, hanging = within(0.2, [lambda: 7, raises, lambda: never.wait(60)])
    never.set()
    assert time.monotonic() - began < 10
    assert first is not None
    assert failed is not None
    assert (7, None) == (first.value, hanging)
    assert (False, "gone") == (failed.value, str(failed.error))


def test_calls_are_made_in_the_context_of_whoever_asks() -> None:
    token = colour.set("blue")
    try:
        (answer,) = within(5, [colour.get])
    finally:
        colour.reset(token)
    assert answer is not None
    assert "blue" == answer.value


def test_without_a_thread_they_are_called_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "start", lambda *_, **__: None)
    (here, failed) = within(5, [threading.get_ident, raises])
    assert here is not None
    assert failed is not None
    assert (threading.get_ident(), False) == (here.value, failed.value)
