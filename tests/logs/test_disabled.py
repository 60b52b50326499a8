"""Calls below the level of the app at work, while another app of the process is at debug."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import pytest
import structlog
from opentelemetry import context

from bext_otel.apps import with_app
from tests.logs.conftest import Logs, Start

Bind: TypeAlias = Callable[[], Any]
_ABOVE = __name__.rpartition(".")[0]


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


@pytest.fixture(params=[(), (__name__,)], ids=["unnamed", "named"])
def bind(request: pytest.FixtureRequest) -> Iterator[Bind]:
    """Makes a bound logger of structlog's, as a module keeps one, that is named or is not."""
    structlog.reset_defaults()
    yield lambda: structlog.get_logger(*request.param).bind()
    structlog.reset_defaults()
    for name in (_ABOVE, __name__):
        logging.getLogger(name).setLevel(logging.NOTSET)


def said(events: Any, logs: Logs, *apps: str, **fields: object) -> list[str]:
    """Which of these apps has a line of its call at debug, the second time too."""
    for app in (*apps, *apps):
        with work_of(app):
            events.debug(app, **fields)
    messages = [str(line["message"]) for line in logs.lines()]
    assert messages[: len(messages) // 2] == messages[len(messages) // 2 :]
    return messages[: len(messages) // 2]


def test_structlog_s_calls_are_told_for_the_app_that_is_at_debug(start: Start, bind: Bind) -> None:
    logs, events = start(apps={"api": "debug"}), bind()
    assert ["api"] == said(events, logs, "shop", "api", "other")
    assert ["shop"] == said(events, logs, "shop", app="api"), "a line that says whose it is"


def test_a_level_that_is_set_later_holds_from_the_next_call_on(start: Start, bind: Bind) -> None:
    logs, events = start(apps={"api": "debug"}), bind()
    assert [] == said(events, logs, "shop")
    logging.getLogger(_ABOVE).setLevel(logging.DEBUG)
    assert ["shop"] == said(events, logs, "shop")
    logging.getLogger(__name__).setLevel(logging.INFO)
    assert [] == said(events, logs, "shop", "api")
    logging.getLogger(__name__).setLevel(logging.NOTSET)
    assert ["shop"] == said(events, logs, "shop")
    logging.disable(logging.DEBUG)
    try:
        assert [] == said(events, logs, "shop", "api")
    finally:
        logging.disable(logging.NOTSET)
    assert ["api"] == said(events, logs, "api")


def test_levels_that_change_while_the_service_runs_hold_from_the_next_call_on(
    start: Start, bind: Bind
) -> None:
    logs, events = start(apps={"api": "debug"}), bind()
    assert [] == said(events, logs, "shop")
    assert logs.installed.levels is not None
    gate = logs.installed.levels.gate
    gate.become(logging.INFO, {"shop": logging.DEBUG})
    assert ["shop"] == said(events, logs, "shop", "api")
    gate.become(logging.INFO, {"api": logging.DEBUG})
    assert ["api"] == said(events, logs, "shop", "api")


def test_a_call_that_was_below_its_level_is_the_program_s_own_once_it_configures_structlog(
    start: Start, bind: Bind
) -> None:
    logs, events = start(apps={"api": "debug"}), bind()
    assert [] == said(events, logs, "shop")
    with structlog.testing.capture_logs() as captured, work_of("shop"):
        events.debug("captured")
    assert ["captured"] == [each["event"] for each in captured]
