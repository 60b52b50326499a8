from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bext_otel.endpoints.flask import blueprint
from bext_otel.endpoints.formats import text
from tests.endpoints.parts import endpoints
from tests.endpoints.snapshots import SPECIFICATION


def client(prefix: str | None = None, **settings: object) -> FlaskClient:
    app = Flask("application")
    app.register_blueprint(blueprint(endpoints(token="s3cret", **settings)), url_prefix=prefix)

    @app.get("/about")
    def about() -> str:
        return "about"

    return app.test_client()


@pytest.mark.parametrize("prefix", [None, "/ops"])
def test_the_endpoints_stand_beside_the_application(prefix: str | None) -> None:
    served, base = client(prefix), prefix or ""
    answer = served.get(f"{base}/metrics")
    assert (200, "text/plain; version=0.0.4; charset=utf-8") == (
        answer.status_code,
        answer.headers["content-type"],
    )
    assert text.render(SPECIFICATION) == answer.data
    assert "application/json" == served.get(f"{base}/metrics?format=json").headers["content-type"]
    assert [200, 200, 200] == [
        served.get(f"{base}/health{path}").status_code for path in ("", "/live", "/ready")
    ]
    assert b"about" == served.get("/about").data
    assert 404 == served.get(f"{base}/health/other").status_code


def test_head_and_gzip_are_answered() -> None:
    assert (b"", str(len(text.render(SPECIFICATION)))) == (
        (answer := client().head("/metrics")).data,
        answer.headers["content-length"],
    )
    assert "gzip" == client().get("/metrics", headers={"Accept-Encoding": "gzip"}).headers["content-encoding"]


def test_other_methods_are_refused_in_the_endpoints_own_words() -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = client().open("/metrics", method=method)
        assert (405, "GET, HEAD") == (answer.status_code, answer.headers["allow"])


def test_details_want_the_token() -> None:
    assert {"status": "healthy"} == client().get("/health").json
    assert "checks" in client().get("/health", headers={"Authorization": "Bearer s3cret"}).json


def test_a_path_that_flask_would_read_as_a_pattern_is_left_out() -> None:
    served = client(metrics={"path": "/<broken"})
    assert 200 == served.get("/__bext/health").status_code
    assert 401 == served.get("/__bext/metrics").status_code
