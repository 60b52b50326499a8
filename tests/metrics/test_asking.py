from __future__ import annotations

import time

import pytest

from bext_otel import threads
from bext_otel.metrics.asking import Round


class Busy:
    """Takes the processor for a tenth of a second."""

    asked_since: float | None = None

    def ask_alone(self) -> None:
        end = time.thread_time() + 0.1
        while time.thread_time() < end:
            pass

    def hang(self) -> None:
        raise AssertionError("it answers")


@pytest.mark.parametrize("can_start", [True, False], ids=["in a thread", "by who asks"])
def test_what_callbacks_take_of_the_processor_is_laid_to_who_asks_once(
    can_start: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_start:
        monkeypatch.setattr(threads, "start", lambda *_, **__: None)
    before = threads.processor_seconds()
    Round([Busy(), Busy()]).ask_all()
    assert 0.2 <= threads.processor_seconds() - before < 0.35
