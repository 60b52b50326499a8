"""`bext-otel run`: what stands after the command is the command's, and so is how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.waiting import until

RUN = [str(Path(sysconfig.get_path("scripts")) / "bext-otel"), "run"]
TELLS = "import bext_otel, json, os, sys; print(json.dumps([bext_otel.running() is not None, os.getpid(), sys.orig_argv]))"


def environ(**given: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "BEXT_"))}
    kept["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), kept.get("PATH", os.defpath)))
    return {**kept, "OTEL_EXPORTER_PROMETHEUS_PORT": "0", **given}


def ran(*command: str, cwd: Path | None = None, **given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=environ(**given), cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


def test_it_becomes_the_command_with_telemetry() -> None:
    process = subprocess.Popen(
        [*RUN, "python", "-c", TELLS], env=environ(), stdout=subprocess.PIPE, text=True
    )
    told, _ = process.communicate(timeout=60)
    assert [True, process.pid, ["python", "-c", TELLS]] == json.loads(told)


def test_every_argument_after_the_command_is_its_own() -> None:
    arguments = [
        "--config",
        "c",
        "--exporter_otlp_endpoint",
        "http://theirs",
        "-h",
        "--help",
        "--",
        "-x",
        "--",
    ]
    command = ("sh", "-c", 'printf "%s|" "$0" "$@"', "run", *arguments, "", " ", "caf\u00e9")
    bare = ran(*command)
    assert "|".join(["run", *arguments, "", " ", "caf\u00e9|"]) == bare.stdout
    assert bare.stdout == ran(*RUN, *command).stdout == ran(*RUN, "--", *command).stdout


def test_upstreams_launcher_takes_options_of_the_command_unless_it_is_separated() -> None:
    """As the README says."""
    upstream = str(Path(sysconfig.get_path("scripts")) / "opentelemetry-instrument")
    command = ("echo", "--config", "c.yaml")
    if sys.version_info < (3, 14):  # whose argparse looks no further than the command
        assert "ambiguous option: --config" in ran(upstream, *command).stderr
    assert "--config c.yaml\n" == ran(upstream, "--", *command).stdout == ran(*RUN, *command).stdout


def test_modules_and_relative_paths_are_run(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("import sys; print(__name__, len(sys.argv))")
    script = tmp_path / "serve"
    script.write_text(f"#!{sys.executable}\nimport shop")
    script.chmod(0o755)
    assert "__main__ 2\n" == ran(*RUN, "python", "-m", "shop", "x", cwd=tmp_path).stdout
    assert "__main__ 1\n" == ran(*RUN, "python", "shop.py", cwd=tmp_path).stdout
    assert "shop 1\n" == ran(*RUN, "./serve", cwd=tmp_path).stdout


@pytest.mark.parametrize("code", [0, 3, 255])
def test_the_exit_code_is_the_commands(code: int) -> None:
    assert code == ran(*RUN, "sh", "-c", f"exit {code}").returncode


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_signals_are_the_commands() -> None:
    """Also one that Python ignores in itself, and would hand on as ignored."""
    bare = ran("sh", "-c", "kill -s PIPE $$; echo on")
    assert (-signal.SIGPIPE, "") == (bare.returncode, bare.stdout)
    piped = ran(*RUN, "sh", "-c", "kill -s PIPE $$; echo on")
    assert (bare.returncode, bare.stdout) == (piped.returncode, piped.stdout)
    code = "import signal, sys; signal.signal(signal.SIGINT, lambda *_: sys.exit(7)); print('up', flush=True); signal.pause()"
    process = subprocess.Popen([*RUN, "python", "-c", code], env=environ(), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        assert "up\n" == process.stdout.readline()
        process.send_signal(signal.SIGINT)
        until(lambda: process.poll() is not None)
    assert 7 == process.returncode


@pytest.mark.parametrize(
    ("command", "code", "line"),
    [
        ("no-such-command", 127, "bext-otel run: no-such-command: No such file or directory\n"),
        (
            "./app.py",
            126,
            "bext-otel run: ./app.py: Permission denied; for a file of Python: bext-otel run python ./app.py\n",
        ),
        ("./folder", 126, "bext-otel run: ./folder: Permission denied\n"),
    ],
)
def test_a_command_that_cant_be_run_is_one_line(tmp_path: Path, command: str, code: int, line: str) -> None:
    (tmp_path / "app.py").write_text("print('no')")
    (tmp_path / "folder").mkdir()
    done = ran(*RUN, command, cwd=tmp_path)
    assert (code, "", line) == (done.returncode, done.stdout, done.stderr)


def test_a_command_is_needed_and_options_before_it_are_refused() -> None:
    missing = ran(*RUN)
    assert (2, True) == (missing.returncode, "COMMAND is missing" in missing.stderr)
    refused = ran(*RUN, "--config", "x", "python")
    assert (2, True) == (refused.returncode, "unrecognized arguments: --config" in refused.stderr)


@pytest.mark.parametrize("variable", ["OTEL_PYTHON_CONTEXT", "OTEL_PROPAGATORS"])
def test_a_wrong_variable_of_upstreams_is_one_line_and_a_default(variable: str) -> None:
    """Upstream's launcher ends, or prints a traceback, before it asks us."""
    done = ran(*RUN, "python", "-c", "print('WORKED')", **{variable: "nonsense"})
    assert (0, True) == (done.returncode, "WORKED" in done.stdout)
    said = done.stdout + done.stderr
    assert (1, 0) == (said.count(f"{variable}: nothing that works has the name"), said.count("Traceback"))


def test_python_path_keeps_what_it_had_after_upstreams_folder_and_the_working_directory(
    tmp_path: Path,
) -> None:
    spec = find_spec("opentelemetry.instrumentation.auto_instrumentation")
    assert spec is not None
    [folder] = spec.submodule_search_locations or ()
    assert (Path(folder) / "sitecustomize.py").is_file(), "what it starts telemetry by"
    tells = ("sh", "-c", 'printf %s "$PYTHONPATH"')
    for given, rest in (("", []), ("/a:/b", ["/a", "/b"]), (f"/a:{folder}", ["/a"])):
        told = ran(*RUN, *tells, cwd=tmp_path, PYTHONPATH=given).stdout
        assert [folder, str(tmp_path), *rest] == told.split(os.pathsep)
