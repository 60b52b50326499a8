"""Commands of real applications that do not serve: both streams and the exit code are those of the bare command, byte for
byte."""

from __future__ import annotations

import json
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.applications import running
from tests.applications.application import Application
from tests.applications.asgi_applications import INITIALIZE
from tests.applications.catalogue import APPLICATIONS
from tests.applications.installed import checkout_for, environment_of
from tests.applications.normalising import Rule, normal, places
from tests.applications.running import Place
from tests.e2e.launching import free_port
from tests.e2e.otlp import Receiver, receiving

pytestmark = [pytest.mark.e2e, pytest.mark.applications]


_CALLS: tuple[dict[str, Any], ...] = (
    {"id": 1, "method": "initialize", "params": json.loads(INITIALIZE)},
    {"method": "notifications/initialized"},
    {"id": 2, "method": "tools/list", "params": {}},
)
_SHOP = (
    *_CALLS,
    {"id": 3, "method": "tools/call", "params": {"name": "add", "arguments": {"a": 1, "b": 2}}},
    {"id": 4, "method": "tools/call", "params": {"name": "fail", "arguments": {"why": "because"}}},
    {"id": 5, "method": "no/such", "params": {}},
)
_ZONES = {"source_timezone": "Europe/Berlin", "target_timezone": "Asia/Tokyo", "time": "12:30"}
_TIME = (*_CALLS, {"id": 3, "method": "tools/call", "params": {"name": "convert_time", "arguments": _ZONES}})


@dataclass(frozen=True)
class Command:
    """A command of an application's environment, in the application's folder; the calls that it is
    sent over standard input, and its exit code."""

    application: str
    command: str
    says: tuple[dict[str, Any], ...] = ()
    exit_code: int = 0


COMMANDS = {
    "mcp over standard input": Command("mcp", "python server.py", _SHOP),
    "mcp run": Command("mcp", "mcp run server.py", _SHOP),
    "mcp-server-time": Command("mcp", "mcp-server-time --local-timezone Europe/Berlin", _TIME),
    "datasette, one answer": Command("datasette", "datasette shop.db --get /shop/products/7.json"),
    "datasette inspect": Command("datasette", "datasette inspect shop.db"),
    "django, a dump": Command("wagtail", "python manage.py dumpdata auth wagtailcore.site"),
    "flask routes": Command("httpbin", "flask --app httpbin routes"),
    "celery, an unknown option": Command("flower", "celery -A tasks worker --nonsense", exit_code=2),
    "radicale, a check of its storage": Command("radicale", "python -m radicale --verify-storage"),
    "gunicorn, a broken application": Command("httpbin", "gunicorn --check-config none:app", exit_code=1),
}

_RULES = (
    Rule("a time that is told once a second", r"(?m)^(\[\d\d/\d\d/\d\d [\d:]{8}\])? +(?=[A-Z]{4,} )", ""),
    Rule("processes of gunicorn", r"\[\d+\]", "[PID]"),
    Rule("times", r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(,\d+)?|\d\d/\d\d/\d\d \d\d:\d\d:\d\d", "TIME"),
    Rule("milliseconds", r'"query_ms": [\d.]+', '"query_ms": MS'),
    Rule("the launcher's variable", r" with PYTHONPATH='[^']*'", ""),
)


@dataclass(frozen=True)
class Ended:
    """What a command wrote on either stream, and its exit code."""

    stdout: str
    stderr: str
    exit_code: int


@pytest.mark.parametrize("given", COMMANDS.values(), ids=COMMANDS)
def test_a_command_that_does_not_serve_prints_what_it_prints_without_us(
    given: Command, tmp_path: Path
) -> None:
    application = APPLICATIONS[given.application]
    with receiving() as received, ThreadPoolExecutor(2) as pool:
        bare, ours = pool.map(lambda place: _ended(given, place), _both(application, tmp_path, received))
    assert given.exit_code == bare.exit_code, bare
    assert given.exit_code == ours.exit_code, ours
    assert bare == ours


def test_what_a_tool_of_an_mcp_server_logs_is_exported_with_its_trace(tmp_path: Path) -> None:
    """Over standard input, where nobody but the client reads what it prints."""
    with receiving() as received:
        _, place = _both(APPLICATIONS["mcp"], tmp_path, received)
        _ended(COMMANDS["mcp over standard input"], place)
        (line,) = received.lines("adding")
        assert [line.trace_id] == [span.trace_id for span in received.spans(name="tools/call add")]


def _both(application: Application, folder: Path, received: Receiver) -> tuple[Place, Place]:
    environment = environment_of(application.name)
    checkout = checkout_for(environment, folder / "checkout")
    bare = running.bare(application, environment, folder / "bare")
    endpoint, port = received.endpoint, free_port()
    return bare, running.launched(
        application, environment, folder / "ours", checkout=checkout, endpoint=endpoint, metrics_port=port
    )


def _ended(given: Command, place: Place) -> Ended:
    stderr = place.folder / "stderr"
    with stderr.open("wb") as errors:
        process = subprocess.Popen(
            [*place.launcher, *shlex.split(given.command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=place.variables,
            cwd=place.folder,
        )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        answers = []
        for message in given.says:
            process.stdin.write(f"{json.dumps({'jsonrpc': '2.0', **message})}\n")
            process.stdin.flush()
            # As a client does: a server works on several calls at once, and forgets those in work when its input ends.
            if "id" in message:
                answers.append(process.stdout.readline())
        rest, _ = process.communicate(timeout=60)
    rules = (*places(place.folder, place.port), *_RULES)
    stdout = normal("".join([*answers, rest]), rules)
    return Ended(stdout, normal(stderr.read_text(encoding="utf-8"), rules), process.returncode)
