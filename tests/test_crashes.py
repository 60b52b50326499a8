"""An exception that ended a request is known again when a server tells of it, and is not kept for that."""

from __future__ import annotations

import gc
import threading
import weakref

from opentelemetry.context import Context

from bext_otel.crashes import (
    crash_of,
    is_left_to_request,
    last_crash,
    leave_to_request,
    note_answered,
    note_crash,
)


class OutOfCoffeeError(Exception):
    pass


HERE = Context({"here": True})


def test_a_crash_is_known_by_its_exception_and_by_where_it_was() -> None:
    class OtherError(Exception):
        """Nobody has ended by one, whose place in memory another could have now."""

    error, other = OutOfCoffeeError("no beans"), OtherError("no beans")
    note_crash(error, HERE, told=True)
    crash = crash_of(error)
    assert crash is not None
    assert (HERE, True, "tests.test_crashes.OutOfCoffeeError: no beans") == (
        crash.context,
        crash.told,
        crash.summary,
    )
    assert (None, None) == (crash_of(other), crash_of(None))
    assert crash == last_crash()


def test_another_thread_knows_it_by_its_exception_only() -> None:
    error = OutOfCoffeeError()
    note_crash(error, HERE, told=False)
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.extend([crash_of(error) is not None, last_crash()]))
    thread.start()
    thread.join()
    assert [True, None] == found


def test_an_exception_is_not_kept_alive() -> None:
    error = OutOfCoffeeError()
    note_crash(error, HERE, told=False)
    gone = weakref.ref(error)
    del error
    gc.collect()
    assert gone() is None


def test_many_crashes_are_not_kept_either() -> None:
    first = OutOfCoffeeError()
    note_crash(first, HERE, told=False)
    errors = [OutOfCoffeeError() for _ in range(1000)]
    for each in errors:
        note_crash(each, HERE, told=False)
    assert (None, False) == (crash_of(first), crash_of(errors[-1]) is None)


def test_one_that_cannot_be_shown_is_known_all_the_same() -> None:
    class OddError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    error = OddError()
    note_crash(error, HERE, told=True)
    assert crash_of(error) is not None


def test_an_exception_that_became_an_answer_is_told_by_its_request_where_that_was_left_to_it() -> None:
    error, other = ValueError(), ValueError()
    assert not leave_to_request(error)
    note_answered(error)
    note_answered(other)
    assert leave_to_request(error)
    assert [True, False, False] == [
        is_left_to_request(error),
        is_left_to_request(error),
        is_left_to_request(other),
    ]


def test_what_is_kept_of_such_exceptions_is_bounded() -> None:
    errors = [ValueError(number) for number in range(100)]
    for error in errors:
        note_answered(error)
    assert not leave_to_request(errors[0])
    assert leave_to_request(errors[-1])
