from __future__ import annotations

import logging

import pytest
from opentelemetry import context
from opentelemetry._logs import SeverityNumber

from bext_otel.apps import with_app
from bext_otel.logs.levels import LEVELS, TRACE, Gate, level_name, level_number, severity, severity_text


@pytest.mark.parametrize(
    ("number", "expected", "text", "name"),
    [
        (1, SeverityNumber.TRACE, "TRACE", "trace"),
        (TRACE, SeverityNumber.TRACE, "TRACE", "trace"),
        (logging.DEBUG, SeverityNumber.DEBUG, "DEBUG", "debug"),
        (logging.INFO, SeverityNumber.INFO, "INFO", "info"),
        (21, SeverityNumber.INFO2, "INFO", "info"),
        (23, SeverityNumber.INFO4, "INFO", "info"),
        (29, SeverityNumber.INFO4, "INFO", "info"),
        (logging.WARNING, SeverityNumber.WARN, "WARN", "warn"),
        (logging.ERROR, SeverityNumber.ERROR, "ERROR", "error"),
        (logging.CRITICAL, SeverityNumber.FATAL, "FATAL", "error"),
        (99, SeverityNumber.FATAL4, "FATAL", "error"),
    ],
)
def test_a_python_level_has_a_severity_a_text_and_a_name(
    number: int, expected: SeverityNumber, text: str, name: str
) -> None:
    assert (expected, text, name) == (severity(number), severity_text(number), level_name(severity(number)))


def test_an_application_s_own_level_keeps_its_name_and_trace_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "getLevelName", {27: "NOTICE", TRACE: "SUBDEBUG"}.__getitem__)
    assert ["NOTICE", "TRACE"] == [severity_text(27), severity_text(TRACE)]


def test_a_record_without_severity_is_information() -> None:
    assert ["info", "info"] == [level_name(None), level_name(SeverityNumber.UNSPECIFIED)]


@pytest.mark.parametrize("name", LEVELS)
def test_a_level_name_survives_the_way_through_severities(name: str) -> None:
    assert name == level_name(severity(level_number(name)))


def test_python_s_names_are_understood_and_unknown_ones_fall_back() -> None:
    assert [30, 50, 20] == [level_number("WARNING"), level_number("critical"), level_number("loud")]


def at(app: str, gate: Gate, logger: str, number: int) -> bool:
    token = context.attach(with_app(app, context.get_current()))
    try:
        return gate.admits(logger, number)
    finally:
        context.detach(token)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Info as a rule, debug for api, warnings only for dashboard; with the root logger as `install` sets
    it."""
    gate = Gate(logging.INFO, {"api": logging.DEBUG, "dashboard": logging.WARNING})
    monkeypatch.setattr(logging.root, "level", gate.lowest)
    gate.opened = True
    return gate


def test_the_root_needs_the_level_of_the_most_talkative_app(gate: Gate) -> None:
    assert logging.DEBUG == gate.lowest


@pytest.mark.parametrize(
    ("app", "lowest"), [("api", logging.DEBUG), ("dashboard", logging.WARNING), ("marketing", logging.INFO)]
)
def test_an_app_s_own_level_decides(gate: Gate, app: str, lowest: int) -> None:
    levels = [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR]
    assert [level for level in levels if level >= lowest] == [
        level for level in levels if at(app, gate, "shop", level)
    ]


def test_outside_any_app_the_base_level_decides(gate: Gate) -> None:
    assert [False, True] == [gate.admits("shop", logging.DEBUG), gate.admits("shop", logging.INFO)]


def test_a_root_level_that_the_application_set_replaces_the_base_level(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.root, "level", 1)
    assert gate.admits("shop", logging.DEBUG)
    assert not at("dashboard", gate, "shop", logging.INFO)


def test_a_logger_with_a_level_of_its_own_is_more_specific_than_an_app(
    gate: Gate, logger: logging.Logger
) -> None:
    logger.setLevel(logging.DEBUG)
    assert at("dashboard", gate, f"{logger.name}.inner", logging.DEBUG)
    assert f"{logger.name}.inner" not in logging.root.manager.loggerDict, (
        "a logger that Python keeps for ever"
    )


def test_levels_are_the_application_s_where_nobody_has_set_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its root logger is not ours to open, nor does it stop entries that are ours."""
    gate = Gate(None, {})
    assert (logging.WARNING, True) == (gate.lowest, gate.admits("shop", logging.DEBUG))
    monkeypatch.setattr(logging.root, "level", logging.ERROR)
    assert [False, True] == [
        gate.wants("bext.request", severity) for severity in (SeverityNumber.DEBUG, SeverityNumber.INFO)
    ]


def test_who_switches_logging_off_switches_off_entries_of_ours(gate: Gate) -> None:
    logging.disable(logging.INFO)
    try:
        assert [False, True] == [
            gate.wants("bext.request", severity) for severity in (SeverityNumber.INFO, SeverityNumber.WARN)
        ]
    finally:
        logging.disable(logging.NOTSET)


def test_what_an_app_s_level_lets_through_for_others_stays_hidden_from_the_application_s_handlers() -> None:
    gate = Gate(None, {"api": logging.DEBUG})
    gate.opened, before = True, logging.root.level
    logging.root.setLevel(gate.lowest)
    try:
        assert [True, False] == [gate.hides("httpx", logging.INFO), gate.hides("httpx", logging.WARNING)]
        token = context.attach(with_app("api", context.get_current()))
        assert not gate.hides("httpx", logging.INFO)
        context.detach(token)
    finally:
        logging.root.setLevel(before)


def test_records_emitted_past_any_logger_obey_levels_too(gate: Gate, logger: logging.Logger) -> None:
    assert [True, True, False, True, False] == [
        gate.wants(logger.name, None),
        gate.wants(logger.name, SeverityNumber.INFO),
        gate.wants(logger.name, SeverityNumber.DEBUG),
        gate.wants(logger.name, SeverityNumber.DEBUG, "api"),
        gate.wants(logger.name, SeverityNumber.INFO, "dashboard"),
    ]
