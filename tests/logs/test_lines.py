from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.sdk.resources import Resource

from bext_otel.config import LoggingSettings
from bext_otel.logs.install import build_provider
from tests.logs.conftest import Start


def messages(text: str) -> list[str]:
    return [msgspec.json.decode(line)["message"] for line in text.splitlines()]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_lines_go_to_a_stream_and_a_file_at_once(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str], stream: str
) -> None:

    path = tmp_path / "app.log"
    logs = start(output=f"{stream},file", file_path=str(path))
    for number in range(3):
        logging.getLogger("shop").info("line %d", number)
    expected = [f"line {number}" for number in range(3)]
    assert expected == messages(path.read_text())
    assert expected == messages(getattr(capsys.readouterr(), "err" if stream == "stderr" else "out"))
    assert expected == [record.body for record in logs.exported()]


def test_the_same_line_is_in_both(start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:

    path = tmp_path / "app.log"
    start(output="stdout,file", file_path=str(path))
    logging.getLogger("shop").info("order placed", extra={"order": 7})
    assert capsys.readouterr().out == path.read_text()


@pytest.mark.parametrize(
    ("output", "instead"),
    [("file", "to stdout"), ("stdout,file", "to stdout only"), ("stderr,file", "to stderr only")],
)
def test_a_file_that_cannot_be_written_is_one_line_and_lines_go_to_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], output: str, instead: str
) -> None:
    """Its directory does not exist; or is read-only, for who may not write anywhere."""
    path = tmp_path / "nowhere" / "app.log"
    config: Any = {"output": output, "file_path": str(path)}
    provider = build_provider(LoggingSettings(**config), Resource({}), None)
    provider.get_logger("bext_otel.test").emit(LogRecord(body="hello"))
    provider.shutdown()
    told = capsys.readouterr()
    complaint = (
        f"bext-otel: [logging] file_path = {str(path)!r}: No such file or directory; give a path that can be written. "
        f"Log lines go {instead}\n"
    )
    assert 1 == told.err.count(complaint)
    assert ["hello"] == messages((told.out + told.err).replace(complaint, ""))


def test_a_device_is_no_file_to_rotate_but_for_the_null_device(tmp_path: Path) -> None:
    provider = build_provider(
        LoggingSettings(output="stdout,file", file_path=os.devnull, rotate_when="hourly"), Resource({}), None
    )
    assert 2 == len(provider.sinks)
    provider.shutdown()
