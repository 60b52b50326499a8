"""Levels that change while the process runs, at the real loggers."""

from __future__ import annotations

import logging
from typing import Any

import structlog

from bext_otel.logs.level_control import LevelControl, SetLevels
from bext_otel.logs.level_orders import order
from tests.logs.conftest import Logs, Start
from tests.logs.test_disabled import work_of

FOR_EVER = 1e12


def control(logs: Logs) -> LevelControl:
    assert logs.installed.levels is not None
    return logs.installed.levels


def said(logs: Logs, logger: Any, *apps: str) -> list[str]:
    """Who gets a debug and an info line through."""
    for app in apps:
        with work_of(app):
            logger.debug(f"debug {app}")
            logger.info(f"info {app}")
    return [line["message"] for line in logs.lines()]


def test_an_order_opens_one_app_and_is_over_by_itself(start: Start, logger: logging.Logger) -> None:
    logs = start(level="")
    assert [] == said(logs, logger, "api", "shop")
    control(logs).obey([order("debug", "api", "", FOR_EVER)])
    assert ["debug api", "info api"] == said(logs, logger, "api", "shop")
    control(logs).obey([order("debug", "api", "", 0.0)])
    assert [] == said(logs, logger, "api", "shop")
    assert logging.WARNING == logging.root.level


def test_it_opens_an_application_too_that_has_set_its_own_root_level(
    start: Start, logger: logging.Logger
) -> None:
    """Somebody means this very process; whoever else is logged as before, and gets the level back."""
    logs = start(level="")
    logging.root.setLevel(logging.INFO)
    try:
        control(logs).obey([order("debug", "api", "", FOR_EVER)])
        assert ["debug api", "info api", "info shop"] == said(logs, logger, "api", "shop")
        control(logs).obey([])
        assert ["info api", "info shop"] == said(logs, logger, "api", "shop")
        assert logging.INFO == logging.root.level
    finally:
        logging.root.setLevel(logging.WARNING)


def test_an_order_can_make_an_app_or_everything_quieter(start: Start, logger: logging.Logger) -> None:
    logs = start(level="info")
    control(logs).obey([order("error", "api", "", FOR_EVER)])
    assert ["info shop"] == said(logs, logger, "api", "shop")
    control(logs).obey([order("error", "", "", FOR_EVER)])
    assert [] == said(logs, logger, "api", "shop")


def test_an_order_for_a_logger_is_for_all_apps_and_those_below_it(
    start: Start, logger: logging.Logger
) -> None:
    logs = start(level="")
    control(logs).obey([order("debug", "", logger.name, FOR_EVER)])
    assert ["debug api", "info api"] == said(logs, logger.getChild("db"), "api")
    control(logs).obey([])
    assert (logging.NOTSET, []) == (logger.level, said(logs, logger.getChild("db"), "api"))


def test_an_order_for_a_logger_in_an_app_s_work_is_for_nobody_else(
    start: Start, logger: logging.Logger
) -> None:
    """Whatever level the logger has of its own."""
    for own in (logging.NOTSET, logging.INFO):
        logger.setLevel(own)
        logs = start(level="")
        before = said(logs, logger, "shop")
        control(logs).obey([order("debug", "api", logger.name, FOR_EVER)])
        assert ["debug api", "info api", *before] == said(logs, logger, "api", "shop")
        with work_of("shop"):
            assert not logger.isEnabledFor(logging.DEBUG)
        control(logs).obey([])
        assert own == logger.level
        logs.installed.remove()


def test_the_application_s_handlers_see_no_more_of_others(start: Start, logger: logging.Logger) -> None:
    seen: list[str] = []
    own = logging.Handler()
    own.emit = lambda record: seen.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(own)
    logs = start(level="")
    control(logs).obey([order("debug", "api", logger.name, FOR_EVER)])
    said(logs, logger, "api", "shop")
    logger.removeHandler(own)
    assert ["debug api", "info api"] == seen


def test_settings_that_change_are_put_in_force_and_taken_back(start: Start, logger: logging.Logger) -> None:
    logs = start(level="", filters={logger.name: "error"})
    control(logs).use(SetLevels(logging.INFO, {}, {"api": logging.DEBUG}))
    assert ["debug api", "info api", "info shop"] == said(logs, logger, "api", "shop")
    control(logs).use(SetLevels(None, {logger.name: logging.ERROR}, {}))
    assert [] == said(logs, logger, "api", "shop")


def test_a_level_that_the_application_sets_meanwhile_stays(start: Start, logger: logging.Logger) -> None:
    logs = start(level="", filters={logger.name: "error"})
    logger.setLevel(logging.DEBUG)
    control(logs).use(SetLevels(None, {logger.name: logging.ERROR}, {"api": logging.INFO}))
    control(logs).use(SetLevels(None, {}, {}))
    assert logging.DEBUG == logger.level


def test_structlog_obeys_too(start: Start) -> None:
    logs = start(level="info")
    assert ["info api"] == said(logs, structlog.get_logger("shop"), "api")
    control(logs).obey([order("debug", "api", "", FOR_EVER)])
    assert ["debug api", "info api", "info shop"] == said(logs, structlog.get_logger("shop"), "api", "shop")


def test_our_own_entries_obey_an_order_for_everything(start: Start) -> None:
    logs = start(level="")
    control(logs).obey([order("debug", "", "", FOR_EVER)])
    logging.getLogger("bext_otel.metrics").debug("hello")
    assert ["hello"] == [line["message"] for line in logs.lines()]


def test_what_is_in_force_is_told_by_names(start: Start) -> None:
    logs = start(level="info", apps={"api": "trace"}, filters={"shop.db": "error"})
    control(logs).obey([order("debug", "shop", "", FOR_EVER)])
    told = control(logs).document()
    assert {"level": "info", "apps": {"api": "trace"}, "filters": {"shop.db": "error"}} == {
        name: told[name] for name in ("level", "apps", "filters")
    }
    (one,) = told["orders"]
    assert {"app": "shop", "level": "debug"} == {name: one[name] for name in ("app", "level")}
    assert {"seconds_left", "until"} < one.keys()


def test_once_removed_nothing_is_changed_any_more(start: Start) -> None:
    logs = start(level="")
    levels = control(logs)
    logs.installed.remove()
    levels.obey([order("debug", "api", "", FOR_EVER)])
    assert logging.WARNING == logging.root.level
    assert logging.Logger.isEnabledFor.__globals__ is vars(logging)
