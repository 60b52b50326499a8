from __future__ import annotations

import threading

import pytest

from bext_otel.viewer.intake.turnstile import BusyError, Turnstile


def test_one_is_inside_at_a_time_and_who_waits_too_long_is_told() -> None:
    turnstile = Turnstile(wait_seconds=0.01)
    with turnstile.entrance() as enter, turnstile.entrance() as other:
        enter()
        enter()
        with pytest.raises(BusyError):
            other()
    with turnstile.entrance() as enter:
        enter()


def test_who_does_not_enter_keeps_nobody_out() -> None:
    turnstile = Turnstile(wait_seconds=0.01)
    with turnstile.entrance(), turnstile.entrance() as enter:
        enter()
        with turnstile.entrance() as other, pytest.raises(BusyError):
            other()


def test_the_gate_is_left_by_an_error_too() -> None:
    turnstile = Turnstile(wait_seconds=0.01)

    def fail() -> None:
        with turnstile.entrance() as enter:
            enter()
            raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        fail()
    with turnstile.entrance() as enter:
        enter()


def test_who_waits_enters_when_the_other_has_left() -> None:
    turnstile = Turnstile(wait_seconds=30)
    order: list[str] = []
    with turnstile.entrance() as enter:
        enter()

        def come() -> None:
            with turnstile.entrance() as enter:
                enter()
                order.append("second")

        second = threading.Thread(target=come)
        second.start()
        order.append("first")
    second.join()
    assert ["first", "second"] == order
