"""`bext-otel deploy` for real: a command in a process of its own, and a receiver for what is told about
it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.launching import SCRIPTS, environment, free_port
from tests.e2e.otlp import Receiver, receiving
from tests.waiting import until

BEXT_OTEL = str(Path(SCRIPTS) / "bext-otel")
DEPLOY = [BEXT_OTEL, "deploy", "--app", "shop", "--version", "1.4.2"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture
def env(tmp_path: Path, receiver: Receiver) -> dict[str, str]:
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "BEXT_TELEMETRY_SHUTDOWN_TIMEOUT_SECONDS": "15",  # on a machine that is busy with something else
    }
    given = environment(tmp_path, free_port(), settings)
    return {key: value for key, value in given.items() if key not in {"TRACEPARENT", "TRACESTATE", "BAGGAGE"}}


def run(
    env: dict[str, str], *command: str, given: bytes = b"", options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*DEPLOY, *options, "--", *command],
        input=given,
        capture_output=True,
        env=env,
        timeout=60,
        check=False,
    )


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def outcome(receiver: Receiver) -> dict[str, int]:
    """Deploys by status, as counted in what was exported last."""
    (*_, last) = receiver.metrics("bext_deploys_total")
    return {
        {pair.key: pair.value.string_value for pair in point.attributes}["status"]: point.as_int
        or int(point.as_double)
        for point in last.sum.data_points
    }


def test_a_command_that_succeeds_is_a_deploy_that_did(env: dict[str, str], receiver: Receiver) -> None:
    assert 0 == run(env, "true").returncode
    assert {"success": 1} == outcome(receiver)
    span = receiver.span(name="bext.deploy")
    assert ("shop", "1.4.2", "success", 0) == tuple(
        span.attributes[key] for key in ("bext.app", "bext.version", "bext.status", "process.exit.code")
    )
    assert ("bext-deploy", "unset") == (span.resource["service.name"], span.status)
    assert [("shop", "success")] == [
        (line.attributes["app"], line.attributes["status"]) for line in receiver.lines("deploy completed")
    ]


@pytest.mark.parametrize(
    ("code", "options", "status"),
    [
        (3, (), "failed"),
        (3, ("--rollback-code", "3"), "rolled_back"),
        (4, ("--rollback-code", "3"), "failed"),
        (0, ("--rollback-code", "3"), "success"),
    ],
)
def test_the_exit_code_is_kept_and_tells_how_it_went(
    env: dict[str, str], receiver: Receiver, code: int, options: tuple[str, ...], status: str
) -> None:
    assert code == run(env, "sh", "-c", f"exit {code}", options=options).returncode
    assert {status: 1} == outcome(receiver)


def test_a_command_that_a_signal_ends_has_the_code_that_a_shell_gives_it(
    env: dict[str, str], receiver: Receiver
) -> None:
    assert 128 + signal.SIGKILL == run(env, "sh", "-c", "kill -9 $$").returncode
    assert {"failed": 1} == outcome(receiver)


def test_a_command_that_does_not_exist_failed_with_127(env: dict[str, str], receiver: Receiver) -> None:
    done = run(env, "no-such-command")
    assert (127, b"", b"bext-otel deploy: no-such-command: No such file or directory\n") == (
        done.returncode,
        done.stdout,
        done.stderr,
    )
    assert {"failed": 1} == outcome(receiver)


def test_a_command_that_cannot_be_run_failed_with_126(
    env: dict[str, str], receiver: Receiver, tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("not a program")
    assert 126 == run(env, str(tmp_path / "text")).returncode
    assert {"failed": 1} == outcome(receiver)


def test_what_it_reads_and_writes_is_its_own(env: dict[str, str]) -> None:
    """Byte for byte, with a lot of it, and nothing of ours in between."""
    code = (
        "import sys, shutil; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer); "
        "sys.stderr.buffer.write(bytes([0, 255]))"
    )
    given = bytes(range(256)) * 4096
    plain = subprocess.run(python(code), input=given, capture_output=True, env=env, timeout=60, check=False)
    done = run(env, *python(code), given=given)
    assert (plain.returncode, plain.stdout, plain.stderr) == (done.returncode, done.stdout, done.stderr)


def test_files_that_were_handed_down_are_handed_on(env: dict[str, str]) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as end:
        command = [*DEPLOY, "--", *python(f"import os; os.write({writing}, b'here')")]
        subprocess.run(command, env=env, pass_fds=[writing], timeout=60, check=True)
        os.close(writing)
        assert b"here" == end.read()


def test_options_of_the_command_are_not_ours(env: dict[str, str]) -> None:
    assert b"--version -h --app\n" == run(env, "echo", "--version", "-h", "--app").stdout
    done = subprocess.run(
        [*DEPLOY, "echo", "--version", "-h"], capture_output=True, env=env, timeout=60, check=False
    )
    assert b"--version -h\n" == done.stdout


def test_spans_of_the_command_are_children_of_the_deploy(env: dict[str, str], receiver: Receiver) -> None:
    """A script of its own, whose deploy finds the one above by the environment; and the one above finds its
    own parent so."""
    above = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    code = (
        "import bext_otel\nr = bext_otel.configure()\nwith bext_otel.deploy('inner', '1'): pass\nr.shutdown()"
    )
    assert 0 == run({**env, "TRACEPARENT": above}, *python(code)).returncode
    outer, inner = receiver.span(bext_app="shop"), receiver.span(bext_app="inner")
    assert ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331") == (outer.trace_id, outer.parent_id)
    assert (outer.trace_id, outer.span_id) == (inner.trace_id, inner.parent_id)


def test_a_deploy_that_nobody_hears_of_says_so(env: dict[str, str]) -> None:
    alone = {name: value for name, value in env.items() if name != "OTEL_EXPORTER_OTLP_ENDPOINT"}
    done = run(alone, "true")
    assert (0, b"") == (done.returncode, done.stdout)
    assert b"nobody hears of this deploy: OTEL_EXPORTER_OTLP_ENDPOINT" in done.stderr
    assert b"" == run(env, "true").stderr


LISTENER = """
import signal, sys, time
def heard(number, frame):
    print("heard", signal.Signals(number).name, flush=True)
    if number == signal.SIGTERM: sys.exit(9)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1): signal.signal(number, heard)
print("up", flush=True)
while True: time.sleep(60)
"""


def test_signals_are_forwarded_and_what_the_command_makes_of_them_counts(
    env: dict[str, str], receiver: Receiver
) -> None:
    with subprocess.Popen([*DEPLOY, "--", *python(LISTENER)], stdout=subprocess.PIPE, env=env) as process:
        try:
            assert process.stdout is not None
            assert b"up\n" == process.stdout.readline()
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM):
                process.send_signal(number)
                assert f"heard {number.name}\n".encode() == process.stdout.readline()
            assert b"" == process.stdout.read()
            assert 9 == process.wait(30)
        finally:
            process.kill()
    assert {"failed": 1} == outcome(receiver)


def test_ctrl_c_in_a_terminal_reaches_the_command_once(env: dict[str, str]) -> None:
    """The terminal sends it to both of us; forwarded, it would be the second one, at which many programs give
    up cleaning up."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(BEXT_OTEL, [*DEPLOY, "--", *python(LISTENER)], env)
    seen = b""

    def shows(text: bytes) -> bool:
        nonlocal seen
        seen += os.read(terminal, 4096)
        return text in seen

    try:
        until(lambda: shows(b"up"))
        os.write(terminal, b"\x03")
        until(lambda: shows(b"heard SIGINT"))
        os.kill(pid, signal.SIGUSR1)
        until(lambda: shows(b"heard SIGUSR1"))
        assert 1 == seen.count(b"heard SIGINT")
        os.kill(pid, signal.SIGTERM)
        assert 9 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(terminal)


def test_what_nobody_answers_does_not_hold_up_the_exit(env: dict[str, str]) -> None:
    """A collector that accepts and stays silent: the exit takes the shutdown timeout, not the exporter's own
    ten seconds and more."""
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        env = {
            **env,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "BEXT_TELEMETRY_SHUTDOWN_TIMEOUT_SECONDS": "0.5",
        }
        with subprocess.Popen([*DEPLOY, "--", "sh", "-c", "exit 3"], env=env) as process:
            assert 3 == process.wait(9)


@pytest.mark.parametrize("logs", ["otlp", "none"])
def test_a_wrong_setting_is_told_once_and_the_command_runs(
    env: dict[str, str], tmp_path: Path, logs: str
) -> None:
    (tmp_path / "bext.toml").write_text("[metrics]\nport = 'many'\n")
    wrong = {
        "BEXT_CONFIG": str(tmp_path / "bext.toml"),
        "OTEL_LOGS_EXPORTER": logs,
        "OTEL_BSP_SCHEDULE_DELAY": "soon",
    }
    done = run({**env, **wrong}, "echo", "ran")
    assert (0, b"ran\n") == (done.returncode, done.stdout)
    lines = done.stderr.decode().splitlines()
    assert [] == [line for line in lines if not line.startswith("bext-otel deploy: ")]
    assert [1, 1] == [
        len([line for line in lines if name in line])
        for name in ("[metrics] port", "OTEL_BSP_SCHEDULE_DELAY")
    ]


def test_the_log_entry_goes_to_the_file_that_is_configured(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "bext.toml").write_text(
        f"[logging]\noutput = 'file'\nfile_path = '{tmp_path / 'deploys.log'}'\n"
    )
    assert 0 == run({**env, "BEXT_CONFIG": str(tmp_path / "bext.toml")}, "true").returncode
    assert '"message":"deploy completed"' in (tmp_path / "deploys.log").read_text().replace('": "', '":"')


def test_the_environment_may_name_the_service(env: dict[str, str], receiver: Receiver) -> None:
    assert 0 == run({**env, "OTEL_SERVICE_NAME": "ci"}, "true").returncode
    assert "ci" == receiver.span(name="bext.deploy").resource["service.name"]


def test_without_telemetry_the_command_runs_all_the_same(env: dict[str, str]) -> None:
    done = run({**env, "OTEL_SDK_DISABLED": "true"}, "sh", "-c", "echo ran; exit 4")
    assert (4, b"ran\n", b"") == (done.returncode, done.stdout, done.stderr)
