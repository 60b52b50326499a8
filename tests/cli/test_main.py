from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bext_otel.errors import ConfigError
from tests.cli.commands import invoke

COMMANDS = ("run", "health", "level", "alerts", "deploy", "view", "demo", "catalogue")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    for option in ("-h", "--help"):
        told = invoke(command, option)
        assert 0 == told.code
        assert told.output.lower().startswith(f"usage: bext-otel {command} ")


def test_the_commands_are_told_and_an_unknown_one_is_refused() -> None:
    for told in (invoke(), invoke("--help")):
        assert 0 == told.code
        assert COMMANDS == tuple(
            line.split()[0]
            for line in told.output.partition("commands:")[2].splitlines()
            if line.startswith("  ")
        )
    refused = invoke("rum", "python")
    assert (2, True) == (refused.code, "'rum'" in refused.output)


def test_the_version_is_told() -> None:
    assert invoke("--version").output.startswith("bext-otel ")


def test_an_error_of_ours_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise ConfigError("[metrics] path = 3: expected a path, e.g. /metrics")

    monkeypatch.setattr("bext_otel.cli.catalogue.reference", broken)
    assert (1, "Error: [metrics] path = 3: expected a path, e.g. /metrics\n") == invoke("catalogue")


def test_the_demo_is_offered_only_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel has none."""
    assert "\n  demo " in invoke("-h").output
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "bext_otel.cli.examples.__file__", str(tmp_path / "bext_otel" / "cli" / "examples.py")
    )
    assert "\n  demo " not in invoke("-h").output
    asked = invoke("demo", "--once")
    assert (1, True) == (asked.code, "Clone the repository" in asked.output)


# What the extra `tools` brings, and Flask with it.
_BASE_ALONE = """
import sys
sys.modules.update(dict.fromkeys(("click", "flask", "grpc", "psutil", "rich", "waitress", "werkzeug")))
sys.argv[0] = "bext-otel"
from bext_otel.cli import main
main()
"""


def base_alone(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`bext-otel` where nothing but the base is installed."""
    return subprocess.run(
        [sys.executable, "-c", _BASE_ALONE, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", ["run", "deploy"])
def test_what_launches_others_needs_no_extra(command: str) -> None:
    done = base_alone(command, "--help")
    assert (0, "") == (done.returncode, done.stderr)
    options = ("--app", "shop", "--version", "1") if command == "deploy" else ()
    done = base_alone(command, *options, sys.executable, "-c", "print(6 * 7)")
    assert (0, "42\n") == (done.returncode, done.stdout)


@pytest.mark.parametrize("command", ["view", "demo", "catalogue"])
def test_a_command_that_lacks_its_extra_says_the_line_to_type(command: str) -> None:
    done = base_alone(command)
    assert (1, "") == (done.returncode, done.stdout)
    assert (
        f"bext-otel {command} needs click, which is not installed: pip install 'bext-otel[tools]'\n"
        == done.stderr
    )


def test_help_and_version_need_no_extra() -> None:
    for option in ("--help", "--version"):
        done = base_alone(option)
        assert (0, "") == (done.returncode, done.stderr)
