"""The README's lines that install, as they stand there, with a wheel of this source: in an empty folder, by the
pip that comes with each Python that is here, and by uv."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import limit

pytestmark = [pytest.mark.e2e, pytest.mark.installs]

ROOT = Path(__file__).parents[2]
UV = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
LINES = re.findall(
    r"^((?:pip|uv|pipx) .*?)(?: *#.*)?$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE
)
# One that is launched, and says what it is.
STARTS = "import bext_otel; assert bext_otel.running(), 'not set up'"


def pythons() -> list[str]:
    """The supported Pythons that are here and can make an environment."""
    found = [shutil.which(f"python3.{minor}") for minor in range(10, 16)]
    asked = [path for path in found if path is not None]
    can = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    answers = [
        subprocess.run([path, "-c", can], capture_output=True, text=True, check=False) for path in asked
    ]
    return [path for path, answer in zip(asked, answers, strict=True) if not answer.returncode]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    run(
        folder,
        [UV, "--quiet", "build", "--wheel", "--python", sys.executable, "--out-dir", str(folder), str(ROOT)],
    )
    return folder


def run(folder: Path, command: list[str], **env: str) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=limit(150),
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def found_in(wheels: Path) -> dict[str, str]:
    """So that the name means this wheel, beside whatever else this machine's installers look at."""
    return {
        "PIP_FIND_LINKS": " ".join(filter(None, [str(wheels), os.environ.get("PIP_FIND_LINKS")])),
        "UV_FIND_LINKS": ",".join(
            filter(None, [str(wheels), *(os.environ.get("PIP_FIND_LINKS") or "").split()])
        ),
    }


def line(starts: str) -> list[str]:
    (words,) = [each.split() for each in LINES if each.startswith(starts)]
    return words


def is_there(folder: Path, programs: Path) -> None:
    """What was installed is this version, fits together, and starts a program."""
    version = run(folder, [str(programs / "bext-otel"), "--version"])
    assert re.fullmatch(r"bext-otel \d+\.\d+\.\d+\n", version)
    run(
        folder,
        [str(programs / "bext-otel"), "run", str(programs / "python"), "-c", STARTS],
        OTEL_EXPORTER_PROMETHEUS_PORT="0",
    )


@pytest.mark.parametrize("python", pythons(), ids=lambda path: Path(path).name)
def test_pip_of_a_fresh_environment_installs_it(tmp_path: Path, wheels: Path, python: str) -> None:
    programs = tmp_path / "venv" / "bin"
    run(tmp_path, [python, "-m", "venv", "venv"])
    run(tmp_path, [str(programs / "python"), "-m", *line("pip install bext-otel")], **found_in(wheels))
    run(tmp_path, [str(programs / "python"), "-m", "pip", "check"])
    is_there(tmp_path, programs)


def test_a_constraint_file_decides_about_versions(tmp_path: Path, wheels: Path) -> None:
    """Resolved, and not installed once more."""
    programs = tmp_path / "venv" / "bin"
    (tmp_path / "constraints.txt").write_text("structlog==24.4.0\n")
    run(tmp_path, [sys.executable, "-m", "venv", "venv"])
    told = run(
        tmp_path,
        [
            str(programs / "python"),
            "-m",
            *line("pip install --constraint"),
            "--dry-run",
            "--quiet",
            "--report=-",
        ],
        **found_in(wheels),
    )
    chosen = {each["metadata"]["name"]: each["metadata"]["version"] for each in json.loads(told)["install"]}
    assert "24.4.0" == chosen["structlog"]
    assert "bext-otel" in chosen


def test_uv_installs_it(tmp_path: Path, wheels: Path) -> None:
    run(tmp_path, [UV, "venv", "--python", sys.executable, ".venv"])
    run(tmp_path, [UV, *line("uv pip install")[1:]], **found_in(wheels), VIRTUAL_ENV=str(tmp_path / ".venv"))
    is_there(tmp_path, tmp_path / ".venv" / "bin")


def test_the_command_alone_is_a_tool(tmp_path: Path, wheels: Path) -> None:
    """As uv keeps it, and pipx: in an environment of its own."""
    places = {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path / "bin")}
    run(
        tmp_path, [UV, *line("uv tool install")[1:], "--python", sys.executable], **found_in(wheels), **places
    )
    assert run(tmp_path, [str(tmp_path / "bin" / "bext-otel"), "--version"]).startswith("bext-otel ")
    assert "view" in run(tmp_path, [str(tmp_path / "bin" / "bext-otel"), "--help"])
