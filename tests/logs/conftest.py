from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from opentelemetry.sdk.resources import Resource

from bext_otel.config import AppSettings, LoggingSettings
from bext_otel.logs.install import BextLoggerProvider, Installed, build_provider, install


class Logs:
    """The whole chain as an application has it: real libraries in, lines on stdout and an exporter out."""

    def __init__(
        self,
        provider: BextLoggerProvider,
        exporter: InMemoryLogRecordExporter,
        installed: Installed,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.provider = provider
        self.installed = installed
        self._exporter = exporter
        self._capsys = capsys

    def lines(self) -> list[dict[str, Any]]:
        """What was written since the last look."""
        return [msgspec.json.decode(line) for line in self._capsys.readouterr().out.splitlines()]

    def exported(self) -> list[LogRecord]:
        """What the exporter was given so far."""
        return [record.log_record for record in self.whole()]

    def whole(self) -> list[ReadableLogRecord]:
        """The same, with what is known beside the records themselves."""
        self.provider.force_flush()
        return list(self._exporter.get_finished_logs())


Start = Callable[..., Logs]


@pytest.fixture
def start(capsys: pytest.CaptureFixture[str]) -> Iterator[Start]:
    """Installs logging for `[logging]` settings (at info and to stdout, unless they say otherwise) and `[apps]` levels;
    leaves everything as it was."""
    undo: list[Callable[[], None]] = []
    level = logging.root.level

    def start(*, apps: dict[str, str] | None = None, **settings: Any) -> Logs:
        exporter = InMemoryLogRecordExporter()
        config = LoggingSettings(**{"level": "info", "output": "stdout", **settings})
        provider = build_provider(config, Resource({}), exporter)
        installed = install(
            config, provider, apps={name: AppSettings(log_level=own) for name, own in (apps or {}).items()}
        )
        undo.extend([provider.shutdown, installed.remove])
        return Logs(provider, exporter, installed, capsys)

    yield start
    while undo:
        undo.pop()()
    assert level == logging.root.level
    assert logging.root.parent is None
    assert not structlog.is_configured()


@pytest.fixture
def logger(request: pytest.FixtureRequest) -> Iterator[logging.Logger]:
    """A logger of the test's own."""
    name = f"shop.{request.node.name}"
    yield logging.getLogger(name)
    logging.root.manager.loggerDict.pop(name, None)


def provider_without_disk(tmp_path: Path, exporter: Any = None) -> BextLoggerProvider:
    """One whose log file can't be written any more since it was opened: its directory is gone."""
    folder = tmp_path / "logs"
    folder.mkdir()
    config = LoggingSettings(output="file", file_path=str(folder / "app.log"))
    provider = build_provider(config, Resource({}), exporter)
    shutil.rmtree(folder)
    return provider
