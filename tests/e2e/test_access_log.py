"""The access log of real servers, read by a parser of Apache's formats."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from apachelogs import COMBINED, LogEntry, LogParser

from tests.e2e.launching import Launched, launched
from tests.waiting import until

pytestmark = pytest.mark.e2e

PARSER = LogParser(COMBINED)
SERVERS = {
    "uvicorn": "uvicorn --port {port} access_asgi:app",
    "gunicorn": "gunicorn -b 127.0.0.1:{port} flask_app:app",
    "waitress": "waitress-serve --listen 127.0.0.1:{port} flask_app:app",
    "hypercorn": "hypercorn -b 127.0.0.1:{port} access_asgi:app",
}


def logged(file: Path, count: int) -> list[str]:
    """The lines of an access log, as many as that."""

    def lines() -> list[str]:
        return file.read_text("ascii").splitlines() if file.exists() else []

    return until(lambda: len(lines()) >= count and lines(), why=f"{count} lines in {file}")


def parsed(file: Path, count: int) -> list[LogEntry]:
    return [PARSER.parse(line) for line in logged(file, count)]


def own_file(folder: Path, **more: str) -> tuple[Path, dict[str, str]]:
    file = folder / "access.log"
    return file, {
        "BEXT_LOGGING_ACCESS_OUTPUT": "file",
        "BEXT_LOGGING_ACCESS_PATH": str(file),
        "BEXT_LOGGING_ACCESS_EXCLUDED_PATHS": "/first,/items/0",
        **more,
    }


@pytest.mark.parametrize("server", SERVERS)
def test_combined_is_apache_s(tmp_path: Path, server: str) -> None:
    file, env = own_file(tmp_path, BEXT_LOGGING_ACCESS_FORMAT="combined")
    with launched(tmp_path, SERVERS[server], env=env) as program:
        before = time.time()
        agent = 'a "quoted" \\ agent\tü'.encode("latin-1")
        headers = {"referer": "https://u:pw@shop.example/x?token=s3cret&a=1", "user-agent": agent}
        program.get("/items/1?q=a%20b&token=s3cret", headers=headers)
        (entry,) = parsed(file, 1)
        (line,) = logged(file, 1)
        assert "s3cret" not in line
        assert "pw" not in line
        assert ("127.0.0.1", None, None) == (entry.remote_host, entry.remote_logname, entry.remote_user)
        assert entry.request_line.startswith("GET /items/1?q=a%20b&token=")
        assert entry.request_line.endswith(" HTTP/1.1")
        assert 200 == entry.final_status
        assert entry.bytes_sent > 0
        assert before - 2 < entry.request_time.timestamp() < time.time() + 1
        assert agent.decode("latin-1") == entry.headers_in["User-Agent"]
        assert entry.headers_in["Referer"].startswith("https://")
        # It is nowhere else, neither by us nor by its server.
        assert not [each for each in program.output().splitlines() if "/items/1" in each]


@pytest.mark.parametrize("server", ["uvicorn", "gunicorn"])
def test_no_part_of_a_line_tells_a_secret(tmp_path: Path, server: str) -> None:
    """Known by its looks, by its name or by a name of the user's own, wherever a client puts it."""
    file, env = own_file(
        tmp_path, BEXT_LOGGING_ACCESS_FORMAT="combined", BEXT_REDACTION_NAMES="client.address"
    )
    key = "AKIAIOSFODNN7EXAMPLE"
    with launched(tmp_path, SERVERS[server], env=env) as program:
        headers = {"referer": f"https://shop.example/{key}?x={key}", "user-agent": f"agent {key}"}
        program.get(f"/items/{key}?q={key}&card=4111111111111111", headers=headers)
        (entry,) = parsed(file, 1)
        (line,) = logged(file, 1)
        for secret in (key, "4111111111111111", "127.0.0.1"):
            assert secret not in line
        assert ("REDACTED[name]", "agent REDACTED[aws-key]") == (
            entry.remote_host,
            entry.headers_in["User-Agent"],
        )
        assert entry.request_line.startswith("GET /items/REDACTED[aws-key]?q=REDACTED[aws-key]&card=REDACTED")


def test_what_is_missing_is_a_dash(tmp_path: Path) -> None:
    file, env = own_file(tmp_path, BEXT_LOGGING_ACCESS_FORMAT="combined")
    with launched(tmp_path, SERVERS["uvicorn"], env=env, path="/first") as program:
        program.get("/empty", headers={"user-agent": ""})
        (line,) = logged(file, 1)
        assert line.startswith("127.0.0.1 - - [")
        assert '] "GET /empty HTTP/1.1" 204 - "-" "' in line


def test_json_in_a_file_of_its_own_and_what_failed_among_other_lines_too(tmp_path: Path) -> None:
    file, env = own_file(tmp_path, BEXT_LOGGING_SLOW_REQUEST_MS="100")
    with launched(tmp_path, SERVERS["uvicorn"], env=env, path="/first") as program:
        for word in ("fine", "crash", "slow"):
            program.get(f"/{word}")
        lines: list[dict[str, Any]] = [json.loads(line) for line in logged(file, 3)]
        assert ["/fine", "/crash", "/slow"] == [line["path"] for line in lines]
        assert {"/crash", "/slow"} == {line["path"] for line in program.lines(message="request completed")}


def test_its_file_is_rotated_in_its_own_way(tmp_path: Path) -> None:
    other = tmp_path / "app.log"
    file, env = own_file(
        tmp_path,
        BEXT_LOGGING_ACCESS_ROTATE="true",
        BEXT_LOGGING_ACCESS_ROTATE_MAX_SIZE_MB="1",
        BEXT_LOGGING_OUTPUT="file",
        BEXT_LOGGING_FILE_PATH=str(other),
    )
    file.write_bytes(b"x" * 1024 * 1024 + b"\n")
    other.write_bytes(b"x" * 1024 * 1024 + b"\n")
    with launched(tmp_path, SERVERS["uvicorn"], env=env, path="/first") as program:
        program.get("/crash")
        until(lambda: "/crash" in other.read_text(), why=lambda: program.output())
        until(lambda: file.exists() and file.stat().st_size < 10_000, why="a file of its own")
    assert (tmp_path / "access.log.1").exists()
    assert not (tmp_path / "app.log.1").exists()


def test_by_default_probes_leave_no_line_and_all_else_does(tmp_path: Path) -> None:
    with launched(tmp_path, SERVERS["uvicorn"], path="/first") as program:
        for path in ("/healthz", "/health/deep", "/ping", "/other"):
            program.get(path)
        program.completion("/other")
        assert {"/first", "/other"} == {line["path"] for line in program.lines(message="request completed")}
        assert "/healthz" not in program.output()


def test_a_slow_request_tells_its_threshold_by_app_and_by_route(tmp_path: Path) -> None:
    settings = """
    [apps.api]
    paths = ["/"]
    slow_request_ms = 100
    [logging.slow_routes]
    "/items/{item_id}" = 0
    """
    (tmp_path / "bext.config.toml").write_text(settings)
    with launched(tmp_path, SERVERS["uvicorn"], path="/first") as program:
        program.get("/slow")
        assert ("warn", 100.0) == tuple(map(program.completion("/slow").get, ("level", "threshold_ms")))
        assert ("info", None) == tuple(map(program.completion("/first").get, ("level", "threshold_ms")))


def test_none_is_told_where_the_share_is_none_but_what_failed(tmp_path: Path) -> None:
    env = {"BEXT_LOGGING_ACCESS_SAMPLING": "0"}
    with launched(tmp_path, SERVERS["uvicorn"], env=env, path="/first") as program:
        program.get("/fine")
        program.get("/crash")
        program.completion("/crash")
        assert ["/crash"] == [line["path"] for line in program.lines(message="request completed")]


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"OUTPUT": "file"}, "[logging.access] path to say which file"),
        (
            {"OUTPUT": "file", "PATH": "/nowhere/at/all/x.log"},
            "[logging.access] path = '/nowhere/at/all/x.log'",
        ),
        ({"FORMAT": "common"}, 'BEXT_LOGGING_ACCESS_FORMAT=\'common\': expected one of "json", "combined"'),
        ({"SAMPLING": "2"}, "BEXT_LOGGING_ACCESS_SAMPLING='2': expected a number from 0 to 1"),
        ({"EXCLUDED_PATHS": "ping"}, "BEXT_LOGGING_ACCESS_EXCLUDED_PATHS='ping': expected a list"),
        ({"OUTPT": "file"}, "BEXT_LOGGING_ACCESS_OUTPT: no such setting; did you mean"),
    ],
)
def test_what_is_wrong_is_one_line_and_requests_are_told_among_others(
    tmp_path: Path, env: dict[str, str], told: str
) -> None:
    named = {f"BEXT_LOGGING_ACCESS_{name}": value for name, value in env.items()}
    with launched(tmp_path, SERVERS["uvicorn"], env=named, path="/first") as program:
        program.completion("/first")
        lines = [line for line in program.output().splitlines() if told in line.replace('\\"', '"')]
        assert 1 == len(lines), program.output()


def test_the_same_file_in_another_form_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    env = {"BEXT_LOGGING_OUTPUT": "file", "BEXT_LOGGING_FILE_PATH": str(file)}
    access = {"OUTPUT": "file", "PATH": f"{tmp_path}/./app.log", "FORMAT": "combined"}
    env |= {f"BEXT_LOGGING_ACCESS_{name}": value for name, value in access.items()}

    def of(program: Launched) -> list[str]:
        program.get("/fine")
        return until(lambda: [line for line in file.read_text().splitlines() if "/fine" in line])

    with launched(tmp_path, SERVERS["uvicorn"], env=env, path="/first") as program:
        of(program)
        told = [
            line for line in file.read_text().splitlines() if "another file than [logging] file_path" in line
        ]
        assert 1 == len(told)


@pytest.mark.parametrize("server", ["tornado", "aiohttp"])
def test_servers_that_speak_neither_asgi_nor_wsgi_are_logged_too_and_send_the_id(
    tmp_path: Path, server: str
) -> None:
    pytest.importorskip(server)
    file, env = own_file(tmp_path, BEXT_LOGGING_ACCESS_FORMAT="combined", BEXT_LOGGING_SEND_REQUEST_ID="true")
    command = f"python {Path(__file__).parent / 'apps' / f'access_{server}.py'} {{port}}"
    with launched(tmp_path, command, env=env) as program:
        answer = program.get("/items/a%20b?q=1", headers={"x-request-id": "4711"})
        assert "4711" == answer.headers["x-request-id"]
        (entry,) = parsed(file, 1)
        assert "GET /items/a%20b?q=1 HTTP/1.1" == entry.request_line
        assert (200, 5) == (entry.final_status, entry.bytes_sent)
