from __future__ import annotations

import threading

import pytest

from bext_otel.viewer.gate import BusyError, Gate


def test_one_is_inside_at_a_time_and_who_waits_too_long_is_told() -> None:
    gate = Gate(wait_seconds=0.01)
    with gate.entrance() as enter, gate.entrance() as other:
        enter()
        enter()
        with pytest.raises(BusyError):
            other()
    with gate.entrance() as enter:
        enter()


def test_who_does_not_enter_keeps_nobody_out() -> None:
    gate = Gate(wait_seconds=0.01)
    with gate.entrance(), gate.entrance() as enter:
        enter()


def test_the_gate_is_left_by_an_error_too() -> None:
    gate = Gate(wait_seconds=0.01)

    def fail() -> None:
        with gate.entrance() as enter:
            enter()
            raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        fail()
    with gate.entrance() as enter:
        enter()


def test_who_waits_enters_when_the_other_has_left() -> None:
    gate = Gate(wait_seconds=30)
    order: list[str] = []
    with gate.entrance() as enter:
        enter()

        def come() -> None:
            with gate.entrance() as enter:
                enter()
                order.append("second")

        second = threading.Thread(target=come)
        second.start()
        order.append("first")
    second.join()
    assert ["first", "second"] == order
