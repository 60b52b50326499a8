from __future__ import annotations

import os
import signal
import threading

import pytest

from bext_otel.cli.signals import UntilInterrupted, uninterrupted

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_body_and_nothing_else(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with UntilInterrupted() as end:
        os.kill(os.getpid(), number)
        threading.Event().wait(30)
        pytest.fail("not interrupted")
    assert end.interrupted
    assert before == [signal.getsignal(each) for each in SIGNALS]


def test_a_second_signal_does_not_stop_the_cleaning_up() -> None:
    cleaned = False
    with UntilInterrupted():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(30)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            cleaned = True
    assert cleaned


def test_a_body_that_ends_by_itself_was_not_interrupted() -> None:
    with UntilInterrupted() as end:
        pass
    assert not end.interrupted


def test_errors_of_the_body_come_through() -> None:
    with pytest.raises(ValueError, match="mine"), UntilInterrupted():
        raise ValueError("mine")


def test_signals_wait_for_what_must_not_be_interrupted() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with uninterrupted():
        os.kill(os.getpid(), signal.SIGTERM)
    assert before == signal.getsignal(signal.SIGTERM)


def test_a_thread_that_may_not_set_handlers_sets_none() -> None:
    ran = []

    def body() -> None:
        with UntilInterrupted(), uninterrupted():
            ran.append(True)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert [True] == ran
