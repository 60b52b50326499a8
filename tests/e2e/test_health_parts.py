"""Health of a real service, of which nobody has said anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.launching import launched
from tests.waiting import until

pytestmark = pytest.mark.e2e


def test_apps_and_the_event_loop_are_there_without_a_word(tmp_path: Path) -> None:
    env = {"OTEL_SERVICE_NAME": "shop"}
    with launched(tmp_path, "uvicorn --port {port} starlette_app:app", env=env) as program:
        until(lambda: "shop" in program.endpoint("/health").json()["apps"], seconds=40)
        until(lambda: "lag_ms" in program.endpoint("/health").json()["checks"]["event_loop"])
        until(lambda: program.metrics().get('bext_health_status{check="event_loop"}') == 1)
        found = program.endpoint("/health/apps/shop")
        assert (200, "healthy", {"shop"}) == (
            found.status_code,
            found.json()["status"],
            set(found.json()["apps"]),
        )
        assert 404 == program.endpoint("/health/apps/other").status_code
        checks = program.endpoint("/health").json()["checks"]
        assert {"disk", "telemetry", "event_loop"} == set(checks)
