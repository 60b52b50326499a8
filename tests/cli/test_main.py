from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bext_otel.cli import main
from bext_otel.errors import ConfigError


@pytest.mark.parametrize("command", main.list_commands(click.Context(main)))
def test_every_command_explains_itself(command: str) -> None:
    told = CliRunner().invoke(main, [command, "-h"])
    assert 0 == told.exit_code
    assert told.output.startswith(f"Usage: main {command}")


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(main, ["--version"]).output.startswith("bext-otel ")


def test_an_error_of_ours_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise ConfigError("[metrics] path = 3: expected a path, e.g. /metrics")

    monkeypatch.setattr("bext_otel.cli.catalogue.reference", broken)
    told = CliRunner().invoke(main, ["catalogue"])
    assert (1, "Error: [metrics] path = 3: expected a path, e.g. /metrics\n") == (told.exit_code, told.output)


def test_the_demo_is_offered_only_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel has none."""
    assert "demo" in CliRunner().invoke(main, ["-h"]).output
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "bext_otel.cli.examples.__file__", str(tmp_path / "bext_otel" / "cli" / "examples.py")
    )
    assert "  demo" not in CliRunner().invoke(main, ["-h"]).output
    asked = CliRunner().invoke(main, ["demo", "--once"])
    assert 1 == asked.exit_code
    assert "Clone the repository" in asked.output
