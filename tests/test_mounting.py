"""What an application mounts and registers in code."""

from __future__ import annotations

from pathlib import Path

from tests.fresh import fresh


def test_the_blueprint_sets_telemetry_up_and_answers(tmp_path: Path) -> None:
    shown, _ = fresh(
        """
        from flask import Flask
        import bext_otel
        app = Flask("shop")
        app.register_blueprint(bext_otel.blueprint())
        client = app.test_client()
        paths = ("/metrics", "/metrics?format=json", "/health", "/health/live", "/health/ready", "/nothing")
        show([bext_otel.running() is not None, [client.get(path).status_code for path in paths]])
        """,
        tmp_path,
    )
    assert [True, [200, 200, 200, 200, 200, 404]] == shown


def test_the_asgi_app_is_mounted_below_a_prefix(tmp_path: Path) -> None:
    shown, _ = fresh(
        """
        import asyncio, httpx
        from starlette.applications import Starlette
        from starlette.routing import Mount
        import bext_otel
        app = Starlette(routes=[Mount("/ops", bext_otel.asgi_app())])
        async def ask():
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
                return [(await client.get(path)).status_code for path in ("/ops/metrics", "/ops/health/ready", "/metrics")]
        show(asyncio.run(ask()))
        """,
        tmp_path,
    )
    assert [200, 200, 404] == shown


def test_the_wsgi_app_takes_what_stands_before_as_its_prefix(tmp_path: Path) -> None:
    shown, _ = fresh(
        """
        from wsgiref.util import setup_testing_defaults
        import bext_otel
        app = bext_otel.wsgi_app()
        told = []
        for path in ("/health/live", "/ops/health/live"):
            environ = {"SCRIPT_NAME": "/ops", "PATH_INFO": path}
            setup_testing_defaults(environ)
            list(app(environ, lambda status, headers: told.append(status)))
        show(told)
        """,
        tmp_path,
    )
    assert ["200 OK", "404 Not Found"] == shown


def test_a_check_is_asked_once_there_is_telemetry(tmp_path: Path) -> None:
    shown, _ = fresh(
        """
        import bext_otel
        bext_otel.register_check("early", lambda: False, critical=True)
        runs = bext_otel.configure()
        before = runs.health.ready().http_status
        bext_otel.register_check("database", lambda: False, critical=True)
        report = runs.health.ready()
        show([before, report.http_status, sorted(report.document()["checks"])])
        """,
        tmp_path,
    )
    assert [200, 503, ["database"]] == shown
