"""What is said where nobody but us would see the record: no record is made, and nobody can tell."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.logs.conftest import Start


@contextmanager
def unheard() -> Iterator[None]:
    """Without the handlers of the test runner."""
    handlers, logging.root.handlers = logging.root.handlers, []
    try:
        yield
    finally:
        logging.root.handlers = handlers


class Gathering(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The messages of records that are made from here on."""
    made: list[str] = []
    before = logging.LogRecord.__init__

    def init(self: logging.LogRecord, *args: Any, **more: Any) -> None:
        made.append(args[4])
        before(self, *args, **more)

    monkeypatch.setattr(logging.LogRecord, "__init__", init)
    return made


def test_no_record_is_made_of_what_no_handler_would_get(
    start: Start, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs, made = start(), counted(monkeypatch)
    with unheard():
        logger.info("%s of %d", "one", 2, extra={"field": 1})
        logger.warning("%(what)s", {"what": "mapped"})
        logger.error("\x1b[31mred\x1b[0m")
    assert [] == made
    assert [("info", "one of 2", 1), ("warn", "mapped", None), ("error", "red", None)] == [
        (line["level"], line["message"], line.get("field")) for line in logs.lines()
    ]


def filtered(logger: logging.Logger) -> Callable[[], object]:
    logger.addFilter(lambda record: True)
    return logger.filters.clear


def handled(logger: logging.Logger) -> Callable[[], object]:
    logger.addHandler(Gathering())
    return logger.handlers.clear


def made_by_a_factory(logger: logging.Logger) -> Callable[[], object]:
    logging.setLogRecordFactory(lambda *args, **more: logging.LogRecord(*args, **more))
    return lambda: logging.setLogRecordFactory(logging.LogRecord)


def patched(name: str) -> Callable[[logging.Logger], Callable[[], object]]:
    def patch(logger: logging.Logger) -> Callable[[], object]:
        before = getattr(logging.Logger, name)
        setattr(logging.Logger, name, lambda *args, **more: before(*args, **more))
        return lambda: setattr(logging.Logger, name, before)

    return patch


def patched_alone(name: str) -> Callable[[logging.Logger], Callable[[], object]]:
    def patch(logger: logging.Logger) -> Callable[[], object]:
        before = getattr(logger, name)
        setattr(logger, name, lambda *args, **more: before(*args, **more))
        return lambda: delattr(logger, name)

    return patch


def with_another_last_resort(logger: logging.Logger) -> Callable[[], object]:
    before, logging.lastResort = logging.lastResort, Gathering()
    return lambda: setattr(logging, "lastResort", before)


@pytest.mark.parametrize(
    "meet",
    [
        with_another_last_resort,
        filtered,
        handled,
        made_by_a_factory,
        patched("handle"),
        patched("makeRecord"),
        patched("callHandlers"),
        patched("findCaller"),
        patched_alone("handle"),
        patched_alone("makeRecord"),
        patched_alone("callHandlers"),
        patched_alone("findCaller"),
        patched_alone("filter"),
    ],
)
def test_whoever_would_see_the_record_gets_one(
    start: Start,
    logger: logging.Logger,
    monkeypatch: pytest.MonkeyPatch,
    meet: Callable[[logging.Logger], Callable[[], object]],
) -> None:
    logs, made = start(), counted(monkeypatch)
    undo = meet(logger)
    try:
        with unheard():
            logger.info("hello")
    finally:
        undo()
    assert ["hello"] == made == [line["message"] for line in logs.lines()]


@pytest.mark.parametrize(("stacklevel", "expected"), [(1, "say"), (2, "test_a_record_knows_its_caller")])
def test_a_record_knows_its_caller(
    start: Start, logger: logging.Logger, stacklevel: int, expected: str
) -> None:
    start()
    handler = Gathering()
    logger.addHandler(handler)

    def say() -> None:
        logger.info("hello", stacklevel=stacklevel)

    with unheard():
        say()
    logger.handlers.clear()
    (record,) = handler.records
    assert (expected, __file__) == (record.funcName, record.pathname)


def test_a_logger_of_a_class_of_its_own_makes_its_records(start: Start) -> None:
    class Own(logging.Logger):
        def makeRecord(self, *args: Any, **more: Any) -> logging.LogRecord:
            made = super().makeRecord(*args, **more)
            made.msg = f"own {made.msg}"
            return made

    logs = start()
    own = Own("shop.own")
    own.parent = logging.root
    with unheard():
        own.info("hello")
    assert ["own hello"] == [line["message"] for line in logs.lines()]


def test_a_logger_whose_name_is_no_text_loses_nothing(start: Start) -> None:
    logs, name = start(), ["shop"]
    own = logging.Logger(name)  # type: ignore[arg-type]
    own.parent = logging.root
    with unheard():
        own.info("hello")
    assert [(repr(name), "hello")] == [(line["target"], line["message"]) for line in logs.lines()]


def test_a_field_that_would_overwrite_a_record_s_own_raises_as_ever(
    start: Start, logger: logging.Logger
) -> None:
    start()
    with unheard(), pytest.raises(KeyError, match="overwrite"):
        logger.info("hello", extra={"message": "other"})


def test_arguments_that_do_not_fit_are_shown(start: Start, logger: logging.Logger) -> None:
    logs = start()
    message = "one %s two %s"
    with unheard():
        logger.info(message, "only")
    (line,) = logs.lines()
    assert ("one %s two %s", ["only"]) == (line["message"], line["args"])


def test_logging_is_as_it_was_when_ours_is_removed(start: Start) -> None:
    start().installed.remove()
    assert logging.Logger._log.__globals__ is vars(logging)
