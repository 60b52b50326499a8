"""Calls below the level of the app at work, while another app of the process is at debug."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import context

from bext_otel.apps import with_app
from tests.logs.conftest import Start


@contextmanager
def work_of(app: str) -> Iterator[None]:
    token = context.attach(with_app(app, context.get_current()))
    try:
        yield
    finally:
        context.detach(token)


def test_no_record_is_made_for_those_who_are_not_at_debug(start: Start, logger: logging.Logger) -> None:
    made: list[str] = []
    before = logging.getLogRecordFactory()

    def factory(*args: object, **more: object) -> logging.LogRecord:
        made.append(str(args[4]))
        return before(*args, **more)

    logs = start(apps={"api": "debug"})
    logging.setLogRecordFactory(factory)
    try:
        for app in ("shop", "api"):
            with work_of(app):
                logger.debug(app)
        logger.debug("nobody's")
    finally:
        logging.setLogRecordFactory(before)
    assert ["api"] == made == [line["message"] for line in logs.lines()]


def test_who_asks_is_told_what_a_call_would_do(start: Start, logger: logging.Logger) -> None:
    start(apps={"api": "debug"})
    with work_of("shop"):
        assert (False, True) == (logger.isEnabledFor(logging.DEBUG), logger.isEnabledFor(logging.INFO))
    with work_of("api"):
        assert logger.isEnabledFor(logging.DEBUG)


def test_a_logger_s_own_level_and_one_above_it_decide_alone(start: Start, logger: logging.Logger) -> None:
    logs = start(apps={"api": "debug"}, filters={"shop": "debug"})
    with work_of("other"):
        logger.debug("hello")
    assert ["hello"] == [line["message"] for line in logs.lines()]


def test_a_level_that_the_application_gave_the_root_logger_holds(
    start: Start, logger: logging.Logger
) -> None:
    start(apps={"api": "debug"})
    opened = logging.root.level
    logging.root.setLevel(1)
    try:
        with work_of("shop"):
            assert logger.isEnabledFor(2)
    finally:
        logging.root.setLevel(opened)


def test_logging_is_as_it_was_when_ours_is_removed(start: Start, logger: logging.Logger) -> None:
    logs = start(apps={"api": "debug"})
    logs.installed.remove()
    assert logging.Logger.isEnabledFor.__globals__ is vars(logging)
