"""Levels of a running service of two workers: by its file, by a request to any of them, by the command."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.launching import SCRIPTS, Launched, launched
from tests.waiting import until

pytestmark = pytest.mark.e2e

SETTINGS = '[apps.api]\npaths = ["/api"]\n'
PATH = "/debug/bext/log-level"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Launched, Path]]:
    folder = tmp_path_factory.mktemp("levels")
    file = folder / "settings.toml"
    file.write_text(SETTINGS)
    command = "gunicorn -w 2 -b 127.0.0.1:{port} levels_app:app"
    env = {"BEXT_CONFIG": str(file), "OTEL_SERVICE_NAME": f"levels-{folder.name}"}
    with launched(folder, command, env=env, path="/other/first") as program:
        yield program, file


def ask(program: Launched, method: str, query: str = "") -> dict[str, Any]:
    program.endpoint(PATH)
    reply = httpx.request(method, f"{program.endpoints_url}{PATH}?{query}", trust_env=False, timeout=20)
    assert 200 == reply.status_code, reply.text
    told: dict[str, Any] = reply.json()
    return told


def workers_that_say(program: Launched, word: str) -> set[int]:
    """Which workers log at debug in a request of the app `api`."""
    asked = {program.get(f"/api/{word}").json()["pid"] for _ in range(10)}
    time.sleep(0.1)
    said = len(program.lines(message=f"{word} of a request"))
    return asked if said >= 10 else set()


def by_themselves(program: Launched) -> set[str]:
    """Which processes have logged outside of requests by now."""
    return {line["message"] for line in program.lines(target="shop.background", level="debug")}


def replace(file: Path, content: str) -> None:
    other = file.with_name("other.toml")
    other.write_text(content)
    other.rename(file)


def test_a_change_of_the_file_is_in_force_in_every_worker(service: tuple[Launched, Path]) -> None:
    program, file = service
    assert not workers_that_say(program, "before")
    replace(file, f'{SETTINGS}log_level = "debug"\n')
    time.sleep(2)
    assert workers_that_say(program, "file")
    program.get("/other/file")
    assert {"api"} == {line["app"] for line in program.lines(message="file of a request")}
    replace(file, SETTINGS)
    time.sleep(2)
    assert not workers_that_say(program, "after")


def test_a_file_that_does_not_parse_is_one_line_of_one_worker(service: tuple[Launched, Path]) -> None:
    program, file = service
    replace(file, "[apps\n")

    def told() -> list[Any]:
        return [line for line in program.lines(level="warn") if "levels stay" in line["message"]]

    until(told)
    time.sleep(2)
    assert 1 == len(told())
    replace(file, SETTINGS)


def test_a_request_to_one_worker_raises_a_level_in_all_and_it_falls_back(
    service: tuple[Launched, Path],
) -> None:
    program, _ = service
    told = ask(program, "PUT", "logger=shop.background&level=debug&for=4s")
    assert [("shop.background", "debug")] == [
        (one["logger"], one["level"]) for one in told["orders"] if one["seconds_left"] <= 4
    ]
    until(lambda: 2 <= len(by_themselves(program)), seconds=3, why="two workers to log by themselves")
    assert [] == until(lambda: ask(program, "GET")["orders"] == [] and [[]])[0]
    time.sleep(0.3)
    before = len(program.lines(target="shop.background"))
    time.sleep(0.5)
    assert before == len(program.lines(target="shop.background"))


def test_the_command_shows_raises_and_takes_back(service: tuple[Launched, Path]) -> None:
    program, _ = service

    def level(*words: str) -> str:
        command = [str(Path(SCRIPTS) / "bext-otel"), "level", *words, "--pid", str(program.process.pid)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert 0 == done.returncode, done.stderr
        return done.stdout

    assert "levels are those of the settings" in level()
    assert "app api: debug until " in level("api", "debug", "--for", "10m")
    time.sleep(0.5)
    assert workers_that_say(program, "command")
    assert "debug" == ask(program, "GET")["orders"][0]["level"]
    assert "levels are those of the settings" in level("api", "--reset")
    time.sleep(0.5)
    assert not workers_that_say(program, "reset")


def test_on_the_application_s_port_the_token_is_wanted(tmp_path: Path) -> None:
    env = {"BEXT_METRICS_MOUNT": "true", "BEXT_TELEMETRY_TOKEN": "s3cret"}
    command = "uvicorn --port {port} starlette_app:app"
    with launched(tmp_path, command, env=env) as program:
        put = {"method": "PUT", "url": f"{program.url}{PATH}?level=debug", "trust_env": False}
        assert 401 == httpx.request(**put).status_code  # type: ignore[arg-type]
        bearer = {"authorization": "Bearer s3cret"}
        assert 200 == httpx.request(**put, headers=bearer).status_code  # type: ignore[arg-type]
        assert ["debug"] == [one["level"] for one in program.get(PATH, headers=bearer).json()["orders"]]
