"""Services around ours: who is found, and what may be said of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bext_otel.service.family import called
from bext_otel.service.procfs import Proc

pytestmark = pytest.mark.skipif(
    not hasattr(os, "memfd_create"), reason="workers find each other on Linux only"
)

# Joins a service, and says what it sees; each further word has it start one more as a service of its own.
PROGRAM = """
import subprocess, sys
from bext_otel.service.family import relatives_apart
from bext_otel.service.joining import join_service
from bext_otel.service.procfs import Proc
name, *below = sys.argv[1:]
board = join_service(name)
board.post(b"notice of " + name.encode())
if below:
    subprocess.run([sys.executable, __file__, *below], check=True)
for found in sorted(relatives_apart(Proc(), board.identity), key=lambda one: one.service):
    print(name, "sees", found.service, found.notice.decode(), len(found.secret), found.above, flush=True)
"""


def test_those_above_are_found_with_what_they_posted_and_those_that_ended_are_not(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(program), "launcher", "server", "script"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert [
        "script sees launcher notice of launcher 32 True",
        "script sees server notice of server 32 True",
        "server sees launcher notice of launcher 32 True",
    ] == done.stdout.splitlines()


def test_what_has_no_telemetry_above_it_has_no_relatives_beside_it(tmp_path: Path) -> None:
    """Two services that a shell has started have nothing to do with each other."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    script = f"{sys.executable} {program} one & {sys.executable} {program} two; wait"
    done = subprocess.run(
        ["sh", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert ("", "") == (done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ("/opt/venv/bin/python3.11 -m shop.serve --password x", "python -m shop.serve"),
        ("/usr/bin/python /opt/venv/bin/uvicorn app:app --token x", "uvicorn"),
        ("/usr/bin/python -c print('secret')", "python"),
        ("gunicorn: master [app:app] --password x", "gunicorn"),
        ("", "?"),
    ],
)
def test_a_process_is_called_by_its_program_and_never_by_its_arguments(
    tmp_path: Path, arguments: str, name: str
) -> None:
    words = [arguments] if arguments.startswith("gunicorn") else arguments.split(" ")
    (tmp_path / "12").mkdir()
    (tmp_path / "12" / "cmdline").write_text("\0".join(words))
    assert name == called(12, Proc(str(tmp_path)))


def test_a_name_is_short_and_can_be_printed(tmp_path: Path) -> None:
    (tmp_path / "12").mkdir()
    (tmp_path / "12" / "cmdline").write_bytes(b"\x1b[31m" + b"x" * 500)
    assert "?[31m" + "x" * 75 == called(12, Proc(str(tmp_path)))
