from __future__ import annotations

import json
import logging
import os
import socket
import time
from pathlib import Path

import pytest
from opentelemetry import context
from opentelemetry._logs import NoOpLoggerProvider
from opentelemetry.sdk.resources import Resource

from bext_otel.apps import with_app
from bext_otel.config import LoggingSettings
from bext_otel.logs.install import build_provider, install
from bext_otel.logs.sinks import ExportSink, LineSink
from tests.logs.conftest import Start, provider_without_disk


def test_an_app_s_level_applies_while_it_is_at_work(start: Start, logger: logging.Logger) -> None:
    logs = start(apps={"api": "debug", "dashboard": "error"})
    for app in ("api", "dashboard", "marketing"):
        token = context.attach(with_app(app, context.get_current()))
        logger.debug("debug")
        logger.info("info")
        logger.error("error")
        context.detach(token)
    expected = [
        ("api", "debug"),
        ("api", "info"),
        ("api", "error"),
        ("dashboard", "error"),
        ("marketing", "info"),
        ("marketing", "error"),
    ]
    assert expected == [(line["app"], line["message"]) for line in logs.lines()]


def test_an_app_s_level_opens_logging_for_that_app_alone(start: Start, logger: logging.Logger) -> None:
    """Nor do the application's own handlers see more of others than before."""
    seen: list[str] = []
    own = logging.Handler()
    own.emit = lambda record: seen.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(own)
    logs = start(level="", apps={"api": "debug"})
    for app in ("api", "other"):
        token = context.attach(with_app(app, context.get_current()))
        logger.info("info of %s", app)
        logger.warning("warning of %s", app)
        context.detach(token)
    logger.removeHandler(own)
    assert (
        ["info of api", "warning of api", "warning of other"]
        == seen
        == [line["message"] for line in logs.lines()]
    )


def test_a_disabled_level_is_stopped_by_the_standard_library_itself(
    start: Start, logger: logging.Logger
) -> None:
    start(level="warn", filters={f"{logger.name}.db": "debug"})
    assert not logger.isEnabledFor(logging.INFO)
    assert logging.getLogger(f"{logger.name}.db").isEnabledFor(logging.DEBUG)


def test_a_filter_makes_one_logger_quieter_or_louder(start: Start, logger: logging.Logger) -> None:
    logs = start(filters={f"{logger.name}.loud": "trace", f"{logger.name}.quiet": "error"})
    for name in ("loud", "quiet"):
        logging.getLogger(f"{logger.name}.{name}").log(5, name)
        logging.getLogger(f"{logger.name}.{name}").warning(name)
    assert [("loud", "trace"), ("loud", "warn")] == [
        (line["message"], line["level"]) for line in logs.lines()
    ]


@pytest.mark.parametrize(("output", "kinds"), [("stdout", [LineSink]), ("stderr", [LineSink]), ("none", [])])
def test_the_sinks_are_those_that_were_asked_for(output: str, kinds: list[type]) -> None:
    provider = build_provider(LoggingSettings(output=output), Resource({}), None)  # type: ignore[arg-type]
    assert kinds == [type(sink) for sink in provider.sinks]
    provider.shutdown()


def test_a_file_gets_the_lines(tmp_path: Path, logger: logging.Logger) -> None:
    path = tmp_path / "app.log"
    config = LoggingSettings(output="file", file_path=str(path), rotate=True, level="info")
    provider = build_provider(config, Resource({}), None)
    installed = install(config, provider, apps={})
    logger.info("hello")
    installed.remove()
    provider.shutdown()
    assert "hello" == json.loads(path.read_text())["message"]


@pytest.mark.parametrize("file_path", ["", "/nowhere/at/all/app.log"])
def test_a_file_that_cannot_be_written_is_one_line_and_lines_go_to_stdout(
    file_path: str, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    config = LoggingSettings(output="file", file_path=file_path, level="info")
    provider = build_provider(config, Resource({}), None)
    installed = install(config, provider, apps={})
    logger.info("hello")
    installed.remove()
    provider.shutdown()
    told = capsys.readouterr()
    assert "hello" == json.loads(told.out)["message"]
    assert 1 == told.err.count("\n")
    assert f"[logging] file_path = {file_path!r}" in told.err


@pytest.mark.parametrize("kind", ["pipe", "socket", "link"])
def test_a_log_path_that_is_no_file_is_one_line_and_nobody_waits(
    kind: str, tmp_path: Path, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "app.log"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(path))
    else:
        path.symlink_to(tmp_path / "elsewhere")
    config = LoggingSettings(output="file", file_path=str(path), level="info")
    provider = build_provider(config, Resource({}), None)
    installed = install(config, provider, apps={})
    logger.info("hello")
    installed.remove()
    provider.shutdown()
    told = capsys.readouterr()
    assert "hello" == json.loads(told.out)["message"]
    assert 1 == told.err.count("\n")
    assert f"[logging] file_path = {str(path)!r}: is " in told.err
    assert not (tmp_path / "elsewhere").exists()


def test_pretty_lines_are_for_readers(
    start: Start, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    start(format="pretty")
    logger.warning("hello", extra={"layer": "isr"})
    assert capsys.readouterr().out.endswith(f"WARN  {logger.name}: hello layer=isr\n")


def test_a_provider_without_sinks_leaves_logging_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = logging.root.handlers[:], logging.root.parent, logging.root.level
    installed = install(LoggingSettings(), NoOpLoggerProvider(), apps={})
    assert before == (logging.root.handlers, logging.root.parent, logging.root.level)
    assert 0 == installed.failures
    installed.remove()


def test_a_provider_says_for_a_minute_that_it_loses_lines(
    tmp_path: Path, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = provider_without_disk(tmp_path)
    installed = install(LoggingSettings(), provider, apps={})
    before = provider.losing()
    logger.error("hello")
    after = provider.losing()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    sink = provider.sinks[0]
    monkeypatch.setattr(sink.losses, "_clock", time.monotonic)
    assert (False, True, False) == (before, after, provider.losing())
    installed.remove()
    provider.shutdown()


def test_a_limit_that_is_no_number_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_ATTRIBUTE_COUNT_LIMIT", "many")
    build_provider(LoggingSettings(), Resource({}), None).shutdown()
    told = capsys.readouterr().err
    assert (1, True) == (told.count("\n"), "OTEL_ATTRIBUTE_COUNT_LIMIT" in told)


def test_an_exporter_gets_its_records_in_batches(start: Start) -> None:
    logs = start()
    assert [LineSink, ExportSink] == [type(sink) for sink in logs.provider.sinks]
