"""docs/openapi.yaml is what a real stand-alone server answers, to whatever schemathesis makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from tests.e2e.launching import Launched, launched

schemathesis = pytest.importorskip("schemathesis", reason="asks by the description")

pytestmark = pytest.mark.e2e

DESCRIPTION = Path(__file__).parents[2] / "docs" / "openapi.yaml"
PATHS: dict[str, dict[str, Any]] = yaml.safe_load(DESCRIPTION.read_text())["paths"]
OPERATIONS = [(path, method) for path, methods in PATHS.items() for method in methods]
SETTINGS = """
[health.checks.port]
tcp = "127.0.0.1:1"
[health.groups.storage]
checks = ["port"]
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    folder = tmp_path_factory.mktemp("described")
    (folder / "bext.config.toml").write_text(SETTINGS)
    with launched(folder, "uvicorn --port {port} starlette_app:app") as made:
        made.endpoint("/health/live")
        yield made


@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=lambda part: part)
def test_an_endpoint_answers_as_it_is_described(program: Launched, path: str, method: str) -> None:
    described = schemathesis.openapi.from_path(DESCRIPTION)
    described.config.update(base_url=program.endpoints_url)

    @settings(
        max_examples=10,
        deadline=None,  # a busy machine is no failure
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(described[path][method].as_strategy())
    def answers(case: Any) -> None:
        # 503 is an answer here, and no crash.
        case.call_and_validate(excluded_checks=[schemathesis.checks.not_a_server_error])

    answers()


def test_every_endpoint_is_described(program: Launched) -> None:
    page = program.endpoint("/").text
    shown = {part.partition('"')[0].partition("?")[0] for part in page.split('<a href="')[1:]}
    assert {"/health/storage"} == {path for path in shown if path.startswith("/") and path not in PATHS}
