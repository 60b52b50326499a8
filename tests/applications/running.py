"""An application started with what it needs, asked all that there is to ask, and ended."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import httpx
import psutil

from tests.applications.application import Application
from tests.applications.normalising import Rule, places, processes
from tests.applications.wire import Answer, Conversation, Visit, converse, pay
from tests.e2e.launching import free_port, samples
from tests.waiting import until

# In which a worker may not have told the others yet.
_LAST_SECOND = 1.2

LAUNCHER = ("bext-otel", "run")


@dataclass(frozen=True)
class Place:
    """Where a run takes place: folder, port, and the variables and the launcher of its programs."""

    folder: Path
    port: int
    variables: dict[str, str]
    launcher: tuple[str, ...] = ()

    def words(self, command: str) -> list[str]:
        """The command's words, with this place's port and folder."""
        return [*self.launcher, *shlex.split(command.format(port=self.port, folder=self.folder))]


def bare(application: Application, environment: Path, folder: Path) -> Place:
    """A place with what the application needs, and without us."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("OTEL_", "BEXT_", "PYTHON", "PYTEST"))
    }
    own = {
        "PATH": os.pathsep.join([str(environment / "bin"), kept.get("PATH", os.defpath)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONHASHSEED": "0",  # the order of sets shows in answers
        "COLUMNS": "1000",  # some wrap their lines
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "NO_PROXY": "localhost,127.0.0.1",
        **application.variables,
    }
    place = Place(folder, free_port(), {**kept, **own})
    _prepare(application, environment, place)
    return place


def launched(
    application: Application,
    environment: Path,
    folder: Path,
    *,
    checkout: Path,
    endpoint: str,
    metrics_port: int,
) -> Place:
    """The same with us: this checkout on its path, telemetry for `endpoint`, /metrics on that port."""
    place = bare(application, environment, folder)
    variables = {
        **place.variables,
        "PATH": os.pathsep.join([str(checkout / "bin"), place.variables["PATH"]]),
        "PYTHONPATH": str(checkout),
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(metrics_port),
    }
    return Place(folder, place.port, variables, LAUNCHER)


def _prepare(application: Application, environment: Path, place: Place) -> None:
    """The application's files, and what its setup made of them: kept beside its environment, for the next time."""
    what = repr((sorted(application.files.items()), application.setup, sorted(application.variables.items())))
    kept = environment / f"prepared-{application.name}-{sha256(what.encode()).hexdigest()[:12]}"
    if not kept.exists():
        part = Path(f"{kept}.part-{os.getpid()}")
        for name, text in application.files.items():
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            (part / name).write_text(text, encoding="utf-8")
        part.mkdir(exist_ok=True)
        for command in application.setup:
            made = subprocess.run(
                shlex.split(command),
                check=False,
                cwd=part,
                env=place.variables,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert 0 == made.returncode, f"{command}: {made.stdout}{made.stderr}"
        with suppress(OSError):  # somebody else was first
            part.rename(kept)
    shutil.copytree(kept, place.folder, dirs_exist_ok=True)


@dataclass
class Run:
    """What came of a run: its answers in the order of the requests, what its programs wrote, how they ended, what of
    `bext_request*` /metrics showed before."""

    answers: list[Answer] = field(default_factory=list)
    stdout: str = ""
    stderr: str = ""
    exit_codes: list[int] = field(default_factory=list)
    places: tuple[Rule, ...] = ()
    processes: Rule = field(default_factory=lambda: processes([0]))
    metrics: dict[str, float] = field(default_factory=dict)


def run(
    application: Application,
    visits: Sequence[Visit],
    conversations: Sequence[Conversation],
    place: Place,
    *,
    metrics_port: int = 0,
) -> Run:
    """Start the application and its helpers, send everything, and end them with SIGTERM, the helpers last."""
    result = Run()
    host = application.host.format(port=place.port)
    commands = [*application.helpers, application.command]
    with ExitStack() as stack:
        running = [
            stack.enter_context(_started(place, command, f"terminal{number}"))
            for number, command in enumerate(commands)
        ]
        _await(running[-1], place)
        for conversation in conversations:
            result.answers.append(converse(conversation, place.port, host))
        for visit in visits:
            result.answers += pay(visit, place.port, host)
        result.places = places(place.folder, place.port)
        result.processes = processes(one.pid for process in running for one in _family(process.pid))
        if metrics_port:
            result.metrics = _metrics(metrics_port)
        for process in reversed(running):
            process.send_signal(signal.SIGTERM)
            until(
                lambda process=process: process.poll() is not None,
                why=f"the end of {process.args}",
            )
            result.exit_codes.append(process.returncode)
    result.stdout, result.stderr = (
        "".join(
            (place.folder / f"terminal{number}.{stream}").read_text(encoding="utf-8", errors="replace")
            for number in range(len(commands))
        )
        for stream in ("stdout", "stderr")
    )
    return result


@contextmanager
def _started(place: Place, command: str, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command, running; what it leaves running is killed with its process group."""
    with (
        (place.folder / f"{name}.stdout").open("wb") as out,
        (place.folder / f"{name}.stderr").open("wb") as err,
    ):
        process = subprocess.Popen(
            place.words(command),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=place.variables,
            cwd=place.folder,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _await(process: subprocess.Popen[bytes], place: Place) -> None:
    """Until somebody listens there. Nobody is asked: the request would be counted."""

    def listens() -> bool:
        assert process.poll() is None, [
            path.read_text(errors="replace") for path in place.folder.glob("terminal*")
        ]
        with suppress(psutil.Error):
            for one in _family(process.pid):
                for found in one.net_connections():
                    if found.status == psutil.CONN_LISTEN and found.laddr.port == place.port:
                        return True
        return False

    until(listens, why=f"somebody to listen on {place.port}; see {place.folder}")


def _family(pid: int) -> list[psutil.Process]:
    first = psutil.Process(pid)
    return [first, *first.children(recursive=True)]


def _metrics(port: int) -> dict[str, float]:
    """The samples of /metrics, once they stay: another worker says what it did in its last second later. The port may open
    while the first requests are answered."""
    former: dict[str, float] | None = None
    for _ in range(40):
        try:
            page = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, timeout=20).text
        except httpx.TransportError:
            page = ""
        found = {key: value for key, value in samples(page).items() if key.startswith("bext_request")}
        if found and found == former:
            return found
        former = found
        time.sleep(_LAST_SECOND)
    return former or {}
